"""The one transaction of the pipeline: event states, records for Miso, holds, and the inbox offset."""

from __future__ import annotations

from collections import Counter
from typing import Any

from misoflow.crash import point
from misoflow.store import erase, fetches, groups, installs, keyed, known, late, listings, people, pulls, slices
from misoflow.store.control import open_circuit
from misoflow.store.parts import OpenPart, new_number
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
from misoflow.store.tx import Tx
from misoflow.store.values import Chunk, Outcome, Part, Piece

CODES = {
    "pending": PENDING,
    "delivered": DELIVERED,
    "skipped": SKIPPED,
    "suppressed": SUPPRESSED,
    "erased": ERASED,
    "dead": DEAD,
}
INSERT_EVENT = (
    "INSERT INTO events(id, instance, hash, topic, received, delivery, who, state, part, reason)"
    " VALUES(?,?,?,?,?,?,?,?,?,?)"
)
USELESS = "this event has no use in Miso"


class Committer:
    """Applies one chunk inside an open transaction."""

    def __init__(self, tx: Tx, chunk: Chunk) -> None:
        self.tx = tx
        self.chunk = chunk
        self.open: dict[int, tuple[int, OpenPart]] = {}
        self.tombstones = tx.one("SELECT 1 FROM tombstones LIMIT 1") is not None
        self.rows: list[tuple[Any, ...]] = []
        """Events of the common kinds, inserted many at a time: (id, instance, …) as in INSERT_EVENT."""
        self.next_event = 0
        """The id of the next of them; 0: to be looked up."""
        self.links: list[tuple[bytes, bytes]] = []

    def run(self) -> None:
        tx, chunk = self.tx, self.chunk
        if people.is_stale(tx, chunk):
            return
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
            fetches.finish_fetch(tx, name, kind, ref, chunk.now)
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
        if made.people and made.state == "pending":
            people.note(tx, instance, env, made.people)
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
        elif made.raw and made.delivery == 0:  # nothing else keeps what was fetched, and Miso may refuse it
            raw = tx.seal(made.raw, b"dead")
            tx.db.execute("INSERT OR REPLACE INTO raws(event, raw) VALUES(?,?)", (row, raw))
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
        if made.row is not None and tx.one("SELECT instance FROM events WHERE id=?", (made.row,)) != instance:
            made.row = None  # the install was erased since it was looked up
        if made.row is None:
            topic = tx.words.id(tx.db, made.topic)
            values = (None, instance, made.hash, topic, made.received, made.delivery, made.who, PENDING, None, None)
            tx.db.execute(INSERT_EVENT, values)
            return tx.db.last_insert_rowid(), None
        state = tx.one("SELECT state FROM events WHERE id=?", (made.row,))
        old = {SKIPPED: "skipped", DEAD: "dead"}.get(state, "pending")
        tx.db.execute("INSERT OR REPLACE INTO raws SELECT event, raw FROM dead WHERE event=?", (made.row,))
        for table in ("dead", "waits", "late", "fetch_waits", "knowns"):
            tx.db.execute(f"DELETE FROM {table} WHERE event=?", (made.row,))
        tx.db.execute(
            "UPDATE events SET state=0, part=NULL, left=0, reached=0, reason=NULL, who=?, delivery=? WHERE id=?",
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
        tx, now = self.tx, self.chunk.now
        refused = None if made.agreed else self._refusal(made, instance)
        if refused is not None:
            made.state, made.reason, made.dead_kind = "dead", refused, "reject"
            return
        for who, anonymous in made.links:
            tx.db.execute("INSERT OR IGNORE INTO links VALUES(?,?)", (who, anonymous))
        for key, text in made.aliases:
            late.bind(tx, instance, key, text, now)
        for pull in made.pulls:
            pulls.ask(tx, instance, pull, now)
        for turn in made.life:
            installs.live(tx, instance, made.instance, turn, now, made.delivery)
        ready, waiting = self._pieces(made, instance, env, row)
        targets = bool(ready) + waiting + len(self._fetches(made, instance, row))
        targets += len({who for who, _ in made.forget}) + len(made.absents)
        targets += len(self._keyed(made, instance, env, row))
        for absent in made.absents:
            groups.take(tx, instance, row, absent)
        if not targets:
            self._nothing(made, bool(made.pieces or made.parts))
        elif ready and targets == 1:
            self._add(ready, made, instance, env, row, spread=False)
        else:
            tx.db.execute("UPDATE events SET state=?, left=? WHERE id=?", (SPREAD, targets, row))
            if ready:
                self._add(ready, made, instance, env, row, spread=True)

    def _refusal(self, made: Outcome, instance: int) -> str | None:
        reasons = (groups.refusal(self.tx, instance, absent) for absent in made.absents)
        return next((reason for reason in reasons if reason is not None), None)

    def _pieces(self, made: Outcome, instance: int, env: int, row: int) -> tuple[list[Piece], int]:
        """The interactions that can be sent now, and how many were put aside to wait for something."""
        tx, now = self.tx, self.chunk.now
        ready: list[Piece] = []
        waiting = 0
        for piece in [piece for piece in made.pieces if self._claim(piece, row)]:
            ask = piece.known
            full = late.bound(tx, env, instance, piece) if piece.late else piece
            if ask is not None and not known.has(tx, env, instance, ask):
                known.wait(tx, env, instance, row, piece, ask)
                fetches.ask(tx, instance, ask.fetch, now)
            elif full is None:
                late.wait(tx, env, row, piece, now)
            else:
                ready.append(full)
                continue
            waiting += 1
        return ready, waiting

    def _fetches(self, made: Outcome, instance: int, row: int) -> set[tuple[str, str]]:
        """Ask for the objects that the event names."""
        for fetch in made.fetches:
            fetches.ask(self.tx, instance, fetch, self.chunk.now)
            fetches.wait(self.tx, instance, row, fetch)
        return {(fetch.kind, fetch.id) for fetch in made.fetches}

    def _keyed(self, made: Outcome, instance: int, env: int, row: int) -> set[tuple[str, bytes]]:
        """Fold products and users in; the (kind, key) of those that the event now waits for."""
        tx, now = self.tx, self.chunk.now
        parts = [part for part in made.parts if self._claim(part, row)]
        listed = [part for part in parts if listings.admit(tx, instance, env, part, now)]
        changed: set[tuple[str, bytes]] = {(p.kind, p.key) for p in listed if keyed.put(tx, env, instance, row, p)}
        for page in made.listings:
            listings.turn(tx, instance, page, now)
        if len(listed) < len(parts):
            made.reason = made.reason or "a newer list was begun before this page came"
        for group in made.groups:
            found = groups.put(tx, env, instance, row, group)
            if not found:
                made.reason = made.reason or (groups.OLD if found is None else groups.EMPTY)
            changed |= found or set()
        return changed

    @staticmethod
    def _nothing(made: Outcome, had_records: bool) -> None:
        if made.aliases or made.listings or made.pulls or made.life:
            made.state = "delivered"
            return
        made.state = "skipped"
        made.reason = made.reason or ("another event brought this already" if had_records else USELESS)

    def _claim(self, record: Piece | Part, row: int) -> bool:
        """Whether the event is the first to bring what the record claims."""
        if record.claim is None:
            return True
        owner = self.tx.one("SELECT event FROM claims WHERE scope=?", (record.claim,))
        if owner is None:
            scopes = [(scope, row) for scope in (record.claim, *record.also)]
            self.tx.db.executemany("INSERT OR IGNORE INTO claims VALUES(?,?)", scopes)
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
            if not box.full:
                return current
            box.write(self.tx, part, self.chunk.now)
        box = OpenPart(env, self.chunk.page.slice if self.chunk.page else None)
        self.open[env] = (new_number(self.tx), box)
        return self.open[env]


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
        or made.groups
        or made.absents
        or made.pulls
        or made.raw
    ):
        return False
    for piece in made.pieces:  # noqa: SIM110 (no generator: this runs for each event)
        if piece.claim is not None or piece.late or piece.known is not None:
            return False
    return True
