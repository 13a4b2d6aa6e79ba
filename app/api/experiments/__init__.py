"""Experiments and their runs over HTTP."""

from app.api.experiments import experiments, lists, logs, numbers, runs, steering

# lists first: `counts` is no id
ROUTERS = (
    lists.router,
    experiments.router,
    numbers.router,
    runs.router,
    logs.router,
    steering.router,
)
