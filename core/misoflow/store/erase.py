"""Forgetting a user: what is unsent goes, Miso is told to delete, and a tombstone keeps replays out.

A batch of unknown outcome is settled first (the forget waits behind it), then Miso's delete is sent.
"""

from __future__ import annotations

from array import array

import msgspec

from misoflow import plan
from misoflow.crash import point
from misoflow.store.schema import DEAD, ERASED, HELD, IN_PART, PENDING, SEALED, SPREAD
from misoflow.store.tx import Tx


def suppressed(tx: Tx, env: int, who: bytes, at: int) -> bool:
    """Whether the user was forgotten at or after ``at`` (ms)."""
    tombstone = tx.one("SELECT at FROM tombstones WHERE env=? AND who=?", (env, who))
    return tombstone is not None and at <= tombstone


def forget(tx: Tx, env: int, who: bytes, user_id: str, *, at: int, now: int, event: int | None = None) -> int:
    """Erase a user's unsent events and queue Miso's delete; returns how many events were erased.

    ``event`` asked for it: Miso's answer to the delete is one of its targets.
    """
    people = [who] + [a for (a,) in tx.db.execute("SELECT anonymous FROM links WHERE who=?", (who,))]
    tx.db.executemany(
        "INSERT INTO tombstones VALUES(?,?,?) ON CONFLICT DO UPDATE SET at=max(at, excluded.at)",
        [(env, person, at) for person in people],
    )
    erased = sum(_erase_events(tx, env, person, at) for person in people)
    for person in people:
        tx.db.execute(
            "INSERT OR IGNORE INTO scrubs SELECT DISTINCT delivery FROM events"
            " WHERE who=? AND delivery != 0 AND received <= ?",
            (person, at),
        )
    _erase_profile(tx, env, who)
    point("forget.inside")
    batch = queue(tx, env, [user_id], now)
    if event is not None:
        sql = "INSERT OR IGNORE INTO waits(event, env, kind, key, batch) VALUES(?,?,'forget',?,?)"
        tx.db.execute(sql, (event, env, who, batch))
    return erased


def queue(tx: Tx, env: int, user_ids: list[str], now: int) -> int:
    """Queue Miso's delete of these users (1,000 at most); the batch's number."""
    body = b"\n".join(map(msgspec.json.encode, user_ids))  # an id may hold a line break
    batch: int = tx.one(
        "INSERT INTO batches(env, kind, state, n, todo, body, created) VALUES(?,'forget',?,?,?,?,?) RETURNING id",
        (
            *(env, SEALED, len(user_ids), msgspec.json.encode([[(0, len(user_ids))]]).decode()),
            *(tx.seal(body, b"batch"), now),
        ),
    )
    return batch


def user_id_of(record: bytes) -> str:
    """An id in a batch of forgets; an older version wrote it as it is."""
    quoted = record.startswith(b'"') and record.endswith(b'"') and len(record) > 1
    return str(msgspec.json.decode(record)) if quoted else record.decode()


def asked(tx: Tx, env: str, batch: int) -> list[int]:
    """The events that asked for the delete of a batch and wait for its answer."""
    row = tx.envs.id(tx.db, env)
    return [
        e for (e,) in tx.db.execute("SELECT event FROM waits WHERE env=? AND kind='forget' AND batch=?", (row, batch))
    ]


def answered(tx: Tx, env: str, batch: int) -> list[int]:
    """The same, once; Miso has answered."""
    events = asked(tx, env, batch)
    for event in events:
        tx.db.execute("DELETE FROM waits WHERE event=? AND kind='forget' AND batch=?", (event, batch))
    return events


def _erase_events(tx: Tx, env: int, who: bytes, at: int) -> int:
    """Unsent and dead events of one (hashed) identity that happened up to ``at``."""
    erased = 0
    rows = list(
        tx.db.execute(
            "SELECT id, instance, state, part FROM events WHERE who=? AND state IN (?,?,?,?,?) AND received <= ?",
            (who, PENDING, IN_PART, SPREAD, HELD, DEAD, at),
        )
    )
    by_part: dict[int, set[int]] = {}
    for event, instance, state, part in rows:
        if state == IN_PART and not is_unsent(tx, part):
            continue
        if state == IN_PART:
            by_part.setdefault(part, set()).add(event)
        tx.db.execute("UPDATE events SET state=?, part=NULL, reason=NULL WHERE id=?", (ERASED, event))
        tx.db.execute("DELETE FROM dead WHERE event=?", (event,))
        tx.db.execute("DELETE FROM late WHERE event=?", (event,))
        tx.db.execute("DELETE FROM knowns WHERE event=?", (event,))
        tx.db.execute("DELETE FROM waits WHERE event=?", (event,))
        tx.move(instance, "dead" if state == DEAD else "pending", "erased")
        erased += 1
    spread = {event for event, _, state, _ in rows if state == SPREAD}
    if spread:
        for (part,) in list(tx.db.execute("SELECT id FROM parts WHERE env=? AND spread != x''", (env,))):
            if is_unsent(tx, part):
                by_part.setdefault(part, set()).update(spread)
    for part, events in by_part.items():
        rewrite_part(tx, part, events)
    return erased


