"""Curves over epochs as figures: of one experiment, and of several in one picture."""

from collections.abc import Sequence

from sqlmodel import Session

from app.errors import InvalidRequest
from app.plots.figures.experiments import AXIS_LABEL, CurvesFigure
from app.plots.figures.studies import CellCurves, Panel, StudyCurvesFigure
from app.plots.series import Series
from app.services.analyses.exhibits import Exhibit
from app.services.experiments import experiments, revisions
from app.services.experiments.metrics import curves_of, last_epochs
from app.storage.states import experiment_status
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.common.validation import FieldError, did_you_mean
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
        runs = experiments.run_ids_of(session, ids)
        lines = [(one.name or one.id, runs[one.id]) for one in shown]
        subtitle = f"{len(shown)} experiments"
        return cells_figure(session, "Comparison", subtitle, lines, panels_of(metrics))

    revision = revisions.of_experiments(session, ids)
    return Exhibit("comparison", (*metrics, *ids), revision, read)


def cells_figure(
    session: Session,
    title: str,
    subtitle: str,
    cells: Sequence[tuple[str, Sequence[str]]],
    panels: Sequence[Panel],
) -> StudyCurvesFigure:
    """One line per cell (title, ids of its runs), of the first cells where there are too many."""
    more = f"; the first {MOST_LINES} of {len(cells)} cells" if len(cells) > MOST_LINES else ""
    shown = cells[:MOST_LINES]
    names = list(
        dict.fromkeys(
            name
            for panel in panels
            for name in (panel.metric, *([HARD_LOSS] if panel.metric == "loss" else []))
        )
    )
    curves = curves_of(session, [runs for _, runs in shown], names)
    lines = [
        CellCurves(name, _panels(found, panels))
        for (name, _), found in zip(shown, curves.groups, strict=True)
    ]
    thinned = f"; {curves.note}" if curves.note else ""
    return StudyCurvesFigure(title, subtitle + more + thinned, panels, lines)


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
    best = begun[0].best["epoch"] if len(begun) == 1 and begun[0].best else None
    curves = curves_of(
        session, [[run.id for run in begun]], metrics, [] if best is None else [best]
    )
    return CurvesFigure(
        title=experiment.name or experiment.id,
        subtitle=", ".join(filter(None, (standing(experiment, runs), curves.note))),
        metrics=metrics,
        curves=curves.groups[0],
        epochs=max(run.epochs for run in runs),
        best_epoch=best,
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
