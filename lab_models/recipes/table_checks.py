"""A printed table held against itself: differences, digits, labels, repeated values, gaps and parameter counts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import combinations
from statistics import median

from lab_models.recipes.findings import Code, Finding
from lab_models.recipes.published_tables import PrintedDifference, PublishedTable

NUMBER = re.compile(r"[-+\u2212]?\d+(?:\.\d+)?")
MULTIPLIERS = {"": 1, "K": 1_000, "M": 1_000_000}
FEWEST_EQUAL = 3
"""Rows from which on a column of one value is no coincidence."""


def check_table(table: PublishedTable, parameters: Mapping[str, int]) -> Iterator[Finding]:
    """All findings of one table, in the order in which a reader would look."""
    yield from _blank_cells(table)
    for difference in table.differences:
        yield from _differences(table, difference)
    yield from _digits(table)
    yield from _identical_values(table)
    yield from _parameters(table, parameters)


def is_possible(percent: str, num_images: int) -> bool:
    """Whether a whole number of `num_images` gives this percentage at its number of decimals; ties may be rounded
    either way.
    """
    value, ulp = _number(percent), _ulp(percent)
    if value is None:
        return True
    low, high = (Fraction(value + sign * ulp / 2) * num_images / 100 for sign in (-1, 1))
    # ceil(low) <= floor(high)
    return -(-low.numerator // low.denominator) <= high.numerator // high.denominator


def _blank_cells(table: PublishedTable) -> Iterator[Finding]:
    blank = [
        f"{row[0] or 'a row'} ({heading})"
        for row in table.rows
        for heading, text in zip(table.columns, row, strict=True)
        if not text.strip()
    ]
    if blank:
        yield Finding(
            Code.BLANK_CELLS,
            _where(table),
            f"nothing is printed for {_listed(blank)}",
            "run the recipe to fill it",
        )


def _differences(table: PublishedTable, difference: PrintedDifference) -> Iterator[Finding]:
    treatment, control, printed = (
        table.columns.index(name)
        for name in (difference.treatment, difference.control, difference.column)
    )
    for row in table.rows:
        texts = (row[treatment], row[control], row[printed])
        computed = _difference(*texts[:2])
        if computed is None or _agrees(texts):
            continue
        change = f"from {row[control]} to {row[treatment]} is {computed:+} percentage points"
        message = f"{change}, and {row[printed]} is printed"
        yield Finding(
            Code.WRONG_DIFFERENCE,
            f"{_where(table)}, row {row[0]}",
            message,
            _mistyped(table, row, (treatment, control, printed)),
        )
    percents = [row[printed] for row in table.rows if "%" in row[printed]]
    if percents:
        message = (
            f"{_listed(percents)}: differences of percentages are printed with a percent sign, and are percentage"
            " points"
        )
        yield Finding(
            Code.POINTS_AS_PERCENT,
            f"{_where(table)}, column {difference.column}",
            message,
            "write percentage points",
        )


def _mistyped(table: PublishedTable, row: tuple[str, ...], columns: tuple[int, int, int]) -> str:
    """Single digits whose change makes the row agree; the first is that whose number then lies nearest to its column's
    other rows.
    """
    texts = tuple(row[column] for column in columns)
    found: list[tuple[float, str]] = []
    for place, column in enumerate(columns):
        others = [
            value
            for other in table.rows
            if other is not row and (value := _number(other[column])) is not None
        ]
        for changed in _one_digit_changed(texts[place]):
            value = _number(changed)
            if value is None or not _agrees((*texts[:place], changed, *texts[place + 1 :])):
                continue
            distance = float(abs(value - median(others))) if others else 0.0
            found.append((distance, f"{_shown(changed)} in place of {_shown(texts[place])}"))
    if not found:
        return "no change of a single digit makes the row agree; ask the source"
    likeliest, *rest = [text for _, text in sorted(found)]
    also = (
        f"; {_listed(rest, 'or')} would agree as well, but lie{'s' if len(rest) == 1 else ''} farther from the other"
        " rows"
        if rest
        else ""
    )
    return f"likely one digit: {likeliest} gives the printed difference{also}"


def _digits(table: PublishedTable) -> Iterator[Finding]:
    """Which split can have been scored, by what the digits allow."""
    places = [table.columns.index(name) for name in table.accuracy_columns]
    printed = list(dict.fromkeys(row[place] for row in table.rows for place in places))
    impossible = {
        size: bad
        for size in table.num_images
        if (bad := [text for text in printed if not is_possible(text, size)])
    }
    remaining = [
        f"{size:,} images{f' of {table.split}' if table.split else ''}"
        for size in table.num_images
        if size not in impossible
    ]
    elsewhere = [
        f"{size:,} images of {name}"
        for name, size in table.other_splits.items()
        if all(is_possible(text, size) for text in printed)
    ]
    if not table.split:
        elsewhere = [text for text in elsewhere if text.partition(" of ")[0] not in remaining]
    possible = _listed([*remaining, *elsewhere], "or") if remaining or elsewhere else ""
    for size, bad in impossible.items():
        message = (
            f"{_listed([_shown(text) for text in bad])} % cannot come from {size:,} images: no whole number of them"
            " gives these digits"
        )
        yield Finding(
            Code.IMPOSSIBLE_DIGITS,
            _where(table),
            message,
            f"all are possible on {possible}" if possible else "",
        )
    if table.split and impossible and elsewhere:
        message = (
            f"the table says {table.split}, and its digits rule out a {table.split} of"
            f" {_listed([f'{size:,}' for size in impossible], 'or')} images"
        )
        yield Finding(
            Code.SPLIT_LABEL,
            _where(table),
            message,
            f"scored on {possible}: say which split each number is of",
        )
    if not table.split and table.accuracy_columns:
        yield Finding(
            Code.SPLIT_UNSAID,
            _where(table),
            "the table does not say which images were scored",
            "say whether a number is of val or of test",
        )


def _identical_values(table: PublishedTable) -> Iterator[Finding]:
    columns = {
        name: [row[table.columns.index(name)].strip() for row in table.rows]
        for name in table.accuracy_columns
    }
    for name, values in columns.items():
        if len(values) >= FEWEST_EQUAL and len(set(values)) == 1 and values[0]:
            message = f"all {len(values)} rows have {values[0]} in column {name}"
            yield Finding(
                Code.IDENTICAL_VALUES,
                _where(table),
                message,
                "measure again: one number may have been copied",
            )
    for (one, values), (other, others) in combinations(columns.items(), 2):
        if len(values) > 1 and values == others:
            message = f"columns {one} and {other} have the same value in each of {len(values)} rows"
            yield Finding(
                Code.IDENTICAL_VALUES,
                _where(table),
                message,
                "measure again: one column may be a copy of the other",
            )


def _parameters(table: PublishedTable, parameters: Mapping[str, int]) -> Iterator[Finding]:
    if table.parameter_column is None:
        return
    place = table.columns.index(table.parameter_column)
    for row, key in zip(table.rows, table.row_cells, strict=True):
        value, suffix = _number(row[place]), row[place].strip()[-1:].upper()
        true = parameters.get(key or "")
        if value is None or true is None:
            continue
        unit = MULTIPLIERS.get(suffix, 1)
        if abs(value * unit - true) > unit * _ulp(row[place]) / 2:
            message = f"{row[place]} parameters are printed, and the network has {true:,}"
            yield Finding(
                Code.WRONG_PARAMETERS,
                f"{_where(table)}, row {row[0]}",
                message,
                _lost_digit(row[place], Decimal(true) / unit, suffix),
            )


def _lost_digit(printed: str, true: Decimal, suffix: str) -> str:
    """Whether the printed number is the true one, rounded to a decimal more, with one digit left out."""
    mark = suffix if suffix in MULTIPLIERS else ""
    rounded = str(true.quantize(_ulp(printed) / 10, rounding=ROUND_HALF_UP))
    shortened = {
        rounded[:i] + rounded[i + 1 :] for i, character in enumerate(rounded) if character.isdigit()
    }
    if _shown(printed) in shortened:
        return f"{rounded}{mark} with a digit lost"
    return f"rounded alike it is {true.quantize(_ulp(printed), rounding=ROUND_HALF_UP)}{mark}"


def _agrees(texts: tuple[str, ...]) -> bool:
    """Whether treatment, control and difference agree, each of them rounded by itself."""
    computed, printed = _difference(texts[0], texts[1]), _number(texts[2])
    return (
        computed is None or printed is None or abs(computed - printed) <= sum(map(_ulp, texts)) / 2
    )


def _difference(treatment: str, control: str) -> Decimal | None:
    minuend, subtrahend = _number(treatment), _number(control)
    return None if minuend is None or subtrahend is None else minuend - subtrahend


def _one_digit_changed(text: str) -> list[str]:
    return [
        text[:i] + digit + text[i + 1 :]
        for i, character in enumerate(text)
        if character.isdigit()
        for digit in "0123456789"
        if digit != character
    ]


def _number(text: str) -> Decimal | None:
    found = NUMBER.search(text)
    return None if found is None else Decimal(found[0].replace("\u2212", "-"))


def _ulp(text: str) -> Decimal:
    """One unit of the last printed decimal."""
    found = NUMBER.search(text)
    return Decimal(1).scaleb(-len(found[0].partition(".")[2])) if found is not None else Decimal(0)


def _shown(text: str) -> str:
    """The number alone, as printed."""
    found = NUMBER.search(text)
    return found[0] if found is not None else text


def _where(table: PublishedTable) -> str:
    return table.title or "table"


def _listed(texts: Sequence[str], word: str = "and") -> str:
    *most, last = texts
    return f"{', '.join(most)} {word} {last}" if most else last
