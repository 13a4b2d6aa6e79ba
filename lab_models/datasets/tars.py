"""The files of a tar, also packed by gzip: where each lies, and what could hurt, found before one is read. Nothing here
loads torch. POSIX.1-2017, pax; GNU tar's long names.

A stranger's tar is never extracted: its headers are read here, with bounds, and its files as parts of the archive.
"""

import gzip
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from lab_models.common.files import FULL_DISK
from lab_models.common.validation import FieldError
from lab_models.datasets.member_names import (
    danger_of_name,
    folder_of_ignored,
    holds_many,
    is_ignored,
    path_of,
)
from lab_models.datasets.name_letters import Guess, guess
from lab_models.datasets.packed import Extent, PackedFiles, Packing
from lab_models.datasets.refusals import (
    MOST_ERRORS,
    ImportLimits,
    ImportRefused,
    printable,
    refuse_bad_files,
)

BLOCK: Final = 512
HEADER: Final = struct.Struct("100s24x12s12x8sc100s6s82x155s12x")
"""Name, size, checksum, kind, link, magic, prefix."""
ANY_BYTE: Final = "surrogateescape"
"""Names are bytes: what is no UTF-8 is kept, so that no two names become one."""
FILES: Final = (b"0", b"\0", b"7")
FOLDER, LONG_NAME, LONG_LINK, EXTENDED, GLOBAL = b"5", b"L", b"K", (b"x", b"X"), b"g"
LONGEST_WORDS: Final = 1 << 16
"""Of what says more of a file: a long name, pax records."""
WRITE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class _Header:
    name: str
    kind: bytes
    size: int
    is_told: bool = False
    """Whether pax says the name, which is in UTF-8 then."""


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar."""
    return len(head) >= BLOCK and any(head[:BLOCK]) and _is_header(head[:BLOCK])


def tar_files(file: BinaryIO, limits: ImportLimits) -> PackedFiles:
    """The files of an unpacked tar; raises ImportRefused where it is damaged or has any danger in it."""
    places: dict[str, Extent] = {}
    folders, errors = set[str](), list[FieldError]()
    seen, silent = set[str](), set[str]()
    for number, (header, start) in enumerate(_members(file.fileno())):
        if number >= 2 * limits.max_images:
            raise ImportRefused(f"the tar holds more than {2 * limits.max_images:,} files")
        path = path_of(header.name)
        is_folder = header.kind == FOLDER or (header.kind in FILES and header.name.endswith("/"))
        danger = _danger(header, limits, is_folder)
        if danger is None and not is_folder and path in seen:
            danger = "stands twice in the tar"
        if danger is not None:
            errors.append(FieldError(printable(header.name), danger))
            if len(errors) > MOST_ERRORS:
                break
        elif path and is_ignored(PurePosixPath(path)):
            folders.add(folder_of_ignored(PurePosixPath(path)))
        elif path and is_folder:
            folders.add(path)
        elif path:
            places[path] = Extent(start, header.size)
        if not is_folder:
            seen.add(path)
        if not path.isascii() and not header.is_told:
            silent.add(path)
    refuse_bad_files(errors)
    return PackedFiles(file, *_read_silent_names(places, folders - {""}, silent))


@contextmanager
def gunzipped(file: BinaryIO, limits: ImportLimits, scratch: Path) -> Iterator[BinaryIO]:
    """What a file of gzip unpacks to, in a file without a name in the folder `scratch`. Raises ImportRefused where it
    is damaged or swells, StorageFull.
    """
    packed = os.fstat(file.fileno()).st_size
    most = limits.most_unpacked(packed)
    with tempfile.TemporaryFile(dir=scratch, prefix=".") as out:
        packing = Packing(out, scratch, limits)
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                while chunk := stream.read(WRITE_BYTES):
                    if packing.size + len(chunk) > most:
                        raise ImportRefused(
                            f"the archive of {packed:,} bytes unpacks to more than {limits.max_ratio} times its size"
                        )
                    packing.write(chunk)
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK:
                raise
            raise ImportRefused(f"the archive is damaged: {error}") from error
        out.flush()
        out.seek(0)
        yield out


def _members(descriptor: int) -> Iterator[tuple[_Header, int]]:
    """Each file and folder, with what pax or GNU say of it beside its header, and where its content begins."""
    end, place = os.fstat(descriptor).st_size, 0
    long_name: str | None = None
    said: dict[str, str] = {}
    while place < end:
        block = os.pread(descriptor, BLOCK, place)
        if not any(block):  # two of them end it
            return
        if len(block) < BLOCK or not _is_header(block):
            raise ImportRefused(f"the tar is damaged: there is no header at byte {place:,}")
        header = _read_header(block)
        start, size = place + BLOCK, header.size
        is_word = header.kind in (LONG_NAME, LONG_LINK, GLOBAL, *EXTENDED)
        if not is_word and "size" in said:
            size = _number(said["size"].encode("utf-8", ANY_BYTE), 10)
        place = start + -(-size // BLOCK) * BLOCK
        if size < 0 or start + size > end:
            raise ImportRefused(f"the tar is cut off within {printable(header.name)!r}")
        if is_word:
            if size > LONGEST_WORDS:
                raise ImportRefused(f"the tar has a name or a record of {size:,} bytes")
            words = os.pread(descriptor, size, start)
            if header.kind == LONG_NAME:
                long_name = words.rstrip(b"\0").decode("utf-8", ANY_BYTE)
            elif header.kind in EXTENDED:
                said = _records(words)
            continue
        kind = b"S" if any(key.startswith("GNU.sparse") for key in said) else header.kind
        name = said.get("path", long_name if long_name is not None else header.name)
        yield _Header(name, kind, size, is_told="path" in said and _is_utf8(name)), start
        long_name, said = None, {}
    raise ImportRefused("the tar is cut off: its end is missing")


def _read_silent_names(
    places: dict[str, Extent], folders: set[str], silent: set[str]
) -> tuple[dict[str, Extent], set[str], Guess]:
    """Places and folders with the letters of names that no pax record tells, as `name_letters.guess` reads them."""
    guessed = guess(name.encode("utf-8", ANY_BYTE) for name in silent)
    if guessed != "cp437":
        return places, folders, guessed
    read = {name: name.encode("utf-8", ANY_BYTE).decode(guessed) for name in silent}
    found = {read.get(name, name): place for name, place in places.items()}
    if len(found) < len(places):
        raise ImportRefused("two names of the tar are one, for they are in different encodings")
    return found, {read.get(name, name) for name in folders}, guessed


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_header(block: bytes) -> bool:
    """Whether its sum is that of its bytes, with blanks in the place of the sum."""
    try:
        return _number(block[148:156]) == sum(block) - sum(block[148:156]) + 8 * ord(" ")
    except ImportRefused:
        return False


def _read_header(block: bytes) -> _Header:
    name, size, _, kind, _, magic, prefix = HEADER.unpack(block)
    words = [part.split(b"\0", 1)[0].decode("utf-8", ANY_BYTE) for part in (prefix, name)]
    if magic != b"ustar\0" or not words[0]:  # GNU's has other things there
        del words[0]
    return _Header("/".join(words), kind, _number(size))


def _number(field: bytes, base: int = 8) -> int:
    """Octal digits, or GNU's big-endian number with its first bit set."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0")
    if not digits.isdigit():
        if digits:
            raise ImportRefused(f"the tar is damaged: {printable(repr(digits))} is no number")
        return 0
    try:
        return int(digits[:20], base)
    except ValueError as error:
        raise ImportRefused(f"the tar is damaged: {error}") from error


def _records(words: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE` and a line end, each."""
    found: dict[str, str] = {}
    while words:
        length, _, _ = words.partition(b" ")
        size = _number(length, 10)
        record = words[len(length) + 1 : size - 1]
        key, equals, value = record.partition(b"=")
        if not equals or size > len(words) or words[size - 1 : size] != b"\n":
            raise ImportRefused("the tar is damaged: its pax records cannot be read")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", ANY_BYTE)
        words = words[size:]
    return found


def _danger(header: _Header, limits: ImportLimits, is_folder: bool) -> str | None:
    danger = danger_of_name(header.name)
    if danger is not None:
        return danger
    if header.kind == b"S":
        return "is written with holes in it (sparse)"
    if not is_folder and header.kind not in FILES:
        return "is a link or a device, not a file"
    if header.size > limits.max_file_bytes and not holds_many(header.name):
        return f"has {header.size:,} bytes, more than {limits.max_file_bytes:,}"
    return None
