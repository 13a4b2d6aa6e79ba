"""Experiments and their runs over HTTP."""

from app.api.experiments import by_owner, experiments, lists, logs, numbers, runs, steering

# these first: `counts` and `by-owner` are no ids
ROUTERS = (
    lists.router,
    by_owner.router,
    experiments.router,
    numbers.router,
    runs.router,
    logs.router,
    steering.router,
)
