"""Benchmarks: `make bench`. Each compares with a real baseline in the same run."""
