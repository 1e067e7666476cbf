"""Fetches that thin events asked for: one row an object, however many events wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from misoflow.store import batches
from misoflow.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Due:
    instance: str
    kind: str
    ref: str
    tries: int


def due_fetches(tx: Tx, now: int, limit: int) -> list[Due]:
    """Fetches whose time has come, of instances that are not paused."""
    rows = tx.db.execute(
        "SELECT name, kind, ref, tries FROM fetches JOIN instances ON instances.id = instance"
        " WHERE due <= ? AND paused IS NULL ORDER BY due LIMIT ?",
        (now, limit),
    )
    return [Due(*row) for row in rows]


def later_fetch(tx: Tx, fetch: Due, due: int) -> None:
    """Try again at ``due`` (ms)."""
    tx.db.execute(
        "UPDATE fetches SET due=?, tries=tries+1 WHERE instance=? AND kind=? AND ref=?",
        (due, tx.instances.id(tx.db, fetch.instance), fetch.kind, fetch.ref),
    )


def waiting_for(tx: Tx, fetch: Due) -> list[int]:
    """The events that asked for it."""
    rows = tx.db.execute(
        "SELECT event FROM fetch_waits WHERE instance=? AND kind=? AND ref=?",
        (tx.instances.id(tx.db, fetch.instance), fetch.kind, fetch.ref),
    )
    return [event for (event,) in rows]


def failed_fetch(tx: Tx, fetch: Due, reason: str, raws: dict[int, bytes], now: int) -> None:
    """The object cannot be had: the events that asked for it are dead letters."""
    where = (tx.instances.id(tx.db, fetch.instance), fetch.kind, fetch.ref)
    waiting = list(
        tx.db.execute("DELETE FROM fetch_waits WHERE instance=? AND kind=? AND ref=? RETURNING event", where)
    )
    tx.db.execute("DELETE FROM fetches WHERE instance=? AND kind=? AND ref=?", where)
    for (event,) in waiting:
        batches.kill(tx, event, "reject", reason, "$", lambda row: raws.get(row, b""), now)
