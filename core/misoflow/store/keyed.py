"""Products and users: each source's part is kept, the full record is their merge, and Miso gets that.

Precedence: field by field the newest version wins; of equal versions the instance named later in the
alphabet, then the source named later. A list that sources share holds the items of each. Miso replaces a
record whole, so a part is never sent alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from misoflow.store import types
from misoflow.store.schema import SEALED
from misoflow.store.targets import target_done
from misoflow.store.tx import Tx
from misoflow.store.values import Part

MAX_RECORDS = 100
GROUP = "\x1f"
"""What the source of a group's part begins with (its name follows), as no source of a connector's may."""
ID_FIELD = {"product": "product_id", "user": "user_id"}
UPLOAD = {"product": "products", "user": "users"}
NESTED = "custom_attributes"


class Stored(msgspec.Struct):
    """One source's part as kept: each field with the version that set it."""

    id: str
    version: Any
    fields: dict[str, tuple[Any, Any]]
    gone: bool = False
    unite: tuple[str, ...] = ()


def put(tx: Tx, env: int, instance: int, event: int, part: Part) -> int:
    """Fold a part in. 1 if the event now waits for the record to reach Miso, 0 if the part was stale."""
    where = (env, part.kind, part.key, instance, part.source)
    old = stored(tx, *where)
    if old is not None and (part.whole or part.gone or old.gone) and newer(old.version, part.version):
        return 0
    if old is None and part.remove and part.fields.keys() <= {ID_FIELD[part.kind]}:
        return 0  # nothing is there to be cleared, and a record of an id alone would be made of it
    new = fold(old, part)
    tx.db.execute(
        "INSERT OR REPLACE INTO keyed_parts VALUES(?,?,?,?,?,?)",
        (*where, tx.seal(msgspec.msgpack.encode(new), b"keyed")),
    )
    tx.db.execute(
        "INSERT INTO keyed(env, kind, key, dirty) VALUES(?,?,?,1) ON CONFLICT DO UPDATE SET dirty=1",
        (env, part.kind, part.key),
    )
    tx.db.execute(
        "INSERT INTO waits(event, env, kind, key) VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET batch=NULL",
        (event, env, part.kind, part.key),
    )
    return 1


def stored(tx: Tx, env: int, kind: str, key: bytes, instance: int, source: str) -> Stored | None:
    """A source's part, if it has one."""
    sealed = tx.one(
        "SELECT body FROM keyed_parts WHERE env=? AND kind=? AND key=? AND instance=? AND source=?",
        (env, kind, key, instance, source),
    )
    return _opened(tx, sealed) if sealed else None


def is_held(tx: Tx, env: int, kind: str, key: bytes, instance: int) -> bool:
    """Whether the instance has a part of the record that is not gone."""
    sql = "SELECT body FROM keyed_parts WHERE env=? AND kind=? AND key=? AND instance=?"
    rows = list(tx.db.execute(sql, (env, kind, key, instance)))
    return any(not _opened(tx, body).gone for (body,) in rows)


def fold(old: Stored | None, part: Part) -> Stored:
    """A source's stored part after ``part``."""
    flat = flatten(part.fields)
    fields = {name: (value, part.version) for name, value in flat.items()}
    if part.gone:
        return Stored(part.id, part.version, {}, gone=True)
    if part.whole or old is None or old.gone:
        fields |= dict.fromkeys(part.remove, (None, part.version))
        return Stored(part.id, part.version, fields, unite=part.unite)
    merged = dict(old.fields)
    for name, (value, version) in {**fields, **dict.fromkeys(part.remove, (None, part.version))}.items():
        if name not in merged or not newer(merged[name][1], version):
            merged[name] = (value, version)
    latest = old.version if newer(old.version, part.version) else part.version
    return Stored(part.id, latest, merged, unite=tuple(sorted({*old.unite, *part.unite})))


def empty(tx: Tx, env: int, kind: str, key: bytes, instance: int, source: str) -> None:
    """Take every field out of a source's part; the record without them goes to Miso, and no event waits for it."""
    where = (env, kind, key, instance, source)
    part = stored(tx, *where)
    if part is None:
        return
    part.fields = {name: (None, version) for name, (_, version) in part.fields.items()}
    tx.db.execute(
        "UPDATE keyed_parts SET body=? WHERE env=? AND kind=? AND key=? AND instance=? AND source=?",
        (tx.seal(msgspec.msgpack.encode(part), b"keyed"), *where),
    )
    tx.db.execute("UPDATE keyed SET dirty=1 WHERE env=? AND kind=? AND key=?", (env, kind, key))


