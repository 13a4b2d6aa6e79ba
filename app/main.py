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
    documentation,
    experiments,
    explanations,
    gradient_flow,
    metrics,
    operations,
    predict,
    problems,
    recipes,
    reproduction,
    runs,
    steering,
    studies,
    study_pictures,
    study_report,
    study_tables,
    study_verdicts,
    waiting,
)
from app.api.gate import Gate
from app.api.openapi import DESCRIPTION, describe
from app.api.security_headers import SecurityHeaders
from app.api.traffic import observe
from app.db import open_database
from app.home import home_in_use
from app.logging import set_up_logging
from app.queue import make_doorbell
from app.services.explanations import Explanations
from app.services.predictions import Predictors
from app.settings import Settings
from lab_models.revision import package_version


def create_app(settings: Settings | None = None, host: str | None = None) -> FastAPI:
    """The API on the given settings (default: read from the environment). Opens and migrates the database at start.

    `host` is where it will listen, if that is known: on loopback it answers to few names, see `app.api.gate`.
    """
    settings = settings or Settings()
    set_up_logging(settings.log_level, settings.log_format)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with home_in_use(settings.home, settings.database_name):
            app.state.database = open_database(settings)
            app.state.doorbell = make_doorbell(settings.broker_url)
            yield
            app.state.database.close()

    version = package_version() or "unknown"
    app = FastAPI(title="training-lab", version=version, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.settings = settings
    app.state.predictors = Predictors()
    app.state.explanations = Explanations()
    problems.install(app)
    app.add_middleware(Gate, settings=settings, host=host)
    app.add_middleware(SecurityHeaders)  # around the gate, whose refusals carry them too
    for router in (
        curves.router,
        gradient_flow.router,
        confusion.router,
        explanations.router,
        distillation.router,
        experiments.router,
        steering.router,
        waiting.router,
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
        metrics.router,
        documentation.router,
    ):
        app.include_router(router)
    describe(app)
    observe(app, settings.access_log)
    return app
