"""What the store knows of events: seen before or not, dead letters, holds, counts, retention."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from misoflow.crash import point
from misoflow.store.schema import DEAD, DELIVERED, DONE, ERASED, HELD, IN_PART, SKIPPED, SUPPRESSED
from misoflow.store.tx import Tx
from misoflow.store.values import DeadLetter, EventState, Known, Progress

VISIBLE: dict[int, EventState] = {
    DELIVERED: "delivered",
    SKIPPED: "skipped",
    SUPPRESSED: "suppressed",
    ERASED: "erased",
    DEAD: "dead",
}
STATE_SQL = f"""CASE events.state
    WHEN {DELIVERED} THEN 'delivered' WHEN {SKIPPED} THEN 'skipped' WHEN {SUPPRESSED} THEN 'suppressed'
    WHEN {ERASED} THEN 'erased' WHEN {DEAD} THEN 'dead'
    WHEN {IN_PART} THEN CASE WHEN parts.id IS NULL OR batches.state = {DONE} THEN 'delivered' ELSE 'pending' END
    ELSE 'pending' END"""
ASKED_AT_ONCE = 500
JOINED = "events LEFT JOIN parts ON parts.id = events.part LEFT JOIN batches ON batches.id = parts.batch"


def known(tx: Tx, wanted: list[tuple[str, bytes]]) -> dict[tuple[str, bytes], Known]:
    """Which of these (instance, event hash) have been seen, and how they stand.

    A dead event of which something is still on its way counts as pending: it is not tried again yet.
    """
    found: dict[tuple[str, bytes], Known] = {}
    by_name: dict[str, list[bytes]] = {}
    for name, digest in wanted:
        by_name.setdefault(name, []).append(digest)
    for name, hashes in by_name.items():
        instance = tx.instances.find(tx.db, name)
        for at in range(0, len(hashes), ASKED_AT_ONCE):
            some = hashes[at : at + ASKED_AT_ONCE]
            rows = tx.db.execute(
                "SELECT hash, id, state, left, received FROM events"
                f" WHERE instance=? AND hash IN ({','.join('?' * len(some))})",
                (instance, *some),
            )
            for digest, *row in list(rows):
                found[name, digest] = _known(tx, *row)
    return found


def _known(tx: Tx, event: int, code: int, left: int, received: int) -> Known:
    state = VISIBLE.get(code, "pending")
    if state != "dead":
        return Known(event, state, frozenset(), received)
    return Known(event, "pending" if left > 0 else "dead", confirmed_of(tx, event), received)


def fates(tx: Tx, instance: str, hashes: list[bytes]) -> dict[bytes, tuple[str, str, str]]:
    """event hash -> (state, reason, path) of those that are known; reason and path are a dead letter's."""
    found: dict[bytes, tuple[str, str, str]] = {}
    for at in range(0, len(hashes), ASKED_AT_ONCE):
        some = hashes[at : at + ASKED_AT_ONCE]
        rows = tx.db.execute(
            f"SELECT hash, {STATE_SQL}, coalesce(dead.reason, ''), coalesce(dead.path, '') FROM {JOINED}"
            " JOIN instances ON instances.id = events.instance LEFT JOIN dead ON dead.event = events.id"
            f" WHERE instances.name=? AND hash IN ({','.join('?' * len(some))})",
            (instance, *some),
        )
        found |= {digest: (state, reason, path) for digest, state, reason, path in rows}
    return found


def confirmed_of(tx: Tx, event: int) -> frozenset[bytes]:
    rows = tx.db.execute("SELECT digest FROM confirmed WHERE event=?", (event,))
    return frozenset(digest for (digest,) in rows)


def dead_letters(
    tx: Tx, ids: list[int] | None = None, instance: str | None = None, limit: int = 100, after: int = 0
) -> list[DeadLetter]:
    """Dead letters by number, or all of an instance, oldest first."""
    where: list[str] = ["dead.id > ?"]
    values: list[int | str] = [after]
    if ids is not None:
        where.append(f"dead.id IN ({','.join('?' * len(ids))})")
        values += ids
    if instance is not None:
        where.append("instances.name = ?")
        values.append(instance)
    rows = tx.db.execute(
        "SELECT dead.id, instances.name, words.word, kind, dead.reason, path, created, event,"
        " delivery, left > 0, raw FROM dead"
        " JOIN events ON events.id = event JOIN instances ON instances.id = events.instance"
        f" JOIN words ON words.id = topic WHERE {' AND '.join(where)} ORDER BY dead.id LIMIT ?",
        (*values, limit),
    )
    return [_letter(tx, *row) for row in list(rows)]


