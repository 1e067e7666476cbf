"""History: what to pull, pulling it, and knowing that nothing is missing."""
