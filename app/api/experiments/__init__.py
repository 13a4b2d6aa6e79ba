"""Experiments and their runs over HTTP."""

from app.api.experiments import (
    by_owner,
    experiments,
    lists,
    logs,
    networks,
    numbers,
    runs,
    steering,
    tables,
)

# these first: what stands in the place of an id there is none
ROUTERS = (
    lists.router,
    by_owner.router,
    tables.router,
    experiments.router,
    numbers.router,
    networks.router,
    runs.router,
    logs.router,
    steering.router,
)
