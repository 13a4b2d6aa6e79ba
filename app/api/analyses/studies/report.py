"""A study's report over HTTP: one page with table, pictures, verdicts and data, which needs nothing but itself."""

import base64
import json
import re
import shlex
from pathlib import Path
from typing import Any

from fastapi import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import app
from app.api.analyses.studies.tables import table_answer
from app.api.analyses.studies.verdicts import verdicts_answer
from app.api.http import passes
from app.api.http.deps import Reading, TheSettings, TheStudy
from app.api.http.drawings import Draw
from app.api.http.passes import Compute
from app.api.http.pictures import UNCHANGED, IfNoneMatch, exhibited
from app.plots.appearance import Appearance, PictureSize
from app.services.analyses.studies.columns import caption_of, columns_of
from app.services.analyses.studies.published import PublishedShape
from app.services.analyses.studies.published_texts import published_caption, published_columns
from app.services.analyses.studies.report import Report, caption_of_picture, report
from app.services.analyses.studies.verdicts import ContrastResult
from app.services.analyses.studies.words import scale_said
from app.services.studies.studies import WholeStudy
from app.storage.files.places import file_store
from lab_models.recipes.recipe import Picture
from lab_models.statistics.cells import qualified
from lab_models.statistics.looks import percent
from lab_models.statistics.paired import ALPHA
from lab_models.statistics.verdicts import ClaimVerdict, ContrastVerdict
from lab_models.statistics.wording import p_text, with_sign

FOR_A_PAGE, FOR_A_PHONE = (
    Appearance(size=size, follows_viewer=True) for size in (PictureSize.MEDIUM, PictureSize.SMALL)
)
SIDES = re.compile(r' (?:width|height)="([\d.]+)pt"')

router = passes.router(prefix="/studies", tags=["studies"])

_pages = Environment(
    loader=FileSystemLoader(Path(app.__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


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

    def answer(found: Report, headers: dict[str, str]) -> Draw | Compute:
        return _drawn([], list(found.pictures), _shown(found), headers)

    return exhibited(report(session, file_store(settings), study), "html", if_none_match, answer)


def _shown(found: Report) -> dict[str, Any]:
    """What the page's template asks for, but for the pictures."""
    whole, table = found.whole, found.table
    study, design, verdicts = whole.study, whole.design, verdicts_answer(found.verdicts)
    data = {
        "table": table_answer(table).model_dump(mode="json"),
        "verdicts": verdicts.model_dump(mode="json"),
        "submitted": study.submitted,
    }
    return {
        "title": study.name,
        "question": design.question,
        "reproduces": design.reproduces,
        "notes": design.remarks,
        "study": study,
        "status": found.status,
        "failures": found.failures,
        "claims": [
            {
                **claim.model_dump(),
                "verdict": _badge(claim.verdict, whole),
                "verdict_text": claim.verdict.text + scale_said(whole),
            }
            for claim in verdicts.claims
        ],
        "columns": columns_of(table),
        "rows": table.rows,
        "caption": caption_of(table),
        "score": table.metric.label.lower(),
        "published": _published(found.published),
        "unit": qualified(table.metric.unit, table.metric.measured_from),
        "contrasts": [_contrast(result, whole) for result in found.verdicts.contrasts],
        "findings": verdicts.findings,
        "cautions": verdicts.cautions,
        "seeds": design.seeds,
        "drawn": design.sample
        and {
            "seed": design.sample.seed,
            "points": design.sample.points,
            "factors": [f"{name} {said.words}" for name, said in design.drawn.items()],
        },
        "cells": found.cells,
        "first_spec": json.dumps(whole.cells[0].experiment.spec, indent=2),
        "environment": found.environment,
        "command": f"curl -d {shlex.quote(json.dumps(study.submitted))} localhost:8000/studies",
        "data": Markup(json.dumps(data).replace("<", "\\u003c")),  # noqa: S704 - JSON in which nothing can end the element
    }


def _published(shape: PublishedShape | None) -> dict[str, Any] | None:
    """The source's own table, for the template."""
    if shape is None:
        return None
    return {
        "columns": published_columns(shape),
        "rows": shape.rows,
        "caption": published_caption(shape),
    }


def _drawn(
    done: list[dict[str, Any]],
    left: list[tuple[Picture, Any]],
    shown: dict[str, Any],
    headers: dict[str, str],
) -> Draw | Compute:
    """The next picture, or when all are drawn the page: each in a turn of its own, so that others' pictures come in
    between. Each is drawn twice, for a page and for a phone, in colors of both themes.
    """
    if not left:
        return Compute(
            lambda: Response(
                _page(shown, done), media_type="text/html; charset=utf-8", headers=headers
            )
        )
    name, figure = left[0]
    # by its place: a study has a picture of each factor that was drawn
    kept_as = f"{headers['ETag']} {len(done)}"

    def wide_drawn(wide: bytes) -> Draw:
        def both_drawn(narrow: bytes) -> Draw | Compute:
            caption = caption_of_picture(name, figure)
            shown_as = {"caption": caption, "wide": _image(wide), "narrow": _image(narrow)}
            return _drawn([*done, shown_as], left[1:], shown, headers)

        return Draw(figure, "svg", f"{kept_as} narrow", both_drawn, FOR_A_PHONE)

    return Draw(figure, "svg", kept_as, wide_drawn, FOR_A_PAGE)


def _image(svg: bytes) -> dict[str, Any]:
    """As the page embeds it, with its size in pixels, so that its room is kept before it is shown."""
    width, height = (round(float(side) * 4 / 3) for side in SIDES.findall(svg.decode())[:2])
    return {"data": base64.b64encode(svg).decode(), "width": width, "height": height}


def _page(shown: dict[str, Any], figures: list[dict[str, Any]]) -> str:
    return _pages.get_template("report.html").render(**shown, figures=figures)


def _badge(verdict: ContrastVerdict | ClaimVerdict, whole: WholeStudy) -> str:
    """Its look: what is shown at another scale than the source's is no answer to the source, and has no color."""
    return "at_another_scale" if scale_said(whole) else verdict.value


def _contrast(result: ContrastResult, whole: WholeStudy) -> dict[str, Any]:
    paired = None if result.comparison is None else result.comparison.paired
    judgement = result.judgement
    more = (
        ""
        if judgement.more_seeds is None
        else f"about {judgement.more_seeds:,} more seeds would show a difference as large as the margin, or none"
    )
    return {
        "title": result.title,
        "n": 0 if paired is None else paired.n,
        "mean": "-" if paired is None or paired.mean is None else with_sign(paired.mean, 2),
        "interval": "-"
        if paired is None or paired.ci95 is None
        else " to ".join(with_sign(end, 2) for end in paired.ci95),
        "p": "-" if result.p_holm is None else p_text(result.p_holm, judgement.level or ALPHA),
        "level": percent(judgement.level),
        "mcnemar": (
            "-"
            if result.comparison is None
            else " / ".join(p_text(one.p) for one in result.comparison.mcnemar) or "-"
        ),
        "verdict": _badge(judgement.verdict, whole),
        "verdict_text": judgement.verdict.text + scale_said(whole),
        "remark": more or result.refused,
        "warnings": () if result.comparison is None else result.comparison.warnings,
    }