def newer(a: Any, b: Any) -> bool:
    """Whether version a is strictly newer than b; of mixed types the text forms decide."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a > b
    return str(a) > str(b)


def flatten(fields: dict[str, Any]) -> dict[str, Any]:
    """Custom attributes become fields of their own, so that two sources can each set some."""
    flat = {name: value for name, value in fields.items() if name != NESTED}
    for name, value in (fields.get(NESTED) or {}).items():
        flat[f"{NESTED}.{name}"] = value
    return flat


def merged(tx: Tx, env: int, kind: str, key: bytes) -> tuple[str, dict[str, Any] | None]:
    """The record's id and its full record, or None when no source has it any more."""
    rows = tx.db.execute(
        "SELECT instance, source, body FROM keyed_parts JOIN instances ON instances.id = instance"
        " WHERE env=? AND kind=? AND key=? ORDER BY instances.name, source",
        (env, kind, key),
    )
    parts = _of_newest_group([(one, source, _opened(tx, body)) for one, source, body in list(rows)])
    best: dict[str, tuple[Any, Any]] = {}
    for part in parts:
        for name, (value, version) in part.fields.items():
            if name not in best or not newer(best[name][1], version):
                best[name] = (value, version)
    for name in {name for part in parts for name in part.unite}:
        best[name] = (_united(part.fields[name][0] for part in parts if name in part.fields), None)
    if all(part.gone for part in parts):
        return (parts[0].id if parts else "", None)
    record: dict[str, Any] = {ID_FIELD[kind]: parts[-1].id}
    custom: dict[str, Any] = {}
    for name in sorted(best):
        value = best[name][0]
        if value is None or name == ID_FIELD[kind]:
            continue
        if name.startswith(NESTED + "."):
            custom[name[len(NESTED) + 1 :]] = value
        else:
            record[name] = value
    if custom:
        record[NESTED] = custom
    return parts[-1].id, record


def _opened(tx: Tx, body: bytes) -> Stored:
    return msgspec.msgpack.decode(tx.open(body, b"keyed"), type=Stored)


def _of_newest_group(found: list[tuple[int, str, Stored]]) -> list[Stored]:
    """The parts that count: a record that moved between groups of an instance is as the newest one has it."""
    newest: dict[int, tuple[int, str]] = {}
    for instance, source, part in found:
        if source.startswith(GROUP) and not part.gone:
            newest[instance] = max(newest.get(instance, (0, "")), (part.version, source))
    return [
        part
        for instance, source, part in found
        if not source.startswith(GROUP) or instance not in newest or newest[instance][1] == source
    ]


def _united(shares: Iterable[Any]) -> list[str | int | float] | None:
    lists = [share for share in shares if isinstance(share, list)]
    items = {item for share in lists for item in share if isinstance(item, str | int | float)}
    return sorted(items, key=str) or None


Check = Callable[[str, dict[str, Any]], str | None]
"""(kind, full record) -> why Miso would refuse it, or None."""


def seal(tx: Tx, env: int, kind: str, check: Check, now: int) -> list[tuple[int, str]]:
    """Make batches of the dirty records of one kind; at most one batch in flight holds a record.

    Returns (event, reason) of events whose merged record Miso would refuse.
    """
    rows = list(
        tx.db.execute(
            "SELECT key, delivered FROM keyed WHERE env=? AND kind=? AND dirty=1 AND batch IS NULL LIMIT ?",
            (env, kind, MAX_RECORDS),
        )
    )
    uploads: list[tuple[bytes, bytes]] = []
    removals: list[tuple[bytes, bytes]] = []
    refused: list[tuple[int, str]] = []
    for key, delivered in rows:
        record_id, record = merged(tx, env, kind, key)
        if record is not None:
            record = types.fit(tx, env, kind, record)
        body = msgspec.json.encode(record, order="sorted") if record is not None else record_id.encode()
        digest = hashlib.sha256(body).digest()[:16] if record is not None else b""
        why = check(kind, record) if record is not None else None
        if why is not None:
            refused += [(event, why) for event in _waiting(tx, env, kind, key)]
            tx.db.execute("DELETE FROM waits WHERE env=? AND kind=? AND key=? AND batch IS NULL", (env, kind, key))
            tx.db.execute("UPDATE keyed SET dirty=0 WHERE env=? AND kind=? AND key=?", (env, kind, key))
        elif delivered == digest:
            settle(tx, env, kind, key, None, digest)
            tx.db.execute("UPDATE keyed SET dirty=0 WHERE env=? AND kind=? AND key=?", (env, kind, key))
        else:
            (removals if record is None else uploads).append((key, body))
    _write(tx, env, kind, UPLOAD[kind], uploads, now)
    _write(tx, env, kind, f"delete_{UPLOAD[kind]}", removals, now)
    return refused


