"""What changes, and what trainers write, as server-sent events."""

from app.api.watching import log_routes, routes

ROUTERS = (routes.router, log_routes.router)
