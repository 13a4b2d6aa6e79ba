"""An experiment's gradient flow: the series of its runs, and the figure that is drawn of them."""

from collections.abc import Sequence

import numpy as np
from sqlmodel import Session

from app.errors import NotFound
from app.plots.figures.experiments import GradientFlowFigure
from app.services.analyses.curves import standing
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.gradients.series import LayerSeries, pooled, series_of
from app.services.analyses.gradients.slopes import pooled_slopes, summary
from app.services.experiments import experiments, revisions
from app.services.experiments.metrics import metrics_of
from app.storage.tables import Experiment, Run
from lab_models.training.layer_metrics import LAYER_SPLITS


def gradient_flow(session: Session, experiment: Experiment) -> Exhibit[GradientFlowFigure]:
    """Gradient norms by layer and epoch; raises NotFound when the experiment does not ask for its gradients."""
    _refuse_unmeasured(experiment)
    return Exhibit(
        "gradient-flow",
        (),
        revisions.of_experiments(session, [experiment.id]),
        lambda: _figure(experiment, *measured(session, experiment)),
    )


def measured(session: Session, experiment: Experiment) -> tuple[list[Run], dict[str, LayerSeries]]:
    """The experiment's runs, and the series of those that have measured anything; one run's rows at a time. Raises
    NotFound when it does not ask for its gradients.
    """
    _refuse_unmeasured(experiment)
    runs = experiments.its_runs(session, experiment.id)
    found = {run.id: series_of(metrics_of(session, [run.id], LAYER_SPLITS)[run.id]) for run in runs}
    return runs, {run_id: series for run_id, series in found.items() if series is not None}


def _refuse_unmeasured(experiment: Experiment) -> None:
    if "gradient_flow" not in experiment.spec.get("probes", []):
        raise NotFound(
            f'experiment {experiment.id} does not measure its gradient flow; send its spec with "probes":'
            ' ["gradient_flow"]'
        )


def _figure(
    experiment: Experiment, all_runs: Sequence[Run], series: dict[str, LayerSeries]
) -> GradientFlowFigure:
    runs = list(series.values())
    shown = pooled(runs) if runs else None
    return GradientFlowFigure(
        title=experiment.name or experiment.id,
        subtitle=standing(experiment, all_runs),
        verdicts=summary(pooled_slopes(runs)) if runs else [],
        layers=shown.layers if shown else [],
        is_fitted=shown.is_fitted.tolist() if shown else [],
        epochs=shown.epochs.tolist() if shown else [],
        norms=shown.l2 if shown else np.zeros((0, 0)),
        num_runs=[sum(epoch in run.epochs for run in runs) for epoch in shown.epochs]
        if shown
        else [],
        runs=len(runs),
    )