def _waiting(tx: Tx, env: int, kind: str, key: bytes) -> list[int]:
    rows = tx.db.execute("SELECT event FROM waits WHERE env=? AND kind=? AND key=? AND batch IS NULL", (env, kind, key))
    return [event for (event,) in rows]


def _write(tx: Tx, env: int, kind: str, batch_kind: str, rows: list[tuple[bytes, bytes]], now: int) -> None:
    if not rows:
        return
    todo = msgspec.json.encode([[(0, len(rows))]]).decode()
    batch = tx.one(
        "INSERT INTO batches(env, kind, state, n, todo, body, created) VALUES(?,?,?,?,?,?,?) RETURNING id",
        (env, batch_kind, SEALED, len(rows), todo, tx.seal(b"\n".join(b for _, b in rows), b"batch"), now),
    )
    for position, (key, body) in enumerate(rows):
        digest = b"" if batch_kind.startswith("delete") else hashlib.sha256(body).digest()[:16]
        tx.db.execute(
            "UPDATE keyed SET dirty=0, batch=?, position=?, sending=? WHERE env=? AND kind=? AND key=?",
            (batch, position, digest, env, kind, key),
        )
        tx.db.execute(
            "UPDATE waits SET batch=? WHERE env=? AND kind=? AND key=? AND batch IS NULL",
            (batch, env, kind, key),
        )


def settle(tx: Tx, env: int, kind: str, key: bytes, batch: int | None, digest: bytes) -> None:
    """Miso holds the record as sent: its waiting events have reached one target."""
    rows = list(
        tx.db.execute(
            "DELETE FROM waits WHERE env=? AND kind=? AND key=? AND batch IS ? RETURNING event",
            (env, kind, key, batch),
        )
    )
    for (event,) in rows:
        target_done(tx, event)
    tx.db.execute(
        "UPDATE keyed SET delivered=?, batch=NULL, sending=NULL, position=NULL WHERE env=? AND kind=? AND key=?",
        (digest, env, kind, key),
    )


def in_batch(tx: Tx, batch: int) -> dict[int, tuple[int, str, bytes, bytes]]:
    """position -> (env, kind, key, digest as sent) of a batch of products or users."""
    rows = tx.db.execute("SELECT position, env, kind, key, sending FROM keyed WHERE batch=?", (batch,))
    return {position: (env, kind, key, sending) for position, env, kind, key, sending in rows}


def events_of(tx: Tx, batch: int, positions: set[int]) -> list[int]:
    """The events that wait for the records at these positions of a batch."""
    return [
        event
        for position, (env, kind, key, _) in in_batch(tx, batch).items()
        if position in positions
        for (event,) in tx.db.execute(
            "SELECT event FROM waits WHERE env=? AND kind=? AND key=? AND batch=?", (env, kind, key, batch)
        )
    ]


def refuse(tx: Tx, batch: int, env: int, kind: str, key: bytes) -> list[int]:
    """Miso refused this record: its events are returned, and it is not sent again until it changes."""
    rows = list(
        tx.db.execute(
            "DELETE FROM waits WHERE env=? AND kind=? AND key=? AND batch=? RETURNING event",
            (env, kind, key, batch),
        )
    )
    tx.db.execute(
        "UPDATE keyed SET batch=NULL, sending=NULL, position=NULL WHERE env=? AND kind=? AND key=?",
        (env, kind, key),
    )
    return [event for (event,) in rows]


class Full(msgspec.Struct, frozen=True):
    """A product or user as all its parts make it; no record: no source has it any more."""

    kind: str
    id: str
    record: dict[str, Any] | None


def take(tx: Tx, env: int) -> list[Full]:
    """What was put since the last time, for somebody else than Miso; nobody waits for it."""
    rows = list(tx.db.execute("SELECT kind, key FROM keyed WHERE env=? AND dirty=1 AND batch IS NULL", (env,)))
    found = [Full(kind, *merged(tx, env, kind, key)) for kind, key in rows]
    tx.db.execute("UPDATE keyed SET dirty=0 WHERE env=? AND dirty=1 AND batch IS NULL", (env,))
    tx.db.execute("DELETE FROM waits WHERE env=? AND event=0", (env,))
    return found
