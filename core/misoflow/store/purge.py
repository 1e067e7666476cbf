"""Erasing an install: what it brought goes here and at Miso, in steps of one short transaction each.

``ask`` gives the install's row a neutral name at once, so that what comes from then on is another install's; under
the old name nothing is done until the erasure is through. A step may be broken off at any point: the next call of
``turn`` goes on with it. What stays is the purge's row (when, and how many), and the counters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from misoflow.crash import point
from misoflow.store import leaving, purge_people, purge_rows
from misoflow.store.people import ERASED_JOB, hash_of
from misoflow.store.tx import Tx

WHY = "what it had before is being erased"
FIX = "nothing to do: it goes on by itself"


class Next(Enum):
    """After a step: again at once, again when something else has happened, or on to the next one."""

    AGAIN = "again"
    WAIT = "wait"
    ON = "on"


@dataclass(frozen=True, slots=True)
class Purge:
    """A running erasure. ``instance`` is the row of the install, ``name`` what it was called."""

    id: int
    instance: int
    name: str
    step: str


def ask(tx: Tx, instance: str, wanted: int, now: int, *, delivery: int = 0) -> int:
    """Begin to erase an install; returns the number of the erasure. In the transaction of the event that asks.

    ``wanted`` is when the platform asked for it, in ms. ``delivery`` is the inbox's delivery that brought the
    request: it goes too, with all of the install before it.
    """
    row = tx.instances.id(tx.db, instance)
    offset = tx.one("SELECT value FROM meta WHERE name='offset'")
    number: int = tx.one(
        "INSERT INTO purges(instance, hash, name, wanted, asked, upto, step) VALUES(?,?,?,?,?,?,?) RETURNING id",
        (row, hash_of(tx, instance), instance, wanted, now, max(offset, delivery), ORDER[0]),
    )
    neutral = f"erased#{number}"  # no name that settings can have
    tx.db.execute("UPDATE instances SET name=?, paused=NULL, fix=NULL, paused_at=NULL WHERE id=?", (neutral, row))
    tx.db.execute("UPDATE jobs SET state=?, note=NULL, stuck=0 WHERE instance=?", (ERASED_JOB, row))
    tx.db.execute("DELETE FROM installs WHERE instance=?", (row,))
    tx.instances.drop(instance)
    fresh = tx.instances.id(tx.db, instance)
    tx.db.execute("UPDATE instances SET paused=?, fix=?, paused_at=? WHERE id=?", (WHY, FIX, now, fresh))
    point("purge.asked")
    return number


def running(tx: Tx) -> list[Purge]:
    """Erasures that are not finished, oldest first."""
    rows = tx.db.execute("SELECT id, instance, name, step FROM purges WHERE finished IS NULL ORDER BY id")
    return [Purge(*row) for row in rows]


def erased(tx: Tx) -> list[tuple[str, bool]]:
    """(neutral name, whether it is through) of each install that was erased."""
    if not tx.one("SELECT 1 FROM sqlite_schema WHERE name='purges'"):
        return []  # a file of version 1, looked at before its owner opened it
    rows = tx.db.execute("SELECT instances.name, finished FROM purges JOIN instances ON instances.id = instance")
    return [(name, finished is not None) for name, finished in rows]


def is_known(tx: Tx, instance: str) -> bool:
    """Whether the store has anything under this name that is not being erased already."""
    return bool(tx.one("SELECT 1 FROM instances WHERE name=? AND paused IS NOT ?", (instance, WHY)))


def turn(tx: Tx, purge: Purge, now: int) -> Next:
    """One transaction of a step of the store's own."""
    after = _STEPS[purge.step](tx, purge, now)
    point(f"purge.{purge.step}")
    if after is Next.ON:
        passed(tx, purge)
    return after


def passed(tx: Tx, purge: Purge) -> None:
    """The step is through: on to the next."""
    step = ORDER[ORDER.index(purge.step) + 1]
    tx.db.execute("UPDATE purges SET step=?, cursor=NULL WHERE id=?", (step, purge.id))
    point(f"purge.after_{purge.step}")


def finish(tx: Tx, purge: Purge, now: int) -> None:
    """Nothing names the install any more; the log of the file is truncated too."""
    tx.db.execute("UPDATE purges SET step='done', finished=? WHERE id=?", (now, purge.id))


