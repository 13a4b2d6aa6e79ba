"""Studies over HTTP."""

from app.api.studies import studies

ROUTERS = (studies.router,)
