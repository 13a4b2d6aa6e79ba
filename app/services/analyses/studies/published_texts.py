"""The source's table filled with a study's numbers, as text: for people with the source's number beside ours, in full
for programs.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from app.services.analyses.studies.columns import NONE, Shown, sentences
from app.services.analyses.studies.published import FilledColumn, FilledPlace, PublishedShape
from app.tabulation import Column, fits_a_page, markdown_text, to_csv, to_latex, to_markdown
from lab_models.recipes.published_tables import RowName, Scored
from lab_models.statistics.summary import Summary

Row = tuple[FilledPlace, ...]


def published_markdown(shape: PublishedShape) -> str:
    """The table under the study's name, the source's column beside each of ours, with its caption."""
    rows = to_markdown(published_columns(shape), shape.rows)
    title = markdown_text(shape.whole.study.name)
    return f"## {title}\n\n{rows}\n{markdown_text(_below(shape))}\n"


def published_latex(shape: PublishedShape) -> str:
    """A `table` in which the source's number stands below ours, so that it fits a page."""
    columns = _stacked_columns(shape, "")
    if not fits_a_page(columns, shape.rows):
        columns = _stacked_columns(shape, "\n")
    name = " ".join(shape.whole.study.name.split())
    below = " The source's number stands below ours." if shape.has_printed else ""
    return to_latex(columns, shape.rows, caption=f"{name}. {_below(shape)}{below}")


def _stacked_columns(shape: PublishedShape, between: str) -> list[Column[Row]]:
    """A mean and its interval with a line break between them, or without."""
    return [
        Column(heading.text, partial(_stacked, between, place), is_number=_is_number(heading))
        for place, heading in enumerate(shape.headings)
    ]


def published_csv(shape: PublishedShape) -> str:
    """The source's columns, numbers in full and fractions as fractions, each with its interval, n and what the source
    printed.
    """
    return to_csv(_flat(shape, row) for row in shape.rows)


def published_columns(shape: PublishedShape) -> list[Column[Row]]:
    """The source's columns as people read them, and the source's numbers beside them where there are any."""
    columns: list[Column[Row]] = []
    for place, heading in enumerate(shape.headings):
        columns.append(Column(heading.text, partial(_own, place), is_number=_is_number(heading)))
        if any(row[place].printed is not None and row[place].name is None for row in shape.rows):
            columns.append(Column("source", partial(_printed, place), is_number=True))
    return columns


def published_caption(shape: PublishedShape) -> str:
    """What stands in the table, in a sentence or two, with what the table itself must be read with."""
    metrics = list(
        dict.fromkeys(
            place.metric.label.lower()
            + (f" in {unit}" if (unit := place.metric.level_unit) else "")
            for row in shape.rows
            for place in row
            if place.metric is not None
        )
    )
    said = f"{shape.table.title}: {', '.join(metrics)}; {_over_seeds(shape)}."
    if any(place.difference is not None for row in shape.rows for place in row):
        said += " Differences are paired by seed, in percentage points for accuracies."
    remarks = sentences(shape.remarks)
    return " ".join(part for part in (said, *remarks, shape.table.note) if part)


def _below(shape: PublishedShape) -> str:
    return " ".join([published_caption(shape), *shape.whole.design.provenance])


def _over_seeds(shape: PublishedShape) -> str:
    """Over how many seeds the means are: those that there are, not those that are wanted."""
    scored = [place.score or place.difference for row in shape.rows for place in row]
    counts = {found.n for found in scored if found is not None and found.n}
    if not counts:
        return "no run has succeeded yet"
    least, most = min(counts), max(counts)
    many = f"{most}" if least == most else f"{least} to {most}"
    return f"mean over {many} seed{'s' if most > 1 else ''} with its 95 % interval"


def shown_place(place: FilledPlace) -> str:
    """Ours, such as `97.91 (97.70 to 98.12)`, `+0.12 (-0.30 to +0.54)`, `11,181,642`."""
    if place.name is not None:
        return place.name
    if place.count is not None:
        return f"{place.count:,}"
    if place.metric is None:
        return NONE
    shown = Shown(place.metric)
    if place.score is not None:
        return (
            _counted(place.score)
            if place.shown_as == "errors"
            else shown.with_interval(place.score)
        )
    if place.difference is not None and place.difference.mean is not None:
        ends = place.difference.ci95
        interval = "" if ends is None else f" ({shown.signed(ends[0])} to {shown.signed(ends[1])})"
        return shown.signed(place.difference.mean) + interval
    return NONE


def _counted(errors: Summary) -> str:
    ends = _of_count(errors)
    return f"{errors.mean:.1f}" + ("" if ends is None else f" ({ends[0]:.1f} to {ends[1]:.1f})")


def _ends(place: FilledPlace) -> tuple[float, float] | tuple[None, None]:
    """Of a score's interval, which leaves neither fractions nor counts."""
    if place.score is None or place.metric is None:
        return None, None
    if place.shown_as == "errors":
        return _of_count(place.score) or (None, None)
    return place.metric.ends_of(place.score)


def _of_count(errors: Summary) -> tuple[float, float] | None:
    """There are no fewer than none."""
    return None if errors.ci95 is None else (max(errors.ci95[0], 0.0), errors.ci95[1])


def _own(place: int, row: Row) -> str:
    return shown_place(row[place])


def _printed(place: int, row: Row) -> str:
    return row[place].printed or NONE


def _stacked(between: str, place: int, row: Row) -> str:
    own, printed = shown_place(row[place]), row[place].printed
    if row[place].name is not None:
        return own
    own = own.replace(" (", f"{between}(") if between else own
    return own if printed is None else f"{own}\n{printed}"


def _is_number(heading: FilledColumn) -> bool:
    return not isinstance(heading.measure, RowName)


def _flat(shape: PublishedShape, row: Row) -> dict[str, Any]:
    return dict(
        pair
        for heading, place in zip(shape.headings, row, strict=True)
        for pair in _numbers(heading, place)
    )


def _numbers(heading: FilledColumn, place: FilledPlace) -> Iterator[tuple[str, Any]]:
    name = heading.text
    if place.name is not None:
        yield name, place.name
        return
    if place.metric is None:
        yield name, place.count
    else:
        is_score = isinstance(heading.measure, Scored)
        found = place.score if is_score else place.difference
        low, high = _ends(place) if is_score else (found and found.ci95) or (None, None)
        yield name, None if found is None else found.mean
        yield f"{name} ci95_low", low
        yield f"{name} ci95_high", high
        yield f"{name} n", 0 if found is None else found.n
    if not heading.is_added:
        yield f"{name} source", place.printed