def _unsent(tx: Tx, purge: Purge, now: int) -> Next:
    """Nothing more of it goes out: records that wait, and parts that no request has carried yet."""
    cursor = _cursor(tx, purge, 0)
    if not cursor:
        leaving.drop_waiting(tx, purge.instance)
    cursor, left = leaving.parts(tx, purge.instance, cursor, sent=False)
    return _moved(tx, purge, cursor, more=left)


def _records(tx: Tx, purge: Purge, now: int) -> Next:
    """Its parts of products and users: what nobody else feeds is deleted at Miso."""
    cursor, products = leaving.records(tx, purge.instance, _cursor(tx, purge, None))
    tx.db.execute("UPDATE purges SET products=products+? WHERE id=?", (products, purge.id))
    return _moved(tx, purge, cursor, more=cursor is not None)


def _people(tx: Tx, purge: Purge, now: int) -> Next:
    """Its people at Miso, a thousand at a time: everything of other instances waits behind each of these batches."""
    batch, asked = tx.db.execute("SELECT batch, asked FROM purges WHERE id=?", (purge.id,)).get
    if batch is not None:
        if not purge_people.is_answered(tx, batch):
            return Next.WAIT
        purge_people.forgotten(tx, purge.instance, _cursor(tx, purge, None))
        tx.db.execute("UPDATE purges SET batch=NULL WHERE id=?", (purge.id,))
        return Next.AGAIN
    chosen = purge_people.forget(tx, purge.instance, asked, now)
    if chosen is None:
        return Next.ON
    tx.db.execute(
        "UPDATE purges SET batch=?, cursor=?, users=users+?, visitors=visitors+? WHERE id=?",
        (chosen.batch, msgspec.msgpack.encode(chosen.last), chosen.users, chosen.visitors, purge.id),
    )
    return Next.WAIT


def _sent(tx: Tx, purge: Purge, now: int) -> Next:
    """What was on its way when the erasure began, once it is settled."""
    cursor, left = leaving.parts(tx, purge.instance, _cursor(tx, purge, 0), sent=True)
    if left is None:
        _moved(tx, purge, cursor, more=True)
        return Next.WAIT
    return _moved(tx, purge, cursor, more=left)


def _gone(tx: Tx, purge: Purge, now: int) -> Next:
    """Its products, once Miso has deleted them."""
    cursor, settled = leaving.settled(tx, purge.instance, _cursor(tx, purge, None))
    if not settled:
        _moved(tx, purge, cursor, more=True)
        return Next.WAIT
    return _moved(tx, purge, cursor, more=cursor is not None)


def _rows(tx: Tx, purge: Purge, now: int) -> Next:
    """Everything else here, events first."""
    more = (
        purge_rows.events(tx, purge.instance)
        or purge_rows.history(tx, purge.instance)
        or purge_rows.bodies(tx)
        or purge_rows.others(tx, purge.instance, purge.name)
    )
    return Next.AGAIN if more else Next.ON


def _name(tx: Tx, purge: Purge, now: int) -> Next:
    """The name itself; what came under it meanwhile goes on."""
    purge_rows.fold(tx, purge.id, purge.instance)
    tx.db.execute("UPDATE purges SET name=NULL WHERE id=?", (purge.id,))
    if tx.one("SELECT 1 FROM purges WHERE name=?", (purge.name,)):
        return Next.ON  # it is erased a second time already, which is not through
    fresh = tx.instances.id(tx.db, purge.name)
    tx.db.execute("UPDATE instances SET paused=NULL, fix=NULL, paused_at=NULL WHERE id=? AND paused=?", (fresh, WHY))
    purge_rows.drop_unused(tx, fresh, purge.name)
    return Next.ON


_STEPS: dict[str, Callable[[Tx, Purge, int], Next]] = {
    "unsent": _unsent,
    "records": _records,
    "people": _people,
    "sent": _sent,
    "gone": _gone,
    "rows": _rows,
    "name": _name,
}
ORDER = ("unsent", "records", "people", "sent", "gone", "rows", "inbox", "name", "log")
"""``inbox`` and ``log`` are passed by who sees that the inbox is blanked and that the log is empty."""


def _cursor(tx: Tx, purge: Purge, start: Any) -> Any:
    packed = tx.one("SELECT cursor FROM purges WHERE id=?", (purge.id,))
    return start if packed is None else msgspec.msgpack.decode(packed)


def _moved(tx: Tx, purge: Purge, cursor: object, *, more: bool | None) -> Next:
    tx.db.execute("UPDATE purges SET cursor=? WHERE id=?", (msgspec.msgpack.encode(cursor), purge.id))
    return Next.AGAIN if more else Next.ON
