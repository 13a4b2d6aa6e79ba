"""What W&B has written offline: its file is a log of LevelDB's form
(https://github.com/google/leveldb/blob/main/doc/log_format.md) after seven bytes, with a `Record` of its protocol in
each.
"""

import json
import struct
from pathlib import Path
from typing import Any

HEAD, BLOCK, RECORD_HEAD = 7, 32_768, 7
FULL, LAST = 1, 4


def messages(path: Path) -> list[bytes]:
    """Each record's content, as far as they are whole."""
    content, place, found, parts = path.read_bytes(), HEAD, [], b""
    while place + RECORD_HEAD <= len(content):
        if BLOCK - place % BLOCK < RECORD_HEAD:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        piece = content[place + RECORD_HEAD : place + RECORD_HEAD + length]
        place += RECORD_HEAD + length
        if kind == 0 or len(piece) < length:
            break
        parts += piece
        if kind in (FULL, LAST):
            found.append(parts)
            parts = b""
    return found


class WandbFile:
    """One file, of one run."""

    def __init__(self, path: Path) -> None:
        from wandb.proto import wandb_internal_pb2

        self.run: Any = None
        self.config: dict[str, Any] = {}
        self.history: dict[int, dict[str, Any]] = {}
        """By step."""
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        for message in messages(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            match record.WhichOneof("record_type"):
                case "run":
                    self.run = record.run
                    self.config |= _items(record.run.config.update)
                case "config":
                    self.config |= _items(record.config.update)
                case "history":
                    row = _items(record.history.item)
                    self.history.setdefault(int(row["_step"]), {}).update(row)
                case "summary":
                    self.summary |= _items(record.summary.update)
                case "exit":
                    self.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    return {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in items}
