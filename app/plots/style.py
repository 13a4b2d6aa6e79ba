"""What all pictures share: colors, resolution, formats."""

import io
import math
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers: https://jfly.uni-koeln.de/color/
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"
DPI = 130
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FORMATS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def style() -> AbstractContextManager[None]:
    """Fonts, spines and background; draw and render within it."""
    return mpl.rc_context(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "training-lab",
            "savefig.facecolor": "white",
            "text.parse_math": False,  # a name with dollar signs is a name
        }
    )


def power_of_ten(value: float, _position: object = None) -> str:
    """A tick of a logarithmic axis in plain text, such as `10⁻⁴`: formulas are off. Between the powers nothing is written."""
    exponent = math.log10(value) if value > 0 else math.nan
    if not math.isfinite(exponent) or abs(exponent - round(exponent)) > 1e-6:
        return ""
    return "10" + str(round(exponent)).translate(SUPERSCRIPTS)


def rendered(canvas: Figure, extension: str) -> bytes:
    """The figure's bytes, the same for the same figure. `extension`: png, svg or pdf."""
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(extension, {})
    canvas.savefig(buffer, format=extension, metadata={"Creator" if extension != "png" else "Software": "training-lab", **undated})
    return buffer.getvalue()
