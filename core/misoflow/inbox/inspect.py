"""Is every acknowledged delivery still there? Rows are held against the high-water mark and their CRCs."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import apsw

from misoflow.inbox.file import inbox_path, mark_path, open_for_reading, read_mark, rows
from misoflow.inbox.payload import sound

SELECT = "SELECT id, instance, received_ms, crc, payload FROM deliveries WHERE "
CHUNK = 200
"""Rows a read transaction: short, so that the owner's checkpoints are not held up."""
START_SECONDS = 1.0
"""How long the audit may hold up a start; the rest is checked while serving."""
UNREADABLE = (apsw.Error, UnicodeDecodeError)
"""What SQLite says of a damaged page, and what a damaged name says of itself."""
SAVED_LOG = "inbox.db-wal.saved"
Row = tuple[Any, ...]
Range = tuple[int, int]


@dataclass(slots=True)
class Audit:
    """What ``audit`` found. Ranges are inclusive and hold what is missing as well as what is damaged."""

    first: int = 1
    last: int = 0
    rows: int = 0
    lost: list[Range] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    mark_lost: bool = False
    checked_from: int = 1
    """Ids below it were not looked at, for want of time."""

    @property
    def problem(self) -> str | None:
        """One line for people, or None if all is well."""
        if self.lost:
            count = sum(end - start + 1 for start, end in self.lost)
            return (
                f"acknowledged deliveries {ranges_text(self.lost)} are missing or damaged ({count}); "
                "stop misoflow, then: misoflow repair"
            )
        if self.mark_lost:
            return "inbox.mark was gone or damaged, so a loss cannot be ruled out; stop misoflow, then: misoflow repair"
        return None


def audit(data: Path, *, below: int | None = None, seconds: float | None = None) -> Audit:
    """Check rows, newest first, each by its CRC; every id from the mark's first to its last must be there.

    ``below`` leaves out ids from it on; after ``seconds`` it stops and says how far it came. Reads only.
    Raises apsw.Error where the file cannot be opened at all.
    """
    if not inbox_path(data).exists():
        return Audit()
    deadline = None if seconds is None else time.monotonic() + seconds
    mark = read_mark(data)
    with contextlib.closing(open_for_reading(data)) as db:
        found = _bounds(db)
        first, last = (mark.first, mark.last) if mark else found
        result = Audit(first, last, mark_lost=mark is None and mark_path(data).exists() | bool(found[1]))
        if mark is not None and mark.uid != _uid(db):
            result.mark_lost = True
        good: set[int] = set()
        below = max(last, found[1]) + 1 if below is None else below
        result.checked_from = below
        while below > first and (deadline is None or time.monotonic() < deadline):
            start = max(first, below - CHUNK)
            for row in read_range(db, start, below):
                result.rows += 1
                (good.add if sound(row) else result.damaged.append)(row[0])
            result.checked_from = below = start
        good.update(id for a, b in _known_lost(db) for id in range(max(a, below), b + 1))
    fresh = read_mark(data)  # what was pruned meanwhile is not lost
    start = max(result.checked_from, fresh.first if fresh else first)
    result.lost = to_ranges(id for id in _span(start, last, result) if id not in good)
    return result


def degradation(data: Path) -> tuple[str | None, int]:
    """The problem in words (None: all well), and the id from which on that is known."""
    try:
        result = audit(data, seconds=START_SECONDS)
    except apsw.Error as error:
        return f"inbox.db cannot be read ({error}); stop misoflow, then: misoflow repair", 1
    return result.problem, result.checked_from


def keep_log(data: Path) -> None:
    """Copy a damaged write-ahead log before SQLite overwrites it: ``repair`` finds more in it than SQLite."""
    log, saved = data / "inbox.db-wal", data / SAVED_LOG
    if log.exists() and not saved.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(log, saved)
            saved.chmod(0o600)


def read_range(db: apsw.Connection, start: int, end: int) -> Iterator[Row]:
    """Rows with start <= id < end; where a page is damaged, those that still can be read."""
    try:
        yield from rows(db, SELECT + "id >= ? AND id < ? ORDER BY id", (start, end))
    except UNREADABLE:
        for id in range(start, end):
            with contextlib.suppress(*UNREADABLE):
                yield from rows(db, SELECT + "id=?", (id,))


def to_ranges(ids: Iterable[int]) -> list[Range]:
    """Ascending ids as inclusive ranges."""
    ranges: list[Range] = []
    for id in ids:
        if ranges and ranges[-1][1] == id - 1:
            ranges[-1] = (ranges[-1][0], id)
        else:
            ranges.append((id, id))
    return ranges


def ranges_text(ranges: list[Range]) -> str:
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges[:5])
    return shown + (f" and {len(ranges) - 5} more ranges" if len(ranges) > 5 else "")


def _span(start: int, last: int, result: Audit) -> Iterable[int]:
    """Ids that must be good: all up to the mark, and damaged ones above it."""
    yield from range(start, last + 1)
    yield from sorted(id for id in result.damaged if id > last)


def _bounds(db: apsw.Connection) -> Range:
    try:
        return sound_id(db, "ASC") or 1, sound_id(db, "DESC")
    except apsw.CorruptError:
        return 1, 0


def sound_id(db: apsw.Connection, order: Literal["ASC", "DESC"]) -> int:
    """The first id in this order whose row is sound, 0 without one: a damaged byte may make an id any number."""
    for (id,) in db.execute(f"SELECT id FROM deliveries ORDER BY id {order}"):
        with contextlib.suppress(*UNREADABLE):
            if any(map(sound, rows(db, SELECT + "id=?", (id,)))):
                return int(id)
    return 0


def _uid(db: apsw.Connection) -> Any:
    found = rows(db, "SELECT value FROM meta WHERE name='uid'")
    return found[0][0] if found else None


def _known_lost(db: apsw.Connection) -> list[Range]:
    try:
        return rows(db, "SELECT first, last FROM lost")
    except apsw.Error:
        return []
