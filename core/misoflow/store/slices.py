"""History: jobs (a range of a stream), their slices, and the pages that events came in.

A job is cut from its newest end downwards; ``low`` is how far. A slice is ``open`` until the source proved it
complete, ``pulled`` until nothing of it is pending, then ``done`` with its counts frozen; or ``failed``.

What was read is counted twice: up to the cursor (``read``, ``taken``, ``repeats``) and in the present attempt
since then (``open_…``), so an attempt that proves nothing leaves nothing behind. For a pulled slice
``read = taken + repeats``: every event is a new one, or one that was known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from misoflow.store.events import JOINED, STATE_SQL
from misoflow.store.schema import DONE
from misoflow.store.tx import Tx
from misoflow.store.values import Chunk

OPEN = "'open'"
COLUMNS = (
    *("job", "instance", "stream", "purpose", "id", "start", "end", "state", "cursor", "attempts", "due"),
    *("read", "taken", "repeats", "open_read", "open_taken", "open_repeats"),
    *("counts", "error", "started", "finished"),
)
ROLLED = "read=read+open_read, taken=taken+open_taken, repeats=repeats+open_repeats"
CLEARED = "open_read=0, open_taken=0, open_repeats=0"


@dataclass(frozen=True, slots=True)
class Job:
    """A range of one stream to pull, times in ms; ``cursor`` is where a polled stream goes on from."""

    id: int
    instance: str
    stream: str
    purpose: str
    start: int
    end: int
    low: int
    width: int
    step: int
    state: str
    cursor: str | None
    note: str | None
    stuck: bool
    """It waits for a person; ``note`` says what for."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A slice as stored, times in ms."""

    id: int
    start: int
    end: int
    cursor: str | None
    attempts: int
    due: int


JOB = "jobs.id, name, stream, purpose, start, end, low, width, step, state, cursor, note, stuck"
JOBS = f"SELECT {JOB} FROM jobs JOIN instances ON instances.id = instance"


def add_job(
    tx: Tx,
    instance: str,
    stream: str,
    purpose: str,
    span: tuple[int, int],
    *,
    width: int,
    step: int,
    now: int,
    sure: int | None = None,
    cursor: str | None = None,
) -> int:
    """A range [start, end) to pull; from ``sure`` on more may still come, so the next pull begins there."""
    job: int = tx.one(
        "INSERT INTO jobs(instance, stream, purpose, start, end, sure, low, width, step, state, cursor, created)"
        f" VALUES(?,?,?,?,?,?,?,?,?,{OPEN},?,?) RETURNING id",
        (
            *(tx.instances.id(tx.db, instance), stream, purpose, *span),
            *(span[1] if sure is None else sure, span[1], width, step, cursor, now),
        ),
    )
    return job


def open_jobs(tx: Tx, instance: str | None = None) -> list[Job]:
    """Jobs that are not finished, oldest first."""
    rows = tx.db.execute(f"{JOBS} WHERE state = {OPEN} ORDER BY jobs.id")
    return [job for job in (Job(*row) for row in list(rows)) if instance in (None, job.instance)]


def job(tx: Tx, number: int) -> Job:
    return Job(*tx.db.execute(f"{JOBS} WHERE jobs.id=?", (number,)).get)


def covered(tx: Tx, instance: str, stream: str) -> tuple[int, int] | None:
    """The range of a stream that jobs were made for, whatever became of their slices: [start, sure)."""
    row = tx.db.execute(
        "SELECT min(start), max(sure) FROM jobs WHERE instance=? AND stream=? AND purpose='history'",
        (tx.instances.find(tx.db, instance), stream),
    ).get
    return None if row[0] is None else row


def last_cursor(tx: Tx, instance: str, stream: str) -> str | None:
    """Where the last complete run of a polled stream ended."""
    cursor: str | None = tx.one(
        "SELECT slices.cursor FROM slices JOIN jobs ON jobs.id = job WHERE instance=? AND stream=?"
        " AND slices.state IN ('pulled', 'done') ORDER BY slices.id DESC LIMIT 1",
        (tx.instances.find(tx.db, instance), stream),
    )
    return cursor


