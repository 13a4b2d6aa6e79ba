"""The table that a study's source printed, filled with the study's numbers, as the API answers it."""

from typing import Literal

from app.api.experiments.schemas import SummaryAnswer
from app.api.schemas import Answer
from app.services.analyses.studies.published import FilledColumn, FilledPlace, PublishedShape
from app.services.analyses.studies.published_texts import published_caption, shown_place
from app.tabulation import real_minus


class PublishedColumnAnswer(Answer):
    """A column of the source's table, or one of ours beside them."""

    heading: str
    measure: Literal["name", "score", "difference", "size"]
    """What stands in it."""
    added: bool
    """Whether the source does not have it."""


class SeedPairsAnswer(Answer):
    """Two cells paired by seed, in percentage points for accuracies."""

    mean: float | None
    ci95: tuple[float, float] | None
    n: int
    values: list[float]


class PlaceAnswer(Answer):
    """One place of the table: of `score`, `difference` and `count` the one that its column measures; all null before
    there is one.
    """

    text: str
    """As people read it."""
    printed: str | None
    """What the source has there; null where it has nothing, or where the cells are not its work."""
    cells: list[str]
    """Keys of the cells that it is about; of a difference treatment, then control."""
    metric: str | None
    score: SummaryAnswer | None
    """Fractions for accuracies; for an error or a number of errors what the source shows."""
    difference: SeedPairsAnswer | None
    count: int | None


class PublishedTableAnswer(Answer):
    """A study's numbers in the columns and rows of the table that its source printed."""

    study_id: str
    title: str
    shape: Literal["published"] = "published"
    table: str
    """The source's title of it."""
    caption: str
    columns: list[PublishedColumnAnswer]
    rows: list[list[PlaceAnswer]]
    notes: list[str]
    links: dict[str, str]


def published_answer(shape: PublishedShape) -> PublishedTableAnswer:
    """The table as JSON."""
    study = shape.whole.study
    base = f"/studies/{study.id}"
    return PublishedTableAnswer(
        study_id=study.id,
        title=study.name,
        table=shape.table.title,
        caption=published_caption(shape),
        columns=[_column(heading) for heading in shape.headings],
        rows=[[_place(place) for place in row] for row in shape.rows],
        notes=list(shape.whole.design.remarks),
        links={"self": f"{base}/table?shape=published", "study": base, "long": f"{base}/table"},
    )


def _column(heading: FilledColumn) -> PublishedColumnAnswer:
    return PublishedColumnAnswer(
        heading=heading.text, measure=heading.measure.kind, added=heading.is_added
    )


def _place(place: FilledPlace) -> PlaceAnswer:
    difference = place.difference
    return PlaceAnswer(
        text=real_minus(shown_place(place)),
        printed=place.printed,
        cells=list(place.cells),
        metric=None if place.metric is None else place.metric.name,
        score=None if place.score is None else SummaryAnswer.of(place.score),
        difference=None
        if difference is None
        else SeedPairsAnswer(
            mean=difference.mean,
            ci95=difference.ci95,
            n=difference.n,
            values=list(difference.differences),
        ),
        count=place.count,
    )
