"""What `lab doctor` finds of a service, by what that says of itself over HTTP.

Each check is a function of the service that yields findings; a new one is a line in `CHECKS`.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from training_lab.commands.output import count, size, span
from training_lab.commands.requesting import Service
from training_lab.errors import LabError
from training_lab.version import VERSION

State = Literal["ok", "bad", "unknown"]
MOST_SKEW: Final = 5.0
"""Seconds that two clocks may differ: an answer's date has whole seconds, and codes to log in end after 60."""
CONNECT_SECONDS: Final = 2.0
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is as it should be (`unknown`: it is not asked for here), what is there, and what
    to do about it.
    """

    name: str
    state: State
    said: str
    remedy: str = ""


Check = Callable[[Service], Iterator[Finding]]


def check_version(service: Service) -> Iterator[Finding]:
    """That it answers, with the client's version, by a clock like ours; raises Unreachable."""
    asked = time.time()
    reply = service.look("/version")
    now = (asked + time.time()) / 2
    found = service.document_of(reply)
    if reply.status != 200 or "version" not in found:
        yield Finding(
            "service",
            "bad",
            f"{service.url} is answered by something else ({reply.status})",
            "name the service by --url or LAB_URL",
        )
        return
    revision = f", revision {found['revision']}" if found.get("revision") else ""
    yield Finding("service", "ok", f"answers at {service.url}, Python {found.get('python')}")
    same = found["version"] == VERSION
    yield Finding(
        "version",
        "ok" if same else "bad",
        f"{found['version']}{revision}" + ("" if same else f"; the client has {VERSION}"),
        "" if same else "install the same version on both",
    )
    yield _clock(reply.headers, now)


def _clock(headers: Mapping[str, str], now: float) -> Finding:
    from email.utils import parsedate_to_datetime

    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return Finding("clock", "unknown", "its answers have no date")
    skew = theirs + 0.5 - now
    if abs(skew) <= MOST_SKEW:
        return Finding("clock", "ok", f"within {MOST_SKEW:g} s of this machine's")
    way = "ahead of" if skew > 0 else "behind"
    return Finding(
        "clock",
        "bad",
        f"the service's is {span(abs(skew))} {way} this machine's",
        "let both follow a time server (timedatectl set-ntp true)",
    )


def check_key(service: Service) -> Iterator[Finding]:
    """That the key is taken."""
    reply = service.look("/me")
    found = service.document_of(reply)
    if reply.status == 200 and found.get("key_id") is None:
        yield Finding("key", "ok", "no keys are asked for")
    elif reply.status == 200:
        yield Finding(
            "key", "ok", f"{found['key_id']} of {found['owner']['name']}, role {found['role']}"
        )
    else:
        said = str(found.get("detail") or reply.reason)
        yield Finding("key", "bad", said, f"`lab login {service.url}` asks for yours")


def check_readiness(service: Service) -> Iterator[Finding]:
    """Database, disk, broker, workers and the queue, as `/readyz` says them."""
    found = service.document_of(service.look("/readyz")).get("checks") or {}
    database, storage = str(found.get("database", "")), str(found.get("storage", ""))
    yield _ok_or(
        "database",
        database,
        "look at LAB_DATABASE_URL and at the service's log (docs/operations.md)",
    )
    free = found.get("free_bytes")
    room = "" if free is None else f"{size(int(free))} free"
    if storage == "ok":
        yield Finding("disk", "ok", room)
    else:
        remedy = "`lab gc` on its machine removes what nothing needs; or set LAB_MIN_FREE_BYTES"
        yield _ok_or("disk", ", ".join(filter(None, (storage, room))), remedy)
    broker = str(found.get("broker", ""))
    fine = broker in ("embedded", "redis")
    said = "none is needed: API and workers are one" if broker == "embedded" else broker
    yield Finding(
        "broker",
        "ok" if fine else "bad" if broker else "unknown",
        said or "the service does not say",
        "" if fine else "start Redis, or look at LAB_BROKER_URL",
    )
    queued = found.get("runs_queued")
    if queued is not None:
        wait = span(float(found.get("oldest_wait_seconds") or 0))
        waits = f", the oldest for {wait}" if queued else ""
        yield Finding("queue", "ok", f"{count(int(queued), 'run')} waiting{waits}")
    if not found.get("workers_online"):
        yield Finding(
            "workers",
            "bad",
            str(found.get("workers") or "none is online"),
            "`lab worker` on a machine of the service starts them; `lab serve` has them with it",
        )


def _ok_or(name: str, said: str, remedy: str) -> Finding:
    if not said:
        return Finding(name, "unknown", "the service does not say")
    return Finding(name, "ok", said) if said == "ok" else Finding(name, "bad", said, remedy)


def check_workers(service: Service) -> Iterator[Finding]:
    """Which are online, with what they train on, as they say it; that none is there, `check_readiness` tells."""
    reply = service.look("/workers")
    found = service.document_of(reply)
    workers: list[dict[str, Any]] = found.get("data") or []
    if reply.status != 200:
        yield Finding("workers", "unknown", str(found.get("detail") or reply.reason))
    elif workers:
        devices = Counter(str(one.get("device")) for one in workers)
        said = ", ".join(
            f"{number} x {device}" if number > 1 else device for device, number in devices.items()
        )
        yield Finding("workers", "ok", f"{len(workers)} online: {said}")
        yield from map(_amiss, (one for one in workers if one.get("trouble") or one.get("caution")))


def _amiss(worker: Mapping[str, Any]) -> Finding:
    name = f"worker on {worker.get('device')}"
    if worker.get("trouble"):
        remedy = "it tries again by itself; `lab doctor` on its machine looks closer"
        return Finding(name, "bad", f"cannot train: {worker['trouble']}", remedy)
    return Finding(name, "unknown", str(worker["caution"]))


def check_data(service: Service) -> Iterator[Finding]:
    """Each data set: whether it is there."""
    reply = service.look("/datasets")
    found = service.document_of(reply)
    if reply.status != 200:
        yield Finding("data", "unknown", str(found.get("detail") or reply.reason))
    for one in found.get("data") or ():
        name, here = f"data {one['name']}", str(one.get("here") or "")
        if here == "yes":
            yield Finding(name, "ok", f"{one['num_train']:,} images to train on")
        elif here == "download":
            much = size(int(one.get("download_bytes") or 0))
            yield Finding(name, "unknown", f"is downloaded with the first use, {much}")
        else:
            yield Finding(name, "unknown", "is not there", "put its files where LAB_DATA_DIR says")


CHECKS: Final[tuple[Check, ...]] = (
    check_key,
    check_readiness,
    check_workers,
    check_data,
)
"""What is asked of a service that answers, in the order in which it is told."""


def nobody_there(url: str, error: LabError) -> Finding:
    """Of a service that gives no answer: whether something else has its port."""
    said = str(error).splitlines()[0]
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    if place.hostname not in LOOPBACK:
        return Finding("service", "bad", said, "is it running there, and does a firewall let you?")
    try:
        socket.create_connection((place.hostname, port), CONNECT_SECONDS).close()
    except OSError:
        return Finding(
            "service",
            "bad",
            f"{said}; nothing listens on port {port}",
            "`lab serve` starts it; --url or LAB_URL name another",
        )
    return Finding(
        "service",
        "bad",
        f"{said}; another program has port {port}",
        f"`lab serve --port {port + 1}`, and the same port in LAB_URL",
    )