def reopen(tx: Tx, instance: str, stream: str) -> int:
    """Failed slices of a stream are tried again; returns how many."""
    row = tx.instances.find(tx.db, instance)
    jobs = "SELECT id FROM jobs WHERE instance=? AND stream=? AND state='failed'"
    tx.db.execute(
        f"UPDATE slices SET state={OPEN}, attempts=0, due=0 WHERE state='failed' AND job IN ({jobs})", (row, stream)
    )
    n = tx.db.changes()
    tx.db.execute(
        f"UPDATE jobs SET state={OPEN}, finished=NULL WHERE instance=? AND stream=? AND state='failed'", (row, stream)
    )
    return n


def next_piece(tx: Tx, number: int, cut: Callable[[Job], tuple[int, int] | None]) -> Piece | None:
    """The newest open slice of a job, else a new one that ``cut`` takes off its lower end; None when all are cut."""
    row = tx.db.execute(
        f"SELECT id, start, end, cursor, attempts, due FROM slices WHERE job=? AND state={OPEN}"
        " ORDER BY due, start DESC LIMIT 1",
        (number,),
    ).get
    if row is not None:
        return Piece(*row)
    found = job(tx, number)
    span = cut(found)
    if span is None:
        return None
    piece: int = tx.one(
        f"INSERT INTO slices(job, start, end, state, cursor) VALUES(?,?,?,{OPEN},?) RETURNING id",
        (number, *span, found.cursor),
    )
    tx.db.execute("UPDATE jobs SET low=? WHERE id=?", (span[0], number))
    return Piece(piece, *span, found.cursor, 0, 0)


def begin(tx: Tx, piece: int, now: int) -> None:
    """An attempt starts: what an earlier one read beyond the cursor is read again."""
    tx.db.execute(
        f"UPDATE slices SET {CLEARED}, attempts=attempts+1, started=coalesce(started, ?) WHERE id=?", (now, piece)
    )


def pulled(tx: Tx, piece: int, width: int) -> None:
    """The source proved the slice complete; ``width`` is that of the job's next slice."""
    tx.db.execute(f"UPDATE slices SET {ROLLED}, {CLEARED}, state='pulled', error=NULL WHERE id=?", (piece,))
    tx.db.execute("UPDATE jobs SET width=? WHERE id=(SELECT job FROM slices WHERE id=?)", (width, piece))


def read_of(tx: Tx, piece: int) -> int:
    """Events read of a slice so far."""
    return int(tx.one("SELECT read + open_read FROM slices WHERE id=?", (piece,)))


def again(tx: Tx, piece: int, error: str, due: int, *, counts: bool) -> None:
    """The attempt proved nothing; the slice is pulled again at ``due``. ``counts``: it was an attempt."""
    less = 0 if counts else 1
    tx.db.execute("UPDATE slices SET error=?, due=?, attempts=attempts-? WHERE id=?", (error, due, less, piece))


def halve(tx: Tx, piece: int, middle: int) -> None:
    """Two slices in place of one that does not come whole."""
    job, end = tx.db.execute("SELECT job, end FROM slices WHERE id=?", (piece,)).get
    tx.db.execute("UPDATE slices SET end=?, attempts=0, due=0 WHERE id=?", (middle, piece))
    tx.db.execute(f"INSERT INTO slices(job, start, end, state) VALUES(?,?,?,{OPEN})", (job, middle, end))


def give_up(tx: Tx, piece: int, error: str, now: int) -> None:
    """The slice stays undone and is reported; the others go on."""
    tx.db.execute(
        "UPDATE slices SET state='failed', error=?, finished=? WHERE id=?",
        (error, now, piece),
    )


def note(tx: Tx, number: int, text: str | None, stuck: bool) -> None:
    """What a job waits for, and whether that is a person."""
    tx.db.execute("UPDATE jobs SET note=?, stuck=? WHERE id=?", (text, stuck, number))


def is_all_read(tx: Tx, job: Job) -> bool:
    """Whether every slice of a job is cut and was pulled, or was given up."""
    return job.low <= job.start and not tx.one(f"SELECT count(*) FROM slices WHERE job=? AND state={OPEN}", (job.id,))


