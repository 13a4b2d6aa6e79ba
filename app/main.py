"""The web application: `create_app(settings)`, or `uvicorn app.main:create_app --factory`."""

import math
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from app import pages
from app.api import analyses, catalog, experiments, operations, studies, watching, webhooks
from app.api.experiments.lists import rows_of
from app.api.http import documentation, error_handlers
from app.api.http.compression import Compression
from app.api.http.connection_bounds import Connections
from app.api.http.gate import Gate
from app.api.http.heads import Heads
from app.api.http.passes import DRAWING, Passes
from app.api.http.rates import Rates
from app.api.http.security_headers import SecurityHeaders
from app.api.http.sharing import Shared, Stopping, Watch
from app.api.http.slashes import TrailingSlashes
from app.api.http.traffic import observe
from app.api.openapi.openapi import DESCRIPTION, describe
from app.api.watching.hub import Hub
from app.doorbell import make_doorbell
from app.home import home_in_use
from app.logging import set_up_logging
from app.pages.session import WRONG_KEYS_A_MINUTE
from app.plots.artists import Artists
from app.services.analyses.predicting.explanations import Explanations
from app.services.analyses.predicting.onnx_files import OnnxFiles
from app.services.analyses.predicting.predictions import Predictors
from app.services.experiments.experiments import statuses_of
from app.services.experiments.recent_losses import RecentLosses
from app.services.experiments.settled import SettledRecords
from app.services.experiments.speeds import LatestSpeeds
from app.services.experiments.standing import LatestStanding
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.studies.study_costs import RecipeCosts
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.states import RunStatus
from lab_models.common.revision import package_version

ROUTERS = (
    *(
        router
        for room in (
            *(experiments, studies, analyses, watching, webhooks, catalog, operations),
            pages,
        )
        for router in room.ROUTERS
    ),
    documentation.router,
)
"""Everything that is served."""
READY_SECONDS = 1.0
"""How long all who ask share what `/readyz` has found."""
STANDING_SECONDS = 1.0
SPEEDS_SECONDS = 10.0
"""How old what a record says of the queue may be."""


async def _statuses(app: FastAPI, experiment_ids: Collection[str]) -> dict[str, RunStatus]:
    """The one look for all who wait for a change, a pass of its own."""
    passes: Passes = app.state.passes
    database: Database = app.state.database

    def look() -> dict[str, RunStatus]:
        with database.reading() as session:
            return statuses_of(session, experiment_ids)

    return await passes.go(passes.reading, "watch", look)


def create_app(
    settings: Settings | None = None,
    host: str | None = None,
    local_workers: LocalWorkers | None = None,
) -> FastAPI:
    """The API on the given settings (default: read from the environment). Opens and migrates the database at start.

    `host` is where it will listen, if that is known: on loopback it answers to few names, see `app.api.http.hosts`.
    `local_workers` says how those fare that the same process starts, if it starts any.
    """
    settings = settings or Settings()
    set_up_logging(settings.log_level, settings.log_format)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with home_in_use(settings.home, settings.database_name):
            app.state.database = open_database(settings)
            app.state.doorbell = make_doorbell(settings.broker_url)
            artists = Artists(
                DRAWING, "--log-level", settings.log_level, "--log-format", settings.log_format
            )
            artists.warm_up()
            app.state.passes = passes = Passes(
                settings.max_waiting_requests,
                on_sqlite=app.state.database.is_sqlite,
                artists=artists,
            )
            app.state.watch = watch = Watch(partial(_statuses, app))
            app.state.hub = hub = Hub(
                app.state.database,
                passes,
                settings,
                partial(
                    rows_of,
                    standing=app.state.standing,
                    local_workers=app.state.local_workers,
                ),
            )
            app.state.stopping = Stopping(watch.close, hub.close)
            yield
            watch.close()
            await hub.closed()
            passes.drawings.close()
            app.state.database.close()

    version = package_version() or "unknown"
    app = FastAPI(
        title="training-lab",
        version=version,
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    app.state.predictors = Predictors()
    app.state.onnx_files = OnnxFiles(settings.onnx_folder, settings.min_free_bytes)
    app.state.explanations = Explanations()
    app.state.connections = Connections(settings)
    app.state.speeds = LatestSpeeds(SPEEDS_SECONDS)
    app.state.standing = LatestStanding(STANDING_SECONDS, app.state.speeds)
    app.state.settled_records = SettledRecords()
    app.state.recent_losses = RecentLosses()
    app.state.recipe_costs = RecipeCosts(settings)
    app.state.local_workers = local_workers or LocalWorkers()
    app.state.wrong_keys = Rates(WRONG_KEYS_A_MINUTE, time.monotonic)
    app.state.readiness = Shared(READY_SECONDS)
    app.state.description = Shared(math.inf)
    error_handlers.install(app)
    app.add_middleware(Heads)  # inside the gate, which tells apart who may read and write
    app.add_middleware(Compression)  # around what has no content
    app.add_middleware(Gate, settings=settings, host=host)
    app.add_middleware(TrailingSlashes)  # around the gate, which knows open paths by name
    app.add_middleware(SecurityHeaders)  # around the gate, whose refusals carry them too
    for router in ROUTERS:
        app.include_router(router)
    describe(app)
    observe(app, settings.access_log)
    return app
