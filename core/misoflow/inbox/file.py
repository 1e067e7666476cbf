"""inbox.db and the high-water mark beside it: tables, opening, refusals.

The mark is a small file of its own, fsynced after every commit. SQLite drops the damaged end of a write-ahead
log without a word, so only a second witness shows that acknowledged deliveries are missing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from misoflow.errors import ConfigError, MisoflowError
from misoflow.vault import Vault, sync_folder

APPLICATION_ID = 0x6D697369  # "misi"
VERSION = 1
BUSY_MS = 4000
PAGE = 4096
NOBODY = "erased"
"""The instance of a delivery that was blanked."""

TABLES = """
CREATE TABLE deliveries(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL, received_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lost(first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
"""

_MARK = struct.Struct("<4sqqq")
_MAGIC = b"mism"
_CRC = struct.Struct("<I")
_SQLITE_MAGIC = b"SQLite format 3\x00"


class InboxFull(MisoflowError):
    """There is no room for another delivery: the configured size or the disk is used up."""


class InboxUnavailable(MisoflowError):
    """The inbox cannot take deliveries at this moment: it is locked, failing, or too many are waiting."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Every id from ``first`` to ``last`` was committed to the file ``uid`` and not pruned."""

    uid: int
    first: int
    last: int

    def pack(self) -> bytes:
        body = _MARK.pack(_MAGIC, self.uid, self.first, self.last)
        return body + _CRC.pack(zlib.crc32(body))


def inbox_path(data: Path) -> Path:
    return data / "inbox.db"


def mark_path(data: Path) -> Path:
    return data / "inbox.mark"


def read_mark(data: Path) -> Mark | None:
    """The high-water mark, or None where it is absent or damaged."""
    try:
        raw = mark_path(data).read_bytes()
    except FileNotFoundError:
        return None
    size = _MARK.size
    if len(raw) != size + _CRC.size or _CRC.unpack(raw[size:])[0] != zlib.crc32(raw[:size]):
        return None
    magic, uid, first, last = _MARK.unpack(raw[:size])
    return Mark(uid, first, last) if magic == _MAGIC else None


def open_mark(data: Path) -> int:
    """A handle for ``write_mark``; the file is made if absent."""
    path = mark_path(data)
    fresh = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if fresh:
        sync_folder(data)
    return handle


def write_mark(handle: int, mark: Mark) -> None:
    """Durable on return; the same few bytes are overwritten, so that a full disk does not matter."""
    os.pwrite(handle, mark.pack(), 0)
    os.fdatasync(handle)


def refuse_foreign(data: Path, vault: Vault) -> None:
    """Raise ConfigError for a file that is not ours, newer, gone, or of another key; changes nothing."""
    path = inbox_path(data)
    if not path.exists():
        mark = read_mark(data)
        if mark is not None and mark.last >= mark.first:
            problem = "is gone, though deliveries were acknowledged; restore it, or run: misoflow repair"
            raise ConfigError(str(path), problem)
        return
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    if not head:
        return
    if not head.startswith(_SQLITE_MAGIC) or len(head) < 100:
        raise ConfigError(str(path), "is damaged or no inbox of misoflow; run: misoflow repair")
    version, application = int.from_bytes(head[60:64], "big"), int.from_bytes(head[68:72], "big")
    if application != APPLICATION_ID:
        raise ConfigError(str(path), "is damaged or no inbox of misoflow; run: misoflow repair")
    if version != VERSION:
        newer = f"was written by another misoflow (inbox version {version}, this one knows {VERSION})"
        raise ConfigError(str(path), f"{newer}; install that version or name another folder in engine.data")
    if not os.access(path, os.W_OK) or not os.access(data, os.W_OK):
        raise ConfigError(str(path), "cannot be written; give this user the right to write it")
    with contextlib.suppress(apsw.Error), contextlib.closing(_open_unchanged(data)) as db:
        _refuse_other_key(path, vault, _meta(db, "key_check"))


def open_for_writing(data: Path, vault: Vault) -> tuple[apsw.Connection, int]:
    """The owner's connection and the file's uid; the file is made if absent. Raises ConfigError."""
    path = inbox_path(data)
    db: apsw.Connection | None = None
    try:
        data.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists() or path.stat().st_size == 0
        db = apsw.Connection(str(path))
        db.set_busy_timeout(BUSY_MS)
        if fresh:
            _create(db, path, vault)
        rows(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON")
        # The writer checkpoints after it has answered, never inside a commit that somebody waits for.
        rows(db, "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=4194304; PRAGMA cache_size=-8192")
        check, uid = _meta(db, "key_check"), _meta(db, "uid")
        _refuse_other_key(path, vault, check)
        if check != vault.check_value():
            rows(db, "UPDATE meta SET value=? WHERE name='key_check'", (vault.check_value(),))
    except ConfigError:
        if db is not None:
            db.close()
        raise
    except (apsw.Error, OSError) as error:
        if db is not None:
            db.close()
        raise ConfigError(str(path), f"cannot be used: {error}; run: misoflow repair") from None
    return db, uid


def _open_unchanged(data: Path) -> apsw.Connection:
    """To look without leaving a trace: even reading makes SQLite put a log and an index beside the file."""
    log = data / "inbox.db-wal"
    if log.exists() and log.stat().st_size:
        return open_for_reading(data)
    uri = inbox_path(data).absolute().as_uri() + "?immutable=1"
    return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def _refuse_other_key(path: Path, vault: Vault, check: Any) -> None:
    if not isinstance(check, bytes) or not vault.knows(check):
        problem = f"is not the key that {path} was written with; restore it (engine.old_key may name it)"
        raise ConfigError("engine.key", problem)


def _meta(db: apsw.Connection, name: str) -> Any:
    found = rows(db, "SELECT value FROM meta WHERE name=?", (name,))
    return found[0][0] if found else None


def _create(db: apsw.Connection, path: Path, vault: Vault) -> None:
    rows(db, f"PRAGMA page_size={PAGE}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=FULL")
    # Set in rollback mode, so that the main file carries them from the start.
    with db:
        rows(db, f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}")
        rows(db, TABLES)
        rows(db, "INSERT INTO meta VALUES('key_check', ?)", (vault.check_value(),))
        rows(db, "INSERT INTO meta VALUES('uid', ?)", (secrets.randbits(62),))
    os.chmod(path, 0o600)
    sync_folder(path.parent)


def rows(db: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """Run every statement in ``sql``, and all their rows. (apsw stops at the first row until it is asked.)"""
    return db.execute(sql, values or None).fetchall()


def open_for_reading(data: Path) -> apsw.Connection:
    """A read-only connection, which never checkpoints; apsw.CantOpenError if there is no inbox yet."""
    db = apsw.Connection(str(inbox_path(data)), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(BUSY_MS)
    return db
