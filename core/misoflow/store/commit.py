"""The one transaction of the pipeline: event states, records for Miso, holds, and the inbox offset."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import msgspec

from misoflow.crash import point
from misoflow.store import erase, installs, keyed, listings, slices
from misoflow.store.control import open_circuit
from misoflow.store.schema import (
    DEAD,
    DELIVERED,
    ERASED,
    HELD,
    IN_PART,
    PENDING,
    SKIPPED,
    SPREAD,
    SUPPRESSED,
)
from misoflow.store.targets import target_done
from misoflow.store.tx import Tx
from misoflow.store.values import Chunk, Outcome, Piece

CODES = {
    "pending": PENDING,
    "delivered": DELIVERED,
    "skipped": SKIPPED,
    "suppressed": SUPPRESSED,
    "erased": ERASED,
    "dead": DEAD,
}
PART_RECORDS = 2000
PART_BYTES = 2 * 1024 * 1024
INSERT_EVENT = (
    "INSERT INTO events(id, instance, hash, topic, received, delivery, who, state, part, reason)"
    " VALUES(?,?,?,?,?,?,?,?,?,?)"
)
USELESS = "this event has no use in Miso"
SETTLE_MS = 60_000
"""How long a record with a late identity waits for its alias."""


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


class Committer:
    """Applies one chunk inside an open transaction."""

    def __init__(self, tx: Tx, chunk: Chunk) -> None:
        self.tx = tx
        self.chunk = chunk
        self.open: dict[int, tuple[int, OpenPart]] = {}
        self.next_part = (tx.one("SELECT seq FROM sqlite_sequence WHERE name='parts'") or 0) + 1
        self.tombstones = tx.one("SELECT 1 FROM tombstones LIMIT 1") is not None
        self.rows: list[tuple[Any, ...]] = []
        """Events of the common kinds, inserted many at a time: (id, instance, …) as in INSERT_EVENT."""
        self.next_event = 0
        """The id of the next of them; 0: to be looked up."""
        self.links: list[tuple[bytes, bytes]] = []

    def run(self) -> None:
        tx, chunk = self.tx, self.chunk
        for delivery in chunk.released:
            instance = tx.one("DELETE FROM held WHERE delivery=? RETURNING instance", (delivery,))
            if instance is not None:
                tx.count(instance, "accepted", -1)
                tx.count(instance, "pending", -1)
        self._events()
        for part, box in self.open.values():
            box.write(tx, part, chunk.now)
        for name, n in chunk.duplicates.items():
            tx.count(tx.instances.id(tx.db, name), "duplicates", n)
        for delivery, name in chunk.held:
            instance = tx.instances.id(tx.db, name)
            tx.db.execute("INSERT OR IGNORE INTO held VALUES(?,?)", (delivery, instance))
            if tx.db.changes():
                tx.count(instance, "accepted")
                tx.count(instance, "pending")
        for name, kind, ref in chunk.fetched:
            finish_fetch(tx, name, kind, ref)
        for name, reason, fix in chunk.pauses:
            tx.db.execute(
                "UPDATE instances SET paused=?, fix=?, paused_at=? WHERE id=?",
                (reason, fix, chunk.now, tx.instances.id(tx.db, name)),
            )
        for row, reason in chunk.settled:
            instance = tx.one("SELECT instance FROM events WHERE id=?", (row,))
            tx.db.execute("DELETE FROM dead WHERE event=?", (row,))
            tx.db.execute("UPDATE events SET state=?, reason=? WHERE id=?", (SKIPPED, tx.words.id(tx.db, reason), row))
            tx.move(instance, "dead", "skipped")
        for name, topic, reason in chunk.circuits:
            open_circuit(tx, name, topic, reason, chunk.now)
        point("commit.inside")
        if chunk.offset is not None:
            tx.db.execute("UPDATE meta SET value=max(value, ?) WHERE name='offset'", (chunk.offset,))

    def _events(self) -> None:
        page = slices.begin_page(self.tx, self.chunk)
        for outcome in self.chunk.outcomes:
            self._event(outcome)
        self._flush()
        slices.end_page(self.tx, self.chunk, page)

    def _event(self, made: Outcome) -> None:
        tx = self.tx
        instance = tx.instances.id(tx.db, made.instance)
        env = tx.envs.id(tx.db, made.env)
        if (
            self.tombstones
            and made.who is not None
            and made.state == "pending"
            and erase.suppressed(tx, env, made.who, made.at)
        ):
            made.state, made.reason = "suppressed", "the user was forgotten later than this happened"
        if _common(made):
            self._common(made, instance, env)
        else:
            self._flush()
            self._uncommon(made, instance, env)

    def _uncommon(self, made: Outcome, instance: int, env: int) -> None:
        tx = self.tx
        row, old = self._row(made, instance)
        if made.state == "pending" and not made.held:
            self._targets(made, instance, env, row)
        if made.state != "pending" or made.held:
            self._finish(made, row)
        if old is None:
            tx.count(instance, "accepted")
            tx.count(instance, made.state)
        else:
            tx.move(instance, old, made.state)
        for who, user_id in made.forget:
            self.tombstones = True
            erase.forget(tx, env, who, user_id, at=max(made.at, made.received), now=self.chunk.now, event=row)

    def _common(self, made: Outcome, instance: int, env: int) -> None:
        """A new event that nothing was made of, or whose records all go into one part."""
        tx = self.tx
        if not self.next_event:
            self.next_event = (tx.one("SELECT seq FROM sqlite_sequence WHERE name='events'") or 0) + 1
        row = self.next_event
        self.next_event += 1
        part, reason, state = None, None, IN_PART
        if made.pieces:
            part, box = self._box(env)
            box.add(made.pieces, row, made.delivery)
            box.whole[instance] += 1
            self.links += made.links
        else:
            made.state, state = "skipped", SKIPPED
            reason = tx.words.id(tx.db, made.reason or USELESS)
        topic = tx.words.id(tx.db, made.topic)
        self.rows.append((row, instance, made.hash, topic, made.received, made.delivery, made.who, state, part, reason))

    def _flush(self) -> None:
        """Insert what ``_common`` gathered."""
        tx, rows = self.tx, self.rows
        self.next_event = 0
        if not rows:
            return
        tx.db.executemany(INSERT_EVENT, rows)
        tx.db.executemany("INSERT OR IGNORE INTO links VALUES(?,?)", self.links)
        for (instance, state), n in Counter((row[1], row[7]) for row in rows).items():
            tx.count(instance, "accepted", n)
            tx.count(instance, "pending" if state == IN_PART else "skipped", n)
        self.rows, self.links = [], []

    def _row(self, made: Outcome, instance: int) -> tuple[int, str | None]:
        """The event's row, and the visible state it had if it was known."""
        tx = self.tx
        if made.row is None:
            topic = tx.words.id(tx.db, made.topic)
            values = (None, instance, made.hash, topic, made.received, made.delivery, made.who, PENDING, None, None)
            tx.db.execute(INSERT_EVENT, values)
            return tx.db.last_insert_rowid(), None
        state = tx.one("SELECT state FROM events WHERE id=?", (made.row,))
        old = {SKIPPED: "skipped", DEAD: "dead"}.get(state, "pending")
        tx.db.execute("INSERT OR REPLACE INTO raws SELECT event, raw FROM dead WHERE event=?", (made.row,))
        for table in ("dead", "waits", "late", "fetch_waits"):
            tx.db.execute(f"DELETE FROM {table} WHERE event=?", (made.row,))
        tx.db.execute(
            "UPDATE events SET state=0, part=NULL, left=0, reason=NULL, who=?, delivery=? WHERE id=?",
            (made.who, made.delivery, made.row),
        )
        return made.row, old

    def _finish(self, made: Outcome, row: int) -> None:
        tx = self.tx
        code = HELD if made.held else CODES[made.state]
        reason = tx.words.id(tx.db, made.reason) if made.reason else None
        tx.db.execute("UPDATE events SET state=?, reason=? WHERE id=?", (code, reason, row))
        if made.state == "dead":
            tx.db.execute(
                "INSERT OR REPLACE INTO dead(event, kind, reason, path, raw, created) VALUES(?,?,?,?,?,?)",
                (row, made.dead_kind, made.reason, made.path, tx.seal(made.raw, b"dead"), self.chunk.now),
            )

    def _targets(self, made: Outcome, instance: int, env: int, row: int) -> None:
        """Give the event's records to what will send them; an event without any is finished here."""
        tx = self.tx
        for who, anonymous in made.links:
            tx.db.execute("INSERT OR IGNORE INTO links VALUES(?,?)", (who, anonymous))
        for key, anonymous_id in made.aliases:
            bind_alias(tx, key, anonymous_id, self.chunk.now)
        pieces = [self._bound(piece) for piece in made.pieces if self._claim(piece.claim, row)]
        parts = [part for part in made.parts if self._claim(part.claim, row)]
        late = [piece for piece in pieces if piece.late is not None]
        now = [piece for piece in pieces if piece.late is None]
        targets = bool(now) + len(late) + len(made.fetches)
        targets += len({who for who, _ in made.forget})
        listed = [part for part in parts if listings.admit(tx, instance, env, part, self.chunk.now)]
        targets += len({(p.kind, p.key) for p in listed if keyed.put(tx, env, instance, row, p)})
        for page in made.listings:
            listings.turn(tx, instance, page, self.chunk.now)
        for turn in made.life:
            installs.live(tx, instance, made.instance, turn, self.chunk.now)
        if len(listed) < len(parts):
            made.reason = made.reason or "a newer list was begun before this page came"
        for piece in late:
            tx.db.execute(
                "INSERT INTO late(event, env, key, due, body) VALUES(?,?,?,?,?)",
                (row, env, piece.late, self.chunk.now + SETTLE_MS, tx.seal(piece.body, b"late")),
            )
        for kind, ref in made.fetches:
            tx.db.execute("INSERT OR IGNORE INTO fetches VALUES(?,?,?,0,0)", (instance, kind, ref))
            tx.db.execute("INSERT OR IGNORE INTO fetch_waits VALUES(?,?,?,?)", (instance, kind, ref, row))
        if not targets:
            self._nothing(made, bool(made.pieces or made.parts))
        elif now and targets == 1:
            self._add(now, made, instance, env, row, spread=False)
        else:
            tx.db.execute("UPDATE events SET state=?, left=? WHERE id=?", (SPREAD, targets, row))
            if now:
                self._add(now, made, instance, env, row, spread=True)

    @staticmethod
    def _nothing(made: Outcome, had_records: bool) -> None:
        if made.aliases or made.listings or made.life:
            made.state = "delivered"
            return
        made.state = "skipped"
        made.reason = made.reason or ("another event brought this already" if had_records else USELESS)

    def _bound(self, piece: Piece) -> Piece:
        """The piece with its late identity, if the alias came first."""
        if piece.late is None:
            return piece
        sealed = self.tx.one("SELECT anonymous_id FROM aliases WHERE key=?", (piece.late,))
        if sealed is None:
            return piece
        return Piece(named(piece.body, self.tx.open(sealed, b"alias").decode()), piece.claim)

    def _claim(self, scope: bytes | None, row: int) -> bool:
        if scope is None:
            return True
        owner = self.tx.one("SELECT event FROM claims WHERE scope=?", (scope,))
        if owner is None:
            self.tx.db.execute("INSERT INTO claims VALUES(?,?)", (scope, row))
        return owner is None or owner == row

    def _add(self, pieces: list[Piece], made: Outcome, instance: int, env: int, row: int, *, spread: bool) -> None:
        part, box = self._box(env)
        box.add(pieces, row, made.delivery)
        if spread:
            box.spread.append(row)
        else:
            box.whole[instance] += 1
            self.tx.db.execute("UPDATE events SET state=?, part=? WHERE id=?", (IN_PART, part, row))

    def _box(self, env: int) -> tuple[int, OpenPart]:
        current = self.open.get(env)
        if current is not None:
            part, box = current
            if len(box.bodies) < PART_RECORDS and box.size < PART_BYTES:
                return current
            box.write(self.tx, part, self.chunk.now)
        self.open[env] = (self.next_part, OpenPart(env, self.chunk.page.slice if self.chunk.page else None))
        self.next_part += 1
        return self.open[env]


