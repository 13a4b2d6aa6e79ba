"""How large a study may be, and where in what a person sent a cell's fault is."""

from app.errors import InvalidRequest
from app.settings import Settings
from lab_models.common.validation import FieldError, pointer
from lab_models.recipes.recipe import Cell
from lab_models.specs.base import MAX_SEED
from lab_models.studies.design import Design
from lab_models.studies.request import StudyRequest


def count_runs(design: Design) -> int:
    """Runs of all cells."""
    return sum(len(design.seeds_of(cell)) for cell in design.own_cells)


def refuse_many_runs(num_runs: int, settings: Settings) -> None:
    """Raises InvalidRequest for more runs than one study may have."""
    if num_runs > settings.max_study_runs:
        message = (
            f"{num_runs:,} runs are more than this service's {settings.max_study_runs:,} of one study"
            " (LAB_MAX_STUDY_RUNS)"
        )
        raise InvalidRequest(
            message, [FieldError("/seeds", message, "ask for fewer seeds or cells")]
        )


def refuse_many_layers(num_layers: int, settings: Settings) -> None:
    """Raises InvalidRequest: pricing takes time by the layer, and a table can ask for a thousand large networks."""
    if num_layers > settings.max_study_layers:
        message = (
            f"the different networks of this study have more than {settings.max_study_layers:,} layers together"
            " (LAB_MAX_STUDY_LAYERS)"
        )
        raise InvalidRequest(
            message,
            [
                FieldError(
                    "",
                    message,
                    "split it, or vary what does not change the network, which is priced once",
                )
            ],
        )


def refuse_missing_seeds(design: Design, key: str, seeds: set[int], role: str | None) -> None:
    """Raises InvalidRequest where a cell that is built on has not all the seeds that are built on."""
    missing = sorted(seeds - set(design.seeds_of(design.cell(key))))
    if missing:
        message = (
            f"builds on seed {missing[0]} of cell {key!r}, which is not among that one's seeds"
        )
        raise InvalidRequest(message, [FieldError(f"/{role}/seed", message)])


def with_next_seeds(design: Design, num_seeds: int, settings: Settings) -> Design:
    """The design with the next seeds; raises InvalidRequest where that is more than the service allows."""
    following = max(design.seeds) + 1
    seeds = (*design.seeds, *range(following, following + num_seeds))
    extended = design.model_copy(
        update={"seeds": seeds, "looks": (*(design.looks or (len(design.seeds),)), len(seeds))}
    )
    refuse_many_runs(count_runs(extended), settings)
    if len(seeds) > settings.max_seeds:
        message = (
            f"{len(seeds)} seeds are more than this service's {settings.max_seeds} (LAB_MAX_SEEDS)"
        )
        raise InvalidRequest(message, [FieldError("/seeds", message)])
    if seeds[-1] > MAX_SEED:
        message = f"the next seeds, {following:,} and up, would go beyond {MAX_SEED:,}, the largest there is"
        raise InvalidRequest(
            message,
            [
                FieldError(
                    "/seeds",
                    message,
                    "start a study with smaller seeds; equal finished runs are taken over",
                )
            ],
        )
    return extended


def in_the_study(request: StudyRequest, number: int, cell: Cell, fault: FieldError) -> FieldError:
    """A cell's fault where the person who sent the study can find it."""
    if request.specs is not None:
        return FieldError(
            f"/specs/{number}{fault.pointer}", f"cell {cell.key!r}: {fault.message}", fault.hint
        )
    vary = request.vary or {}
    if request.spec is not None:
        path = fault.pointer.lstrip("/").replace("/", ".")
        varied = next(
            (name for name in vary if path == name or path.startswith(name + ".")),
            None,
        )
        place = f"/spec{fault.pointer}" if varied is None else pointer(["vary", varied])
        if varied is not None and isinstance(said := vary[varied], dict):
            place += "/" + next(name for name in ("log", "uniform", "choices") if said.get(name))
        return FieldError(
            place,
            f"cell {cell.key!r}: {fault.message}" if varied is not None else fault.message,
            fault.hint,
        )
    changed = "/overrides" if request.overrides or request.cell_overrides else "/recipe"
    return FieldError(
        changed, f"cell {cell.key!r}, {fault.pointer or 'its request'}: {fault.message}", fault.hint
    )
