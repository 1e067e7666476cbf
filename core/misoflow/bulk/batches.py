"""A batch: records of one kind that go out in one request, and where in which file each of them stands."""

from __future__ import annotations

import hashlib
from array import array
from itertools import accumulate

import msgspec

from misoflow.bulk.check import Checked
from misoflow.bulk.plan import Plan
from misoflow.encode import Kind

MAX_RECORDS: dict[Kind, int] = {"interactions": 10_000, "products": 100, "users": 100}
"""What Miso recommends for one call, see https://docs.miso.ai/api-reference."""
MAX_BYTES = 8 * 1024 * 1024
"""Of one request."""
FULL_BYTES = 2 * 1024 * 1024
"""A batch is full from here on: larger ones are no faster, and several of them are in memory at once."""
MAX_BAD = 1000
"""Bad rows of one batch, at most: they are held until it is done."""
HEAD, TAIL = b'{"data":[', b"]}"


class Segment(msgspec.Struct, array_like=True):
    """Rows of one file, by its index in the list of sources: those numbered above ``after``, up to ``last``."""

    source: int
    after: int
    last: int


class Refused(msgspec.Struct):
    """A row that does not arrive."""

    source: int
    row: int
    reason: str
    path: str
    raw: bytes


class Batch:
    """Sealed: its bytes never change again. ``body`` is the whole request; ``plan`` says what is still owed."""

    def __init__(self, number: int, draft: Draft) -> None:
        self.number = number
        self.segments = draft.segments
        self.whole = draft.whole
        self.body = HEAD + b",".join(draft.records) + TAIL
        self.sha256 = hashlib.sha256(self.body).hexdigest()
        self._ends = array("Q", accumulate((len(one) + 1 for one in draft.records), initial=len(HEAD)))
        self._rows = draft.rows
        self._sources = draft.sources
        self.bad = draft.bad
        self.read = draft.read
        self.skipped = draft.skipped
        self.ids = draft.ids
        self.plan = Plan.of(len(self))

    def __len__(self) -> int:
        return len(self._rows)

    def records(self) -> list[bytes]:
        """Each record's bytes."""
        return [self.record(index) for index in range(len(self))]

    def record(self, index: int) -> bytes:
        return self.body[self._ends[index] : self._ends[index + 1] - 1]

    def refused(self, index: int, reason: str, path: str) -> Refused:
        """A record that Miso does not take, as a row that does not arrive."""
        return Refused(self._sources[index], self._rows[index], reason, path, self.record(index))

    @property
    def held(self) -> int:
        """Bytes in memory, about."""
        return len(self.body) + sum(len(one.raw) for one in self.bad)


class Draft:
    """A batch that is being filled."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.records: list[bytes] = []
        self.rows = array("Q")
        self.sources = array("L")
        self.segments: list[Segment] = []
        self.whole: list[int] = []
        """Files of which the last row is in this batch or one before."""
        self.bad: list[Refused] = []
        self.read = 0
        self.skipped = 0
        self.ids: set[str] = set()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.segments or self.whole)

    def covers(self, source: int, after: int, row: int) -> None:
        """Rows up to ``row`` of a source are in here; ``after`` is where they begin, if they begin here."""
        if self.segments and self.segments[-1].source == source:
            self.segments[-1].last = row
        else:
            self.segments.append(Segment(source, after, row))

    def add(self, source: int, row: int, checked: Checked) -> None:
        """The records of one row, maybe none."""
        records, ids = checked
        self.read += 1
        if not records:
            self.skipped += 1
        for record in records:
            self.records.append(record)
            self.rows.append(row)
            self.sources.append(source)
            self.size += len(record) + 1
        if ids:
            self.ids.update(ids)

    def extend(self, source: int, after: int, rows: list[int], records: list[bytes], size: int) -> None:
        """Many rows of one record each, ``size`` bytes with their commas."""
        self.covers(source, after, rows[-1])
        self.read += len(rows)
        self.records += records
        self.rows.extend(rows)
        self.sources.extend([source] * len(rows))
        self.size += size

    def refuse(self, refused: Refused) -> None:
        self.read += 1
        self.bad.append(refused)
        self.size += len(refused.raw)

    def full(self, most: int) -> bool:
        return len(self.records) >= most or len(self.bad) >= MAX_BAD or self.size >= FULL_BYTES

    def has_no_room(self, checked: Checked) -> bool:
        """Whether a row must go into the next batch: too many bytes, or a product or user that is in here already.

        Miso replaces those whole, and nobody documents which of two in one request stays.
        """
        records, ids = checked
        return self.size + sum(map(len, records)) > MAX_BYTES - 1024 or not self.ids.isdisjoint(ids)
