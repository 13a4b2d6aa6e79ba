"""How figures of a study speak of it: where it stands, its factors and their values."""

from typing import TypeGuard

from app.errors import NotFound
from app.services.analyses.spec_paths import differences
from app.services.studies.studies import WholeStudy
from app.storage.states import RunStatus
from lab_models.common.validation import did_you_mean
from lab_models.recipes.recipe import Factor
from lab_models.studies.design import factor_text

COUNTED = {
    ("depth", "mlp"): "hidden layers",
    ("depth", "henet"): "layers",
    ("width", "mlp"): "units of a hidden layer",
}
"""What a field of a network counts, by its name and the architecture."""


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
    """Everything that the study's factors may be called, with the factor."""
    design = whole.design
    paths = dict(zip(design.paths, design.factors, strict=True)) if design.paths else _found(whole)
    return {**paths, **{name: name for name in design.factors}}


def words_of(name: str) -> str:
    """A field's name as people write it: `label smoothing`."""
    return name.replace("_", " ").replace(".", " ")


def axis_label(whole: WholeStudy, name: str) -> str:
    """What an axis is called that shows a factor: in words, and with what is counted where that is the same in all
    cells.
    """
    specs = [cell.experiment.spec for cell in whole.cells]
    archs = {(spec.get("model") or spec.get("student") or {}).get("arch") for spec in specs}
    counted = {COUNTED.get((name.rpartition(".")[2], str(arch))) for arch in archs}
    unit = counted.pop() if len(counted) == 1 else None
    return f"{words_of(name)} ({unit})" if unit else words_of(name)


def _found(whole: WholeStudy) -> dict[str, str]:
    """The paths of factors where none are named, in a recipe or an older study: those of fields that have another value
    for each value of the factor, as `model.residual` has for the factor `network` with values plain and residual.
    """
    first, texts = whole.cells[0].experiment.spec, []
    for cell in whole.own_cells:
        differing = differences(cell.experiment.spec, first)
        texts.append({one.path: repr((one.treatment,)) for one in differing})
    paths = dict.fromkeys(path for text in texts for path in text)
    found: dict[str, str] = {}
    for name in whole.design.factors:
        values = [repr(cell.cell.factors.get(name)) for cell in whole.own_cells]
        for path in paths:
            pairs = set(zip(values, (text.get(path) for text in texts), strict=True))
            if len(pairs) == len(dict(pairs)) == len({text for _, text in pairs}):
                found.setdefault(path, name)
    return found


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
