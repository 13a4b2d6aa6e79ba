"""A table beside images that says each one's class, as competitions have it: a column of file names and one of classes.
Nothing here loads torch.
"""

import csv
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath
from typing import Final

from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.column_words import FILE_WORDS, LABEL_WORDS, SPLIT_WORDS, column_of
from lab_models.datasets.member_names import is_table
from lab_models.datasets.refusals import DAMAGED, ImportRefused, printable, refuse_damaged
from lab_models.datasets.split_words import split_in, split_of
from lab_models.datasets.table_lines import lines_of, separator_of

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
    passed_over: list[str] = []
    for table in tables:
        rows = _rows(files, table, ROWS_PER_IMAGE * len(images) + 1000)
        header = next(rows, [])
        name, label = _columns(header)
        if name is None or label is None:
            refused.append(f"{printable(table)} has the columns {printable(', '.join(header[:8]))}")
            continue
        split = column_of(SPLIT_WORDS, [one for one in header if one not in (name, label)])
        places = [None if one is None else header.index(one) for one in (name, label, split)]
        others = _take(table, rows, places, known, labels)
        found.append((table, label))
        if others and split is not None:
            passed_over.append(f"{printable(split)} of {printable(table)}, which has {others[0]!a}")
    if found:
        labels.where = _listed(found)
        if passed_over:
            labels.where += f"; no splits are in the column {', '.join(passed_over)}"
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
) -> list[str]:
    """Returns the values of the column of splits that are none, where none of its values is one."""
    at_name, at_label, at_split = places
    assert at_name is not None
    assert at_label is not None
    own_split = split_in(PurePosixPath(table).stem)
    missing: list[str] = []
    known_splits = 0
    others: dict[str, None] = {}
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
        word = row[at_split].strip() if at_split is not None and at_split < len(row) else ""
        said = split_of(word)
        known_splits += said is not None
        if word and said is None and len(others) < MOST_NAMED:
            others[printable(word)] = None
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
    if known_splits and others:
        shown = ", ".join(map(ascii, others))
        raise ImportRefused(
            f"the splits in {printable(table)} have names that are none: {shown}",
            hint="write train, val or test, or take these rows out",
        )
    return list(others)


class _ByName:
    """Images by what a table may call them: their path or its end, with the suffix or without."""

    def __init__(self, images: Sequence[str]) -> None:
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for image in images:
            path = PurePosixPath(image)
            for last in {path.name, path.stem}:
                self._by_last[last].append(image)
        self._alike: dict[str, _Alike] = {}

    def find(self, name: str, split: str | None, table: str) -> str | None:
        """The image; None where there is none. Raises ImportRefused where there are several."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        found = self._by_last.get(parts[-1], []) if parts else []
        if len(found) <= 1:
            return found[0] if found else None
        if parts[-1] not in self._alike:
            self._alike[parts[-1]] = _Alike(found)
        count, shown = self._alike[parts[-1]].below(tuple(reversed(parts[:-1])), split)
        if count > 1:
            raise ImportRefused(
                f"{printable(name)} in {printable(table)} is the name of {count:,} images:"
                f" {', '.join(map(printable, shown))}",
                hint="write their folders before the names",
            )
        return shown[0]


class _Alike:
    """Images of one name, sorted by their folders from the innermost on, so that no row of a table looks at all."""

    def __init__(self, images: Sequence[str]) -> None:
        self._by_split: dict[str | None, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for image in images:
            inner = PurePosixPath(image).parts[-2::-1]
            self._by_split[_split_of_folder(image)].append((inner, image))
        for ends in self._by_split.values():
            ends.sort()

    def below(self, folders: tuple[str, ...], split: str | None) -> tuple[int, list[str]]:
        """How many lie in these folders, the innermost first, or anywhere where none does; of them those of the split
        where there are any. And the first of them.
        """
        every = list(self._by_split)
        for wanted in (folders, ()):
            for splits in ([split], every) if split is not None else (every,):
                count, shown = self._ending(wanted, splits)
                if count:
                    return count, shown
        raise AssertionError("there are several")

    def _ending(
        self, folders: tuple[str, ...], splits: Sequence[str | None]
    ) -> tuple[int, list[str]]:
        count, shown = 0, list[str]()
        for ends in (self._by_split.get(split, []) for split in splits):
            first = bisect_left(ends, folders, key=lambda end: end[0][: len(folders)])
            last = bisect_right(ends, folders, key=lambda end: end[0][: len(folders)])
            count += last - first
            shown += [image for _, image in ends[first : min(last, first + MOST_NAMED)]]
        return count, shown[:MOST_NAMED]


def _split_of_folder(image: str) -> str | None:
    splits = map(split_of, reversed(PurePosixPath(image).parts[:-1]))
    return next((split for split in splits if split is not None), None)


def _rows(files: ImageFiles, table: str, most: int) -> Iterator[list[str]]:
    lines = lines_of(files, table, LONGEST_LINE)
    size = 0

    def counted(first: str) -> Iterator[str]:
        # a cell in quotation marks has lines, and a row any number of such cells
        nonlocal size
        for line in chain([first], lines):
            size += len(line)
            if size > LONGEST_LINE:
                raise ImportRefused(f"a row of {printable(table)} has no end")
            yield line

    try:
        first = next(lines, "")
        for number, row in enumerate(csv.reader(counted(first), delimiter=separator_of(first))):
            if number > most:
                raise ImportRefused(
                    f"{printable(table)} has more than {most:,} rows, far more than there are images"
                )
            yield row
            size = 0
    except (*DAMAGED, csv.Error) as error:
        refuse_damaged(table, error)
