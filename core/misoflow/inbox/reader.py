"""The reading side of the inbox, for any process: read-only, in short transactions, never checkpointing."""

from __future__ import annotations

import sys
from pathlib import Path

import apsw

from misoflow.inbox.file import NOBODY, open_for_reading, read_mark, rows
from misoflow.inbox.inspect import SELECT, Audit, Row, audit, read_range
from misoflow.inbox.payload import Delivery, open_row
from misoflow.vault import Vault


class InboxReader:
    """Deliveries in the order of their ids. Without an inbox yet it reads as empty. For one thread."""

    def __init__(self, data: Path, vault: Vault) -> None:
        self._data = data
        self._vault = vault
        self._open: apsw.Connection | None = None

    def read(self, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        """The next deliveries after an id: at most ``limit``, and at least one however large it is.

        A damaged one has ``request=None``; where ids are missing, see ``audit``.
        """
        db = self._db()
        if db is None:
            return []
        taken: list[Row] = []
        size = 0
        row: Row
        try:
            for row in db.execute(SELECT + "id > ? ORDER BY id LIMIT ?", (after, limit)):
                if taken and size + len(row[4]) > max_bytes:
                    break
                taken.append(row)
                size += len(row[4])
        except (apsw.CorruptError, apsw.IOError, UnicodeDecodeError, TypeError):
            return self._around_damage(db, after, limit)
        return [open_row(self._vault, row) for row in taken]

    def get(self, ids: list[int]) -> list[Delivery]:
        """Those of these deliveries that are there."""
        db = self._db()
        if db is None:
            return []
        return [open_row(self._vault, row) for id in ids for row in read_range(db, id, id + 1)]

    def waiting(self, after: int) -> dict[str, int]:
        """How many deliveries each instance has after an id."""
        db = self._db()
        if db is None:
            return {}
        sql = "SELECT instance, count(*) FROM deliveries WHERE id > ? GROUP BY instance"
        try:
            return dict(db.execute(sql, (after,)))
        except (apsw.CorruptError, apsw.IOError, UnicodeDecodeError):
            return {}

    def holds(self, id: int, payload: bytes) -> bool:
        """Whether the delivery has exactly this sealed payload now, or is gone or blanked."""
        db = self._db()
        rows = [] if db is None else read_range(db, id, id + 1)
        return all(row[4] == payload or row[1] == NOBODY for row in rows)

    def erased(self) -> int:
        """Erasures of installs up to this number have been done here; without an inbox there is nothing to do."""
        return self._number("SELECT value FROM meta WHERE name='erased'") if self._db() is not None else sys.maxsize

    def first(self) -> int:
        """The smallest id that is there, 0 for none."""
        return self._number("SELECT min(id) FROM deliveries")

    def last(self) -> int:
        """The highest id ever given, 0 for none; the mark counts too, so a loss does not move it back."""
        mark = read_mark(self._data)
        given = self._number("SELECT seq FROM sqlite_sequence WHERE name='deliveries'")
        return max(given, mark.last if mark else 0)

    def size(self) -> int:
        """Bytes in use by live deliveries."""
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._number("PRAGMA page_size")

    def audit(self) -> Audit:
        """Every row held against its CRC and the high-water mark."""
        return audit(self._data)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _around_damage(self, db: apsw.Connection, after: int, limit: int) -> list[Delivery]:
        """Ids one by one where a page is damaged; those that cannot be read are given as damaged."""
        end = min(after + limit, self.last())
        found = {row[0]: row for row in read_range(db, after + 1, end + 1)}
        return [
            open_row(self._vault, found[id]) if id in found else Delivery(id, "", None, 0)
            for id in range(after + 1, end + 1)
        ]

    def _number(self, sql: str) -> int:
        db = self._db()
        if db is None:
            return 0
        try:
            found = rows(db, sql)
            return int(found[0][0] or 0) if found else 0
        except apsw.CorruptError:
            return 0

    def _db(self) -> apsw.Connection | None:
        if self._open is None:
            try:
                self._open = open_for_reading(self._data)
                self._open.execute("SELECT 1 FROM deliveries LIMIT 1").fetchall()
            except (apsw.CantOpenError, apsw.SQLError):  # not made yet, or without its tables yet
                self.close()
        return self._open
