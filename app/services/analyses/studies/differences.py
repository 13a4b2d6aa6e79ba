"""A study's contrasts as a figure: each seed's difference, the mean with its interval, the margin, the verdict."""

from collections.abc import Sequence

from app.errors import NotFound
from app.plots.figures.studies import DifferenceRow, DifferencesFigure
from app.services.analyses.scores import ScoreKind
from app.services.analyses.studies.verdicts import ContrastResult
from app.services.analyses.studies.words import scale_said, subtitle_of
from app.services.analyses.training_scores import threshold_of
from app.services.studies.studies import WholeStudy
from lab_models.statistics.cells import qualified
from lab_models.statistics.paired import ALPHA
from lab_models.statistics.wording import p_in_words

MOST_DIFFERENCES = 60
"""Rows of one picture: what does not fit on a few pages, and takes seconds to draw."""


def differences_figure(
    whole: WholeStudy, results: Sequence[ContrastResult], metric: ScoreKind
) -> DifferencesFigure:
    """Every contrast's differences; raises NotFound where the study compares nothing."""
    if not results:
        raise NotFound(
            f"study {whole.study.id} has no contrasts, so there are no differences to draw; name some in `contrasts`"
            " when you start one"
        )
    rows = []
    for result in results[:MOST_DIFFERENCES]:
        paired = None if result.comparison is None else result.comparison.paired
        rows.append(
            DifferenceRow(
                title=result.title,
                differences=() if paired is None else paired.differences,
                mean=None if paired is None else paired.mean,
                ci95=None if paired is None else paired.ci95,
                p=""
                if result.p_holm is None
                else p_in_words(result.p_holm, result.judgement.level or ALPHA),
                verdict=("the same" if result.is_one else "not comparable")
                if result.comparison is None
                else result.judgement.verdict.text + scale_said(whole),
            )
        )
    margins = {
        result.comparison.paired.margin for result in results if result.comparison is not None
    }
    unit = qualified(metric.unit, metric.measured_from)
    more = (
        f"; the first {MOST_DIFFERENCES} of {len(results)} contrasts"
        if len(results) > MOST_DIFFERENCES
        else ""
    )
    both = ", of seeds where both reached it" if threshold_of(metric.name) else ""
    return DifferencesFigure(
        whole.study.name,
        f"{metric.label}{both}, {subtitle_of(whole)}{more}",
        unit,
        margins.pop() if len(margins) == 1 else None,
        rows,
    )
