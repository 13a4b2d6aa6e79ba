"""An address with a slash at its end is the one without: a redirect would be lost on curl, which follows none unless
told, prints nothing and exits with 0.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http import documentation


class TrailingSlashes:
    """An ASGI application that takes them off. The page `/docs/` is redirected, since what it loads is relative."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            path = scope["path"].rstrip("/")
            if path and path != documentation.PAGE:
                scope["path"] = path
        await self._app(scope, receive, send)
