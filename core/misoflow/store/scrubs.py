"""Steps of maintenance: late identities that are due, and raw deliveries to rewrite without a person."""

from __future__ import annotations

from misoflow.store import batches
from misoflow.store import late as late_texts
from misoflow.store.tx import Tx


def instances(tx: Tx) -> list[str]:
    """Names of instances that have something put aside."""
    rows = tx.db.execute(
        "SELECT name FROM instances WHERE paused IS NULL AND (id IN (SELECT instance FROM held)"
        " OR id IN (SELECT instance FROM events WHERE state = 8))"
    )
    return [name for (name,) in rows]


def instance_rows(tx: Tx) -> list[tuple[int, str]]:
    return list(tx.db.execute("SELECT id, name FROM instances"))


def release(tx: Tx, late: int, event: int, raw_of: batches.RawOf, now: int) -> None:
    """Send a late record as far as it is known; without an identity its event is a dead letter."""
    if not late_texts.release(tx, late, now):
        batches.kill(tx, event, "reject", late_texts.NO_IDENTITY, "$", raw_of, now)


def deliveries(tx: Tx) -> list[int]:
    """Deliveries that hold events of a forgotten person."""
    return [row for (row,) in tx.db.execute("SELECT delivery FROM scrubs ORDER BY delivery LIMIT 100")]


def needless(tx: Tx, rows: list[int]) -> None:
    """These deliveries hold nobody."""
    tx.db.executemany("DELETE FROM scrubs WHERE delivery=?", [(row,) for row in rows])


def forgotten(tx: Tx, instance: str, hashes: list[bytes]) -> set[bytes]:
    """Which of these events belong to somebody who was forgotten after they happened."""
    row = tx.instances.find(tx.db, instance)
    found = set()
    for digest in hashes:
        who, received = tx.db.execute(
            "SELECT who, received FROM events WHERE instance=? AND hash=?", (row, digest)
        ).get or (None, 0)
        people = [who] + [w for (w,) in tx.db.execute("SELECT who FROM links WHERE anonymous=?", (who,))]
        for person in people:
            at = tx.one("SELECT max(at) FROM tombstones WHERE who=?", (person,))
            if at is not None and received <= at:
                found.add(digest)
    return found


def rewrite(tx: Tx, delivery: int, body: bytes, now: int) -> None:
    """Ask the inbox's owner for the new bytes of a delivery."""
    tx.db.execute("INSERT OR REPLACE INTO rewrites VALUES(?,?,?)", (delivery, body, now))
    tx.db.execute("DELETE FROM scrubs WHERE delivery=?", (delivery,))


def rewritten(tx: Tx) -> list[tuple[int, bytes]]:
    """Rewrites not yet known to be done."""
    return list(tx.db.execute("SELECT delivery, body FROM rewrites LIMIT 100"))


def rewrites_done(tx: Tx, rows: list[int]) -> None:
    tx.db.executemany("DELETE FROM rewrites WHERE delivery=?", [(row,) for row in rows])
