"""How figures of a study speak of it: where it stands, its factors and their values."""

from typing import TypeGuard

from app.errors import NotFound
from app.services.analyses.comparisons import differences
from app.services.studies.studies import WholeStudy
from app.storage.states import RunStatus
from lab_models.common.validation import did_you_mean
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
    same = len(whole.cells) - len(whole.own_cells)
    cells = f"{len(whole.cells)} cells" + (f" ({same} the same as another)" if same else "")
    return f"{', '.join(datasets)}, {cells}, {seeds}, {unfinished}{len(whole.runs)} runs"


def known_factor(whole: WholeStudy, factor: str) -> str:
    """The study's factor of that name, which may be its path as well: `depth`, `model.depth`; raises NotFound."""
    names = names_of_factors(whole)
    if factor not in names:
        meant = did_you_mean(factor, list(names)) or ""
        hint = f"; {meant}" if meant.startswith("did") else ""
        raise NotFound(
            f"study {whole.study.id} has no factor {factor!r}{hint}; it varies"
            f" {', '.join(whole.design.factors) or 'none'}"
        )
    return names[factor]


def names_of_factors(whole: WholeStudy) -> dict[str, str]:
    """Everything that the study's factors may be called, with the factor. A recipe and an older study name no paths:
    there they are those of the fields in which cells differ.
    """
    design = whole.design
    paths = dict(zip(design.paths, design.factors, strict=True)) if design.paths else {}
    first = whole.cells[0].experiment.spec
    for cell in whole.own_cells if not paths else ():
        for one in differences(cell.experiment.spec, first):
            last = one.path.rpartition(".")[2]
            if last in design.factors:
                paths[one.path] = last
    return {**paths, **{name: name for name in design.factors}}


def together(whole: WholeStudy) -> list[str]:
    """The factors that were drawn together: with one of them the others differ too."""
    found = [name for name, said in whole.design.drawn.items() if said.n is None]
    return found if len(found) > 1 else []


def scale_said(whole: WholeStudy) -> str:
    """What stands behind a verdict of a recipe that was not run in full: such a verdict says nothing about the
    source.
    """
    if whole.study.recipe is None or whole.design.whole:
        return ""
    return " at smoke scale" if whole.study.scale == "smoke" else " with other settings"


def is_number(value: Factor) -> TypeGuard[int | float]:
    """Whether a factor's value has a place on an axis; true and false have none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def spoken(value: Factor) -> float | str:
    """A number as it is, for an axis; anything else as people read it."""
    return value if is_number(value) else factor_text(value)
