"""A row of a file as one of Miso's records."""

from __future__ import annotations

import msgspec

from misoflow.bulk.cells import typed
from misoflow.encode import Kind, check
from misoflow.files.rows import Row
from misoflow.records import Record


def record_of(row: Row, kind: Kind, *, texts: bool = False) -> Record:
    """The record that a Miso-shaped row is. ``texts``: its values are a CSV file's cells.

    Raises Reject(reason, path) for what Miso would refuse.
    """
    raw = msgspec.json.encode(typed(row.value, kind)) if texts else row.raw
    record: Record = check(raw, kind)[1]
    return record
