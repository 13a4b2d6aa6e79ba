"""What all pictures share: colors, resolution, formats."""

import io
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers: https://jfly.uni-koeln.de/color/
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"
DPI = 130
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


def rendered(canvas: Figure, extension: str) -> bytes:
    """The figure's bytes, the same for the same figure. `extension`: png, svg or pdf."""
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(extension, {})
    canvas.savefig(buffer, format=extension, metadata={"Creator" if extension != "png" else "Software": "training-lab", **undated})
    return buffer.getvalue()
