"""Experiments and their runs over HTTP."""

from app.api.experiments import experiments, lists, runs, steering

ROUTERS = (experiments.router, lists.router, runs.router, steering.router)
