"""A zip that is made while it is sent: whatever is in it, only what is packed just now is held."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Final

SUMS_NAME: Final = "SHA256SUMS"
OLDEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""What a zip can say."""
PLAIN, PROGRAM = 0o644, 0o755


class _Sent(io.RawIOBase):
    """Takes what is written, and tells no place in it: what has been sent is not written again."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: object) -> int:
        """Keep it until it is taken."""
        added = bytes(content)  # type: ignore[call-overload]
        self._waiting += added
        return len(added)

    def take(self) -> bytes:
        """What has come since the last time."""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


class ZipStream:
    """Files of one folder, one after the other, equal bytes for equal files. Of one thread at a time; a pass may pack
    what another goes on with.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._sent = folder, _Sent()
        self._zip = zipfile.ZipFile(self._sent, "w", zipfile.ZIP_DEFLATED)
        self._sums: dict[str, str] = {}

    def add(self, name: str, content: bytes, at: datetime, mode: int = PLAIN) -> None:
        """A whole file, of that moment."""
        with self.file(name, at, mode, is_large=False) as file:
            file.write(content)

    @contextmanager
    def file(
        self,
        name: str,
        at: datetime,
        mode: int = PLAIN,
        *,
        is_large: bool = True,
        is_packed: bool = True,
    ) -> Iterator["ZippedFile"]:
        """A file of which one writes a part after the other; one that `is_large` may have more than 2 GiB. Weights are
        hardly smaller when they are packed, and much slower.
        """
        info = zipfile.ZipInfo(f"{self._folder}/{name}", max(at, OLDEST).timetuple()[:6])
        info.create_system, info.external_attr = 3, (0o100000 | mode) << 16
        info.compress_type = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
        with self._zip.open(info, "w", force_zip64=is_large) as opened:
            file = ZippedFile(opened)
            yield file
        self._sums[name] = file.sha256

    def take(self) -> bytes:
        """What has been packed since the last time, to be sent."""
        return self._sent.take()

    def close(self, at: datetime) -> None:
        """The checksums of all files, and the directory; nothing comes after it."""
        lines = "".join(f"{sha256}  {name}\n" for name, sha256 in self._sums.items())
        self.add(SUMS_NAME, lines.encode(), at)
        self._zip.close()


class ZippedFile:
    """A file within the zip, while it is written."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened, self._digest = opened, hashlib.sha256()

    def write(self, content: bytes) -> None:
        """Pack one part."""
        self._digest.update(content)
        self._opened.write(content)

    @property
    def sha256(self) -> str:
        """Of what has been written."""
        return self._digest.hexdigest()
