"""The lines of a stranger's table, with bounds, and what stands between its cells. Nothing here loads torch."""

import io
from collections.abc import Iterator

from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.beginnings import SEPARATORS, UTF16
from lab_models.datasets.refusals import ImportRefused, printable


def lines_of(files: ImageFiles, table: str, longest: int) -> Iterator[str]:
    """Each line with its end; raises ImportRefused for one of `longest` letters, and what reading a damaged file
    raises.
    """
    with files.open(table) as file:
        encoding = "utf-16" if file.read(2) in UTF16 else "utf-8-sig"
    with (
        files.open(table) as file,
        io.TextIOWrapper(file, encoding, "strict", newline="\n") as text,
    ):
        number = 0
        while line := _next_line(text, longest, table, number):
            number += 1
            if len(line) >= longest:
                raise ImportRefused(f"line {number:,} of {printable(table)} has no end")
            yield line


def _next_line(text: io.TextIOWrapper, longest: int, table: str, number: int) -> str:
    """Letters that are guessed could make two classes one, or another."""
    try:
        return text.readline(longest)
    except UnicodeError as error:
        raise ImportRefused(
            f"{printable(table)} is not UTF-8, or UTF-16 with a mark, from line {number + 1:,} on",
            hint="save the table as UTF-8; `iconv -f latin1 -t utf-8`, or gbk, turns it into that",
        ) from error


def separator_of(line: str) -> str:
    """The tab, comma or semicolon of which a table's first line has most."""
    return max(SEPARATORS, key=line.count)