def _letter(tx: Tx, *row: Any) -> DeadLetter:
    number, name, topic, kind, reason, path, created, event, delivery, in_flight, raw = row
    return DeadLetter(
        id=number,
        instance=name,
        topic=topic,
        kind=kind,
        reason=reason,
        path=path,
        created=created,
        event=event,
        delivery=delivery,
        in_flight=bool(in_flight),
        raw=tx.open(raw, b"dead"),
        confirmed=confirmed_of(tx, event),
    )


def is_dead(tx: Tx, event: int) -> bool:
    """Whether the event is a dead letter still."""
    return bool(tx.one("SELECT state = ? FROM events WHERE id=?", (DEAD, event)))


def last_dead(tx: Tx) -> int:
    """The highest number a dead letter has; a retry that fails again gets a higher one."""
    return tx.one("SELECT max(id) FROM dead") or 0


def discard(tx: Tx, ids: list[int], reason: str) -> int:
    """A person gives these dead letters up: their events are skipped, with that reason."""
    n = 0
    for dead in ids:
        row = tx.db.execute(
            "SELECT event, instance FROM dead JOIN events ON events.id = event WHERE dead.id=?", (dead,)
        ).get
        if row is None:
            continue
        tx.db.execute("DELETE FROM dead WHERE id=?", (dead,))
        tx.db.execute("UPDATE events SET state=?, reason=? WHERE id=?", (SKIPPED, tx.words.id(tx.db, reason), row[0]))
        tx.move(row[1], "dead", "skipped")
        n += 1
    return n


def held_deliveries(tx: Tx, instance: str, limit: int) -> list[int]:
    """Deliveries put aside while the instance was paused, oldest first."""
    rows = tx.db.execute(
        "SELECT delivery FROM held WHERE instance=? ORDER BY delivery LIMIT ?",
        (tx.instances.find(tx.db, instance), limit),
    )
    return [delivery for (delivery,) in rows]


def held_events(tx: Tx, instance: str, limit: int) -> list[tuple[int, bytes, str, int]]:
    """(row, event hash, topic, delivery) of an instance's events that wait behind an open circuit."""
    rows = tx.db.execute(
        "SELECT events.id, hash, word, delivery FROM events JOIN words ON words.id = topic"
        " WHERE state=? AND instance=? ORDER BY events.id LIMIT ?",
        (HELD, tx.instances.find(tx.db, instance), limit),
    )
    return list(rows)


def raw_places(tx: Tx, rows: list[int]) -> dict[int, tuple[str, bytes, int, bytes | None]]:
    """row -> (instance, event hash, delivery, packed event if the store kept it) for dead letters to come.

    A record may be on its way still when its event's row is gone, erased with its install.
    """
    found = {}
    for row in rows:
        place = tx.db.execute(
            "SELECT name, hash, delivery, raw FROM events JOIN instances ON instances.id = events.instance"
            " LEFT JOIN raws ON raws.event = events.id WHERE events.id=?",
            (row,),
        ).get
        if place is not None:
            name, digest, delivery, raw = place
            found[row] = (name, digest, delivery, tx.open(raw, b"dead") if raw else None)
    return found


