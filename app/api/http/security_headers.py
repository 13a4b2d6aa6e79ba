"""Headers that every answer carries, so that a browser does with it no more than it must."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http import documentation, page_addresses

PAGE_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action"
    " 'none'"
)
"""For JSON, pictures and the report: nothing is loaded and no script runs; SVG and the report bring their styles and
pictures with them.
"""

UI_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""For the pages: all that they load, ask and send to is this service."""

ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


OF_PAGES: Final = {
    "Content-Security-Policy": UI_POLICY,
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "same-origin",
}
"""With `no-referrer` a browser says `Origin: null` of a form, and the gate could not tell it from a stranger's."""


class SecurityHeaders:
    """An ASGI application whose every answer carries these headers; what a route has set itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = [
            (name.lower().encode(), value.encode())
            for name, value in security_headers(scope["path"]).items()
        ]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                message = {
                    **message,
                    "headers": [*headers, *(pair for pair in wanted if pair[0] not in there)],
                }
            await send(message)

        await self._app(scope, receive, send_with_headers)


def security_headers(path: str) -> dict[str, str]:
    """The headers of an answer under this path."""
    if page_addresses.is_page(path):
        return {**ALWAYS, **OF_PAGES}
    return {
        **ALWAYS,
        "Content-Security-Policy": documentation.POLICY
        if path == documentation.PAGE
        else PAGE_POLICY,
    }