def finish_job(tx: Tx, number: int, now: int) -> str | None:
    """The job's final state, if nothing of it is open or on its way."""
    states = dict(tx.db.execute("SELECT state, count(*) FROM slices WHERE job=? GROUP BY state", (number,)))
    if "open" in states or "pulled" in states:
        return None
    state = "failed" if "failed" in states else "done"
    tx.db.execute("UPDATE jobs SET state=?, finished=?, note=NULL, stuck=0 WHERE id=?", (state, now, number))
    return state


def stop_job(tx: Tx, number: int) -> None:
    """A person stops a job; ``misoflow backfill`` goes on with it."""
    tx.db.execute(f"UPDATE jobs SET state='stopped' WHERE id=? AND state={OPEN}", (number,))


def resume_jobs(tx: Tx, instance: str, stream: str) -> list[int]:
    """Stopped jobs of a stream are open again."""
    row = tx.instances.find(tx.db, instance)
    return [
        job
        for (job,) in list(
            tx.db.execute(
                f"UPDATE jobs SET state={OPEN} WHERE instance=? AND stream=? AND state='stopped' RETURNING id",
                (row, stream),
            )
        )
    ]


def backlog(tx: Tx, env: str) -> int:
    """Records of an environment that Miso has not answered for yet."""
    row = tx.envs.id(tx.db, env)
    waiting = tx.one("SELECT sum(n) FROM parts WHERE env=? AND batch IS NULL", (row,)) or 0
    sending = tx.one("SELECT sum(n) FROM batches WHERE env=? AND state < 2", (row,)) or 0
    dirty = tx.one("SELECT count(*) FROM keyed WHERE env=? AND dirty=1 AND batch IS NULL", (row,)) or 0
    return int(waiting + sending + dirty)


def begin_page(tx: Tx, chunk: Chunk) -> tuple[int, int]:
    """(page, first event row) of the events that are about to be written; (0, 0) when they are no history."""
    if chunk.page is None:
        return 0, 0
    page = (tx.one("SELECT seq FROM sqlite_sequence WHERE name='pages'") or 0) + 1
    for made in chunk.outcomes:  # those too that were skipped or dead before: Miso may refuse them now
        made.delivery = -page
    return page, (tx.one("SELECT seq FROM sqlite_sequence WHERE name='events'") or 0) + 1


def end_page(tx: Tx, chunk: Chunk, page: tuple[int, int]) -> None:
    """The page's rows are written: remember which they are, count them, and move the cursor if it is proven."""
    mark = chunk.page
    if mark is None:
        return
    number, first = page
    last = tx.one("SELECT seq FROM sqlite_sequence WHERE name='events'") or 0
    taken = max(0, last - first + 1)
    if taken or mark.raws:
        tx.db.execute(
            "INSERT INTO pages(id, slice, first, last, body) VALUES(?,?,?,?,?)",
            (number, mark.slice, first, last, tx.seal(mark.raws, b"page")),
        )
    counted = (mark.read, taken, mark.read - taken, mark.slice)
    if mark.moved:
        tx.db.execute(
            f"UPDATE slices SET {ROLLED}, {CLEARED} WHERE id=?",
            (mark.slice,),
        )
        tx.db.execute("UPDATE slices SET read=read+?, taken=taken+?, repeats=repeats+? WHERE id=?", counted)
        tx.db.execute("UPDATE slices SET cursor=? WHERE id=?", (mark.cursor, mark.slice))
    else:
        tx.db.execute(
            "UPDATE slices SET open_read=open_read+?, open_taken=open_taken+?, open_repeats=open_repeats+? WHERE id=?",
            counted,
        )


def raws(tx: Tx, pages: list[int]) -> list[bytes]:
    """The packed events of these pages that were on their way when they were read."""
    found: list[bytes] = []
    for page in pages:
        sealed = tx.one("SELECT body FROM pages WHERE id=?", (page,))
        if sealed is not None:
            found += tx.open(sealed, b"page").split(b"\n")
    return [raw for raw in found if raw]


