"""Builds a sound inbox out of a damaged one: all rows with a good CRC, and the ranges that are lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

from misoflow.errors import ConfigError
from misoflow.inbox.carve import carve
from misoflow.inbox.file import (
    Mark,
    inbox_path,
    mark_path,
    open_for_writing,
    open_mark,
    read_mark,
    rows,
    write_mark,
)
from misoflow.inbox.inspect import SAVED_LOG, Range, Row, audit, ranges_text, to_ranges
from misoflow.inbox.payload import open_delivery
from misoflow.inbox.writer import take_lock
from misoflow.vault import Vault, VaultError, sync_folder


@dataclass(frozen=True, slots=True)
class Report:
    """What ``repair`` did: rows that are there now, ranges that are gone, and where the damaged files lie."""

    recovered: int
    lost: list[Range]
    kept: Path | None

    @property
    def text(self) -> str:
        if self.kept is None:
            return f"the inbox is sound: {self.recovered} deliveries"
        gone = f"lost: {ranges_text(self.lost)}" if self.lost else "nothing is lost"
        return f"recovered {self.recovered} deliveries; {gone}; the damaged files are in {self.kept}"


def repair(data: Path, vault: Vault) -> Report:
    """Replace a damaged inbox by a sound one; ConfigError while ``serve`` runs or with another key.

    A lost range is noted in the new file, so that it is reported once and not at every start.
    """
    lock = take_lock(data)
    try:
        sound_rows = _sound_rows(data)
        if sound_rows is not None:
            return Report(sound_rows, [], None)
        return _rebuild(data, vault)
    finally:
        os.close(lock)


def _sound_rows(data: Path) -> int | None:
    if not inbox_path(data).exists() and not mark_path(data).exists():
        return 0
    try:
        result = audit(data)
    except apsw.Error:
        return None
    missing = not inbox_path(data).exists()
    return None if result.problem or missing or (data / SAVED_LOG).exists() else result.rows


def _rebuild(data: Path, vault: Vault) -> Report:
    mark = read_mark(data)
    workshop = data / f"inbox.damaged-{time.time_ns() // 1_000_000}"
    workshop.mkdir(mode=0o700)
    logs = [data / "inbox.db-wal", *sorted(data.glob("inbox.db-wal.*"))]
    draft = workshop / "new"
    draft.mkdir()
    ids, uid = _fill(draft, vault, carve(inbox_path(data), logs), mark)
    first = mark.first if mark else (ids[0] if ids else 1)
    last = max(mark.last if mark else 0, ids[-1] if ids else 0)
    held = set(ids)
    lost = to_ranges(id for id in range(first, last + 1) if id not in held)
    _note_lost(draft, lost, last)
    _swap(data, draft, workshop, Mark(uid, first, last))
    return Report(len(ids), lost, workshop)


def _fill(draft: Path, vault: Vault, found: Iterable[Row], mark: Mark | None) -> tuple[list[int], int]:
    """Rows into a new file, the first version of each id; returns the ids in order."""
    db, uid = open_for_writing(draft, vault)
    try:
        known = False
        db.execute("BEGIN")
        for row in found:
            if mark is not None and row[0] < mark.first:
                continue  # pruned long ago, and found in a stale page
            if not known:
                known = _opens(vault, row[4])
            db.execute("INSERT OR IGNORE INTO deliveries VALUES(?,?,?,?,?)", row)
        db.execute("COMMIT")
        ids = [id for (id,) in rows(db, "SELECT id FROM deliveries ORDER BY id")]
    finally:
        db.close()
    if ids and not known:
        raise ConfigError("engine.key", "opens none of the deliveries found; restore the key they were sealed with")
    return ids, uid


def _opens(vault: Vault, sealed: bytes) -> bool:
    try:
        open_delivery(vault, sealed)
    except VaultError:
        return False
    return True


def _note_lost(draft: Path, lost: list[Range], last: int) -> None:
    db = apsw.Connection(str(inbox_path(draft)))
    try:
        db.execute("BEGIN")
        db.executemany("INSERT INTO lost VALUES(?,?)", lost)
        db.execute("DELETE FROM sqlite_sequence WHERE name='deliveries'")
        db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES('deliveries', ?)", (last,))
        db.execute("COMMIT")
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        db.close()


def _swap(data: Path, draft: Path, workshop: Path, mark: Mark) -> None:
    """The new file takes the old one's place; a crash at any point leaves all that a second repair needs."""
    path, log = inbox_path(data), data / "inbox.db-wal"
    if log.exists():  # a log must never meet another file than its own
        log.rename(data / "inbox.db-wal.moved")
    (data / "inbox.db-shm").unlink(missing_ok=True)
    if path.exists():
        os.link(path, workshop / "inbox.db")
    os.replace(inbox_path(draft), path)
    handle = open_mark(data)
    try:
        write_mark(handle, mark)
    finally:
        os.close(handle)
    for old in data.glob("inbox.db-wal.*"):
        old.rename(workshop / old.name)
    for rest in draft.iterdir():
        rest.unlink()
    draft.rmdir()
    sync_folder(workshop)
    sync_folder(data)
