"""What somebody feeds page by page (``singer-target``): a job in state *fed*, cut into slices where a state came.

Nobody pulls such a job. A slice is open while pages come, pulled once it is cut, and done, like those of history,
when all of it is accounted for.
"""

from __future__ import annotations

from typing import Any

import msgspec

from misoflow.store import control
from misoflow.store.slices import CLEARED, ROLLED
from misoflow.store.tx import Tx

ROW = "singer.row:"
UNDONE = "slices.state IN ('open', 'pulled')"
OURS = "job IN (SELECT id FROM jobs WHERE instance=? AND purpose='fed')"


def begin(tx: Tx, instance: str, now: int) -> int:
    """A new job. What a run before left open is cut: its pages are kept, and are on their way already."""
    row = tx.instances.id(tx.db, instance)
    tx.db.execute(f"UPDATE slices SET {ROLLED}, {CLEARED}, state='pulled' WHERE state='open' AND {OURS}", (row,))
    tx.db.execute("UPDATE jobs SET state='done', finished=? WHERE instance=? AND state='fed'", (now, row))
    job: int = tx.one(
        "INSERT INTO jobs(instance, stream, purpose, start, end, sure, low, width, step, state, created)"
        " VALUES(?,'singer','fed',?,?,?,?,1,1,'fed',?) RETURNING id",
        (row, now, now, now, now, now),
    )
    return job


def open_slice(tx: Tx, job: int, now: int) -> int:
    """Where the next pages belong: the open slice of the job, or a new one."""
    found = tx.one("SELECT id FROM slices WHERE job=? AND state='open'", (job,))
    if found is None:
        found = tx.one(
            "INSERT INTO slices(job, start, end, state, started) VALUES(?,?,?,'open',?) RETURNING id",
            (job, now, now, now),
        )
    return int(found)


def cut(tx: Tx, piece: int, now: int) -> None:
    """No more pages of this slice."""
    tx.db.execute(f"UPDATE slices SET {ROLLED}, {CLEARED}, state='pulled', end=? WHERE id=?", (now, piece))


def end(tx: Tx, job: int, now: int) -> None:
    """The run has ended; slices of it may still be on their way."""
    tx.db.execute("UPDATE jobs SET state='done', finished=? WHERE id=?", (now, job))


def first_undone(tx: Tx, instance: str) -> int | None:
    """The oldest slice of any run of which something is not accounted for yet."""
    row = tx.instances.find(tx.db, instance)
    found: int | None = tx.one(f"SELECT min(id) FROM slices WHERE {UNDONE} AND {OURS}", (row,))
    return found


def counts(tx: Tx, instance: str, since: int) -> dict[str, int]:
    """What became of the events of slices that were done since then; ``read`` and ``repeats`` beside it.

    ``dead`` are the dead letters made since then, those of events included that were dead before and are again.
    """
    row = tx.instances.find(tx.db, instance)
    found: dict[str, int] = {"read": 0, "repeats": 0}
    rows: list[Any] = list(
        tx.db.execute(
            f"SELECT read, repeats, counts FROM slices WHERE state='done' AND finished >= ? AND {OURS}", (since, row)
        )
    )
    for read, repeats, states in rows:
        found["read"] += read
        found["repeats"] += repeats
        for state, n in msgspec.json.decode(states or "{}").items():
            found[state] = found.get(state, 0) + n
    found["dead"] = tx.one(
        "SELECT count(*) FROM dead JOIN events ON events.id = event WHERE instance=? AND created >= ?", (row, since)
    )
    return found


def last(tx: Tx, instance: str) -> int:
    """The newest slice of any run; 0 when there is none."""
    return int(tx.one(f"SELECT max(id) FROM slices WHERE {OURS}", (tx.instances.id(tx.db, instance),)) or 0)


def unchanged(tx: Tx, instance: str, rows: list[tuple[str, bytes] | None]) -> list[bool]:
    """Which of these (key, digest) were taken in with the same digest last; of None nothing is known."""
    latest: dict[str, bytes | None] = {}
    found = []
    for row in rows:
        if row is None:
            found.append(False)
            continue
        key, digest = row
        if key not in latest:
            latest[key] = control.get(tx, instance, ROW + key)
        found.append(latest[key] == digest)
        latest[key] = digest
    return found


def remember(tx: Tx, instance: str, rows: list[tuple[str, bytes] | None]) -> None:
    """What ``unchanged`` compares with from now on."""
    for key, digest in {row[0]: row[1] for row in rows if row is not None}.items():
        control.put(tx, instance, ROW + key, digest, control.get(tx, instance, ROW + key))
