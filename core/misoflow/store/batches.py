"""Sealed batches: what is sent, in which requests, and what Miso said of it.

A batch is frozen before it is sent. Its ``todo`` is the list of requests still owed; it is written before
each of them, so a crash at any moment leads to the same bytes again and never to other ones.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable

import msgspec

from misoflow.crash import point
from misoflow.store import erase, keyed
from misoflow.store.schema import DEAD, DONE, IN_PART, SEALED, SPREAD, TASK
from misoflow.store.targets import target_done
from misoflow.store.tx import Tx
from misoflow.store.values import Batch, BatchKind, record_digest

Ranges = list[tuple[int, int]]
RawOf = Callable[[int], bytes]
"""event row -> the packed event, for its dead letter."""


def seal_interactions(tx: Tx, env: int, max_records: int, max_bytes: int, older_than: int, now: int) -> int | None:
    """Freeze open parts into one batch: when they fill it, or when the oldest was made before ``older_than``."""
    parts: list[int] = []
    records = size = 0
    oldest = now
    full = False
    rows = tx.db.execute(
        "SELECT id, n, size, created FROM parts WHERE env=? AND batch IS NULL ORDER BY id LIMIT 1000", (env,)
    )
    for part, n, part_size, created in rows:
        if parts and (records + n > max_records or size + part_size > max_bytes):
            full = True
            break
        parts.append(part)
        records, size, oldest = records + n, size + part_size, min(oldest, created)
    if not parts or not (full or records >= max_records or oldest <= older_than):
        return None
    todo = [[(a, min(a + max_records, records))] for a in range(0, records, max_records)]
    batch: int = tx.one(
        "INSERT INTO batches(env, kind, state, n, todo, created) VALUES(?,'interactions',?,?,?,?) RETURNING id",
        (env, SEALED, records, msgspec.json.encode(todo).decode(), now),
    )
    point("seal.inside")
    tx.db.executemany("UPDATE parts SET batch=? WHERE id=?", [(batch, part) for part in parts])
    return batch


def open_batches(tx: Tx, env: int, limit: int) -> list[tuple[int, BatchKind]]:
    """Unfinished batches of an environment, oldest first, ``limit`` of interactions and of the rest.

    Nothing passes a forget: it waits for what is older, and what is newer waits for it.
    """
    barrier = tx.one("SELECT min(id) FROM batches WHERE env=? AND state < 2 AND kind='forget'", (env,))
    found: list[tuple[int, BatchKind]] = []
    for condition in ("kind = 'interactions'", "kind NOT IN ('interactions', 'forget')"):
        found += tx.db.execute(
            f"SELECT id, kind FROM batches WHERE env=? AND state < 2 AND id < ? AND {condition} ORDER BY id LIMIT ?",
            (env, barrier or 2**62, limit),
        )
    return sorted(found) or ([(barrier, "forget")] if barrier else [])


def is_done(tx: Tx, batch: int) -> bool:
    return bool(tx.one("SELECT state FROM batches WHERE id=?", (batch,)) == DONE)


def any_open_part(tx: Tx, env: int) -> bool:
    """Whether records wait to be sealed."""
    return bool(tx.one("SELECT EXISTS(SELECT 1 FROM parts WHERE env=? AND batch IS NULL)", (env,)))


def take(tx: Tx, number: int) -> Batch:
    """Load a batch to send it: from here on its records are fixed, nobody is erased from it any more."""
    batch = load(tx, number)
    if batch.task is None:
        batch.tries += 1
        tx.db.execute("UPDATE batches SET tries=? WHERE id=?", (batch.tries, number))
    return batch


def load(tx: Tx, batch: int) -> Batch:
    """A batch with its records in order, each with the event it belongs to."""
    row = tx.db.execute(
        "SELECT envs.name, kind, state, todo, tries, requests, rounds, bad, suspects, task, task_at,"
        " body, created"
        " FROM batches JOIN envs ON envs.id = env WHERE batches.id=?",
        (batch,),
    ).get
    env, kind, state, todo, tries, requests, rounds, bad, suspects, task, task_at, body, created = row
    records: list[bytes] = []
    members: list[int] = []
    if kind == "interactions":
        for packed, sealed in tx.db.execute(
            "SELECT members, body FROM parts WHERE batch=? AND n > 0 ORDER BY id", (batch,)
        ):
            members += array("Q", packed)
            records += tx.open(sealed, b"part").split(b"\n")
    else:
        records = tx.open(body, b"batch").split(b"\n")
        members = list(range(len(records)))
    plan = [[(a, b) for a, b in request] for request in msgspec.json.decode(todo)]
    return Batch(
        batch,
        env,
        kind,
        state,
        plan,
        tries,
        requests,
        rounds,
        msgspec.json.decode(bad),
        msgspec.json.decode(suspects, type=dict[int, tuple[str, str]]),
        task,
        task_at,
        created,
        records,
        members,
    )


def save_plan(tx: Tx, batch: Batch) -> None:
    """Write what is still owed, before the next request goes out or after one was answered."""
    tx.db.execute(
        "UPDATE batches SET todo=?, tries=?, requests=?, rounds=?, bad=?, suspects=?, task=?, task_at=?, state=?"
        " WHERE id=?",
        (
            msgspec.json.encode(batch.todo).decode(),
            batch.tries,
            batch.requests,
            batch.rounds,
            msgspec.json.encode(batch.bad).decode(),
            msgspec.json.encode(batch.suspects).decode(),
            batch.task,
            batch.task_at,
            TASK if batch.task else SEALED,
            batch.id,
        ),
    )


def refuse(tx: Tx, batch: Batch, bad: dict[int, tuple[str, str]], raw_of: RawOf, now: int) -> None:
    """Miso refused some records, by index into the batch: (its sentence, path). Their events are dead."""
    batch.bad += sorted(bad)
    if batch.kind == "interactions":
        good = Counter(batch.members) - Counter(batch.members[index] for index in batch.bad)
        for index, (sentence, path) in bad.items():
            event = batch.members[index]
            kill(tx, event, "miso", sentence, path, raw_of, now, siblings=bool(good[event]))
    elif batch.kind == "forget":
        for sentence, path in bad.values():
            for event in erase.answered(tx, batch.env, batch.id):
                kill(tx, event, "miso", sentence, path, raw_of, now)
    else:
        places = keyed.in_batch(tx, batch.id)
        for index, (sentence, path) in bad.items():
            if index in places:
                env, kind, key, _ = places[index]
                for event in keyed.refuse(tx, batch.id, env, kind, key):
                    kill(tx, event, "miso", sentence, path, raw_of, now)


def kill(
    tx: Tx, event: int, kind: str, reason: str, path: str, raw_of: RawOf, now: int, *, siblings: bool = False
) -> None:
    """The event becomes a dead letter in the transaction that learns of it; its ``once`` claims are let go.

    ``left`` keeps how many of its targets are still on their way (with ``siblings``, other records of it in
    the same part): it is not tried again before they are settled.
    """
    row = tx.db.execute("SELECT instance, state, part, left FROM events WHERE id=?", (event,)).get
    if row is None or row[1] not in (IN_PART, SPREAD):
        return
    instance, state, part, left = row
    if state == IN_PART:
        leave_part(tx, part, instance, event if siblings else None)
        left = 1
    left -= 0 if siblings else 1
    tx.db.execute("UPDATE events SET state=?, part=NULL, left=? WHERE id=?", (DEAD, left, event))
    tx.db.execute("DELETE FROM claims WHERE event=?", (event,))
    tx.db.execute(
        "INSERT OR REPLACE INTO dead(event, kind, reason, path, raw, created) VALUES(?,?,?,?,?,?)",
        (event, kind, reason, path, tx.seal(raw_of(event), b"dead"), now),
    )
    tx.move(instance, "pending", "dead")


def leave_part(tx: Tx, part: int, instance: int, spread: int | None = None) -> None:
    """An event has a state of its own from now on; its part no longer counts it, or as ``spread`` only."""
    counts, packed = tx.db.execute("SELECT instance_events, spread FROM parts WHERE id=?", (part,)).get
    counts = msgspec.msgpack.decode(counts)
    counts[instance] -= 1
    if spread is not None:
        packed += array("Q", [spread]).tobytes()
    tx.db.execute(
        "UPDATE parts SET events=events-1, instance_events=?, spread=? WHERE id=?",
        (msgspec.msgpack.encode(counts), packed, part),
    )


def finish(tx: Tx, batch: Batch, now: int) -> None:
    """All requests of the batch are answered: its events are delivered, but for those already dead."""
    tx.db.execute("UPDATE batches SET state=?, todo='[]', task=NULL, finished=? WHERE id=?", (DONE, now, batch.id))
    point("finish.inside")
    if batch.kind == "interactions":
        _finish_parts(tx, batch)
    elif batch.kind != "forget":
        for env, kind, key, digest in keyed.in_batch(tx, batch.id).values():
            keyed.settle(tx, env, kind, key, batch.id, digest)
    if batch.kind == "forget":
        tx.db.execute("UPDATE batches SET body=NULL WHERE id=?", (batch.id,))
        for event in erase.answered(tx, batch.env, batch.id):
            target_done(tx, event)


def _finish_parts(tx: Tx, batch: Batch) -> None:
    spread: list[int] = []
    delivered: Counter[int] = Counter()
    for counts, packed in tx.db.execute("SELECT instance_events, spread FROM parts WHERE batch=?", (batch.id,)):
        delivered.update(msgspec.msgpack.decode(counts))
        spread += array("Q", packed)
    for instance, n in delivered.items():
        tx.move(instance, "pending", "delivered", n)
    for event in spread:
        target_done(tx, event)
    if spread:
        _remember_confirmed(tx, batch, set(spread))


def _remember_confirmed(tx: Tx, batch: Batch, spread: set[int]) -> None:
    """Of an event that died in part, the records Miso took are remembered: a retry sends only the rest."""
    refused = set(batch.bad)
    for index, event in enumerate(batch.members):
        if event in spread and index not in refused and tx.one("SELECT state FROM events WHERE id=?", (event,)) == DEAD:
            digest = record_digest(batch.records[index])
            tx.db.execute("INSERT OR IGNORE INTO confirmed VALUES(?,?)", (event, digest))


def add_batch(tx: Tx, env: int, kind: BatchKind, records: list[bytes], now: int) -> int:
    """A batch that carries its records itself."""
    todo = msgspec.json.encode([[(0, len(records))]]).decode()
    batch: int = tx.one(
        "INSERT INTO batches(env, kind, state, n, todo, body, created) VALUES(?,?,?,?,?,?,?) RETURNING id",
        (env, kind, SEALED, len(records), todo, tx.seal(b"\n".join(records), b"batch"), now),
    )
    return batch
