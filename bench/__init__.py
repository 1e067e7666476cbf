"""Benchmarks: each prints its figures and their ratio, measured in one run on one machine."""
