"""Parquet by pyarrow, batch by batch. https://arrow.apache.org/docs/python/parquet.html"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, BinaryIO

import orjson

from misoflow.errors import Halt, Reject
from misoflow.files.inflate import Truncated
from misoflow.files.rows import BLOCK, MAX_ROW, BadRow, Block, Row, too_large
from misoflow.files.sources import EXTRA

MAGIC = b"PAR1"


def parquet_rows(
    opened: BinaryIO, after: int = 0, progress: Callable[[int], object] = lambda size: None
) -> Iterator[Block]:
    """Rows numbered by record, those up to ``after`` left out; whole row groups are skipped unread.

    Nulls are absent. Dates and times become RFC 3339 text, decimals numbers, binary columns text.
    ``progress`` is told each block's share of the file, in bytes. Raises Truncated for a file without the
    index that stands at its end, Reject for one that is damaged.
    """
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]
    except ImportError:
        raise Halt("Parquet files need the library pyarrow", EXTRA) from None
    size = _size(opened)
    try:
        file = parquet.ParquetFile(opened, coerce_int96_timestamp_unit="us", page_checksum_verification=True)
        total = file.metadata.num_rows
        number, groups = _skipped(file.metadata, after)
        progress(size * number // max(total, 1))
        for batch in file.iter_batches(BLOCK, row_groups=groups):
            known = min(max(after - number, 0), batch.num_rows)
            if rows := _rows(_readable(batch.slice(known)), number + known + 1):
                yield rows
            progress(size * (number + batch.num_rows) // total - size * number // total)
            number += batch.num_rows
    except (ArrowException, EOFError) as error:
        raise _damaged(error) from None
    except OSError as error:
        if error.errno or isinstance(error, TimeoutError):
            raise
        raise _damaged(error) from None  # pyarrow's own, for pages that it cannot decode


def _size(opened: BinaryIO) -> int:
    """The file's size in bytes; raises Reject or Truncated when it does not begin and end as Parquet does."""
    if not opened.seekable():
        raise Reject("Parquet is read from its end: give a file, not a pipe")
    head = opened.read(4)
    size = opened.seek(0, io.SEEK_END)
    if head != MAGIC:
        raise Reject("the file is no Parquet; Parquet files are not compressed from outside")
    opened.seek(max(size - 4, 4))
    if opened.read(4) != MAGIC:
        raise Truncated("the Parquet file is cut off: it has no index at its end")
    opened.seek(0)
    return size


def _skipped(metadata: Any, after: int) -> tuple[int, list[int]]:
    """How many rows stand in the first row groups that hold none behind ``after``, and the other groups."""
    rows = 0
    for group in range(metadata.num_row_groups):
        more = metadata.row_group(group).num_rows
        if rows + more > after:
            return rows, list(range(group, metadata.num_row_groups))
        rows += more
    return rows, []


def _damaged(error: BaseException) -> Reject:
    return Reject(f"the Parquet file is damaged: {str(error).partition(chr(10))[0]}")


def _readable(batch: Any) -> Any:
    """The batch with nanoseconds cut to microseconds, which is all that Python's times hold."""
    import pyarrow as pa

    for at, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            micros = batch.column(at).cast(pa.timestamp("us", column.type.tz), safe=False)
            batch = batch.set_column(at, column.name, micros)
    return batch


def _rows(batch: Any, first: int) -> Block:
    return [_row(number, value) for number, value in enumerate(batch.to_pylist(maps_as_pydicts="strict"), first)]


def _row(number: int, value: dict[str, Any]) -> Row | BadRow:
    try:
        raw = orjson.dumps(_present(value), default=_plain, option=orjson.OPT_UTC_Z)
    except TypeError as error:
        return BadRow(number, f"the row cannot be written as JSON: {error.__cause__ or error}", b"")
    return Row(number, raw) if len(raw) <= MAX_ROW else too_large(number, raw)


def _present(value: Any) -> Any:
    """The value without the null fields of its objects; NaN is how pandas writes a missing number."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None and item == item}  # noqa: PLR0124
    if isinstance(value, list):
        return [_present(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise TypeError("a binary column is not UTF-8 text") from None
    raise TypeError(f"{type(value).__name__} has no form in JSON")
