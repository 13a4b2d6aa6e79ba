"""Layers' gradients of a study's cells, as a figure."""

from sqlmodel import Session

from app.errors import NotFound
from app.plots.figures.studies import GradientPanel, StudyGradientsFigure
from app.services.analyses.gradients.series import LayerSeries, pooled, series_of
from app.services.analyses.gradients.slopes import pooled_slopes
from app.services.analyses.studies.words import subtitle_of
from app.services.experiments.metrics import metrics_of
from app.services.studies.studies import WholeStudy
from lab_models.training.layer_metrics import LAYER_SPLITS

MOST_GRADIENT_PANELS = 12


def gradients_figure(session: Session, whole: WholeStudy) -> StudyGradientsFigure:
    """One panel per cell that measured gradients; raises NotFound where none has yet."""
    panels = []
    for cell in whole.own_cells:
        metrics = metrics_of(session, [run.id for run in cell.runs], LAYER_SPLITS)
        found = [
            series for numbers in metrics.values() if (series := series_of(numbers)) is not None
        ]
        if found:
            caption = pooled_slopes(found)[-1].sentence
            panels.append(_gradient_panel(whole.titles_of(cell), caption, pooled(found)))
    if not panels:
        raise NotFound(
            f'no cell of study {whole.study.id} has measured gradients (yet); a cell does with "probes":'
            ' ["gradient_flow"]'
        )
    more = (
        f"; the first {MOST_GRADIENT_PANELS} of {len(panels)} cells"
        if len(panels) > MOST_GRADIENT_PANELS
        else ""
    )
    return StudyGradientsFigure(
        whole.study.name, subtitle_of(whole) + more, panels[:MOST_GRADIENT_PANELS]
    )


def _gradient_panel(title: str, caption: str, series: LayerSeries) -> GradientPanel:
    return GradientPanel(
        title,
        caption,
        series.layers,
        tuple(int(epoch) for epoch in series.epochs),
        series.l2,
    )
