"""Pauses, halts, open circuits and the connectors' own state: what a person or a connector decides."""

from __future__ import annotations

from dataclasses import dataclass

from misoflow.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Stop:
    """Something stands still until a person acts."""

    name: str
    reason: str
    fix: str
    since: int


def pause(tx: Tx, instance: str, reason: str, fix: str, now: int) -> None:
    """Stop translating an instance; its deliveries are still taken in."""
    tx.db.execute(
        "UPDATE instances SET paused=?, fix=?, paused_at=? WHERE id=? AND paused IS NULL",
        (reason, fix, now, tx.instances.id(tx.db, instance)),
    )


def resume(tx: Tx, instance: str) -> None:
    """Go on with an instance, its open circuits included."""
    row = tx.instances.find(tx.db, instance)
    tx.db.execute("UPDATE instances SET paused=NULL, fix=NULL, paused_at=NULL WHERE id=?", (row,))
    tx.db.execute("DELETE FROM circuits WHERE instance=?", (row,))


def paused(tx: Tx) -> list[Stop]:
    rows = tx.db.execute("SELECT name, paused, fix, paused_at FROM instances WHERE paused IS NOT NULL")
    return [Stop(*row) for row in rows]


def halt(tx: Tx, env: str, reason: str, fix: str, now: int) -> None:
    """Stop sending to a Miso environment; everything waits, nothing ages out."""
    tx.db.execute(
        "UPDATE envs SET halted=?, fix=?, halted_at=coalesce(halted_at, ?) WHERE id=?",
        (reason, fix, now, tx.envs.id(tx.db, env)),
    )


def lift(tx: Tx, env: str) -> None:
    tx.db.execute("UPDATE envs SET halted=NULL, fix=NULL, halted_at=NULL WHERE id=?", (tx.envs.id(tx.db, env),))


def halted(tx: Tx) -> list[Stop]:
    rows = tx.db.execute("SELECT name, halted, fix, halted_at FROM envs WHERE halted IS NOT NULL")
    return [Stop(*row) for row in rows]


def open_circuit(tx: Tx, instance: str, topic: str, reason: str, now: int) -> None:
    tx.db.execute(
        "INSERT OR IGNORE INTO circuits VALUES(?,?,?,?)",
        (tx.instances.id(tx.db, instance), topic, now, reason),
    )


def circuits(tx: Tx) -> list[tuple[str, str, str, int]]:
    """(instance, topic, reason, since in ms)."""
    rows = tx.db.execute("SELECT name, topic, reason, opened FROM circuits JOIN instances ON instances.id = instance")
    return list(rows)


def get(tx: Tx, instance: str, name: str) -> bytes | None:
    """A connector's own value."""
    sealed = tx.one("SELECT value FROM kv WHERE instance=? AND name=?", (tx.instances.find(tx.db, instance), name))
    return None if sealed is None else tx.open(sealed, b"kv")


def put(tx: Tx, instance: str, name: str, value: bytes | None, expected: bytes | None) -> bool:
    """Compare and set: False, and nothing changed, when the present value is not ``expected``."""
    if get(tx, instance, name) != expected:
        return False
    row = tx.instances.id(tx.db, instance)
    if value is None:
        tx.db.execute("DELETE FROM kv WHERE instance=? AND name=?", (row, name))
    else:
        tx.db.execute("INSERT OR REPLACE INTO kv VALUES(?,?,?)", (row, name, tx.seal(value, b"kv")))
    return True


def meta(tx: Tx, name: str) -> object:
    """A value of the engine's own, such as the inbox offset."""
    return tx.one("SELECT value FROM meta WHERE name=?", (name,))


def set_meta(tx: Tx, name: str, value: object) -> None:
    tx.db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (name, value))
