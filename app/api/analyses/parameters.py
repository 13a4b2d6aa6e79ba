"""Parameters that several routes of analyses take."""

from typing import Annotated

from fastapi import Query

METRIC = (
    "`test.<score>`, `val.<score>` or `train.<score>`, such as test.accuracy, or gap.accuracy, seconds, epochs,"
    " epochs_to.97, seconds_to.97, best.epoch, val.mean_accuracy, gradient_flow.slope, gradient_flow.first_over_last"
)
MetricName = Annotated[str, Query(description=METRIC, max_length=100)]
MetricNameOrNone = Annotated[str | None, Query(description=METRIC, max_length=100)]
