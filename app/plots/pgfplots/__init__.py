"""A module for each kind of picture as LaTeX source: `write_<name>(figure, extension)` gives the bytes."""
