"""Experiments and their runs over HTTP."""

from app.api.experiments import experiments, lists, logs, runs, steering

# lists first: `counts` is no id
ROUTERS = (
    lists.router,
    experiments.router,
    runs.router,
    logs.router,
    steering.router,
)