def instance_of(tx: Tx, page: int) -> str:
    """The instance that a page belongs to; "" when the page is gone."""
    name: str | None = tx.one(
        "SELECT name FROM pages JOIN slices ON slices.id = slice JOIN jobs ON jobs.id = job"
        " JOIN instances ON instances.id = jobs.instance WHERE pages.id=?",
        (page,),
    )
    return name or ""


def rewrite_page(tx: Tx, page: int, kept: list[bytes]) -> None:
    """The page without the events of forgotten people."""
    tx.db.execute("UPDATE pages SET body=? WHERE id=?", (tx.seal(b"\n".join(kept), b"page"), page))
    tx.db.execute("DELETE FROM scrubs WHERE delivery=?", (-page,))


def settled(tx: Tx) -> list[int]:
    """Pulled slices of which nothing is pending any more."""
    rows = tx.db.execute(
        "SELECT id FROM slices AS s WHERE state='pulled'"
        " AND NOT EXISTS(SELECT 1 FROM parts LEFT JOIN batches ON batches.id = batch"
        f"  WHERE parts.slice = s.id AND (batch IS NULL OR batches.state < {DONE}))"
        " AND NOT EXISTS(SELECT 1 FROM pages JOIN events ON events.delivery = -pages.id"
        "  WHERE pages.slice = s.id AND events.state IN (0, 7, 8))"
    )
    return [piece for (piece,) in list(rows)]


def page_ids(tx: Tx, piece: int) -> list[int]:
    return [page for (page,) in tx.db.execute("SELECT id FROM pages WHERE slice=? ORDER BY id", (piece,))]


def states_of(tx: Tx, pages: list[int]) -> dict[str, int]:
    """How the events of these pages stand."""
    counts: dict[str, int] = {}
    for page in pages:
        span = tx.db.execute("SELECT first, last FROM pages WHERE id=?", (page,)).get
        rows = tx.db.execute(
            f"SELECT {STATE_SQL} AS s, count(*) FROM {JOINED} WHERE events.id BETWEEN ? AND ? GROUP BY s", span
        )
        for state, n in list(rows):
            counts[state] = counts.get(state, 0) + n
    return counts


def freeze(tx: Tx, piece: int, counts: dict[str, int], now: int) -> None:
    """The slice is done: its counts are final, its raw pages are let go."""
    tx.db.execute("DELETE FROM scrubs WHERE delivery IN (SELECT -id FROM pages WHERE slice=?)", (piece,))
    tx.db.execute("DELETE FROM pages WHERE slice=?", (piece,))
    tx.db.execute(
        "UPDATE slices SET state='done', counts=?, finished=? WHERE id=?",
        (msgspec.json.encode(counts).decode(), now, piece),
    )


def view(tx: Tx, instance: str | None = None, jobs: list[int] | None = None) -> list[dict[str, Any]]:
    """Every slice with its audit, by job and then newest first."""
    rows = tx.db.execute(
        "SELECT jobs.id, name, stream, purpose, slices.id, slices.start, slices.end, slices.state, slices.cursor,"
        " attempts, due, read, taken, repeats, open_read, open_taken, open_repeats, counts, error, started,"
        " slices.finished"
        " FROM slices JOIN jobs ON jobs.id = job JOIN instances ON instances.id = jobs.instance"
        f" WHERE {_only(instance, jobs)} ORDER BY jobs.id, slices.start DESC",
        () if instance is None else (instance,),
    )
    found = []
    for row in list(rows):
        one = dict(zip(COLUMNS, row, strict=True))
        one["counts"] = msgspec.json.decode(one["counts"]) if one["counts"] else None
        found.append(one)
    return found


def _only(instance: str | None, jobs: list[int] | None) -> str:
    """The rows asked for; the instance's name is bound."""
    wanted = [] if instance is None else ["instances.name = ?"]
    if jobs is not None:
        wanted.append(f"jobs.id IN ({','.join(str(int(job)) for job in jobs)})")
    return " AND ".join(wanted) or "1"


def job_rows(tx: Tx, instance: str | None = None) -> list[Job]:
    """All jobs, oldest first."""
    rows = tx.db.execute(
        f"{JOBS} WHERE {_only(instance, None)} ORDER BY jobs.id", () if instance is None else (instance,)
    )
    return [Job(*row) for row in list(rows)]
