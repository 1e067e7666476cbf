"""Events with several targets (records in different batches, users, fetches): counted down to delivered."""

from __future__ import annotations

from misoflow.store.schema import DEAD, DELIVERED, SKIPPED, SPREAD
from misoflow.store.tx import Tx


def target_done(tx: Tx, event: int) -> None:
    """One target of a SPREAD event is at Miso; with the last one the event is delivered.

    Of a dead event it is only noted, so that a retry knows when nothing of it is on its way any more.
    """
    row = tx.db.execute(
        "UPDATE events SET left=left-1, reached=1, state=CASE WHEN left<=1 AND state=? THEN ? ELSE state END"
        " WHERE id=? AND state IN (?,?) RETURNING instance, state",
        (SPREAD, DELIVERED, event, SPREAD, DEAD),
    ).get
    if row is not None and row[1] == DELIVERED:
        tx.move(row[0], "pending", "delivered")


def target_skipped(tx: Tx, event: int, reason: str) -> None:
    """Nothing is sent of one target. The last one ends the event: skipped, unless another was reached.

    A skipped event lets go of its ``once`` claims, so that another one may bring what it did not.
    """
    row = tx.db.execute(
        "UPDATE events SET left=left-1, reason=coalesce(reason, ?) WHERE id=? AND state IN (?,?)"
        " RETURNING instance, state, left, reached",
        (tx.words.id(tx.db, reason), event, SPREAD, DEAD),
    ).get
    if row is None or row[1] == DEAD or row[2] > 0:
        return
    instance, _, _, reached = row
    tx.db.execute("UPDATE events SET state=? WHERE id=?", (DELIVERED if reached else SKIPPED, event))
    if not reached:
        tx.db.execute("DELETE FROM claims WHERE event=?", (event,))
    tx.move(instance, "pending", "delivered" if reached else "skipped")
