"""Complete lists in pages: what a source no longer lists is emptied once a list is whole.

A part on a page counts as soon as it comes; only absence needs every page. The order of runs is the order in
which they began here, so that no clock and no name of a run has a say in it.
"""

from __future__ import annotations

import msgspec

from misoflow.effects import Listing
from misoflow.store import keyed
from misoflow.store.tx import Tx
from misoflow.store.values import Part

AT_ONCE = 1000
"""Parts emptied in one transaction."""
REMEMBERED_MS = 40 * 86_400_000
"""How long a run is known, so that what comes late of it is not taken for a new one."""


def admit(tx: Tx, instance: int, env: int, part: Part, now: int) -> bool:
    """Note that a part is listed; False when it belongs to a run that a newer one has replaced."""
    if part.listing is None:
        return True
    newest = _newest(tx, instance, part.source)
    listing = _begun(tx, instance, part.source, part.listing, now) if part.listing else newest
    if listing < newest:
        return False
    tx.db.execute(
        "INSERT INTO listed VALUES(?,?,?,?,?,?) ON CONFLICT DO UPDATE SET listing=excluded.listing",
        (instance, part.source, env, part.kind, part.key, listing),
    )
    return True


def turn(tx: Tx, instance: int, page: Listing, now: int) -> None:
    """Note a page of a run; with the last one that is missing the run is whole."""
    listing = _begun(tx, instance, page.source, page.run, now)
    if listing < _newest(tx, instance, page.source):
        return
    state, text = tx.db.execute("SELECT state, seen FROM listings WHERE id=?", (listing,)).get
    seen = {*msgspec.json.decode(text, type=list[int]), page.page}
    if state == "open" and len(seen) >= page.pages:
        state = "whole"
    tx.db.execute(
        "UPDATE listings SET seen=?, state=? WHERE id=?", (msgspec.json.encode(sorted(seen)).decode(), state, listing)
    )


def sweep(tx: Tx, now: int) -> bool:
    """Empty some of the parts that the whole runs do not list; whether there may be more."""
    row = tx.db.execute("SELECT id, instance, source FROM listings WHERE state='whole' ORDER BY id LIMIT 1").get
    if row is None:
        tx.db.execute("DELETE FROM listings WHERE begun < ?", (now - REMEMBERED_MS,))
        return False
    listing, instance, source = row
    gone = list(
        tx.db.execute(
            "SELECT env, kind, key FROM listed WHERE instance=? AND source=? AND listing < ? LIMIT ?",
            (instance, source, listing, AT_ONCE),
        )
    )
    for env, kind, key in gone:
        keyed.empty(tx, env, kind, key, instance, source)
        tx.db.execute(
            "DELETE FROM listed WHERE instance=? AND source=? AND env=? AND kind=? AND key=?",
            (instance, source, env, kind, key),
        )
    if len(gone) < AT_ONCE:
        tx.db.execute("UPDATE listings SET state='swept' WHERE id=?", (listing,))
    return True


def _begun(tx: Tx, instance: int, source: str, run: str, now: int) -> int:
    """The run's number; a run seen for the first time is the newest."""
    where = (instance, source, run)
    known: int | None = tx.one("SELECT id FROM listings WHERE instance=? AND source=? AND run=?", where)
    if known is None:
        known = tx.one("INSERT INTO listings(instance, source, run, begun) VALUES(?,?,?,?) RETURNING id", (*where, now))
    return known


def _newest(tx: Tx, instance: int, source: str) -> int:
    newest: int = tx.one("SELECT max(id) FROM listings WHERE instance=? AND source=?", (instance, source)) or 0
    return newest
