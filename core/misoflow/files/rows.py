"""What a file is read into: rows with the number that a person would look for in it.

A row's bytes are JSON whatever the file was, so every reader of rows decodes with the decoder that it wants;
nothing is parsed before somebody asks. A row that cannot be read is a ``BadRow`` among the others.
"""

from __future__ import annotations

from typing import Any

import msgspec

from misoflow import rawjson
from misoflow.errors import Reject

BLOCK = 1000
"""Rows in one block, at most."""
MAX_ROW = 4 * 1024 * 1024
"""Bytes of one row, at most."""
KEPT = 1024
"""Bytes kept of a row that is too large to hold."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row. ``number`` counts from 1: lines in JSON Lines and CSV, records in JSON arrays and Parquet."""

    number: int
    raw: bytes
    """JSON."""

    @property
    def value(self) -> dict[str, Any]:
        """The row as an object; raises Reject when it is not JSON or not an object."""
        try:
            value = rawjson.parse(self.raw)
        except Reject as error:
            raise Reject(error.reason.replace("the body", "the row", 1), error.path) from None
        if not isinstance(value, dict):
            raise Reject(f"the row must be a JSON object, not {_JSON_NAMES[type(value)]}")
        return value


class BadRow(msgspec.Struct, frozen=True, gc=False):
    """A row that cannot be read: where, why, and its bytes (the first KiB of a row that is too large)."""

    number: int
    reason: str
    raw: bytes


Block = list[Row | BadRow]
_JSON_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def parsed(row: Row | BadRow) -> dict[str, Any] | BadRow:
    """The row's object, or the bad row that says why there is none."""
    if isinstance(row, BadRow):
        return row
    try:
        return row.value
    except Reject as error:
        return BadRow(row.number, error.reason, row.raw)


def too_large(number: int, head: bytes) -> BadRow:
    """What stands for a row over MAX_ROW bytes."""
    return BadRow(number, f"the row is larger than {MAX_ROW // 1024**2} MiB", head[:KEPT])


def blocks(rows: Block) -> list[Block]:
    """The rows in blocks of at most BLOCK; none when there are none."""
    return [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
