"""HEAD wherever GET is: the same status and headers, and no content (RFC 9110, section 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """An ASGI application that answers HEAD as it would GET, without the content.

    What is made in one piece is made; what would be streamed ends with its first piece.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"}

        async def send_without_content(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if message.get("more_body"):
                raise _Enough

        try:
            await self._app(inner, receive, send_without_content)
        except _Enough:
            pass
        except BaseExceptionGroup as group:  # of an answer that is streamed
            if group.split(_Enough)[1] is not None:
                raise
        finally:
            if "route" in inner:  # for what is counted around this
                scope["route"] = inner["route"]


class _Enough(BaseException):
    """The rest need not be made. No Exception, so that nothing on the way takes it for a fault."""
