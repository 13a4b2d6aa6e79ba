"""What was learned, and by what: which classes are taken for which, the images behind it, and the network drawn."""

from typing import Annotated, Any

from fastapi import Query, Request

from app.api.analyses.answers import AnswersQuery, list_answers
from app.api.analyses.confusion import read_confusion_matrix
from app.api.experiments.networks import read_network
from app.api.http.deps import Reading, TheExperiment, TheRun, TheSettings
from app.pages.networks import rows_of
from app.pages.rendering import page, pages
from app.storage.tables import Experiment

router = pages()


@router.get("/experiments/{experiment_id}/confusion")
def show_confusion(
    request: Request, session: Reading, experiment: TheExperiment, settings: TheSettings
) -> Any:
    """The pairs that are confused most, each with its images of every seed."""
    matrix = read_confusion_matrix(session, experiment, settings)
    return page(
        request,
        "confusion.html",
        experiment=experiment,
        matrix=matrix,
        numbers={name: number for number, name in enumerate(matrix.class_names)},
    )


@router.get("/experiments/{experiment_id}/network")
def show_network(request: Request, experiment: TheExperiment, settings: TheSettings) -> Any:
    """The network drawn as its layers."""
    found = read_network(experiment, settings)
    return page(
        request,
        "network.html",
        experiment=experiment,
        found=found,
        rows=rows_of(found.parts),
    )


@router.get("/runs/{run_id}/predictions")
def show_answers(
    request: Request,
    session: Reading,
    run: TheRun,
    settings: TheSettings,
    query: Annotated[AnswersQuery, Query()],
) -> Any:
    """Images of test with the network's answers: its mistakes, surest first, or a cell of the matrix."""
    return page(
        request,
        "answers.html",
        run=run,
        experiment=session.get_one(Experiment, run.experiment_id),
        asked=query,
        found=list_answers(session, run, settings, query),
    )
