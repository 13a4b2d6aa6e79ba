"""Event files, which TensorBoard reads: scalars, texts and pictures over steps, written without its package.

A file is a row of records: length, checksum of the length, an `Event`, checksum of that. Both messages are written here
by hand (https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/event.proto and
core/framework/summary.proto), and the framing is that of core/lib/io/record_writer.h. Standard library alone.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Final

POLYNOMIAL: Final = 0x82F63B78
"""CRC-32C (Castagnoli), its bits reversed: https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4"""
MASK_DELTA: Final = 0xA282EAD8
VERSION: Final = "brain.Event:2"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: https://protobuf.dev/programming-guides/encoding/"""
STRING_TENSOR: Final = 7
SESSION_START: Final = 1
PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
        found.append(byte)
    return tuple(found)


_TABLE: Final = _table()


def masked_crc32c(content: bytes) -> int:
    """CRC-32C of these bytes, turned and shifted, so that the checksum of what holds checksums is one."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def seed_folder(seed: int) -> str:
    """Such as `seed-3`."""
    return f"seed-{seed}"


def file_name(run_id: str) -> str:
    """An event file's name as TensorBoard looks for it."""
    return f"events.out.tfevents.{run_id}"


def record(event: bytes) -> bytes:
    """An event as it stands in a file."""
    length = struct.pack("<Q", len(event))
    sums = (struct.pack("<I", masked_crc32c(part)) for part in (length, event))
    return length + next(sums) + event + next(sums)


def beginning(at: float) -> bytes:
    """The record that every file begins with; `at` in seconds since 1970."""
    return record(_event(at, 0, _field(3, VERSION.encode())))


def scalars(at: float, step: int, values: Mapping[str, float]) -> bytes:
    """A record of numbers at a step, kept as 32-bit floats; what is not finite stays so."""
    told = b"".join(
        _field(1, _field(1, tag.encode()) + _key(2, FIXED32) + struct.pack("<f", _single(value)))
        for tag, value in values.items()
    )
    return record(_event(at, step, _field(5, told)))


def text(at: float, step: int, tag: str, content: str) -> bytes:
    """A record of a text, which is shown as Markdown."""
    shape = _field(2, _field(2, _key(1, VARINT) + _varint(1)))
    tensor = _key(1, VARINT) + _varint(STRING_TENSOR) + shape + _field(8, content.encode())
    plugin = _field(9, _field(1, _field(1, b"text")))
    value = _field(1, tag.encode()) + plugin + _field(8, tensor)
    return record(_event(at, step, _field(5, _field(1, value))))


def picture(at: float, step: int, tag: str, png: bytes) -> bytes:
    """A record of a PNG; raises ValueError for what is none."""
    if not png.startswith(PNG_HEAD) or len(png) < 24:
        raise ValueError("this is no PNG")
    width, height = struct.unpack(">II", png[16:24])
    sizes = b"".join(
        _key(number, VARINT) + _varint(size) for number, size in ((1, height), (2, width), (3, 4))
    )
    value = _field(1, tag.encode()) + _field(4, sizes + _field(4, png))
    return record(_event(at, step, _field(5, _field(1, value))))


def going_back(at: float, step: int) -> bytes:
    """A record after which readers forget all from this step on: a run that was resumed goes on from there."""
    return record(_event(at, step, _field(7, _key(1, VARINT) + _varint(SESSION_START))))


def whole_records(content: bytes) -> Iterator[tuple[int, int]]:
    """Of a file's bytes the end of each record that is whole and right, and its step; ends at the first that is not."""
    place = 0
    while place + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        end = place + 12 + length + 4
        if end > len(content):
            return
        event = content[place + 12 : end - 4]
        sums = struct.unpack_from("<I", content, place + 8) + struct.unpack_from(
            "<I", content, end - 4
        )
        if sums != (masked_crc32c(content[place : place + 8]), masked_crc32c(event)):
            return
        yield end, _step_of(event)
        place = end


def _single(value: float) -> float:
    """What a 32-bit float can say of it."""
    try:
        struct.pack("<f", value)
    except OverflowError:
        return math.copysign(math.inf, value)
    return value


def _event(at: float, step: int, what: bytes) -> bytes:
    return _key(1, FIXED64) + struct.pack("<d", at) + _key(2, VARINT) + _varint(step) + what


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _step_of(event: bytes) -> int:
    """Its second field, which this module writes right after the time."""
    place, step, shift = 9, 0, 0
    if event[place : place + 1] != _key(2, VARINT):
        return 0
    for byte in event[place + 1 :]:
        step |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return step
