"""Stand-ins of the services that misoflow talks to, for people without a key, for tests and benchmarks."""
