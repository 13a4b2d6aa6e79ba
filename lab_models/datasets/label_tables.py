"""A table beside images that says each one's class, as competitions have it: a column of file names and one of classes.
Nothing here loads torch.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Final

from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.column_words import FILE_WORDS, LABEL_WORDS, SPLIT_WORDS, column_of
from lab_models.datasets.member_names import is_table
from lab_models.datasets.refusals import DAMAGED, ImportRefused, printable, refuse_damaged
from lab_models.datasets.split_words import split_in, split_of

MOST_TABLES: Final = 10
ROWS_PER_IMAGE: Final = 4
LONGEST_LINE: Final = 100_000
MOST_NAMED: Final = 3
HINT: Final = (
    "a table beside images needs a header with a column of file names, such as 'filename', and one of classes, such as"
    " 'label'"
)


@dataclass
class Labels:
    """Of images by their path: the class, and the split where that is known; `where` says what told so."""

    where: str
    classes: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)


def labels_in_tables(files: ImageFiles, images: Sequence[str]) -> Labels | None:
    """What the tables say of the images; None where there is no table, or none that has both columns and images that
    lie in several folders. Raises ImportRefused for a table that says what cannot be.
    """
    tables = [name for name in files.names if is_table(name)][:MOST_TABLES]
    if not tables or not images:
        return None
    known = _ByName(images)
    found: list[tuple[str, str]] = []
    refused: list[str] = []
    labels = Labels("")
    for table in tables:
        rows = _rows(files, table, ROWS_PER_IMAGE * len(images) + 1000)
        header = next(rows, [])
        name, label = _columns(header)
        if name is None or label is None:
            refused.append(f"{printable(table)} has the columns {printable(', '.join(header[:8]))}")
            continue
        split = column_of(SPLIT_WORDS, [one for one in header if one not in (name, label)])
        places = [None if one is None else header.index(one) for one in (name, label, split)]
        _take(table, rows, places, known, labels)
        found.append((table, label))
    if found:
        labels.where = _listed(found)
        return labels
    if len({PurePosixPath(image).parent for image in images}) == 1:
        raise ImportRefused(f"the images lie in no class folders, and {refused[0]}", hint=HINT)
    return None


def tables_of_classes(files: ImageFiles) -> str | None:
    """Tables that seem to say the classes of files, with the columns that do; None where there is none."""
    found = []
    for table in [name for name in files.names if is_table(name)][:MOST_TABLES]:
        try:
            name, label = _columns(next(_rows(files, table, 1), []))
        except ImportRefused:
            continue
        if name is not None and label is not None:
            found.append((table, label))
    return _listed(found) or None


def _listed(tables: Sequence[tuple[str, str]]) -> str:
    return " and ".join(f"{printable(table)} ({printable(label)})" for table, label in tables)


def _columns(header: Sequence[str]) -> tuple[str | None, str | None]:
    """The column of file names and that of classes."""
    name = column_of(FILE_WORDS, header)
    return name, column_of(LABEL_WORDS, [one for one in header if one != name])


def _take(
    table: str,
    rows: Iterator[list[str]],
    places: Sequence[int | None],
    known: "_ByName",
    labels: Labels,
) -> None:
    at_name, at_label, at_split = places
    assert at_name is not None
    assert at_label is not None
    own_split = split_in(PurePosixPath(table).stem)
    missing: list[str] = []
    for row in rows:
        if len(row) <= max(at_name, at_label) or not row[at_name].strip():
            continue
        label = row[at_label].strip()
        image = known.find(row[at_name].strip(), own_split, table)
        if image is None:
            missing.append(row[at_name].strip())
            continue
        if not label:
            continue
        if labels.classes.setdefault(image, label) != label:
            raise ImportRefused(
                f"{printable(image)} has two classes in the tables: {printable(labels.classes[image])} and"
                f" {printable(label)}",
                hint="an image has one class here",
            )
        said = split_of(row[at_split]) if at_split is not None and at_split < len(row) else None
        split = said or own_split or _split_of_folder(image)
        if split is not None:
            labels.splits[image] = split
    if missing:
        shown = ", ".join(map(printable, missing[:MOST_NAMED]))
        raise ImportRefused(
            f"{len(missing):,} rows of {printable(table)} name no image that is here: {shown}"
            + (", …" if len(missing) > MOST_NAMED else ""),
            hint="put these images in, or take the rows out",
        )


class _ByName:
    """Images by what a table may call them: their path or its end, with the suffix or without."""

    def __init__(self, images: Sequence[str]) -> None:
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for image in images:
            path = PurePosixPath(image)
            for last in {path.name, path.stem}:
                self._by_last[last].append(image)

    def find(self, name: str, split: str | None, table: str) -> str | None:
        """The image; None where there is none. Raises ImportRefused where there are several."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        found = self._by_last.get(parts[-1], []) if parts else []
        folders = tuple(parts[:-1])
        if folders:
            ends = [
                one for one in found if PurePosixPath(one).parts[:-1][-len(folders) :] == folders
            ]
            found = ends or found
        if len(found) > 1 and split is not None:
            found = [one for one in found if _split_of_folder(one) == split] or found
        if len(found) > 1:
            raise ImportRefused(
                f"{printable(name)} in {printable(table)} is the name of {len(found):,} images:"
                f" {', '.join(map(printable, found[:MOST_NAMED]))}",
                hint="write their folders before the names",
            )
        return found[0] if found else None


def _split_of_folder(image: str) -> str | None:
    splits = map(split_of, reversed(PurePosixPath(image).parts[:-1]))
    return next((split for split in splits if split is not None), None)


def _rows(files: ImageFiles, table: str, most: int) -> Iterator[list[str]]:
    separator = "\t" if table.lower().endswith(".tsv") else ","
    try:
        with files.open(table) as file:
            lines = _lines(table, file)
            for number, row in enumerate(csv.reader(lines, delimiter=separator)):
                if number > most:
                    raise ImportRefused(
                        f"{printable(table)} has more than {most:,} rows, far more than there are images"
                    )
                if number == 0 and len(row) == 1 and row[0].count(";"):
                    row = row[0].split(";")
                    separator = ";"
                yield row if number == 0 or separator != ";" else row[0].split(";")
    except (*DAMAGED, csv.Error) as error:
        refuse_damaged(table, error)


def _lines(table: str, file: IO[bytes]) -> Iterator[str]:
    first = True
    while line := file.readline(LONGEST_LINE):
        if len(line) >= LONGEST_LINE:
            raise ImportRefused(f"a line of {printable(table)} has no end")
        yield line.decode("utf-8-sig" if first else "utf-8", "replace")
        first = False
