"""Rate budgets and the schedule's memory: when what was last done."""

from __future__ import annotations

from misoflow.store.tx import Tx


def load(tx: Tx, key: str) -> tuple[bytes, int]:
    """(times of the last hour's calls, blocked until), as they were saved."""
    row: tuple[bytes, int] | None = tx.db.execute("SELECT calls, blocked FROM budgets WHERE key=?", (key,)).get
    return row or (b"", 0)


def save(tx: Tx, key: str, calls: bytes, blocked: int) -> None:
    tx.db.execute("INSERT OR REPLACE INTO budgets VALUES(?,?,?)", (key, calls, blocked))


def last_run(tx: Tx, name: str) -> int | None:
    """When a scheduled job last ran, in ms."""
    last: int | None = tx.one("SELECT last FROM schedule WHERE name=?", (name,))
    return last


def ran(tx: Tx, name: str, now: int, note: str | None) -> None:
    """A scheduled job ran at ``now``; ``note`` says why nothing came of it."""
    tx.db.execute(
        "INSERT INTO schedule(name, last, note) VALUES(?,?,?)"
        " ON CONFLICT DO UPDATE SET last=excluded.last, note=excluded.note",
        (name, now, note),
    )


def planned(tx: Tx, times: dict[str, int | None]) -> None:
    """When each job runs next; jobs that are no longer configured are forgotten."""
    for (name,) in list(tx.db.execute("SELECT name FROM schedule")):
        if name not in times:
            tx.db.execute("DELETE FROM schedule WHERE name=?", (name,))
    for name, due in times.items():
        tx.db.execute(
            "INSERT INTO schedule(name, next) VALUES(?,?) ON CONFLICT DO UPDATE SET next=excluded.next", (name, due)
        )


def schedule(tx: Tx) -> list[tuple[str, int | None, int | None, str | None]]:
    """(name, last run, next run, note)."""
    return list(tx.db.execute("SELECT name, last, next, note FROM schedule ORDER BY name"))
