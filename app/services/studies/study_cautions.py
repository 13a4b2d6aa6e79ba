"""What a reader of a study's verdicts must keep in mind."""

from collections.abc import Iterator, Sequence

from app.services.experiments import environments
from app.services.studies.studies import StudyCell, WholeStudy
from app.storage.states import RunStatus
from lab_models.specs import read_spec

FEW_SEEDS = 3
MOST_TITLES = 5


def cautions(whole: WholeStudy) -> Iterator[str]:
    """One sentence each, the gravest first."""
    design, counts = whole.design, whole.counts
    if whole.study.recipe is not None and not design.whole:
        yield (
            "This is not the recipe at full scale: its verdicts hold for these smaller settings and say nothing about"
            " the source's."
        )
    missing = len(whole.runs) - counts[RunStatus.SUCCEEDED]
    if missing:
        ended = counts[RunStatus.FAILED] + counts[RunStatus.CANCELLED]
        said = f"{missing} of {len(whole.runs)} runs {_has(missing)} not succeeded" + (
            f" ({ended} {_has(ended)} failed or {'was' if ended == 1 else 'were'} cancelled)"
            if ended
            else ""
        )
        yield f"{said}: numbers and verdicts are those of the others."
    if len(design.seeds) < FEW_SEEDS:
        few = (
            "One seed gives no interval"
            if len(design.seeds) == 1
            else "Two seeds give very wide intervals"
        )
        yield f"{few}: start a study with more, fixed beforehand."
    alike = [
        cell.cell.title
        for cell in whole.own_cells
        if len(cell.runs) > 1 and _comes_out_the_same(cell)
    ]
    if alike:
        yield (
            f"What is fitted to frozen features is the same with every seed: {', '.join(alike)} counts as one run"
            " (n = 1), which says nothing about chance."
        )
    for cell in whole.own_cells:
        yield from _made_otherwise(cell)
    shared = [cell for cell in whole.own_cells if _is_compared(whole, cell) and _shares(cell)]
    if shared:
        yield _on_one_foundation(shared)
    if design.drawn:
        yield (
            f"The best of {len(whole.own_cells)} cells is in part the luckiest, so its number is optimistic. Choose by"
            " val, not by test, and run what was chosen again with new seeds before you claim it."
        )
    if design.looks:
        steps = ", then ".join(map(str, design.looks))
        yield (
            f"Seeds were added after results could be seen ({steps}): the look that was planned, at {design.looks[0]},"
            " is decided at 4 %, and all others share 1 %. For a claim to publish, fix the number of seeds beforehand."
        )
    if design.final and missing:
        yield (
            "This study is final: it decides once, when all of its seeds have ended, at the whole 5 %; until then its"
            " verdicts are open. Retry what was cancelled, or has failed otherwise than by diverging."
        )


def _comes_out_the_same(cell: StudyCell) -> bool:
    return not read_spec(cell.experiment.spec).depends_on_seed


def _made_otherwise(cell: StudyCell) -> Iterator[str]:
    """What is said of a cell whose runs were not all made under the same conditions."""
    found = [
        f"{label} " + ", ".join(f"{value} ({_seeds(seeds)})" for value, seeds in by_value.items())
        for label, by_value in environments.mixed(cell.runs).items()
    ]
    if found:
        yield (
            f"The runs of {cell.cell.title} were not all made alike: {'; '.join(found)}. What separates them is then"
            " not the seed alone."
        )
    resumed = environments.resumed_elsewhere(cell.runs)
    if resumed:
        yield (
            f"Of {cell.cell.title}, {_seeds(resumed)} went on from a checkpoint under other conditions than those of"
            " the beginning; the run's environment says which."
        )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _is_compared(whole: WholeStudy, cell: StudyCell) -> bool:
    """Whether it is an arm of a contrast; of a study without contrasts, every cell is looked at."""
    arms = {
        whole.design.trained(key)
        for one in whole.design.contrasts
        for key in (one.treatment, one.control)
    }
    return not arms or cell.cell.key in arms


def _shares(cell: StudyCell) -> bool:
    """Whether several of its seeds are built on one and the same run."""
    needs = [run.needs for run in cell.runs if run.needs is not None]
    return len(needs) > len(set(needs))


def _on_one_foundation(cells: Sequence[StudyCell]) -> str:
    roles = sorted({str(read_spec(cell.experiment.spec).role) for cell in cells})
    called = " or ".join(roles)
    titles = [cell.cell.title for cell in cells]
    more = f" and {len(titles) - MOST_TITLES} more" if len(titles) > MOST_TITLES else ""
    return (
        f"All seeds of {', '.join(titles[:MOST_TITLES])}{more} build on one and the same {called}: their intervals and"
        f' verdicts speak of this {called} only. "seed": "own" beside it gives each seed its own.'
    )


def _has(number: int) -> str:
    return "has" if number == 1 else "have"
