"""The lines of a stranger's table, with bounds, and what stands between its cells. Nothing here loads torch."""

from collections.abc import Iterator

from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.beginnings import SEPARATORS
from lab_models.datasets.refusals import ImportRefused, printable


def lines_of(files: ImageFiles, table: str, longest: int) -> Iterator[str]:
    """Each line with its end; raises ImportRefused for one of `longest` bytes, and what reading a damaged file
    raises.
    """
    with files.open(table) as file:
        number = 0
        while line := file.readline(longest):
            number += 1
            if len(line) >= longest:
                raise ImportRefused(f"line {number:,} of {printable(table)} has no end")
            yield line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")


def separator_of(line: str) -> str:
    """The tab, comma or semicolon of which a table's first line has most."""
    return max(SEPARATORS, key=line.count)
