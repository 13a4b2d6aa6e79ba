"""Experiments and their runs over HTTP."""

from app.api.experiments import experiments, runs, steering

ROUTERS = (experiments.router, runs.router, steering.router)