def write_part(tx: Tx, env: int, piece: Piece, event: int, delivery: int, now: int) -> None:
    """A part of its own for one record of an event that is already SPREAD."""
    box = OpenPart(env)
    box.add([piece], event, delivery)
    box.spread.append(event)
    box.write(tx, (tx.one("SELECT seq FROM sqlite_sequence WHERE name='parts'") or 0) + 1, now)


def _common(made: Outcome) -> bool:
    if (
        made.row is not None
        or made.state != "pending"
        or made.held
        or made.parts
        or made.fetches
        or made.aliases
        or made.forget
        or made.listings
        or made.life
    ):
        return False
    for piece in made.pieces:  # noqa: SIM110 (no generator: this runs for each event)
        if piece.claim is not None or piece.late is not None:
            return False
    return True


def named(body: bytes, anonymous_id: str) -> bytes:
    """A record with its anonymous id put in."""
    return msgspec.json.encode({**msgspec.json.decode(body), "anonymous_id": anonymous_id})


def bind_alias(tx: Tx, key: bytes, anonymous_id: str, now: int) -> None:
    """Remember an alias and let go of the records that waited for it."""
    tx.db.execute("INSERT OR REPLACE INTO aliases VALUES(?,?,?)", (key, tx.seal(anonymous_id.encode(), b"alias"), now))
    for row in list(tx.db.execute("SELECT id, event, env, body FROM late WHERE key=?", (key,))):
        release_late(tx, *row, anonymous_id=anonymous_id, now=now)


def release_late(tx: Tx, late: int, event: int, env: int, body: bytes, *, anonymous_id: str | None, now: int) -> None:
    """Move a record out of waiting, with its anonymous id if one came (else it keeps its default)."""
    plain = tx.open(body, b"late")
    if anonymous_id is not None:
        plain = named(plain, anonymous_id)
    delivery = tx.one("SELECT delivery FROM events WHERE id=?", (event,)) or 0
    write_part(tx, env, Piece(plain), event, delivery, now)
    tx.db.execute("DELETE FROM late WHERE id=?", (late,))


def finish_fetch(tx: Tx, name: str, kind: str, ref: str) -> None:
    """A fetch's events are committed: the thin events that asked for it are done with it."""
    where = (tx.instances.id(tx.db, name), kind, ref)
    waiting = list(
        tx.db.execute("DELETE FROM fetch_waits WHERE instance=? AND kind=? AND ref=? RETURNING event", where)
    )
    tx.db.execute("DELETE FROM fetches WHERE instance=? AND kind=? AND ref=?", where)
    for (event,) in waiting:
        target_done(tx, event)
