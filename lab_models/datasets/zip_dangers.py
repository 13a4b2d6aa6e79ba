"""What could hurt in a zip, found in its directory before anything is unpacked: names that leave the archive, links,
encryption, unknown compression, members that share bytes, sizes and ratios of bombs. Nothing here loads torch.
"""

import os
import stat
import struct
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from lab_models.common.validation import FieldError
from lab_models.datasets.member_names import (
    danger_of_name,
    folder_of_ignored,
    holds_many,
    is_ignored,
    path_of,
    slash_of,
)
from lab_models.datasets.name_letters import Guess, guess
from lab_models.datasets.refusals import (
    MOST_ERRORS,
    ImportLimits,
    ImportRefused,
    printable,
    refuse_bad_files,
)

ENCRYPTED, NAMES_IN_UTF8 = 0x1, 0x800
LOCAL_HEADER = struct.Struct("<26xHH")
"""Of what stands before a member: its name's length and that of the extra field, which both follow (PKWARE's APPNOTE,
4.3.7).
"""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def safe_members(
    archive: zipfile.ZipFile, limits: ImportLimits
) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """The files to be read, by their paths, and the folders that are listed or hold what systems leave behind, all
    sorted; raises ImportRefused where the zip has any danger in it.

    A path has `/` between folders, also where a program of Windows has written the other slash, and no parts that mean
    nothing.
    """
    slash = slash_of([member.filename for member in archive.infolist()])
    members = [
        member for member in archive.infolist() if not member.filename.endswith(("/", slash))
    ]
    _refuse_dangers(members, slash, limits)
    assert archive.fp is not None
    file = archive.fp.fileno()
    _refuse_shared_bytes(file, members, archive.start_dir)
    kept, folders = dict[str, zipfile.ZipInfo](), set[str]()
    for member in archive.infolist():
        path = path_of(member.filename, slash)
        if is_ignored(parts := PurePosixPath(path)):
            folders.add(folder_of_ignored(parts))
        elif member.filename.endswith(("/", slash)):
            folders.add(path)
        else:
            kept[path] = member
    unpacked = sum(member.file_size for member in kept.values())
    _refuse_bombs(unpacked, os.fstat(file).st_size, limits)
    return {path: kept[path] for path in sorted(kept)}, sorted(folders - {""})


def read_silent_names(archive: zipfile.ZipFile) -> Guess:
    """Give names their letters where the zip does not say in which encoding they are, and tell which was taken: some
    programs write UTF-8 and no flag, which is by the format code page 437. Where one name is no UTF-8, all stay as they
    are, and different.
    """
    silent = []
    for member in archive.infolist():
        if not member.flag_bits & NAMES_IN_UTF8 and not member.filename.isascii():
            with suppress(UnicodeEncodeError):  # an extra field of the zip told another name
                silent.append((member, member.filename.encode("cp437")))
    guessed = guess(name for _, name in silent)
    if guessed == "utf-8":
        for member, name in silent:
            member.filename = name.decode()
    return guessed


def _refuse_bombs(unpacked: int, packed: int, limits: ImportLimits) -> None:
    if unpacked > limits.max_unpacked_bytes:
        raise ImportRefused(
            f"the zip unpacks to {unpacked:,} bytes, more than {limits.max_unpacked_bytes:,}"
        )
    if unpacked > limits.most_unpacked(packed):
        raise ImportRefused(
            f"the zip of {packed:,} bytes unpacks to {unpacked:,}, more than {limits.max_ratio} times its size"
        )


def _refuse_dangers(members: list[zipfile.ZipInfo], slash: str, limits: ImportLimits) -> None:
    if len(members) > 2 * limits.max_images:
        raise ImportRefused(
            f"the zip holds {len(members):,} files, more than {2 * limits.max_images:,}"
        )
    seen: set[str] = set()
    errors = []
    for member in members:
        path = path_of(member.filename, slash)
        danger = _danger(member, slash, limits) or (
            "stands twice in the zip" if path in seen else None
        )
        seen.add(path)
        if danger is not None:
            errors.append(FieldError(printable(member.orig_filename), danger))
    refuse_bad_files(errors)


def _danger(member: zipfile.ZipInfo, slash: str, limits: ImportLimits) -> str | None:
    """Why a member is not touched, or None."""
    for name in (member.orig_filename, member.filename):
        danger = danger_of_name(name, slash)
        if danger is not None:
            return danger
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device, not a file"
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in METHODS:
        return "is compressed by a method other than deflate"
    if member.file_size > limits.max_file_bytes and not holds_many(member.filename):
        return f"unpacks to {member.file_size:,} bytes, more than {limits.max_file_bytes:,}"
    if member.file_size > limits.most_unpacked(member.compress_size):
        return f"unpacks to more than {limits.max_ratio} times its size"
    return None


def _refuse_shared_bytes(file: int, members: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Each byte of a zip belongs to one member: those that share some are how a small file unpacks to one without end
    (Fifield 2019, 'A better zip bomb').
    """
    errors = []
    end = 0
    for start, stop, name in sorted(
        (member.header_offset, _end(file, member), member.orig_filename) for member in members
    ):
        if start < end or stop > directory:
            errors.append(FieldError(printable(name), "shares bytes with another file of the zip"))
            if len(errors) > MOST_ERRORS:
                break
        end = max(end, stop)
    refuse_bad_files(errors)


def _end(file: int, member: zipfile.ZipInfo) -> int:
    """Where a member's content ends: behind its own header, whose lengths need not be those that the directory
    states.
    """
    header = (
        os.pread(file, LOCAL_HEADER.size, member.header_offset)
        if 0 <= member.header_offset < 1 << 62
        else b""
    )
    # opening it will say what is wrong
    lengths = LOCAL_HEADER.unpack(header) if len(header) == LOCAL_HEADER.size else (0, 0)
    end: int = member.header_offset + LOCAL_HEADER.size + sum(lengths) + member.compress_size
    return end
