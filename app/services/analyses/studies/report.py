"""A study's report: all that its page shows, put together from table, verdicts and pictures."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from app.errors import NotFound
from app.plots.figures.scores import FactorFigure
from app.services.analyses.comparisons import Evidence
from app.services.analyses.curves import panels_of
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.scores import read_metric
from app.services.analyses.spec_paths import differences
from app.services.analyses.studies.differences import differences_figure
from app.services.analyses.studies.factors import factor_figure
from app.services.analyses.studies.gradients import gradients_figure
from app.services.analyses.studies.heat_maps import heat_map_figure
from app.services.analyses.studies.pictures import TRIO, curves_figure
from app.services.analyses.studies.published import PublishedShape, shape_of
from app.services.analyses.studies.tables import BEST, Table, in_order, table_of
from app.services.analyses.studies.tradeoffs import CostKind, tradeoff_figure
from app.services.analyses.studies.verdicts import StudyVerdicts, verdicts_of
from app.services.experiments import revisions
from app.services.experiments.likeness import FACTS, values_of
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.storage.files.store import FileStore
from app.storage.states import RunStatus
from app.storage.tables import Study
from lab_models.architectures.naming import describe
from lab_models.recipes.recipe import Picture
from lab_models.specs import read_spec

MOST_DIFFERENCES = 6
MOST_NAMED = 4
MOST_DRAWN = 4

CAPTIONS: dict[Picture, str] = {
    "curves": "Every cell over epochs: mean and range over seeds.",
    "factor": (
        "The score against the factor: each seed's run, the mean with its 95 % interval, and the source's number where"
        " it has one."
    ),
    "differences": (
        "Every contrast: each seed's difference, the mean with its 95 % interval, and the margin within which"
        " differences count as none."
    ),
    "heat_map": "Means over two factors.",
    "gradient_flow": "Each layer's gradient over epochs, on one scale of colors.",
    "tradeoff": (
        "The score against the seconds of training: each cell's mean with its 95 % interval. The dashed front joins"
        " those that no other beats in both by their means; where intervals overlap it may lie elsewhere."
    ),
    "distillation": (
        "Training loss, val loss and val accuracy of teacher, baseline and students; of a student's training loss the"
        " labels' part."
    ),
}


OF_A_CLOUD = (
    "The score against one factor of those that were drawn together: each point's runs and their mean. Points differ in"
    " the other factors too, so what is seen is the whole search from this side."
)


def caption_of_picture(name: Picture, figure: Any) -> str:
    """What a picture of the report shows."""
    is_cloud = isinstance(figure, FactorFigure) and figure.is_scatter
    return OF_A_CLOUD if is_cloud else CAPTIONS[name]


@dataclass(frozen=True)
class Report:
    """Of test accuracy. `published` is the source's own table, where there is one, `pictures` those that the study's
    recipe names, as far as they can be drawn yet.
    """

    whole: WholeStudy
    table: Table
    published: PublishedShape | None
    verdicts: StudyVerdicts
    pictures: tuple[tuple[Picture, Any], ...]
    status: str
    failures: tuple[str, ...]
    cells: tuple[dict[str, str], ...]
    environment: tuple[str, ...]


def report(session: Session, files: FileStore, study: Study) -> Exhibit[Report]:
    """Everything about a study, with what there is."""

    def read() -> Report:
        whole, metric = studies.whole(session, study), read_metric("test.accuracy")
        # who searches wants to see first what was found
        order = BEST if whole.design.drawn else None
        evidence = Evidence(session, files, whole.runs)
        table = in_order(table_of(evidence.scores, whole, metric), order)
        verdicts = verdicts_of(evidence, whole, metric)
        return Report(
            whole,
            table,
            shape_of(evidence.scores, whole),
            verdicts,
            tuple(_pictures(session, table, verdicts)),
            _status(whole),
            tuple(_failures(whole)),
            tuple(_cells(whole)),
            tuple(_environment(whole)),
        )

    return Exhibit("study report", (), revisions.of_study(session, study), read)


def _pictures(
    session: Session, table: Table, verdicts: StudyVerdicts
) -> Iterator[tuple[Picture, Any]]:
    for name in table.whole.design.pictures:
        try:
            if name == "factor":
                for factor in _factors(table):
                    yield name, factor_figure(table, factor)
            else:
                yield name, _figure(session, table, verdicts, name)
        except NotFound:
            continue


def _factors(table: Table) -> list[str | None]:
    """The factors that have a picture each: those that were drawn, or the first that suits."""
    drawn = [name for name in table.factors if name in table.whole.design.drawn]
    return [*drawn[:MOST_DRAWN]] or [None]


def _figure(session: Session, table: Table, verdicts: StudyVerdicts, name: Picture) -> Any:
    whole = table.whole
    match name:
        case "curves":
            return curves_figure(session, whole, panels_of(("loss", "accuracy")))
        case "distillation":
            return curves_figure(session, whole, TRIO)
        case "differences":
            return differences_figure(whole, verdicts.contrasts, table.metric)
        case "heat_map":
            return heat_map_figure(table, None, None)
        case "gradient_flow":
            return gradients_figure(session, whole)
        case "tradeoff":
            return tradeoff_figure(table, CostKind.SECONDS)


def _status(whole: WholeStudy) -> str:
    others = [
        f"{count} {status}"
        for status, count in whole.counts.items()
        if status != RunStatus.SUCCEEDED
    ]
    return (
        "; ".join(
            [
                f"{whole.counts[RunStatus.SUCCEEDED]} of {len(whole.runs)} runs have succeeded",
                *others,
            ]
        )
        + "."
    )


def _failures(whole: WholeStudy) -> Iterator[str]:
    """Why runs have failed, one line per reason, the commonest first: what is missing from the table must not go
    unsaid.
    """
    failed = [
        (cell.cell.title, run)
        for cell in whole.own_cells
        for run in cell.runs
        if run.status == RunStatus.FAILED
    ]
    reasons = Counter((run.error or {}).get("code", "failed") for _, run in failed)
    for code, count in reasons.most_common():
        cells = list(
            dict.fromkeys(
                title for title, run in failed if (run.error or {}).get("code", "failed") == code
            )
        )
        more = f" and {len(cells) - MOST_NAMED} more cells" if len(cells) > MOST_NAMED else ""
        yield f"{count} run{'s' if count > 1 else ''} failed with {code}: {'; '.join(cells[:MOST_NAMED])}{more}."


def _cells(whole: WholeStudy) -> list[dict[str, str]]:
    first = whole.cells[0].experiment.spec
    return [
        {
            "title": cell.cell.title,
            "experiment_id": cell.experiment.id,
            "network": describe(read_spec(cell.experiment.spec).network),
            "differs": f"the same as {whole.design.cell(cell.same_as).title}"
            if cell.same_as is not None
            else _differs(cell.experiment.spec, first),
        }
        for cell in whole.cells
    ]


def _differs(spec: dict[str, Any], first: dict[str, Any]) -> str:
    found = [f"{one.path} {_short(one.treatment)}" for one in differences(spec, first)]
    return ", ".join(found[:MOST_DIFFERENCES]) + (
        f" and {len(found) - MOST_DIFFERENCES} more" if len(found) > MOST_DIFFERENCES else ""
    )


def _short(value: Any) -> str:
    text = (
        "none"
        if value is None
        else json.dumps(value)
        if isinstance(value, dict | list)
        else str(value)
    )
    return text if len(text) <= 40 else text[:39] + "…"


def _environment(whole: WholeStudy) -> list[str]:
    """What the runs were made with: one line per thing, with all values that occur."""
    found = []
    for fact in FACTS:
        values = values_of(fact, (run.environment or {} for run in whole.runs))
        if values:
            more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
            found.append(f"{fact.label}: {', '.join(values[:MOST_NAMED])}{more}")
    reused = sum(run.reused_from is not None for run in whole.runs)
    return (
        [
            *found,
            f"{reused} of {len(whole.runs)} runs were taken over from equal ones that had finished",
        ]
        if reused
        else found
    )
