"""Deleting an install's people at Miso.

Miso documents a delete by user id only (https://docs.miso.ai/api-reference, Interaction Delete API), and that an
interaction with both ids links the profiles. So an anonymous visitor is sent once more, together with a user id
that is made up for it, and what is deleted then is that user.
"""

from __future__ import annotations

import uuid
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from misoflow.records import Custom
from misoflow.store import erase
from misoflow.store.people import plain_id
from misoflow.store.schema import DONE, SEALED
from misoflow.store.tx import Tx

AT_ONCE = 1000
"""Ids in one delete: as long as it is under way nothing else goes to this Miso environment."""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "erasure.misoflow")
ACTION = "erasure"

Last = tuple[int, bytes, int]
"""env and keyed hash of the last person of a batch, and the batch that linked its visitors (0: none)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One delete on its way."""

    batch: int
    last: Last
    users: int
    visitors: int


def forget(tx: Tx, instance: int, asked: int, now: int) -> Asked | None:
    """Queue the delete of some of the install's people; None when nobody is left."""
    env = tx.one("SELECT min(env) FROM people WHERE instance=?", (instance,))
    if env is None:
        return None
    rows = list(
        tx.db.execute(
            "SELECT who, kind, id FROM people WHERE instance=? AND env=? ORDER BY who LIMIT ?", (instance, env, AT_ONCE)
        )
    )
    users = [plain_id(tx, sealed) for _, kind, sealed in rows if kind == "u"]
    visitors = {_made_up(who): plain_id(tx, sealed) for who, kind, sealed in rows if kind == "a"}
    joined = _link(tx, env, visitors, asked, now) if visitors else 0
    batch = erase.queue(tx, env, [*users, *visitors], now)
    return Asked(batch, (env, rows[-1][0], joined), len(users), len(visitors))


def is_answered(tx: Tx, batch: int) -> bool:
    """Whether Miso has answered the delete."""
    return bool(tx.one("SELECT state FROM batches WHERE id=?", (batch,)) in (DONE, None))


def forgotten(tx: Tx, instance: int, last: Last) -> None:
    """Miso has deleted these people: they are forgotten here. Who is another instance's user too is sent again."""
    env, until, joined = last
    of = (instance, env, until)
    for (who,) in list(tx.db.execute("SELECT who FROM people WHERE instance=? AND env=? AND who<=? AND kind='u'", of)):
        where = (env, who)
        tx.db.execute("DELETE FROM links WHERE who=?", (who,))
        if tx.one("SELECT 1 FROM keyed_parts WHERE env=? AND kind='user' AND key=?", where):
            tx.db.execute("UPDATE keyed SET dirty=1, delivered=NULL WHERE env=? AND kind='user' AND key=?", where)
        else:
            tx.db.execute("DELETE FROM keyed WHERE env=? AND kind='user' AND key=? AND batch IS NULL", where)
    tx.db.execute("DELETE FROM people WHERE instance=? AND env=? AND who<=?", of)
    tx.db.execute("DELETE FROM parts WHERE batch=?", (joined,))


def _made_up(who: bytes) -> str:
    return f"erased-{uuid.uuid5(NAMESPACE, who.hex())}"


def _link(tx: Tx, env: int, visitors: dict[str, str], asked: int, now: int) -> int:
    """A batch that brings each visitor together with its made-up user; the delete, which is newer, waits for it."""
    at = _rfc3339(asked)
    made = [
        Custom(custom_action_name=ACTION, user_id=user, anonymous_id=visitor, timestamp=at)
        for user, visitor in visitors.items()
    ]
    body = b"\n".join(map(msgspec.json.encode, made))
    batch: int = tx.one(
        "INSERT INTO batches(env, kind, state, n, todo, created) VALUES(?,'interactions',?,?,?,?) RETURNING id",
        (env, SEALED, len(made), msgspec.json.encode([[(0, len(made))]]).decode(), now),
    )
    tx.db.execute(
        "INSERT INTO parts(env, batch, n, size, events, instance_events, members, spread, body, first_delivery,"
        " created) VALUES(?,?,?,?,0,?,?,x'',?,?,?)",
        (
            *(env, batch, len(made), len(body), msgspec.msgpack.encode({})),
            *(array("Q", [0] * len(made)).tobytes(), tx.seal(body, b"part"), 2**62, now),
        ),
    )
    return batch


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
