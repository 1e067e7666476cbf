"""Interactions that nobody vouches for: sent only if the instance has a product that they name.

A record that names no product at all is sent; one without product ids counts by its product group ids, which are
those of the products that came by groups.
"""

from __future__ import annotations

import msgspec

from misoflow.store import keyed, late
from misoflow.store.parts import write_part
from misoflow.store.targets import target_skipped
from misoflow.store.tx import Tx
from misoflow.store.values import Ask, Piece

STRANGE = "names a product that the instance does not have"


def has(tx: Tx, env: int, instance: int, ask: Ask) -> bool:
    """Whether one of the products is at Miso by this instance, or on its way there."""
    if ask.products:
        return any(keyed.is_held(tx, env, "product", key, instance) for key in ask.products)
    sql = "SELECT EXISTS(SELECT 1 FROM grouped WHERE instance=? AND env=? AND family=?)"
    return not ask.families or any(tx.one(sql, (instance, env, family)) for family in ask.families)


def wait(tx: Tx, env: int, instance: int, event: int, piece: Piece, ask: Ask) -> None:
    """Put a record aside until the fetch that it asks for is done, as one target of its event."""
    body = tx.seal(msgspec.msgpack.encode(piece), b"known")
    tx.db.execute(
        "INSERT INTO knowns(event, env, instance, kind, ref, body) VALUES(?,?,?,?,?,?)",
        (event, env, instance, ask.fetch.kind, ask.fetch.id, body),
    )


def answer(tx: Tx, instance: int, kind: str, ref: str, now: int) -> None:
    """A fetch is done: records whose products are known now are sent; of the others, those it was made for are not."""
    rows = list(
        tx.db.execute(
            "SELECT id, event, env, called, body FROM knowns WHERE instance=? AND kind=? AND ref=?",
            (instance, kind, ref),
        )
    )
    for row, event, env, called, body in rows:
        piece = msgspec.msgpack.decode(tx.open(body, b"known"), type=Piece)
        found = piece.known is None or has(tx, env, instance, piece.known)
        if found or called:
            tx.db.execute("DELETE FROM knowns WHERE id=?", (row,))
        if found:
            _send(tx, env, instance, event, piece, now)
        elif called:
            target_skipped(tx, event, STRANGE)


def _send(tx: Tx, env: int, instance: int, event: int, piece: Piece, now: int) -> None:
    ready = late.bound(tx, env, instance, piece) if piece.late else piece
    if ready is None:
        late.wait(tx, env, event, piece, now)
    else:
        write_part(tx, env, ready.body, event, now)
