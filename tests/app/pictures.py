"""What is written in a picture."""

import html
import re


def words(svg: bytes | str) -> list[str]:
    """The texts of an SVG, line by line, in the order they were drawn."""
    text = svg.decode() if isinstance(svg, bytes) else svg
    return [html.unescape(found) for found in re.findall(r"<text[^>]*>([^<]*)</text>", text)]
