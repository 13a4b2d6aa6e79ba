"""Data sets: people's own ones beside the built-in ones, and the locks that keep them in place while they are
needed.
"""
