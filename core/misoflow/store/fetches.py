"""Fetches that thin events asked for: one row an object, however many events wait for it.

A call serves those that waited when it began (``called``); for one that comes while it is under way the object is
read once more, as it may have changed since.
"""

from __future__ import annotations

from dataclasses import dataclass

from misoflow.effects import Fetch
from misoflow.store import batches, known
from misoflow.store.targets import target_done, target_skipped
from misoflow.store.tx import Tx

OBJECT = "instance=? AND kind=? AND ref=?"


@dataclass(frozen=True, slots=True)
class Due:
    instance: str
    kind: str
    ref: str
    tries: int


def ask(tx: Tx, instance: int, fetch: Fetch, now: int) -> None:
    """Read an object ``after`` seconds from the first that asks."""
    tx.db.execute(
        "INSERT INTO fetches(instance, kind, ref, due, tries) VALUES(?,?,?,?,0) ON CONFLICT DO UPDATE SET"
        " again = CASE WHEN calling THEN min(coalesce(again, excluded.due), excluded.due) END,"
        " due = CASE WHEN calling OR tries > 0 THEN due ELSE min(due, excluded.due) END",
        (instance, fetch.kind, fetch.id, now + int(fetch.after * 1000)),
    )


def wait(tx: Tx, instance: int, event: int, fetch: Fetch) -> None:
    """An event has the fetch as one of its targets."""
    tx.db.execute(
        "INSERT OR IGNORE INTO fetch_waits(instance, kind, ref, event) VALUES(?,?,?,?)",
        (instance, fetch.kind, fetch.id, event),
    )


def due_fetches(tx: Tx, now: int, each: int) -> list[list[Due]]:
    """Fetches whose time has come, up to ``each`` of every instance that is not paused, oldest first."""
    found = []
    for row, name in list(tx.db.execute("SELECT id, name FROM instances WHERE paused IS NULL")):
        rows = tx.db.execute(
            "SELECT kind, ref, tries FROM fetches WHERE instance=? AND due <= ? ORDER BY due LIMIT ?", (row, now, each)
        )
        found.append([Due(name, *one) for one in rows])
    return [some for some in found if some]


def begin_fetch(tx: Tx, fetch: Due) -> bool:
    """A call begins; False when nobody wants it any more."""
    where = _where(tx, fetch)
    tx.db.execute(f"UPDATE fetches SET calling=1, again=NULL WHERE {OBJECT}", where)
    wanted = tx.db.changes() > 0
    for table in ("fetch_waits", "knowns"):
        tx.db.execute(f"UPDATE {table} SET called=1 WHERE {OBJECT}", where)
    return wanted


def later_fetch(tx: Tx, fetch: Due, due: int) -> None:
    """Try again at ``due`` (ms)."""
    tx.db.execute(
        f"UPDATE fetches SET due=?, tries=tries+1, calling=0, again=NULL WHERE {OBJECT}", (due, *_where(tx, fetch))
    )


def waiting_for(tx: Tx, fetch: Due) -> list[int]:
    """The events that the call is made for."""
    rows = tx.db.execute(f"SELECT event FROM fetch_waits WHERE {OBJECT} AND called=1", _where(tx, fetch))
    return [event for (event,) in rows]


def finish_fetch(tx: Tx, name: str, kind: str, ref: str, now: int) -> None:
    """A fetch's events are committed: those that asked for it before it began are done with it."""
    where = (tx.instances.find(tx.db, name), kind, ref)
    for event in _served(tx, where):
        target_done(tx, event)
    _end(tx, where, now)


def failed_fetch(tx: Tx, fetch: Due, reason: str, raws: dict[int, bytes], now: int) -> None:
    """The object cannot be had: the events that asked for it are dead letters."""
    where = _where(tx, fetch)
    for event in _served(tx, where):
        batches.kill(tx, event, "reject", reason, "$", lambda row: raws.get(row, b""), now)
    _end(tx, where, now)


def drop(tx: Tx, instance: int, reason: str) -> None:
    """Nothing of the instance is fetched any more: what waited for it is left out."""
    for table in ("fetch_waits", "knowns"):
        for (event,) in list(tx.db.execute(f"DELETE FROM {table} WHERE instance=? RETURNING event", (instance,))):
            target_skipped(tx, event, reason)
    tx.db.execute("DELETE FROM fetches WHERE instance=?", (instance,))


def _served(tx: Tx, where: tuple[int, str, str]) -> list[int]:
    rows = tx.db.execute(f"DELETE FROM fetch_waits WHERE {OBJECT} AND called=1 RETURNING event", where)
    return [event for (event,) in list(rows)]


def _end(tx: Tx, where: tuple[int, str, str], now: int) -> None:
    """The call is over: decide on the records that waited to be known, and call again for those that came late."""
    known.answer(tx, *where, now)
    if any(tx.one(f"SELECT 1 FROM {table} WHERE {OBJECT} LIMIT 1", where) for table in ("fetch_waits", "knowns")):
        sql = f"UPDATE fetches SET due=coalesce(again, ?), again=NULL, calling=0, tries=0 WHERE {OBJECT}"
        tx.db.execute(sql, (now, *where))
    else:
        tx.db.execute(f"DELETE FROM fetches WHERE {OBJECT}", where)


def _where(tx: Tx, fetch: Due) -> tuple[int, str, str]:
    return tx.instances.find(tx.db, fetch.instance), fetch.kind, fetch.ref
