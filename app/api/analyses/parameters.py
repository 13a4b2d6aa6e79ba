"""Parameters that several routes of analyses take."""

from typing import Annotated

from fastapi import Query

METRIC = (
    "`test.<score>` or `val.<score>`, such as test.accuracy, or seconds, epochs, best.epoch, val.mean_accuracy,"
    " gradient_flow.slope"
)
MetricName = Annotated[str, Query(description=METRIC, max_length=100)]
