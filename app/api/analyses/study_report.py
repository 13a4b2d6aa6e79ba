"""A study's report over HTTP: one page with table, pictures, verdicts and data, which needs nothing but itself."""

import base64
import json
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlmodel import Session

from app.api.analyses.study_curves import curves_figure, panels_of
from app.api.analyses.study_pictures import TRIO, cells_of
from app.api.analyses.study_tables import caption_of, columns_of, table_answer
from app.api.analyses.study_verdicts import verdicts_answer
from app.api.http import passes
from app.api.http.deps import Reading, TheSettings, TheStudy
from app.api.http.drawings import Draw
from app.api.http.passes import Compute
from app.api.http.pictures import UNCHANGED, IfNoneMatch, is_current, revalidated
from app.errors import NotFound
from app.services.analyses.comparisons import differences
from app.services.analyses.scores import ScoreKind, read_metric
from app.services.analyses.study_figures import (
    differences_figure,
    factor_figure,
    gradients_figure,
    heat_map_figure,
    subtitle_of,
)
from app.services.analyses.study_tables import Table, table_of
from app.services.analyses.study_verdicts import ContrastResult, claims_of, contrasts_of
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.storage.states import RunStatus
from lab_models.architectures.naming import describe
from lab_models.recipes.recipe import Picture as PictureName
from lab_models.specs import read_spec

router = passes.router(prefix="/studies", tags=["studies"])

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parents[2] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

MOST_DIFFERENCES = 6
MOST_NAMED = 4


@router.get(
    "/{study_id}/report.html",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}, **UNCHANGED},
)
def read_report(
    session: Reading, study: TheStudy, settings: TheSettings, if_none_match: IfNoneMatch = None
) -> Any:
    """Question, answers, table, pictures, comparisons, design, environment and how to reproduce, in one file without
    network; at any time.
    """
    headers = revalidated("report", revisions.of_study(session, study))
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)
    whole = studies.whole(session, study)
    metric = read_metric("test.accuracy")
    table, contrasts = (
        table_of(session, whole, metric),
        contrasts_of(session, settings.runs_folder, whole, metric),
    )
    verdicts = verdicts_answer(whole, contrasts, claims_of(session, whole), metric)
    data = {
        "table": table_answer(whole, table).model_dump(mode="json"),
        "verdicts": verdicts.model_dump(mode="json"),
        "submitted": study.submitted,
    }
    shown: dict[str, Any] = {
        "title": study.name,
        "question": whole.design.question,
        "reproduces": whole.design.reproduces,
        "notes": whole.design.notes,
        "study": study,
        "status": _status(whole),
        "failures": list(_failures(whole)),
        "claims": [
            {
                **claim.model_dump(),
                "verdict": claim.verdict.value,
                "verdict_text": claim.verdict.text,
            }
            for claim in verdicts.claims
        ],
        "columns": columns_of(table),
        "rows": table.rows,
        "caption": caption_of(table),
        "unit": metric.unit,
        "contrasts": [_contrast(result) for result in contrasts],
        "findings": verdicts.findings,
        "cautions": verdicts.cautions,
        "seeds": whole.design.seeds,
        "cells": _cells(whole),
        "first_spec": json.dumps(whole.cells[0].experiment.spec, indent=2),
        "environment": _environment(whole),
        "command": f"curl --json {shlex.quote(json.dumps(study.submitted))} localhost:8000/studies",
        "data": Markup(json.dumps(data).replace("<", "\\u003c")),  # noqa: S704 - JSON in which nothing can end the element
    }
    return _drawn([], list(_figures(session, whole, table, contrasts, metric)), shown, headers)


def _drawn(
    done: list[dict[str, str]],
    left: list[tuple[PictureName, Any]],
    shown: dict[str, Any],
    headers: dict[str, str],
) -> Draw | Compute:
    """The next picture, or when all are drawn the page: each in a turn of its own, so that others' pictures come in
    between.
    """
    if not left:
        return Compute(
            lambda: Response(
                _page(shown, done), media_type="text/html; charset=utf-8", headers=headers
            )
        )
    name, figure = left[0]

    def then(picture: bytes) -> Draw | Compute:
        svg = base64.b64encode(picture).decode()
        return _drawn([*done, {"svg": svg, "caption": CAPTIONS[name]}], left[1:], shown, headers)

    return Draw(figure, "svg", f"{headers['ETag']} {name}", then)


