"""What changes, as server-sent events: the newest state of what is watched, as it is committed."""

from app.api.watching import routes

ROUTERS = (routes.router,)
