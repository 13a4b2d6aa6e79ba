"""A module for each kind of picture: `draw_<name>(figure, extension)` gives its bytes."""