def recount(tx: Tx) -> list[tuple[str, str, int, int]]:
    """(instance, state, counter, true count) wherever a counter differs from its rows; [] when all is well."""
    true: dict[tuple[int, str], int] = {}
    for instance, state, n in tx.db.execute(
        f"SELECT events.instance, {STATE_SQL} AS s, count(*) FROM {JOINED} GROUP BY events.instance, s"
    ):
        true[instance, state] = n
        true[instance, "accepted"] = true.get((instance, "accepted"), 0) + n
    for instance, n in tx.db.execute("SELECT instance, count(*) FROM held GROUP BY instance"):
        for state in ("accepted", "pending"):
            true[instance, state] = true.get((instance, state), 0) + n
    wrong = []
    for instance, name, state, n, pruned in tx.db.execute(
        "SELECT instance, name, state, n, pruned FROM counts JOIN instances ON instances.id = instance"
    ):
        actual = true.pop((instance, state), 0) + pruned
        if state != "duplicates" and actual != n:
            wrong.append((name, state, n, actual))
    names = dict(tx.db.execute("SELECT id, name FROM instances"))
    wrong += [(names[instance], state, 0, n) for (instance, state), n in true.items() if n]
    return wrong


def progress(db: apsw.Connection) -> Progress:
    """Deliveries below ``done_before`` are used up: nothing pending needs their raw bytes any more."""
    ends = db.execute(
        "SELECT (SELECT value + 1 FROM meta WHERE name='offset'),"
        " (SELECT min(delivery) FROM events WHERE state IN (0, 7, 8) AND delivery > 0),"
        " (SELECT min(delivery) FROM held), (SELECT min(delivery) FROM scrubs WHERE delivery > 0),"
        " (SELECT min(first_delivery) FROM parts WHERE batch IS NULL),"
        " (SELECT min(first_delivery) FROM batches JOIN parts ON parts.batch = batches.id WHERE batches.state < 2)"
    ).get
    rewrites = list(db.execute("SELECT delivery, body FROM rewrites ORDER BY delivery LIMIT 1000"))
    erasures = list(db.execute("SELECT id, name, upto FROM purges WHERE finished IS NULL ORDER BY id"))
    return Progress(min(end for end in ends if end is not None), rewrites, erasures)


def prune(tx: Tx, *, batches_before: int, dead_before: int, seen_before: Iterable[tuple[int, int]], limit: int) -> int:
    """Retention, in ms: finished batches' bytes, dead letters, and event ids outside their window.

    ``seen_before`` is (instance id, ms). Counters keep what pruned rows stood for. Returns rows removed.
    """
    removed = 0
    point("retention.inside")
    done = "SELECT id FROM batches WHERE state=2 AND finished < ? LIMIT ?"
    tx.db.execute(f"DELETE FROM parts WHERE batch IN ({done})", (batches_before, limit))
    removed += tx.db.changes()
    tx.db.execute(f"DELETE FROM batches WHERE id IN ({done})", (batches_before, limit))
    for dead, event, instance in list(
        tx.db.execute(
            "SELECT dead.id, event, instance FROM dead JOIN events ON events.id = event WHERE created < ? LIMIT ?",
            (dead_before, limit),
        )
    ):
        tx.db.execute("DELETE FROM dead WHERE id=?", (dead,))
        tx.db.execute("DELETE FROM events WHERE id=?", (event,))
        _pruned(tx, instance, "dead")
        removed += 1
    tx.db.execute(
        "DELETE FROM raws WHERE event IN (SELECT event FROM raws JOIN events ON events.id = event"
        f" LEFT JOIN parts ON parts.id = part LEFT JOIN batches ON batches.id = batch WHERE {STATE_SQL} != 'pending'"
        " LIMIT ?)",
        (limit,),
    )
    for instance, before in seen_before:
        rows = list(
            tx.db.execute(
                f"SELECT events.id, {STATE_SQL} FROM {JOINED} WHERE events.instance=? AND received < ?"
                " ORDER BY events.id LIMIT ?",
                (instance, before, limit),
            )
        )
        for event, state in rows:
            if state in ("pending", "dead"):
                continue
            tx.db.execute("DELETE FROM events WHERE id=?", (event,))
            tx.db.execute("DELETE FROM confirmed WHERE event=?", (event,))
            # the key of a ``once`` is kept for ever, and whose it is with it
            tx.db.execute("UPDATE claims SET event=? WHERE event=?", (-instance, event))
            _pruned(tx, instance, state)
            removed += 1
    return removed


def _pruned(tx: Tx, instance: int, state: str) -> None:
    for name in (state, "accepted"):
        tx.db.execute("UPDATE counts SET pruned=pruned+1 WHERE instance=? AND state=?", (instance, name))
