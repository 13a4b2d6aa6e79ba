"""Pictures as LaTeX source for pgfplots: the same figures that are drawn, their numbers in tables of their own."""

from typing import Annotated, Any, Final

from fastapi import Query, Response

from app.api.analyses.comparisons import MOST_CURVES, Ids, experiments_named
from app.api.analyses.parameters import MetricName
from app.api.analyses.studies.pictures import FactorName
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller, TheExperiment, TheStudy
from app.api.http.drawings import Draw
from app.api.http.pictures import IfNoneMatch, TheAppearance, exhibited, form_of
from app.plots.appearance import Appearance
from app.services.analyses.curves import compared_curves, experiment_curves, named_metrics
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.scores import read_metric
from app.services.analyses.studies import pictures

router = passes.router(tags=["plots"])

MEDIA_TYPE: Final = "application/x-tex"
LATEX_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {MEDIA_TYPE: {}}},
    304: {"description": "The source the caller has is the current one"},
}

IsBare = Annotated[
    bool,
    Query(
        description=(
            "The `tikzpicture` alone, for `\\input`; false: a document that compiles by itself. Its first lines name"
            " what either needs"
        )
    ),
]
CurvesMetric = Annotated[
    str,
    Query(
        description="Names separated by commas: loss, accuracy, learning_rate, seconds",
        max_length=100,
    ),
]


@router.get(
    "/experiments/{experiment_id}/curves.tex",
    response_class=Response,
    responses=LATEX_RESPONSES,
)
def write_experiment_curves(
    session: Reading,
    experiment: TheExperiment,
    appearance: TheAppearance,
    metric: CurvesMetric = "loss,accuracy",
    bare: IsBare = False,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Metrics over epochs as LaTeX source: of each split a table with the mean, least and largest value over the seeds
    in each epoch, the mean as a line, the range as a band.
    """
    exhibit = experiment_curves(session, experiment, named_metrics(metric))
    return _source(exhibit, appearance, bare, if_none_match, f"{experiment.id}-curves")


@router.get("/studies/{study_id}/factor.tex", response_class=Response, responses=LATEX_RESPONSES)
def write_study_factor(
    session: Reading,
    study: TheStudy,
    appearance: TheAppearance,
    metric: MetricName = "test.accuracy",
    factor: FactorName = None,
    bare: IsBare = False,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A score against a factor as LaTeX source: of each line a table of cells with mean, interval and the source's
    number, and one of runs.
    """
    exhibit = pictures.factor(session, study, read_metric(metric), factor)
    return _source(exhibit, appearance, bare, if_none_match, f"{study.id}-factor")


@router.get("/studies/{study_id}/curves.tex", response_class=Response, responses=LATEX_RESPONSES)
def write_study_curves(
    session: Reading,
    study: TheStudy,
    appearance: TheAppearance,
    metric: CurvesMetric = "loss,accuracy",
    bare: IsBare = False,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Every cell's metrics over epochs as LaTeX source, a table for each line."""
    exhibit = pictures.curves(session, study, named_metrics(metric))
    return _source(exhibit, appearance, bare, if_none_match, f"{study.id}-curves")


@router.get(
    "/studies/{study_id}/distillation.tex", response_class=Response, responses=LATEX_RESPONSES
)
def write_study_distillation(
    session: Reading,
    study: TheStudy,
    appearance: TheAppearance,
    bare: IsBare = False,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Training loss, val loss and val accuracy of teacher, baseline and students as LaTeX source."""
    exhibit = pictures.distillation(session, study)
    return _source(exhibit, appearance, bare, if_none_match, f"{study.id}-distillation")


@router.get(
    "/comparisons/curves.tex",
    response_class=Response,
    responses={**LATEX_RESPONSES, 404: {"description": "No such experiment"}},
)
def write_comparison_curves(
    session: Reading,
    caller: TheCaller,
    experiments: Ids,
    appearance: TheAppearance,
    metric: CurvesMetric = "loss,accuracy",
    bare: IsBare = False,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Metrics over epochs of up to twelve experiments as LaTeX source, a table for each line."""
    found = experiments_named(session, caller, experiments, fewest=1, most=MOST_CURVES)
    exhibit = compared_curves(session, found, named_metrics(metric))
    return _source(exhibit, appearance, bare, if_none_match, "comparison-curves")


def _source(
    exhibit: Exhibit[Any], appearance: Appearance, bare: bool, if_none_match: str | None, name: str
) -> Any:
    """304 when the caller has the source; else it is written where pictures are drawn."""
    extension = "tikz" if bare else "tex"

    def drawn(figure: Any, headers: dict[str, str]) -> Draw:
        attached = {**headers, "Content-Disposition": f'attachment; filename="{name}.tex"'}

        def answer(source: bytes) -> Response:
            return Response(source, media_type=MEDIA_TYPE, headers=attached)

        return Draw(figure, extension, headers["ETag"], answer, appearance)

    return exhibited(exhibit, form_of(extension, appearance), if_none_match, drawn)
