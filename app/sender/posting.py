"""One message to one URL: the name looked up once, what it leads to checked, the connection made to exactly that.

No proxy of the environment is used, since it would look the name up again; no redirect is followed, since it leads
elsewhere; of the answer the first kilobyte is read, and all of it may take so long.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

from app.services.webhooks.addresses import SETTING, why_not
from app.services.webhooks.schedule import Attempted

SECONDS: Final = 5.0
"""For a try, from the look-up of the name to the end of what is read."""
CONNECT_SECONDS: Final = 2.0
"""For a connection to one of a name's addresses, if there is another one."""
MOST_ADDRESSES: Final = 3
MOST_ANSWER_BYTES: Final = 1000
MOST_ERROR_CHARACTERS: Final = 300

Resolve = Callable[[str, int], Sequence[str]]
"""A name's addresses, the best first; raises OSError. Called in a thread."""


class Unreachable(Exception):
    """Nothing is sent there; the message says why."""


def resolve(host: str, port: int) -> list[str]:
    """What the system knows of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Poster:
    """Sends messages, any number at a time. Of one event loop. With `private` to any address."""

    def __init__(self, *, private: bool, most: int, resolve: Resolve = resolve) -> None:
        self._private, self._resolve = private, resolve
        self._tls = httpx.create_ssl_context()
        self._lookups = ThreadPoolExecutor(most, "lookup")
        self._looking_up: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def post(
        self, message_id: str, url: str, headers: dict[str, str], body: bytes
    ) -> Attempted:
        """Try once; what goes wrong is said in what comes of it. Raises nothing."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._try(message_id, httpx.URL(url), headers, body)
        except TimeoutError:
            return Attempted(error=f"no answer within {SECONDS:g} s")
        except Unreachable as error:
            return Attempted(error=str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            said = str(error) or type(error).__name__
            return Attempted(error=f"no answer: {said}"[:MOST_ERROR_CHARACTERS])

    async def is_let_go(self, message_id: str) -> None:
        """Return when nothing of the try takes room any more: a look-up goes on in its thread whoever waits for it."""
        lookup = self._looking_up.pop(message_id, None)
        if lookup is not None:
            await asyncio.wait({lookup})

    async def _try(
        self, message_id: str, url: httpx.URL, headers: dict[str, str], body: bytes
    ) -> Attempted:
        addresses = await self._checked(message_id, url)
        *others, last = addresses[:MOST_ADDRESSES]
        for address in others:
            try:
                return await self._send(address, url, headers, body, CONNECT_SECONDS)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._send(last, url, headers, body, SECONDS)

    async def _checked(self, message_id: str, url: httpx.URL) -> Sequence[str]:
        """The addresses of a URL's name. Raises Unreachable where one of them is not to be reached."""
        port = url.port or (443 if url.scheme == "https" else 80)
        lookup = asyncio.get_running_loop().run_in_executor(
            self._lookups, self._resolve, url.raw_host.decode(), port
        )
        self._looking_up[message_id] = lookup
        try:
            found = await asyncio.shield(lookup)
        except OSError as error:
            raise Unreachable(f"the name {url.host} is not known: {error}") from error
        if not found:
            raise Unreachable(f"the name {url.host} has no address")
        if not self._private:
            for address in found:
                if (reason := why_not(address)) is not None:
                    raise Unreachable(
                        f"{url.host} leads to {address}, which {reason}: nothing was sent; {SETTING}"
                    )
        return found

    async def _send(
        self,
        address: str,
        url: httpx.URL,
        headers: dict[str, str],
        body: bytes,
        connect_seconds: float,
    ) -> Attempted:
        """To this address alone, under the URL's name: `Host` and what the certificate must say are the name's."""
        request = httpx.Request(
            "POST",
            url.copy_with(host=address),
            headers={**headers, "Host": url.netloc.decode(), "Connection": "close"},
            content=body,
            extensions={
                "sni_hostname": url.raw_host.decode(),
                "timeout": {"connect": connect_seconds},
            },
        )
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            received = bytearray()
            try:
                assert isinstance(response.stream, httpx.AsyncByteStream)
                async for chunk in response.stream:
                    received += chunk
                    if len(received) >= MOST_ANSWER_BYTES:
                        break
            finally:
                await response.aclose()
        return Attempted(response.status_code, _shown(bytes(received[:MOST_ANSWER_BYTES])))


def _shown(received: bytes) -> str:
    """Text of which every character can be stored and shown."""
    text = received.decode(errors="replace")
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)
