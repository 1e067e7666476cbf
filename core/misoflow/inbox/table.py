"""What the writer's thread does with inbox.db: insert, prune, rewrite, checkpoint. For one thread only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from misoflow import crash
from misoflow.inbox.file import BUSY_MS, NOBODY, Mark, open_mark, rows, write_mark
from misoflow.inbox.inspect import sound_id
from misoflow.inbox.payload import row_crc

Entry = tuple[str, int, bytes]
"""instance, received_ms, sealed payload"""

CHECKPOINT_PAGES = 768
TRUNCATE_PAGES = 4096
PRUNE_CHUNK = 1000
_SIZES = (64, 32, 16, 8, 4, 2, 1)
_INSERT = "INSERT INTO deliveries(id, instance, received_ms, crc, payload) VALUES "
_INSERTS = {n: _INSERT + ",".join(["(?,?,?,?,?)"] * n) for n in _SIZES}


class Table:
    """The database, its mark, and how much of the allowed size is used.

    ``on_commit`` is called with the seconds that each commit took.
    """

    def __init__(self, data: Path, db: apsw.Connection, mark: Mark, max_bytes: int) -> None:
        self.on_commit: Callable[[float], None] = lambda _: None
        self.live = 0
        self.full = False
        self.mark = mark
        self._db = db
        self._max_bytes = max_bytes
        self._log_pages = 0
        self._handle = open_mark(data)
        write_mark(self._handle, mark)
        db.set_wal_hook(self._count_pages)
        self._measure()

    def insert(self, entries: list[Entry]) -> int:
        """Commit them all; the first one's id. Durable on return, the mark included."""
        started = time.perf_counter()
        first = next_id = self.mark.last + 1
        values: list[Any] = []
        for instance, received_ms, sealed in entries:
            values += (
                next_id,
                instance,
                received_ms,
                row_crc(next_id, instance, received_ms, sealed),
                sealed,
            )
            next_id += 1
        self._db.execute("BEGIN IMMEDIATE")
        # Few long statements: SQLite gives up the interpreter's lock at each, and it is slow to come back.
        at, left = 0, len(entries)
        for n in _SIZES:
            while left >= n:
                self._db.execute(_INSERTS[n], values[at : at + 5 * n])
                at += 5 * n
                left -= n
        crash.point("inbox.before_commit")
        self._db.execute("COMMIT")
        crash.point("inbox.after_commit")
        self._move_mark(Mark(self.mark.uid, self.mark.first, next_id - 1))
        crash.point("inbox.after_mark")
        self._measure()
        self.on_commit(time.perf_counter() - started)
        return first

    def prune(self, before_id: int, before_ms: int) -> int:
        """Delete a chunk of the oldest deliveries; how many went."""
        crash.point("inbox.prune")
        found: list[tuple[int, int]] = rows(
            self._db,
            "SELECT id, received_ms FROM deliveries WHERE id < ? ORDER BY id LIMIT ?",
            (before_id, PRUNE_CHUNK),
        )
        # A clock that once ran ahead must not hold up the rest: the last old one takes those before it along.
        old = [id for id, received_ms in found if received_ms < before_ms]
        if not old:
            return 0
        # First the mark: after a crash between the two, nothing may look lost.
        self._move_mark(Mark(self.mark.uid, max(self.mark.first, old[-1] + 1), self.mark.last))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM deliveries WHERE id <= ?", (old[-1],))
        self._db.execute("DELETE FROM lost WHERE last <= ?", (old[-1],))
        self._db.execute("COMMIT")
        rows(self._db, "PRAGMA incremental_vacuum(512)")
        self._measure()
        return sum(1 for id, _ in found if id <= old[-1])

    def rewrite(self, changes: list[tuple[int, bytes]]) -> None:
        """Other sealed payloads for these ids; ids that are gone are passed over."""
        crash.point("inbox.rewrite")
        self._db.execute("BEGIN IMMEDIATE")
        for id, sealed in changes:
            for instance, received_ms in rows(
                self._db, "SELECT instance, received_ms FROM deliveries WHERE id=? AND instance!=?", (id, NOBODY)
            ):
                crc = row_crc(id, instance, received_ms, sealed)
                self._db.execute("UPDATE deliveries SET crc=?, payload=? WHERE id=?", (crc, sealed, id))
        self._db.execute("COMMIT")
        # What was rewritten must also leave the log, where SQLite keeps old pages.
        self._truncate_log()

    def blank(self, instance: str, after: int, upto: int, sealed: bytes) -> None:
        """Deliveries of an instance with after < id <= upto become nobody's, with this payload.

        They stay as rows, so that none looks lost, until they are pruned.
        """
        crash.point("inbox.blank")
        found = rows(
            self._db,
            "SELECT id, received_ms FROM deliveries WHERE id > ? AND id <= ? AND instance=?",
            (after, upto, instance),
        )
        self._db.execute("BEGIN IMMEDIATE")
        for id, received_ms in found:
            crc = row_crc(id, NOBODY, received_ms, sealed)
            self._db.execute("UPDATE deliveries SET instance=?, crc=?, payload=? WHERE id=?", (NOBODY, crc, sealed, id))
        self._db.execute("COMMIT")

    def erased(self, number: int) -> None:
        """Note that erasures up to this number are done, once old pages have left the log too."""
        if self._truncate_log():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES('erased', ?)", (number,))

    def probe(self) -> None:
        """Raise apsw.Error if a transaction cannot be opened."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("ROLLBACK")

    def recover(self) -> None:
        """After a failure: close its transaction. A commit that got through all the same keeps its ids."""
        with contextlib.suppress(apsw.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.mark = continued(self._db, self.mark.uid, self.mark, 0)

    def checkpoint(self) -> None:
        """Move the log into the file once it is large; called when nobody waits for an answer."""
        if self._log_pages < CHECKPOINT_PAGES:
            return
        crash.point("inbox.checkpoint")
        with contextlib.suppress(apsw.Error):
            if self._log_pages >= TRUNCATE_PAGES:
                self._truncate_log()
            else:
                total, moved = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._log_pages = max(0, total - moved)

    def close(self) -> None:
        self._db.close()
        os.close(self._handle)

    def _move_mark(self, mark: Mark) -> None:
        self.mark = mark
        write_mark(self._handle, mark)

    def _measure(self) -> None:
        with contextlib.suppress(apsw.Error):
            pages = rows(self._db, "PRAGMA page_count")[0][0] - rows(self._db, "PRAGMA freelist_count")[0][0]
            self.live = pages * rows(self._db, "PRAGMA page_size")[0][0]
            self.full = self.live >= self._max_bytes

    def _count_pages(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _truncate_log(self) -> bool:
        """Move the whole log into the file; readers are short, so a quarter of a second is enough to wait.

        False: one of them held it up.
        """
        self._db.set_busy_timeout(250)
        try:
            with contextlib.suppress(apsw.BusyError, apsw.LockedError):
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._log_pages = 0
                return True
            return False
        finally:
            self._db.set_busy_timeout(BUSY_MS)


def continued(db: apsw.Connection, uid: int, mark: Mark | None, floor: int) -> Mark:
    """The mark to go on with: no id comes twice, not even that of a row that was lost.

    Above the mark only ids of sound rows count: by one damaged byte all up to any number would look lost.
    """
    high = sound_id(db, "DESC")
    if mark is not None:
        return Mark(uid, mark.first, max(mark.last, high, floor))
    low = sound_id(db, "ASC")
    given = rows(db, "SELECT seq FROM sqlite_sequence WHERE name='deliveries'")
    last = max(given[0][0] if given else 0, high, floor)
    return Mark(uid, low or last + 1, last)
