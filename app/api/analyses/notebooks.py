"""An experiment as a notebook: code of the client that loads it, repeats its main numbers and plots them. The format is
that of https://nbformat.readthedocs.io/en/latest/format_description.html, version 4.5.
"""

import json
from typing import Any, Final

from fastapi import Request, Response

from app.api.http import passes
from app.api.http.deps import TheExperiment
from app.api.http.pictures import UNCHANGED
from app.tabulation import markdown_text

router = passes.router(prefix="/experiments", tags=["experiments"])

MEDIA_TYPE: Final = "application/x-ipynb+json"
LOAD: Final = """from training_lab import Lab

lab = Lab()
experiment = lab.experiment({id})
experiment"""
RESULTS: Final = """import pandas

pandas.DataFrame(
    [
        {
            "score": f"{split}.{name}",
            "mean": found.mean,
            "std": found.std,
            "n": found.n,
            "ci95_low": found.ci95[0] if found.ci95 else None,
            "ci95_high": found.ci95[1] if found.ci95 else None,
        }
        for split, scores in experiment.results.items()
        for name, found in scores.items()
    ]
)"""
AGAIN: Final = """scores = pandas.DataFrame(
    [{"seed": run.seed, **run.test} for run in experiment.runs if run.status == "succeeded"]
).set_index("seed") if experiment.results else pandas.DataFrame()
again = scores.agg(["mean", "std", "count"]).T if len(scores) else scores
for name, found in experiment.results.get("test", {}).items():
    assert abs(again.loc[name, "mean"] - found.mean) <= 1e-12 * max(1, abs(found.mean)), name
again"""
PLOT: Final = """from matplotlib import pyplot

numbers = experiment.metrics()
by_epoch = numbers.frame().groupby("epoch")
figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.5))
for panel, name in zip(axes, ("loss", "accuracy")):
    for split, color in (("train", "#D55E00"), ("val", "#0072B2")):
        column = f"{split}.{name}"
        if column in numbers.names:
            values = by_epoch[column]
            panel.plot(values.mean(), color=color, label=split)
            panel.fill_between(values.min().index, values.min(), values.max(), color=color, alpha=0.18)
    panel.set(title=name, xlabel="epoch")
    panel.legend()"""


@router.get(
    "/{experiment_id}/notebook.ipynb",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}, **UNCHANGED},
)
def read_notebook(request: Request, experiment: TheExperiment) -> Any:
    """A notebook that loads the experiment with the client, repeats its numbers from the runs and plots its curves,
    mean and range over the seeds. There is no key in it: it says how to log in.
    """
    title = markdown_text(experiment.name or experiment.id)
    service = str(request.base_url).rstrip("/")
    said = (
        f"# {title}\n\nIt needs the client, pandas and matplotlib: `pip install ./client pandas matplotlib` in a"
        f" checkout of the service. Before it, say once where the service is: `lab login {service}` asks for a key, if"
        " the service wants one, and stores both; or set `LAB_URL` and `LAB_API_KEY`."
    )
    cells = [
        _cell("markdown", "what", said),
        _cell("code", "load", LOAD.format(id=json.dumps(experiment.id))),
        _cell(
            "markdown", "numbers", "Scores over the succeeded seeds, as the service sums them up:"
        ),
        _cell("code", "results", RESULTS),
        _cell("markdown", "check", "The same from each seed's own test scores:"),
        _cell("code", "again", AGAIN),
        _cell("markdown", "curves", "Mean and range over the seeds in each epoch:"),
        _cell("code", "plot", PLOT),
    ]
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return Response(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n",
        media_type=MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{experiment.id}.ipynb"'},
    )


def _cell(kind: str, name: str, text: str) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    source = text.splitlines(keepends=True)
    return {"cell_type": kind, "id": name, "metadata": {}, **code, "source": source}
