"""Late texts: records that wait until an alias names their anonymous id or category, or until it is too late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from misoflow.store import people
from misoflow.store.parts import write_part
from misoflow.store.targets import target_skipped
from misoflow.store.tx import Tx
from misoflow.store.values import Piece

SETTLE_MS = 60_000
"""How long a record with a late text waits for its alias."""
NO_IDENTITY = "no identity: the alias it waited for did not come"
NO_CATEGORY = "names a category that the instance does not know"


def bound(tx: Tx, env: int, instance: int, piece: Piece) -> Piece | None:
    """The piece with its late texts put in, if the aliases of all of them came first."""
    texts = _texts(tx, {late.field: late.keys for late in piece.late})
    return Piece(_named(tx, env, instance, piece.body, texts), piece.claim) if len(texts) == len(piece.late) else None


def wait(tx: Tx, env: int, event: int, piece: Piece, now: int) -> None:
    """Put a record aside until its aliases come, as one target of its event."""
    late = tx.one(
        "INSERT INTO late(event, env, due, body) VALUES(?,?,?,?) RETURNING id",
        (event, env, now + SETTLE_MS, tx.seal(piece.body, b"late")),
    )
    tx.db.executemany(
        "INSERT OR IGNORE INTO late_keys VALUES(?,?,?,?)",
        [(key, late, one.field, place) for one in piece.late for place, key in enumerate(one.keys)],
    )


def bind(tx: Tx, instance: int, key: bytes, text: str, now: int) -> None:
    """Remember an alias, and let go of the records that waited for nothing else."""
    tx.db.execute(
        "INSERT OR REPLACE INTO aliases(key, anonymous_id, created, instance) VALUES(?,?,?,?)",
        (key, tx.seal(text.encode(), b"alias"), now, instance),
    )
    for (late,) in list(tx.db.execute("SELECT DISTINCT late FROM late_keys WHERE key=?", (key,))):
        wanted = _wanted(tx, late)
        texts = _texts(tx, wanted)
        if len(texts) == len(wanted):
            _send(tx, late, texts, now)


def due(tx: Tx, now: int) -> list[tuple[int, int]]:
    """(row, event) of records that have waited long enough for their aliases."""
    return list(tx.db.execute("SELECT id, event FROM late WHERE due <= ? LIMIT 1000", (now,)))


def release(tx: Tx, late: int, now: int) -> bool:
    """Send a record with what is bound by now and else its defaults; False if it has no identity then.

    One whose category nobody knows is left out.
    """
    row = tx.db.execute("SELECT event, body FROM late WHERE id=?", (late,)).get
    if row is None:
        return True
    wanted = _wanted(tx, late)
    texts = _texts(tx, wanted)
    record = {**msgspec.json.decode(tx.open(row[1], b"late")), **texts}
    if not (record.get("user_id") or record.get("anonymous_id")):
        tx.db.execute("DELETE FROM late WHERE id=?", (late,))
        return False
    if "category" in wanted and not record.get("category"):
        tx.db.execute("DELETE FROM late WHERE id=?", (late,))
        target_skipped(tx, row[0], NO_CATEGORY)
    else:
        _send(tx, late, texts, now)
    return True


def prune(tx: Tx, before: int, limit: int) -> int:
    """Forget aliases that were last bound before that (ms); returns how many."""
    tx.db.execute(
        "DELETE FROM aliases WHERE key IN (SELECT key FROM aliases WHERE created < ? LIMIT ?)", (before, limit)
    )
    return tx.db.changes()


def _wanted(tx: Tx, late: int) -> dict[str, list[bytes]]:
    """field → its keys, the one that counts most first."""
    wanted: dict[str, list[bytes]] = {}
    for field, key in tx.db.execute("SELECT field, key FROM late_keys WHERE late=? ORDER BY place", (late,)):
        wanted.setdefault(field, []).append(key)
    return wanted


def _texts(tx: Tx, wanted: Mapping[str, Iterable[bytes]]) -> dict[str, str]:
    """field → its text, of those that have an alias."""
    found = {field: next(filter(None, (_alias(tx, key) for key in keys)), None) for field, keys in wanted.items()}
    return {field: text for field, text in found.items() if text is not None}


def _alias(tx: Tx, key: bytes) -> str | None:
    sealed = tx.one("SELECT anonymous_id FROM aliases WHERE key=?", (key,))
    return None if sealed is None else tx.open(sealed, b"alias").decode()


def _send(tx: Tx, late: int, texts: dict[str, str], now: int) -> None:
    """Move a record out of waiting, to Miso."""
    event, env, body = tx.db.execute("DELETE FROM late WHERE id=? RETURNING event, env, body", (late,)).get
    instance = tx.one("SELECT instance FROM events WHERE id=?", (event,)) or 0
    write_part(tx, env, _named(tx, env, instance, tx.open(body, b"late"), texts), event, now)


def _named(tx: Tx, env: int, instance: int, body: bytes, texts: dict[str, str]) -> bytes:
    """A record with its late texts put in; who is the same person by them is noted, for a later forget."""
    if not texts:
        return body
    record = msgspec.json.decode(body)
    if "category" in texts:
        record["category"] = [texts["category"]]
    if "anonymous_id" in texts:
        record["anonymous_id"] = texts["anonymous_id"]
        people.note_late(tx, instance, env, texts["anonymous_id"])
        if record.get("user_id"):
            pair = (b"u:" + record["user_id"].encode(), b"a:" + record["anonymous_id"].encode())
            tx.db.execute("INSERT OR IGNORE INTO links VALUES(?,?)", tuple(map(tx.vault.keyed_hash, pair)))
    return msgspec.json.encode(record)
