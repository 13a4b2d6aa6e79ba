"""A class: students with sessions of their own who submit, look once a second how it goes, and now and then ask for
something larger.

In the first second everybody submits. From then on, by the second: the record each time, curves every 5 (with the ETag
of the last picture, as a page sends it, by turns of an experiment of theirs that has ended and of the one they wait
for), the list every 10, a dry run every 30, a study and an upload every 60, each student at another moment.
"""

import asyncio
import io
import random
import struct
import zipfile
import zlib
from typing import Any

from benchmarks.load.sending import Load, Request
from benchmarks.load.wire import Answer, Client

SPEC = {"dataset": "digits", "model": {"hidden": [32]}, "epochs": 5}
STUDY = {
    "spec": {"dataset": "digits", "epochs": 3},
    "vary": {"model.depth": [1, 2], "batch_size": [32, 64]},
}
CURVES_EVERY, LIST_EVERY, DRY_RUN_EVERY, LARGE_EVERY = 5, 10, 30, 60
SIDE = 8


class Student:
    """One of them. `experiment` is one that trains already, where it is theirs; `finished` one that has ended, whose
    curves they look at.
    """

    def __init__(
        self,
        load: Load,
        number: int,
        key: str,
        chance: random.Random,
        experiment: str | None,
        finished: str | None,
    ) -> None:
        self._load = load
        self._number = number
        self._client: Client = load.client(key)
        self._chance = chance
        self._finished = finished
        self._etags: dict[str, str] = {}
        self._experiment = experiment
        self._submitted = asyncio.Event()
        if experiment is not None:
            self._submitted.set()

    async def attend(self, phase: float, seconds: float) -> None:
        """Do everything at its moment, whether the answer before has come or not."""
        doing: list[asyncio.Task[Any]] = (
            [] if self._experiment is not None else [asyncio.create_task(self._submit(phase))]
        )
        shift = self._chance.randrange(LARGE_EVERY)
        for second in range(1, int(seconds)):
            at = phase + second
            await self._load.until(at - 0.02)
            doing.append(asyncio.create_task(self._look(at)))
            if (second + self._number) % CURVES_EVERY == 0:
                doing.append(asyncio.create_task(self._curves(at + 0.1, second // CURVES_EVERY)))
            if (second + self._number) % LIST_EVERY == 3:
                doing.append(
                    asyncio.create_task(
                        self._send(Request("GET /experiments", "GET", "/experiments"), at + 0.2)
                    )
                )
            if (second + shift) % DRY_RUN_EVERY == 7:
                dry = Request("POST /studies?dry_run=true", "POST", "/studies?dry_run=true", STUDY)
                doing.append(asyncio.create_task(self._send(dry, at + 0.3)))
            if (second + shift) % LARGE_EVERY == 13:
                doing.append(
                    asyncio.create_task(
                        self._send(Request("POST /studies", "POST", "/studies", STUDY), at + 0.3)
                    )
                )
            if (second + shift) % LARGE_EVERY == 33:
                doing.append(asyncio.create_task(self._upload(at + 0.3)))
        await asyncio.gather(*doing)

    async def _submit(self, at: float) -> None:
        answer = await self._send(Request("POST /experiments", "POST", "/experiments", SPEC), at)
        if answer is not None and answer.status == 201:
            self._experiment = answer.json()["id"]
        self._submitted.set()

    async def _look(self, at: float) -> None:
        """The record; while the submit has no answer they wait for it, and where it was refused they submit again."""
        await self._load.until(at)
        await self._submitted.wait()
        if self._experiment is None:
            self._submitted.clear()
            await self._submit(at)
        else:
            await self._send(
                Request("GET /experiments/{id}", "GET", f"/experiments/{self._experiment}"), at
            )

    async def _curves(self, at: float, turn: int) -> None:
        await self._load.until(at)
        await self._submitted.wait()
        of = self._finished if turn % 2 and self._finished is not None else self._experiment
        if of is None:
            return
        etag = self._etags.get(of)
        route = "GET …/curves.png" if etag is None else "GET …/curves.png, If-None-Match"
        answer = await self._send(
            Request(
                route,
                "GET",
                f"/experiments/{of}/curves.png",
                headers={} if etag is None else {"If-None-Match": etag},
            ),
            at,
        )
        if answer is not None and answer.status == 200 and "etag" in answer.headers:
            self._etags[of] = answer.headers["etag"]

    async def _upload(self, at: float) -> None:
        name = f"load-{self._number}-{self._chance.randrange(10**9)}"
        await self._send(
            Request(
                "PUT /datasets/{name}",
                "PUT",
                f"/datasets/{name}",
                pictures(self._chance),
                headers={"Content-Type": "application/zip"},
            ),
            at,
        )

    async def _send(self, request: Request, at: float) -> Answer | None:
        return await self._load.send(self._client, request, at)


async def classroom(load: Load, students: list[dict[str, Any]], seconds: float, seed: int) -> None:
    """All of them, spread over each second."""
    attending = []
    for number, student in enumerate(students):
        chance = random.Random(seed * 1000 + number)
        one = Student(
            load,
            number,
            student.get("key", ""),
            chance,
            student.get("experiment"),
            student.get("finished"),
        )
        attending.append(one.attend(number / len(students), seconds))
    await asyncio.gather(*attending)


def pictures(chance: random.Random, count: int = 12) -> bytes:
    """A zip of small grey PNGs in two classes, no two alike."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(
                f"{'dark' if number % 2 else 'light'}/{number}.png",
                _png(chance.randbytes(SIDE * SIDE)),
            )
    return file.getvalue()


def _png(pixels: bytes) -> bytes:
    rows = b"".join(b"\0" + pixels[start : start + SIDE] for start in range(0, len(pixels), SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
