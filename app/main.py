"""The web application: `create_app(settings)`, or `uvicorn app.main:create_app --factory`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api import (
    architectures,
    comparisons,
    confusion,
    curves,
    datasets,
    distillation,
    experiments,
    gradient_flow,
    operations,
    predict,
    problems,
    recipes,
    reproduction,
    runs,
    studies,
    study_pictures,
    study_report,
    study_tables,
    study_verdicts,
)
from app.api.openapi import DESCRIPTION, describe
from app.db import open_database
from app.logging import set_up_logging
from app.queue import make_doorbell
from app.services.predictions import Predictors
from app.settings import Settings
from lab_models.revision import package_version


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API on the given settings (default: read from the environment). Opens and migrates the database at start."""
    settings = settings or Settings()
    set_up_logging(settings.log_level)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = open_database(settings)
        app.state.doorbell = make_doorbell(settings.broker_url)
        yield
        app.state.database.close()

    app = FastAPI(title="training-lab", version=package_version() or "unknown", description=DESCRIPTION, lifespan=lifespan)
    app.state.settings = settings
    app.state.predictors = Predictors()
    problems.install(app)
    for router in (
        curves.router,
        gradient_flow.router,
        confusion.router,
        distillation.router,
        experiments.router,
        runs.router,
        reproduction.router,
        recipes.router,
        studies.router,
        study_tables.router,
        study_verdicts.router,
        study_pictures.router,
        study_report.router,
        comparisons.router,
        predict.router,
        architectures.router,
        datasets.router,
        operations.router,
    ):
        app.include_router(router)
    describe(app)
    return app
