"""What is on its way for an install that is erased: parts of interactions, parts of products and users."""

from __future__ import annotations

from array import array

import msgspec

from misoflow.store import erase
from misoflow.store.keyed import Stored
from misoflow.store.schema import DONE, ERASED, IN_PART
from misoflow.store.tx import Tx

PARTS_AT_ONCE = 20
RECORDS_AT_ONCE = 1000
ASKED_AT_ONCE = 500

Place = tuple[int, str, bytes, int, str]
"""env, kind, key, instance, source of a part of a product or user."""
FIRST: Place = (-1, "", b"", -1, "")


def drop_waiting(tx: Tx, instance: int) -> None:
    """Records that wait for something, and what is still to be fetched, pulled or compared."""
    tx.db.execute("DELETE FROM late WHERE (SELECT instance FROM events WHERE events.id = late.event) = ?", (instance,))
    for table in ("fetches", "fetch_waits", "knowns", "pulls", "absents"):
        tx.db.execute(f"DELETE FROM {table} WHERE instance=?", (instance,))


def parts(tx: Tx, instance: int, after: int, *, sent: bool) -> tuple[int, bool | None]:
    """Some parts after this one without the instance's records: (the last one, whether there may be more).

    Parts that are on their way are passed over; with ``sent`` they are waited for: None, at the first of them.
    """
    rows = list(
        tx.db.execute(
            "SELECT id, instance_events, spread FROM parts WHERE id > ? ORDER BY id LIMIT ?", (after, PARTS_AT_ONCE)
        )
    )
    for part, counts, spread in rows:
        own = msgspec.msgpack.decode(counts).get(instance, 0)
        if (own or spread) and not _part(tx, instance, part, bool(own), array("Q", spread)) and sent:
            return after, None
        after = part
    return after, len(rows) == PARTS_AT_ONCE


def _part(tx: Tx, instance: int, part: int, own: bool, spread: array[int]) -> bool:
    """False when the part has records of the instance, and is on its way."""
    members = array("Q", tx.one("SELECT members FROM parts WHERE id=?", (part,)))
    mine = _of(tx, "instance=?", instance, {*members, *spread})
    if erase.is_unsent(tx, part):
        if mine:
            erase.rewrite_part(tx, part, mine)
            _erased(tx, instance, mine)
        return True
    finished = tx.one("SELECT state FROM batches JOIN parts ON batch = batches.id WHERE parts.id=?", (part,)) == DONE
    # of events that retention took nobody knows any more whose they were
    unknown = finished and len(_of(tx, "instance > ?", 0, set(spread))) < len(set(spread))
    if finished and (mine or own or unknown):
        tx.db.execute("DELETE FROM parts WHERE id=?", (part,))
    return finished or not (mine or own)


def _erased(tx: Tx, instance: int, events: set[int]) -> None:
    for event in events:
        tx.db.execute("UPDATE events SET state=?, part=NULL WHERE id=? AND state=?", (ERASED, event, IN_PART))
        if tx.db.changes():
            tx.move(instance, "pending", "erased")


def _of(tx: Tx, condition: str, value: int, events: set[int]) -> set[int]:
    """Those of these events that the condition holds for."""
    found: set[int] = set()
    ids = sorted(events)
    for at in range(0, len(ids), ASKED_AT_ONCE):
        some = ids[at : at + ASKED_AT_ONCE]
        sql = f"SELECT id FROM events WHERE {condition} AND id IN ({','.join('?' * len(some))})"
        found |= {event for (event,) in tx.db.execute(sql, (value, *some))}
    return found


def records(tx: Tx, instance: int, after: Place | None) -> tuple[Place | None, int]:
    """Take some of the instance's parts out of products and users: (how far, or None; products that are gone now)."""
    rows = _places(tx, after)
    gone = 0
    for env, kind, key, owner, source in rows:
        if owner != instance:
            continue
        where = (env, kind, key)
        others = tx.one("SELECT 1 FROM keyed_parts WHERE env=? AND kind=? AND key=? AND instance!=?", (*where, owner))
        if kind == "product" and not others:
            gone += _gone(tx, (env, kind, key, owner, source))
        else:
            tx.db.execute(
                "DELETE FROM keyed_parts WHERE env=? AND kind=? AND key=? AND instance=? AND source=?",
                (*where, owner, source),
            )
            if others:
                tx.db.execute("UPDATE keyed SET dirty=1 WHERE env=? AND kind=? AND key=?", where)
            else:  # Miso's delete of the person comes later
                erase.leave_batch(tx, env, kind, key)
                tx.db.execute("UPDATE keyed SET dirty=0, delivered=NULL WHERE env=? AND kind=? AND key=?", where)
                tx.db.execute("DELETE FROM waits WHERE env=? AND kind=? AND key=? AND batch IS NULL", where)
    return (rows[-1] if len(rows) == RECORDS_AT_ONCE else None), gone


def _gone(tx: Tx, place: Place) -> int:
    """The part says that its product is gone, so that Miso is told when it is sealed. 0 if it did already."""
    where = "env=? AND kind=? AND key=? AND instance=? AND source=?"
    part = msgspec.msgpack.decode(
        tx.open(tx.one(f"SELECT body FROM keyed_parts WHERE {where}", place), b"keyed"), type=Stored
    )
    if part.gone:
        return 0
    erase.leave_batch(tx, *place[:3])
    tx.db.execute("DELETE FROM waits WHERE env=? AND kind=? AND key=? AND batch IS NULL", place[:3])
    body = tx.seal(msgspec.msgpack.encode(Stored(part.id, part.version, {}, gone=True)), b"keyed")
    tx.db.execute(f"UPDATE keyed_parts SET body=? WHERE {where}", (body, *place))
    tx.db.execute("UPDATE keyed SET dirty=1 WHERE env=? AND kind=? AND key=?", place[:3])
    return 1


def settled(tx: Tx, instance: int, after: Place | None) -> tuple[Place | None, bool]:
    """Forget some products that Miso has deleted: (how far, whether the next one is settled too)."""
    rows = _places(tx, after)
    for place in rows:
        if place[3] != instance:
            continue
        where = place[:3]
        if tx.one("SELECT dirty = 1 OR batch IS NOT NULL FROM keyed WHERE env=? AND kind=? AND key=?", where):
            return after, False
        tx.db.execute("DELETE FROM keyed_parts WHERE env=? AND kind=? AND key=? AND instance=? AND source=?", place)
        if not tx.one("SELECT 1 FROM keyed_parts WHERE env=? AND kind=? AND key=?", where):
            tx.db.execute("DELETE FROM keyed WHERE env=? AND kind=? AND key=?", where)
        after = place
    return (rows[-1] if len(rows) == RECORDS_AT_ONCE else None), True


def _places(tx: Tx, after: Place | None) -> list[Place]:
    """The next parts in the order of the table, of whichever instance: no index by instance has to be kept."""
    return list(
        tx.db.execute(
            "SELECT env, kind, key, instance, source FROM keyed_parts"
            " WHERE (env, kind, key, instance, source) > (?,?,?,?,?)"
            " ORDER BY env, kind, key, instance, source LIMIT ?",
            (*(after or FIRST), RECORDS_AT_ONCE),
        )
    )
