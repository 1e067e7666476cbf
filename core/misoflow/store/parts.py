"""Parts: the interactions of one transaction for one Miso environment, packed, until a batch takes them."""

from __future__ import annotations

from array import array
from collections import Counter

import msgspec

from misoflow.store.tx import Tx
from misoflow.store.values import Piece

PART_RECORDS = 2000
PART_BYTES = 2 * 1024 * 1024


class OpenPart:
    """Interactions of this transaction for one Miso environment, until they are written as a part."""

    def __init__(self, env: int, piece: int | None = None) -> None:
        self.env = env
        self.slice = piece
        self.bodies: list[bytes] = []
        self.members = array("Q")
        self.spread = array("Q")
        self.whole: Counter[int] = Counter()
        self.size = 0
        self.first_delivery = 2**62

    @property
    def full(self) -> bool:
        return len(self.bodies) >= PART_RECORDS or self.size >= PART_BYTES

    def add(self, pieces: list[Piece], event: int, delivery: int) -> None:
        for piece in pieces:
            self.bodies.append(piece.body)
            self.members.append(event)
            self.size += len(piece.body) + 1
        if delivery > 0:
            self.first_delivery = min(self.first_delivery, delivery)

    def write(self, tx: Tx, part: int, now: int) -> None:
        tx.db.execute(
            "INSERT INTO parts(id, env, n, size, events, instance_events, members, spread, body,"
            " first_delivery, slice, created) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                part,
                self.env,
                len(self.bodies),
                self.size,
                self.whole.total(),
                msgspec.msgpack.encode(dict(self.whole)),
                self.members.tobytes(),
                self.spread.tobytes(),
                tx.seal(b"\n".join(self.bodies), b"part"),
                self.first_delivery,
                self.slice,
                now,
            ),
        )


def write_part(tx: Tx, env: int, body: bytes, event: int, now: int) -> None:
    """A part of its own for one record of an event that is already SPREAD."""
    delivery = tx.one("SELECT delivery FROM events WHERE id=?", (event,)) or 0
    box = OpenPart(env)
    box.add([Piece(body)], event, delivery)
    box.spread.append(event)
    box.write(tx, new_number(tx), now)


def new_number(tx: Tx) -> int:
    """The number of a part that will be written in this transaction, while others may be written before it."""
    number: int | None = tx.one("UPDATE sqlite_sequence SET seq=seq+1 WHERE name='parts' RETURNING seq")
    if number is None:
        tx.db.execute("INSERT INTO sqlite_sequence VALUES('parts', 1)")
    return number or 1
