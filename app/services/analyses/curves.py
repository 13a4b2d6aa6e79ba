"""Curves over epochs as figures: of one experiment, and of several in one picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from app.errors import InvalidRequest
from app.plots.figures.experiments import AXIS_LABEL, CurvesFigure
from app.plots.figures.studies import CellCurves, Panel, StudyCurvesFigure
from app.plots.series import Series
from app.services.analyses.chance import chance_of
from app.services.analyses.exhibits import Exhibit
from app.services.experiments import experiments, revisions
from app.services.experiments.metrics import curves_of, last_epochs
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.datasets.catalog import spoken_name
from lab_models.specs import read_spec

ONLY_TRAIN = ("learning_rate",)
HARD_LOSS = "hard_loss"

MOST_LINES = 40
"""Cells of one picture: more lines cannot be told apart, and take seconds to draw."""


def named_metrics(listed: str) -> list[str]:
    """The metrics of curves, separated by commas, each once; raises InvalidRequest."""
    names = list(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    for name in names:
        if name not in AXIS_LABEL:
            raise InvalidRequest(
                f"there is no metric {name!r}",
                [
                    FieldError(
                        "/metric", f"no metric {name!r}", did_you_mean(name, list(AXIS_LABEL))
                    )
                ],
            )
    if not names:
        raise InvalidRequest(
            "no metric is named",
            [
                FieldError(
                    "/metric", "name at least one metric", "allowed: " + ", ".join(AXIS_LABEL)
                )
            ],
        )
    return names


def panels_of(metrics: Sequence[str]) -> list[Panel]:
    """A panel for each metric, train beside val."""
    return [
        Panel(split, name)
        for name in metrics
        for split in (("train",) if name in ONLY_TRAIN else ("train", "val"))
    ]


@dataclass(frozen=True)
class CellRuns:
    """A line of the picture before its numbers are read: an experiment's runs under a title."""

    title: str
    experiment: Experiment
    runs: Sequence[Run]

    @property
    def dataset(self) -> str:
        """On which it is trained."""
        name: str = self.experiment.spec["dataset"]["name"]
        return name

    @property
    def num_waiting(self) -> int:
        """Runs that may have epochs yet and have none."""
        return sum(
            not run.epochs_done and not RunStatus(run.status).is_terminal for run in self.runs
        )

    @property
    def without(self) -> str:
        """Why there is nothing to draw, where there is nothing."""
        statuses = {RunStatus(run.status) for run in self.runs}
        if self.experiment.spec.get("strategy") == "features":
            return (
                "no epochs: fitted classifiers"
                if RunStatus.SUCCEEDED in statuses
                else "not started; classifiers are fitted without epochs"
            )
        is_open = any(not status.is_terminal for status in statuses)
        return "not started" if is_open else "ended without an epoch"


def experiment_curves(
    session: Session, experiment: Experiment, metrics: Sequence[str]
) -> Exhibit[CurvesFigure]:
    """An experiment's metrics, train and val; with several seeds their mean and range."""
    return Exhibit(
        "curves",
        tuple(metrics),
        revisions.of_experiments(session, [experiment.id]),
        lambda: _figure(session, experiment, metrics),
    )


def compared_curves(
    session: Session, shown: Sequence[Experiment], metrics: Sequence[str]
) -> Exhibit[StudyCurvesFigure]:
    """Several experiments' metrics, a line for each."""
    ids = [one.id for one in shown]

    def read() -> StudyCurvesFigure:
        runs = experiments.runs_of(session, ids)
        lines = [CellRuns(one.name or one.id, one, runs[one.id]) for one in shown]
        subtitle = f"{len(shown)} experiments"
        return cells_figure(session, "Comparison", subtitle, lines, panels_of(metrics))

    revision = revisions.of_experiments(session, ids)
    return Exhibit("comparison", (*metrics, *ids), revision, read)


def cells_figure(
    session: Session,
    title: str,
    subtitle: str,
    cells: Sequence[CellRuns],
    panels: Sequence[Panel],
) -> StudyCurvesFigure:
    """One line per cell, of the first cells where there are too many; cells of different data sets have panels of their
    own.
    """
    more = f"; the first {MOST_LINES} of {len(cells)} cells" if len(cells) > MOST_LINES else ""
    shown = cells[:MOST_LINES]
    names = list(
        dict.fromkeys(
            name
            for panel in panels
            for name in (panel.metric, *([HARD_LOSS] if panel.metric == "loss" else []))
        )
    )
    curves = curves_of(session, [[run.id for run in cell.runs] for cell in shown], names)
    by_dataset: dict[str, list[CellRuns]] = {}
    for cell in shown:
        by_dataset.setdefault(cell.dataset, []).append(cell)
    has_students = any(("train", HARD_LOSS) in found for found in curves.groups)
    split_up = {
        (panel, dataset): replace(
            panel,
            dataset=spoken_name(dataset) if len(by_dataset) > 1 else "",
            note="hard part"
            if has_students and (panel.split, panel.metric) == ("train", "loss")
            else "",
            chance=chance_of([cell.experiment.spec for cell in of_it])
            if panel.metric == "accuracy"
            else None,
        )
        for panel in panels
        for dataset, of_it in by_dataset.items()
    }
    lines = [
        CellCurves(
            cell.title,
            {split_up[panel, cell.dataset]: one for panel, one in _panels(found, panels).items()},
            cell.num_waiting,
            cell.without,
        )
        for cell, found in zip(shown, curves.groups, strict=True)
    ]
    thinned = f"; {curves.note}" if curves.note else ""
    return StudyCurvesFigure(title, subtitle + more + thinned, [*split_up.values()], lines)


def standing(experiment: Experiment, runs: Sequence[Run]) -> str:
    """What is trained and where it stands, in one line, for any picture of an experiment."""
    spec = read_spec(experiment.spec)
    seeds = f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0].seed}"
    status = experiment_status(run.status for run in runs)
    return f"{spec.dataset.name}, {describe(spec.network)}, {experiment.parameters:,} parameters, {seeds}, {status}"


def _figure(session: Session, experiment: Experiment, metrics: Sequence[str]) -> CurvesFigure:
    runs = experiments.its_runs(session, experiment.id)
    last = last_epochs(session, [run.id for run in runs])
    begun = [run for run in runs if last.get(run.id)]
    chosen = [run.best["epoch"] for run in begun if run.best]
    names = [*metrics, *([HARD_LOSS] if "loss" in metrics else [])]
    curves = curves_of(session, [[run.id for run in begun]], names, chosen)
    found = dict(curves.groups[0])
    hard = found.pop(("train", HARD_LOSS), None)
    if hard is not None:
        found["train", "loss"] = hard
    return CurvesFigure(
        title=experiment.name or experiment.id,
        subtitle=", ".join(filter(None, (standing(experiment, runs), curves.note))),
        metrics=metrics,
        curves=found,
        epochs=max(run.epochs for run in runs),
        chosen=chosen,
        chance=chance_of([experiment.spec]),
        has_hard_loss=hard is not None,
    )


def _panels(found: dict[tuple[str, str], Series], panels: Sequence[Panel]) -> dict[Panel, Series]:
    """A student's training loss is a mixture: its cross-entropy, which the others' can be compared with, is
    `hard_loss`.
    """
    chosen = {
        panel: found.get((panel.split, HARD_LOSS)) if panel.metric == "loss" else None
        for panel in panels
    }
    by_panel = {
        panel: hard or found.get((panel.split, panel.metric)) for panel, hard in chosen.items()
    }
    return {panel: series for panel, series in by_panel.items() if series is not None}
