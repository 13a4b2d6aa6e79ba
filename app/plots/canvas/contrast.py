"""What is read best on a color."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable

from app.plots.canvas.colors import BLACK, WHITE


def ink_on(scale: ScalarMappable, value: float) -> str:
    """Black or white, whichever has the higher contrast by WCAG 2
    (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
    """
    light = _luminance(color_of(scale, value))
    return BLACK if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else WHITE


def color_of(scale: ScalarMappable, value: float) -> list[float]:
    """Red, green, blue and opacity, each from 0 to 1."""
    color: list[float] = scale.to_rgba(np.array([value]))[0].tolist()
    return color


def _luminance(color: Sequence[float]) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
