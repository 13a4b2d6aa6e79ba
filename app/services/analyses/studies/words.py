"""How figures of a study speak of it: where it stands, its factors and their values."""

from typing import TypeGuard

from app.errors import NotFound
from app.services.studies.studies import WholeStudy
from app.storage.states import RunStatus
from lab_models.recipes.recipe import Factor
from lab_models.studies.design import factor_text


def subtitle_of(whole: WholeStudy) -> str:
    """Where the study stands, in one line."""
    datasets = dict.fromkeys(cell.experiment.spec["dataset"]["name"] for cell in whole.cells)
    counts = whole.counts
    unfinished = (
        ""
        if counts[RunStatus.SUCCEEDED] == len(whole.runs)
        else f"{counts[RunStatus.SUCCEEDED]} of "
    )
    seeds = f"{len(whole.design.seeds)} seed{'s' if len(whole.design.seeds) > 1 else ''}"
    return f"{', '.join(datasets)}, {len(whole.cells)} cells, {seeds}, {unfinished}{len(whole.runs)} runs"


def known_factor(whole: WholeStudy, factor: str) -> str:
    """The factor, if the study has one of that name; raises NotFound."""
    if factor not in whole.design.factors:
        raise NotFound(
            f"study {whole.study.id} has no factor {factor!r}; it varies {', '.join(whole.design.factors) or 'none'}"
        )
    return factor


def is_number(value: Factor) -> TypeGuard[int | float]:
    """Whether a factor's value has a place on an axis; true and false have none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def spoken(value: Factor) -> float | str:
    """A number as it is, for an axis; anything else as people read it."""
    return value if is_number(value) else factor_text(value)
