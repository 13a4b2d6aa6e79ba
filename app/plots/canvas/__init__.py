"""What every picture is made with: colors, type, axes, words, and the bytes of a PNG."""
