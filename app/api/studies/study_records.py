"""What the API answers about studies, and how rows become it."""

from collections.abc import Sequence

from app.api.studies.schemas import (
    CellAnswer,
    PlannedCell,
    SampleAnswer,
    StudyDryRun,
    StudyProgress,
    StudyRecord,
    StudyRow,
)
from app.services.experiments.speeds import Speeds
from app.services.studies.studies import StudyCell, WholeStudy
from app.services.studies.study_costs import study_cost
from app.services.studies.study_lists import StudyOutline
from app.services.studies.study_submissions import PreparedStudy
from app.storage.states import RunStatus
from app.storage.tables import Study
from lab_models.studies.design import Design


def study_links(study: Study, pictures: "tuple[str, ...]" = ()) -> dict[str, str]:
    """Where a study's table, verdicts, pictures and report lie."""
    base = f"/studies/{study.id}"
    drawn = {picture: f"{base}/{picture.replace('_', '-')}.png" for picture in pictures}
    read = {
        "self": base,
        "table": f"{base}/table",
        "verdicts": f"{base}/verdicts",
        "report": f"{base}/report.html",
    }
    return {
        **read,
        **drawn,
        **{verb: f"{base}/{verb}" for verb in ("extend", "cancel", "pause", "resume", "retry")},
    }


def study_record(whole: WholeStudy, warned: Sequence[str] = ()) -> StudyRecord:
    """The record of `GET /studies/{id}`; what was warned of is said once, to whoever sends it."""
    design = whole.design
    return StudyRecord(
        **dict(study_row(whole.outline)),
        question=design.question,
        reproduces=design.reproduces,
        status_message=_sentence(whole),
        estimated_finish_at=whole.estimated_finish_at,
        seeds=list(design.seeds),
        final=design.final,
        factors=list(design.factors),
        sample=_sample(design),
        cells=[_cell(cell) for cell in whole.cells],
        notes=list(design.remarks),
        warnings=list(warned),
        submitted=whole.study.submitted,
        errors=[
            {
                "cell": cell.cell.key,
                "run_id": run.id,
                "seed": run.seed,
                **{name: run.error.get(name) for name in ("code", "message", "hint")},
            }
            for cell in whole.own_cells
            for run in cell.runs
            if run.error is not None
        ],
    )


def study_row(outline: StudyOutline) -> StudyRow:
    """The slim form of a list."""
    study = outline.study
    return StudyRow(
        id=study.id,
        owner=study.owner,
        name=study.name,
        labels=study.labels,
        recipe=study.recipe,
        scale=study.scale,
        status=outline.status,
        is_terminal=outline.status.is_terminal,
        created_at=study.created_at,
        num_cells=outline.num_cells,
        progress=StudyProgress(
            fraction=round(outline.fraction, 4),
            num_runs=outline.num_runs,
            num_reused=outline.num_reused,
            runs=dict(outline.counts),
        ),
        links=study_links(study, outline.pictures),
    )


def _sample(design: Design) -> SampleAnswer | None:
    sample = design.sample
    if sample is None:
        return None
    words = {name: distribution.words for name, distribution in design.drawn.items()}
    return SampleAnswer(points=sample.points, seed=sample.seed, factors=words)


def _cell(cell: StudyCell) -> CellAnswer:
    return CellAnswer(
        key=cell.cell.key,
        title=cell.cell.title,
        factors=cell.cell.factors,
        same_as=cell.same_as,
        experiment_id=cell.experiment.id,
        status=cell.status,
        num_runs=len(cell.runs),
        num_succeeded=sum(run.status == RunStatus.SUCCEEDED for run in cell.runs),
        num_reused=sum(run.reused_from is not None for run in cell.runs),
        links={
            "experiment": f"/experiments/{cell.experiment.id}",
            "curves": f"/experiments/{cell.experiment.id}/curves.png",
        },
    )


def _sentence(whole: WholeStudy) -> str:
    counts, total = whole.counts, len(whole.runs)
    reused = sum(run.reused_from is not None for run in whole.runs)
    parts = [f"{counts[RunStatus.SUCCEEDED]} of {total} runs have succeeded"]
    if reused:
        parts[0] += f", {reused} of them taken over from equal runs"
    parts += [
        f"{counts[status]} {status}"
        for status in (
            RunStatus.RUNNING,
            RunStatus.QUEUED,
            RunStatus.PAUSED,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
        )
        if counts[status]
    ]
    failed = (
        f" POST {study_links(whole.study)['retry']} tries the others again."
        if whole.status.is_terminal and counts[RunStatus.SUCCEEDED] < total
        else ""
    )
    return "; ".join(parts) + "." + failed


def study_dry_run(prepared: PreparedStudy, lately: Speeds, warned: list[str]) -> StudyDryRun:
    """What `dry_run` answers."""
    design = prepared.design
    whole = study_cost(prepared, lately)
    return StudyDryRun(
        title=design.title,
        num_runs=prepared.num_runs,
        num_equal=len(prepared.equal),
        seconds=round(whole.seconds, 1),
        nominal_seconds=round(whole.nominal_seconds, 1),
        based_on=whole.based_on,
        sample=_sample(design),
        cells=[
            PlannedCell(
                key=cell.key,
                title=cell.title,
                factors=cell.factors,
                same_as=design.same_as.get(cell.key),
                seeds=list(design.seeds_of(cell)),
                parameters=(cost := prepared.costs[cell.key]).parameters,
                macs_per_sample=cost.macs_per_sample,
                seconds=round(lately.of(cost).seconds, 1),
                nominal_seconds=cost.seconds,
                spec=prepared.cells[design.trained(cell.key)].plan.spec.model_dump(mode="json"),
            )
            for cell in design.cells
        ],
        contrasts=[contrast.model_dump() for contrast in design.contrasts],
        notes=list(design.remarks),
        warnings=warned,
    )
