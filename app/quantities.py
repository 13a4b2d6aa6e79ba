"""How sizes are written, wherever people read them."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def in_words(num_bytes: int) -> str:
    """`1.4 MB`."""
    power = next(
        (power for power in range(len(UNITS)) if num_bytes < 1000 ** (power + 1)), len(UNITS) - 1
    )
    return f"{num_bytes / 1000**power:,.{min(power, 1)}f} {UNITS[power]}"
