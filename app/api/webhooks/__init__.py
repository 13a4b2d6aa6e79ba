"""Webhooks over HTTP."""

from app.api.webhooks import routes

ROUTERS = (routes.router,)
