"""What an install that is erased leaves in the store: rows go, counters stay.

Which tables hold something of an instance or of an event is read from the file itself: a table that somebody adds
is emptied too.
"""

from __future__ import annotations

import re
from collections import Counter

from misoflow.store.events import JOINED, STATE_SQL
from misoflow.store.tx import Tx

EVENTS_AT_ONCE = 500
PAGES_AT_ONCE = 100
BODIES_AT_ONCE = 100
OWN_STEPS = ("counts", "purges", "events", "people", "jobs", "keyed_parts")
"""Tables with an instance that other steps see to, or that stay."""


def events(tx: Tx, instance: int) -> bool:
    """Delete some events of it with all that hangs on them; what was not finished counts as erased.

    False: none was left.
    """
    rows = list(
        tx.db.execute(
            f"SELECT events.id, {STATE_SQL} FROM {JOINED} WHERE events.instance=? LIMIT ?", (instance, EVENTS_AT_ONCE)
        )
    )
    ids = [event for event, _ in rows]
    marks = ",".join("?" * len(ids))
    for table in [*_tables(tx, "event"), "events"]:
        tx.db.execute(f"DELETE FROM {table} WHERE {'id' if table == 'events' else 'event'} IN ({marks})", ids)
    for state, n in Counter(state for _, state in rows).items():
        final = "erased" if state in ("pending", "dead") else state
        tx.move(instance, state, final, n)
        for name in (final, "accepted"):
            tx.db.execute(
                "INSERT INTO counts(instance, state, n, pruned) VALUES(?,?,0,?)"
                " ON CONFLICT DO UPDATE SET pruned=pruned+excluded.pruned",
                (instance, name, n),
            )
    return bool(rows)


def history(tx: Tx, instance: int) -> bool:
    """Delete some pages of it, and with the last its slices and jobs. False: none left."""
    jobs = "SELECT id FROM jobs WHERE instance=?"
    pages = list(
        tx.db.execute(
            f"SELECT pages.id FROM pages JOIN slices ON slices.id = slice WHERE job IN ({jobs}) LIMIT ?",
            (instance, PAGES_AT_ONCE),
        )
    )
    for (page,) in pages:
        tx.db.execute("DELETE FROM pages WHERE id=?", (page,))
        tx.db.execute("DELETE FROM scrubs WHERE delivery=?", (-page,))
    if not pages:
        tx.db.execute(f"DELETE FROM slices WHERE job IN ({jobs})", (instance,))
        tx.db.execute("DELETE FROM jobs WHERE instance=?", (instance,))
    return bool(pages)


def bodies(tx: Tx) -> bool:
    """Drop some bodies of finished batches of products and users, whoever's they are: they serve nothing any more."""
    tx.db.execute(
        "UPDATE batches SET body=NULL, suspects='{}' WHERE id IN"
        " (SELECT id FROM batches WHERE state=2 AND body IS NOT NULL LIMIT ?)",
        (BODIES_AT_ONCE,),
    )
    return tx.db.changes() == BODIES_AT_ONCE


def others(tx: Tx, instance: int, name: str) -> bool:
    """All other rows of it. False: none is left."""
    for table in _tables(tx, "instance"):
        if table not in OWN_STEPS:
            tx.db.execute(f"DELETE FROM {table} WHERE instance=?", (instance,))
    tx.db.execute("DELETE FROM claims WHERE event=?", (-instance,))
    tenant = name.partition("/")[2]
    for (key,) in list(tx.db.execute("SELECT key FROM budgets")):
        if tenant in re.split(r"[^\w.-]", key):
            tx.db.execute("DELETE FROM budgets WHERE key=?", (key,))
    for (job,) in list(tx.db.execute("SELECT name FROM schedule")):
        if f"{job}/".startswith(f"{name}/"):
            tx.db.execute("DELETE FROM schedule WHERE name=?", (job,))
    return False


def fold(tx: Tx, number: int, instance: int) -> None:
    """An install that was erased before (a request may come twice) has one row of counters, the first's."""
    first = tx.one(
        "SELECT instance FROM purges WHERE finished IS NOT NULL AND id < ?"
        " AND hash = (SELECT hash FROM purges WHERE id=?) ORDER BY id LIMIT 1",
        (number, number),
    )
    if first is None:
        return
    tx.db.execute(
        "INSERT INTO counts(instance, state, n, pruned) SELECT ?, state, n, pruned FROM counts WHERE instance=?"
        " ON CONFLICT DO UPDATE SET n=n+excluded.n, pruned=pruned+excluded.pruned",
        (first, instance),
    )
    tx.db.execute("UPDATE purges SET instance=? WHERE id=?", (first, number))
    _delete(tx, instance)


def drop_unused(tx: Tx, instance: int, name: str) -> None:
    """Delete the row of a name that nothing belongs to."""
    counted = tx.one("SELECT 1 FROM counts WHERE instance=? AND n != 0", (instance,))
    tables = [table for table in _tables(tx, "instance") if table != "counts"]
    if counted or any(tx.one(f"SELECT 1 FROM {table} WHERE instance=?", (instance,)) for table in tables):
        return
    tx.instances.drop(name)
    _delete(tx, instance)


def _delete(tx: Tx, instance: int) -> None:
    tx.db.execute("DELETE FROM counts WHERE instance=?", (instance,))
    tx.db.execute("DELETE FROM instances WHERE id=?", (instance,))
    tx.people.clear()


def _tables(tx: Tx, column: str) -> list[str]:
    """Tables that have such a column."""
    rows = tx.db.execute(
        "SELECT tables.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns"
        " WHERE tables.type = 'table' AND columns.name = ?",
        (column,),
    )
    return [name for (name,) in rows]
