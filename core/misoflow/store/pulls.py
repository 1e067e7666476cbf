"""Streams of history that events asked to be pulled once: one row a stream, however many asked."""

from __future__ import annotations

from typing import NamedTuple

from misoflow.effects import Pull
from misoflow.store.tx import Tx


class Due(NamedTuple):
    instance: str
    stream: str
    asked: int


def ask(tx: Tx, instance: int, pull: Pull, now: int) -> None:
    """Pull the stream ``after`` seconds from the first that asks."""
    tx.db.execute(
        "INSERT INTO pulls VALUES(?,?,?,1) ON CONFLICT DO UPDATE SET due=min(due, excluded.due), asked=asked+1",
        (instance, pull.stream, now + int(pull.after * 1000)),
    )


def due(tx: Tx, now: int) -> list[Due]:
    """Streams whose time has come, of instances that are not paused, unless they are being pulled."""
    rows = tx.db.execute(
        "SELECT name, pulls.stream, asked FROM pulls JOIN instances ON instances.id = pulls.instance"
        " WHERE due <= ? AND paused IS NULL AND NOT EXISTS(SELECT 1 FROM jobs"
        " WHERE jobs.instance = pulls.instance AND jobs.stream = pulls.stream AND state = 'open') ORDER BY due",
        (now,),
    )
    return [Due(*row) for row in rows]


def begun(tx: Tx, pull: Due) -> None:
    """The stream is being pulled; if somebody has asked meanwhile, it is once more afterwards."""
    tx.db.execute(
        "DELETE FROM pulls WHERE instance=? AND stream=? AND asked=?",
        (tx.instances.id(tx.db, pull.instance), pull.stream, pull.asked),
    )
