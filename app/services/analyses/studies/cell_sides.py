"""A study's cells as the sides of its comparisons, and what counts as no difference between two of them."""

from app.services.analyses.pairing import margin_of
from app.services.analyses.scores import ScoreKind
from app.services.analyses.sides import Side
from app.services.studies.studies import WholeStudy


def sides_of(whole: WholeStudy) -> dict[str, Side]:
    """Every cell by its key."""
    return {
        cell.cell.key: Side(cell.experiment, cell.runs, cell.cell.title) for cell in whole.cells
    }


def margin_in(whole: WholeStudy, metric: ScoreKind, dataset: str) -> float | None:
    """The margin of equivalence between cells on that data set: of accuracies the study's own, where it has one."""
    is_accuracy = metric.name.endswith("accuracy")
    return margin_of(metric, dataset, whole.design.margin_points if is_accuracy else None)
