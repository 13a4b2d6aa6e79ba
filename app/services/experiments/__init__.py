"""Experiments and their runs: rows, numbers, files, what they cost, where they stand, and what people ask of those that
are there.
"""
