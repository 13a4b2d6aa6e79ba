"""What a reader of a study's verdicts must keep in mind."""

from collections.abc import Iterator

from app.services.studies.studies import StudyCell, WholeStudy
from app.storage.states import RunStatus
from lab_models.specs import read_spec

FEW_SEEDS = 3


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
        said = f"{missing} of {len(whole.runs)} runs have not succeeded" + (
            f" ({ended} have failed or were cancelled)" if ended else ""
        )
        yield f"{said}: numbers and verdicts are those of the others."
    if len(design.seeds) < FEW_SEEDS:
        few = (
            "One seed gives no interval"
            if len(design.seeds) == 1
            else "Two seeds give very wide intervals"
        )
        yield f"{few}: POST /studies/{whole.study.id}/extend adds more."
    alike = [
        cell.cell.title
        for cell in whole.own_cells
        if len(cell.runs) > 1 and _comes_out_the_same(cell)
    ]
    if alike:
        yield (
            f"What is fitted to frozen features is the same with every seed: the spread of {', '.join(alike)} says"
            " nothing about chance."
        )
    if design.drawn:
        yield (
            f"The best of {len(whole.own_cells)} cells is in part the luckiest, so its number is optimistic. Choose by"
            " val, not by test, and run what was chosen again with new seeds before you claim it."
        )
    if design.looks:
        steps = ", then ".join(map(str, design.looks))
        yield (
            f"Seeds were added after results could be seen ({steps}): a p that was looked at more than once is smaller"
            " than it should be. For a claim to publish, fix the number of seeds beforehand."
        )


def _comes_out_the_same(cell: StudyCell) -> bool:
    return not read_spec(cell.experiment.spec).depends_on_seed
