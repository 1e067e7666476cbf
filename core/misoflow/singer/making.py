"""A page of a connector's events as messages: what each event becomes, and what of it is a record of a stream.

Interactions go out as they are made. Products and users come in parts, from several streams and in several
versions, so each part is put into a store first; what goes out is the record that all parts so far are together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from misoflow.connector import Event
from misoflow.delivery import full_record_problem
from misoflow.errors import Halt
from misoflow.instances import Instance
from misoflow.intake import Circuit
from misoflow.pipeline import Translator, from_ms
from misoflow.singer.catalog import Selection
from misoflow.singer.connector import DELETED
from misoflow.singer.kinds import UUID
from misoflow.singer.messages import line_of
from misoflow.store import Store, keyed
from misoflow.store.tx import Tx
from misoflow.store.values import Outcome, Part, Piece

STREAMS = {"product": "products", "user": "users"}
IDS = {"product": "product_id", "user": "user_id"}
AT_ONCE = 1000
MOST_FETCHES = 3
"""An event that was fetched may ask for another, but not without end."""
Write = Callable[[bytes], None]


class Maker:
    """Counts what it made: ``records`` by stream, ``skipped`` events, ``rejected`` ones by reason."""

    def __init__(
        self, store: Store, instance: Instance, translator: Translator, selection: Selection, write: Write
    ) -> None:
        self._store = store
        self._instance = instance
        self._translator = translator
        self._selection = selection
        self._write = write
        self._circuit = Circuit()
        self.records: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.skipped = 0

    async def page(self, events: list[Event], received: int) -> None:
        """All records of these events; ``received`` (ms) stamps those that have no time of their own.

        Raises Halt when most events of a topic are rejected, or the connector asks for a stop.
        """
        moment = from_ms(received)
        stamped = [Event(one.id, one.topic, one.data, one.received_at or moment) for one in events]
        for at in range(0, len(stamped), AT_ONCE):
            parts: list[Part] = []
            for event in stamped[at : at + AT_ONCE]:
                await self._event(event, parts, MOST_FETCHES)
            if parts:
                await self._parts(parts, received)

    async def _event(self, event: Event, parts: list[Part], fetches: int) -> None:
        made, disconnect = self._translator.outcome(self._instance, event, 0)
        if disconnect is not None:
            raise Halt(disconnect, f"look at the settings of {self._instance.name}")
        self._count(made)
        for piece in made.pieces:
            self._interaction(piece)
        parts += made.parts
        parts += [part for group in made.groups for part in group.parts]
        for fetch in made.fetches:
            for found in await self._instance.connector.fetch(fetch.kind, fetch.id) if fetches else []:
                stamped = Event(found.id, found.topic, found.data, found.received_at or event.received_at)
                await self._event(stamped, parts, fetches - 1)

    def _count(self, made: Outcome) -> None:
        dead = made.state == "dead"
        if dead:
            self.rejected[f"{made.topic}: {made.reason} at {made.path}"] += 1
        elif not (made.pieces or made.parts or made.fetches or made.groups):
            self.skipped += 1
        if self._circuit.note(self._instance.name, made.topic, dead):
            raise Halt(
                f"too many {made.topic} events are rejected; last: {made.reason} at {made.path}", "mend the mapping"
            )

    def _interaction(self, piece: Piece) -> None:
        record = msgspec.json.decode(piece.body)
        # one that several events may bring is known by what they agreed upon, not by the event
        own = piece.claim.hex() if piece.claim else record["context"]["custom_context"]["uuid"]
        self._record("interactions", {UUID: own, **record})

    async def _parts(self, parts: list[Part], received: int) -> None:
        """Each product and user of these parts, as all that is known makes them."""
        env, name = self._instance.env, self._instance.name

        def step(tx: Tx) -> list[keyed.Full]:
            keys = (tx.envs.id(tx.db, env), tx.instances.id(tx.db, name))
            for part in parts:
                keyed.put(tx, *keys, 0, part)
            return keyed.take(tx, keys[0])

        for full in await self._store.run(step):
            if full.record is None:
                deleted = from_ms(received).isoformat()
                self._record(STREAMS[full.kind], {IDS[full.kind]: full.id, DELETED: deleted})
            elif (why := full_record_problem(full.kind, full.record)) is not None:
                self.rejected[why] += 1
            else:
                self._record(STREAMS[full.kind], full.record)

    def _record(self, stream: str, record: dict[str, Any]) -> None:
        without = self._selection.without.get(stream)
        if without is None:
            return
        given = {name: value for name, value in record.items() if name not in without} if without else record
        self._write(line_of({"type": "RECORD", "stream": stream, "record": given}))
        self.records[stream] += 1