def is_unsent(tx: Tx, part: int) -> bool:
    """No request of the part's batch has been tried: its bytes may still change."""
    row = tx.db.execute(
        "SELECT parts.batch, batches.tries, batches.state, batches.requests FROM parts"
        " LEFT JOIN batches ON batches.id = parts.batch WHERE parts.id=?",
        (part,),
    ).get
    return row is not None and (row[0] is None or (row[1] == 0 and row[3] == 0 and row[2] == SEALED))


def rewrite_part(tx: Tx, part: int, events: set[int]) -> None:
    """The part without these events' records; its batch, not yet tried, is frozen again."""
    packed, sealed, counts, spread, batch = tx.db.execute(
        "SELECT members, body, instance_events, spread, batch FROM parts WHERE id=?", (part,)
    ).get
    members = array("Q", packed)
    bodies = tx.open(sealed, b"part").split(b"\n") if members else []
    keep = [i for i, event in enumerate(members) if event not in events]
    left = array("Q", [event for event in array("Q", spread) if event not in events])
    by_instance = msgspec.msgpack.decode(counts)
    for event in set(members) & events - set(array("Q", spread)):
        by_instance[tx.one("SELECT instance FROM events WHERE id=?", (event,))] -= 1
    body = b"\n".join(bodies[i] for i in keep)
    tx.db.execute(
        "UPDATE parts SET n=?, size=?, events=?, instance_events=?, members=?, spread=?, body=? WHERE id=?",
        (
            len(keep),
            len(body),
            sum(by_instance.values()),
            msgspec.msgpack.encode(by_instance),
            array("Q", [members[i] for i in keep]).tobytes(),
            left.tobytes(),
            tx.seal(body, b"part"),
            part,
        ),
    )
    if batch is not None:
        total = tx.one("SELECT sum(n) FROM parts WHERE batch=?", (batch,)) or 0
        todo = [[(0, total)]] if total else []
        tx.db.execute("UPDATE batches SET n=?, todo=? WHERE id=?", (total, msgspec.json.encode(todo).decode(), batch))


def _erase_profile(tx: Tx, env: int, who: bytes) -> None:
    """The parts of the user's own record; keyed by the same hash as ``who``."""
    tx.db.execute("DELETE FROM keyed_parts WHERE env=? AND kind='user' AND key=?", (env, who))
    tx.db.execute("DELETE FROM grouped WHERE env=? AND kind='user' AND key=?", (env, who))
    leave_batch(tx, env, "user", who)
    tx.db.execute("UPDATE keyed SET dirty=0, delivered=NULL WHERE env=? AND kind='user' AND key=?", (env, who))
    tx.db.execute("DELETE FROM waits WHERE env=? AND kind='user' AND key=? AND batch IS NULL", (env, who))


def leave_batch(tx: Tx, env: int, kind: str, key: bytes) -> None:
    """Take a user's or product's record out of a sealed batch that nothing was sent of yet."""
    row = tx.db.execute(
        "SELECT batch, position, todo, body FROM keyed JOIN batches ON batches.id = batch"
        " WHERE keyed.env=? AND keyed.kind=? AND key=? AND tries=0 AND state=?",
        (env, kind, key, SEALED),
    ).get
    if row is None:
        return
    batch, position, todo, sealed = row
    records = tx.open(sealed, b"batch").split(b"\n")
    records[position] = b"{}"
    requests = [plan.without([(a, b) for a, b in request], {position}) for request in msgspec.json.decode(todo)]
    tx.db.execute(
        "UPDATE batches SET todo=?, body=? WHERE id=?",
        (
            msgspec.json.encode([request for request in requests if request]).decode(),
            tx.seal(b"\n".join(records), b"batch"),
            batch,
        ),
    )
    tx.db.execute(
        "UPDATE keyed SET batch=NULL, position=NULL, sending=NULL WHERE env=? AND kind=? AND key=?", (env, kind, key)
    )
    tx.db.execute("DELETE FROM waits WHERE env=? AND kind=? AND key=?", (env, kind, key))