def _page(shown: dict[str, Any], figures: list[dict[str, str]]) -> str:
    return _pages.get_template("report.html").render(**shown, figures=figures)


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
        for cell in whole.cells
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


def _figures(
    session: Session,
    whole: WholeStudy,
    table: Table,
    contrasts: list[ContrastResult],
    metric: ScoreKind,
) -> Iterator[tuple[PictureName, Any]]:
    """The figures that the recipe names, as far as they can be drawn yet."""
    for name in whole.design.pictures:
        try:
            yield name, _figure(session, whole, table, contrasts, metric, name)
        except NotFound:
            continue


CAPTIONS: dict[PictureName, str] = {
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
    "distillation": (
        "Training loss, val loss and val accuracy of teacher, baseline and students; of a student's training loss the"
        " labels' part."
    ),
}


def _figure(
    session: Session,
    whole: WholeStudy,
    table: Table,
    contrasts: list[ContrastResult],
    metric: ScoreKind,
    name: PictureName,
) -> Any:
    title = whole.study.name
    match name:
        case "curves":
            return curves_figure(
                session, title, subtitle_of(whole), cells_of(whole), panels_of("loss,accuracy")
            )
        case "distillation":
            return curves_figure(session, title, subtitle_of(whole), cells_of(whole), TRIO)
        case "factor":
            return factor_figure(whole, table, None)
        case "differences":
            return differences_figure(whole, contrasts, metric)
        case "heat_map":
            return heat_map_figure(whole, table, None, None)
        case "gradient_flow":
            return gradients_figure(session, whole)


def _contrast(result: ContrastResult) -> dict[str, Any]:
    paired = None if result.comparison is None else result.comparison.paired
    judgement = result.judgement
    more = (
        ""
        if judgement.more_seeds is None
        else f"about {judgement.more_seeds:,} more seeds would settle it"
    )
    return {
        "title": result.title,
        "n": 0 if paired is None else paired.n,
        "mean": "-" if paired is None or paired.mean is None else f"{paired.mean:+.2f}",
        "interval": "-"
        if paired is None or paired.ci95 is None
        else f"{paired.ci95[0]:+.2f} to {paired.ci95[1]:+.2f}",
        "p": "-" if result.p_holm is None else f"{result.p_holm:.2g}",
        "mcnemar": (
            "-"
            if result.comparison is None
            else " / ".join(f"{one.p:.2g}" for one in result.comparison.mcnemar) or "-"
        ),
        "verdict": judgement.verdict.value,
        "verdict_text": judgement.verdict.text,
        "remark": more or result.refused,
        "warnings": () if result.comparison is None else result.comparison.warnings,
    }


def _cells(whole: WholeStudy) -> list[dict[str, str]]:
    first = whole.cells[0].experiment.spec
    return [
        {
            "title": cell.cell.title,
            "experiment_id": cell.experiment.id,
            "network": describe(read_spec(cell.experiment.spec).network),
            "differs": _differs(cell.experiment.spec, first),
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
    names = {
        "version": "training-lab",
        "git": "revision",
        "torch": "torch",
        "python": "Python",
        "device": "device",
        "threads": "threads",
        "dataset_sha256": "images, SHA-256",
    }
    found = []
    for name, label in names.items():
        values = dict.fromkeys(
            str(value)
            for run in whole.runs
            if (value := (run.environment or {}).get(name)) is not None
        )
        if values:
            found.append(f"{label}: {', '.join(values)}")
    reused = sum(run.reused_from is not None for run in whole.runs)
    return (
        [
            *found,
            f"{reused} of {len(whole.runs)} runs were taken over from equal ones that had finished",
        ]
        if reused
        else found
    )
