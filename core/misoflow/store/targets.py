"""Events with several targets (records in different batches, users, fetches): counted down to delivered."""

from __future__ import annotations

from misoflow.store.schema import DEAD, DELIVERED, SPREAD
from misoflow.store.tx import Tx


def target_done(tx: Tx, event: int) -> None:
    """One target of a SPREAD event is at Miso; with the last one the event is delivered.

    Of a dead event it is only noted, so that a retry knows when nothing of it is on its way any more.
    """
    row = tx.db.execute(
        "UPDATE events SET left=left-1, state=CASE WHEN left<=1 AND state=? THEN ? ELSE state END"
        " WHERE id=? AND state IN (?,?) RETURNING instance, state",
        (SPREAD, DELIVERED, event, SPREAD, DEAD),
    ).get
    if row is not None and row[1] == DELIVERED:
        tx.move(row[0], "pending", "delivered")
