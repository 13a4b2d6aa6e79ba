"""Parquet where pyarrow is: a whole table at once, or one that is written while it is sent."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.errors import NotAcceptable


def pyarrow() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`, which load when they are first asked for; raises NotAcceptable without them."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise NotAcceptable(
            "Parquet needs the package pyarrow where the API runs, which is not there; as CSV (format=csv, or"
            " metrics.csv) there are the same rows"
        ) from None
    return pa, parquet


def as_parquet(columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> bytes:
    """A whole file; NaN is null in it. Raises NotAcceptable without pyarrow."""
    pa, parquet = pyarrow()
    arrays = {name: _array(pa, types[name], values) for name, values in columns.items()}
    file = io.BytesIO()
    parquet.write_table(pa.table(arrays), file)
    return file.getvalue()


class _Sent(io.RawIOBase):
    """Takes what is written and says how much that was; what has been sent is not written again."""

    def __init__(self) -> None:
        self._waiting, self._taken = bytearray(), 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: Any) -> int:
        """Keep it until it is taken."""
        self._waiting += content
        return len(content)

    def tell(self) -> int:
        """Bytes that have ever come."""
        return self._taken + len(self._waiting)

    def take(self) -> bytes:
        """What has come since the last time."""
        taken = bytes(self._waiting)
        self._taken += len(taken)
        self._waiting.clear()
        return taken


class ParquetPieces:
    """A file of rows that come one after the other, of which no more than a row group is held. `types` by column.
    Raises NotAcceptable without pyarrow.
    """

    def __init__(self, types: Mapping[str, str], rows_of_a_group: int) -> None:
        self._pa, parquet = pyarrow()
        self._types, self._most = types, rows_of_a_group
        self._rows: list[tuple[Any, ...]] = []
        self._sent = _Sent()
        fields = [(name, self._pa.type_for_alias(alias)) for name, alias in types.items()]
        self._schema = self._pa.schema(fields)
        self._writer = parquet.ParquetWriter(self._sent, self._schema)

    def add(self, row: tuple[Any, ...]) -> None:
        """The next row, a cell for each column; None is null."""
        self._rows.append(row)

    def take(self) -> bytes:
        """What is to be sent of the row groups that are full."""
        if len(self._rows) >= self._most:
            self._write()
        return self._sent.take()

    def end(self) -> bytes:
        """The last group and the file's footer."""
        if self._rows:
            self._write()
        self._writer.close()
        return self._sent.take()

    def _write(self) -> None:
        arrays = [
            _array(self._pa, alias, cells)
            for alias, cells in zip(
                self._types.values(), zip(*self._rows, strict=True), strict=True
            )
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def _array(pa: Any, alias: str, cells: Sequence[Any]) -> Any:
    """An array of pyarrow; None and NaN are null. By its buffers, since `pyarrow.array` loads pandas where that is
    installed, to ask whether the cells are its own: 50 MB of the API's memory for nothing.
    """
    count = len(cells)
    if alias == "string":
        is_there = np.fromiter((cell is not None for cell in cells), np.bool_, count)
        texts = [b"" if cell is None else cell.encode() for cell in cells]
        ends = np.zeros(count + 1, np.int32)
        np.cumsum([len(text) for text in texts], out=ends[1:])
        buffers = [pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    elif alias == "int64":
        is_there = np.ones(count, np.bool_)
        buffers = [pa.py_buffer(np.asarray(cells, np.int64))]
    else:
        numbers = np.asarray(cells, np.float64)  # None becomes NaN
        is_there = ~np.isnan(numbers)
        buffers = [pa.py_buffer(numbers)]
    nulls = count - int(is_there.sum())
    valid = pa.py_buffer(np.packbits(is_there, bitorder="little").tobytes()) if nulls else None
    return pa.Array.from_buffers(pa.type_for_alias(alias), count, [valid, *buffers], nulls)
