"""The loop that takes deliveries from the inbox through the pipeline into the store, chunk by chunk."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from misoflow.clock import now_ms
from misoflow.connector import Event
from misoflow.crash import point
from misoflow.inbox import Delivery, InboxReader
from misoflow.installable import Installable
from misoflow.instances import Instance, Instances
from misoflow.pipeline import INSTALL, Translator, event_hash, from_ms, pack_events, split, stamped, to_ms, unpack
from misoflow.store import Store, control, events, installs, slices
from misoflow.store.values import Chunk, DeadLetter, Known, Outcome, PageMark
from misoflow.suspects import Suspects

log = logging.getLogger("misoflow.work")

CHUNK_DELIVERIES = 1000
CHUNK_EVENTS = 1000
CHUNK_BYTES = 8 * 1024 * 1024
SLICE_EVENTS = 100
"""Events translated before the loop gives way to the senders."""
LINKS_REMEMBERED = 100_000
WINDOW = 100
CIRCUIT_LEAST = 50
CIRCUIT_SHARE = 0.2
CIRCUIT_POISON = 3
"""Events of one topic that ended a worker, after which the topic is not tried further."""


class Circuit:
    """Watches the share of rejected events of each topic: a renamed field must not become a million dead letters."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, str], deque[bool]] = {}
        self._poison: Counter[tuple[str, str]] = Counter()
        self.open: set[tuple[str, str]] = set()

    def note(self, instance: str, topic: str, rejected: bool) -> bool:
        """True when this event trips the circuit of its topic."""
        key = (instance, topic)
        if key not in self._recent:
            self._recent[key] = deque(maxlen=WINDOW)
        recent = self._recent[key]
        recent.append(rejected)
        if rejected and len(recent) >= CIRCUIT_LEAST and sum(recent) > CIRCUIT_SHARE * len(recent):
            self.open.add((instance, topic))
            recent.clear()
            return True
        return False

    def note_poison(self, instance: str, topic: str) -> bool:
        """True when so many events of the topic ended a worker that it trips."""
        self._poison[(instance, topic)] += 1
        if self._poison[(instance, topic)] >= CIRCUIT_POISON:
            self.open.add((instance, topic))
            return True
        return False

    def close(self, instance: str) -> None:
        self._poison = Counter({key: n for key, n in self._poison.items() if key[0] != instance})
        self.open = {key for key in self.open if key[0] != instance}
        self._recent = {key: value for key, value in self._recent.items() if key[0] != instance}


class Intake:
    """Owns the inbox offset. ``step`` does one chunk and says whether there was anything to do."""

    def __init__(
        self, store: Store, inbox: InboxReader, instances: Instances, translator: Translator, data: Path
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._instances = instances
        self._translator = translator
        self.suspects = Suspects(data)
        self._links: set[tuple[bytes, bytes]] = set()
        self._one_at_a_time = asyncio.Lock()
        """Between looking up what is known of an event and its commit nobody else may translate it."""
        self.circuit = Circuit()
        self.busy = False
        """Live deliveries are coming in; history waits a little."""
        self.paused: set[str] = set()
        self.active: set[str] = set()
        """Installs whose events count."""
        self.offset = 0
        self.beat: Callable[[], None] = lambda: None
        """Called between slices of work; the watchdog's sign of life."""
        self.committed: Callable[[], None] = lambda: None
        """Called after each commit; there may be something to send."""

    async def start(self) -> None:
        """Read back the offset, the pauses and the open circuits."""
        self.offset = int(str(await self._store.run(control.meta, "offset")))
        await self.refresh()

    async def refresh(self) -> None:
        """Take over what a person or a connector decided about instances."""
        self.paused = {stop.name for stop in await self._store.run(control.paused)}
        self.active = await self._store.run(installs.active)
        for instance, topic, _, _ in await self._store.run(control.circuits):
            self.circuit.open.add((instance, topic))

    def forget_links(self) -> None:
        """Remember no longer which pairs of ids the store knows: those of an erased install are gone from it."""
        self._links.clear()

    def is_paused(self, name: str) -> bool:
        """An install is paused with its template."""
        return name in self.paused or name.partition("/")[0] in self.paused

    async def step(self) -> bool:
        """One chunk of new deliveries; False when there were none."""
        deliveries = self._inbox.read(self.offset, CHUNK_DELIVERIES, CHUNK_BYTES)
        if not deliveries:
            return False
        point("work.read")
        async with self._one_at_a_time:
            await self._process(deliveries)
        return True

    async def release(self, name: str) -> bool:
        """One chunk of what waited while an instance was paused or its circuits open; False when nothing does."""
        if self.is_paused(name):
            return False
        async with self._one_at_a_time:
            return await self._release(name)

    async def _release(self, name: str) -> bool:
        ids = await self._store.run(events.held_deliveries, name, CHUNK_DELIVERIES)
        if ids:
            await self._process(self._inbox.get(ids), released=ids)
            return True
        held = await self._store.run(events.held_events, name, CHUNK_EVENTS)
        rows = {
            digest: (row, delivery) for row, digest, topic, delivery in held if (name, topic) not in self.circuit.open
        }
        return bool(rows) and await self._again(name, rows)

    async def _again(self, name: str, rows: dict[bytes, tuple[int, int]]) -> bool:
        """Translate held events from their raw deliveries; ``rows`` is event hash -> (row, delivery)."""
        instance = self._instances.get(name)
        if instance is None:
            return False
        chunk = Chunk(now=now_ms())
        rows = dict(rows)
        pages = sorted({-delivery for _, delivery in rows.values() if delivery < 0})
        for raw in await self._store.run(slices.raws, pages):
            event = unpack(raw).event()
            digest = event_hash(name, event.id)
            row = rows.get(digest)
            if row is not None and row[1] < 0:
                made = self._one(chunk, instance, event, row[1], None, digest)
                made.row = row[0]
                chunk.outcomes.append(made)
        for delivery in self._inbox.get(sorted({delivery for _, delivery in rows.values() if delivery > 0})):
            for event in self.events_of(instance, delivery):
                digest = event_hash(name, event.id)
                row = rows.pop(digest, None)
                if row is not None and row[1] == delivery.id:
                    made = self._one(chunk, instance, event, delivery.id, None, digest)
                    made.row = row[0]
                    chunk.outcomes.append(made)
        await self._commit(chunk)
        return bool(chunk.outcomes)

    async def retry(self, letters: list[DeadLetter], *, agreed: bool = False) -> dict[str, int]:
        """Dead letters through today's code; returns how many of them are now in which state.

        ``agreed``: a person named these letters, and so agrees to what they ask for.
        """
        async with self._one_at_a_time:
            return await self._retry(letters, agreed)

    async def _retry(self, letters: list[DeadLetter], agreed: bool) -> dict[str, int]:
        chunk = Chunk(now=now_ms())
        seen: set[tuple[str, bytes]] = set()
        untried = 0
        for letter in letters:
            instance = self._instances.get(letter.instance)
            if instance is None or letter.in_flight:
                untried += 1
                continue
            if not await self._store.run(events.is_dead, letter.event):
                continue  # somebody was faster
            packed = unpack(letter.raw)
            if packed.body is None:
                found = [packed.event()]
            else:
                found, why = split(instance, packed.request())
                if why is not None:
                    untried += 1
                    continue
                chunk.settled.append((letter.event, "it could be split after all"))
            keys = [(instance.name, event_hash(instance.name, event.id)) for event in found]
            known = await self._store.run(events.known, keys)
            for event in found:
                key = (instance.name, event_hash(instance.name, event.id))
                before_ = known.get(key)
                made = self._one(chunk, instance, event, letter.delivery, before_, key[1], anyway=True)
                made.agreed = agreed
                self._admit(chunk, made, before_, seen)
        await self._commit(chunk)
        states = Counter(made.state for made in chunk.outcomes)
        return dict(states + Counter(dead=untried))

    async def replay(self, instance: Instance, delivery: Delivery) -> dict[str, int]:
        """The skipped and dead events of a stored delivery through today's code."""
        async with self._one_at_a_time:
            return await self._replay(instance, delivery)

    async def _replay(self, instance: Instance, delivery: Delivery) -> dict[str, int]:
        chunk = Chunk(now=now_ms())
        seen: set[tuple[str, bytes]] = set()
        found = self.events_of(instance, delivery)
        keys = [(instance.name, event_hash(instance.name, event.id)) for event in found]
        known = await self._store.run(events.known, keys)
        for event in found:
            digest = event_hash(instance.name, event.id)
            before = known.get((instance.name, digest))
            if before is not None and before.state in ("skipped", "dead"):
                made = self._one(chunk, instance, event, delivery.id, before, digest, anyway=True)
                self._admit(chunk, made, before, seen)
        await self._commit(chunk)
        return dict(Counter(made.state for made in chunk.outcomes))

    async def fetched(self, instance: Instance, found: list[Event], fetch: tuple[str, str, str]) -> None:
        """Events that a fetch brought; with them the thin events that asked for it are done."""
        chunk = Chunk(now=now_ms(), fetched=[fetch])
        moment = from_ms(chunk.now)
        fresh = [stamped(event, moment) for event in found]
        async with self._one_at_a_time:
            await self._translate(chunk, [(instance, event, 0) for event in fresh])
            await self._commit(chunk)

    async def pulled(self, instance: Instance, found: list[Event], mark: PageMark) -> None:
        """Some events of a page of history, with where they belong."""
        chunk = Chunk(now=now_ms(), page=mark)
        moment = from_ms(chunk.now)
        fresh = [stamped(event, moment) for event in found]
        async with self._one_at_a_time:
            keys = await self._translate(chunk, [(instance, event, -mark.slice) for event in fresh])
            waiting = {made.hash for made in chunk.outcomes if _under_way(made)}
            mark.raws = pack_events([e for e, (_, key) in zip(fresh, keys, strict=True) if key in waiting])
            await self._commit(chunk)

    def events_of(self, instance: Instance, delivery: Delivery) -> list[Event]:
        """The events of a stored delivery, or [] when it cannot be split or read."""
        return self._events(instance, delivery)[0]

    async def _process(self, deliveries: list[Delivery], released: list[int] | None = None) -> None:
        """Split, translate and commit."""
        chunk = Chunk(now=now_ms(), released=released or [])
        todo: list[tuple[Instance, Event, int]] = []
        for delivery in deliveries:
            if len(todo) >= CHUNK_EVENTS and released is None:
                break
            todo += self._split(chunk, delivery)
            if released is None:
                chunk.offset = delivery.id
        point("work.split")
        await self._translate(chunk, todo)
        await self._commit(chunk)
        self.suspects.settled([_delivery_hash(delivery) for delivery in deliveries])

    async def _commit(self, chunk: Chunk) -> None:
        point("work.before_commit")
        await self._store.commit(chunk)
        point("work.after_commit")
        self.suspects.settled([made.hash for made in chunk.outcomes])
        if chunk.offset is not None:
            self.offset = chunk.offset
        self.paused |= {name for name, _, _ in chunk.pauses}
        if any(made.life for made in chunk.outcomes):
            await self.refresh()
        self.committed()

    def _split(self, chunk: Chunk, delivery: Delivery) -> list[tuple[Instance, Event, int]]:
        if delivery.events == []:  # all of it is erased, and perhaps the install it was for
            return []
        instance = self._instances.get(delivery.instance)
        if delivery.request is None:
            log.error("delivery %d is damaged on disk and lost; run: misoflow repair", delivery.id)
            return []
        if instance is None:
            chunk.held.append((delivery.id, delivery.instance))
            return []
        paused = self.is_paused(delivery.instance)
        if paused and not isinstance(instance.connector, Installable):
            chunk.held.append((delivery.id, delivery.instance))
            return []
        found, why = self._events(instance, delivery)
        if paused and (why is not None or not all(_of_the_install(instance, event.topic) for event in found)):
            chunk.held.append((delivery.id, delivery.instance))
            return []
        if why is not None:
            chunk.outcomes.append(self._translator.undecodable(instance, delivery.request, delivery.id, why))
        return [(instance, event, delivery.id) for event in found]

    def _events(self, instance: Instance, delivery: Delivery) -> tuple[list[Event], tuple[str, str, bool] | None]:
        """As ``split``, unless the delivery has been split already or splitting it is known to end the worker."""
        if delivery.events is not None:
            return delivery.events, None
        if delivery.request is None:
            return [], None
        digest = _delivery_hash(delivery)
        if self.suspects.condemned(digest):
            log.error(
                "splitting delivery %d of %s ended the worker; it is a dead letter now", delivery.id, instance.name
            )
            return [], ("splitting this delivery hung or ended the worker", "$", True)
        self.suspects.at(digest)
        found = split(instance, delivery.request)
        self.suspects.done()
        return found

    async def _translate(self, chunk: Chunk, todo: list[tuple[Instance, Event, int]]) -> list[tuple[str, bytes]]:
        """Outcomes of what is not known yet; returns (instance, event hash) of each event."""
        wanted = [(instance.name, event_hash(instance.name, event.id)) for instance, event, _ in todo]
        wanted += [(made.instance, made.hash) for made in chunk.outcomes]
        known = await self._store.run(events.known, wanted)
        undecodable, chunk.outcomes = chunk.outcomes, []
        seen: set[tuple[str, bytes]] = set()
        for made in undecodable:
            self._admit(chunk, made, known.get((made.instance, made.hash)), seen)
        for n, ((instance, event, delivery), key) in enumerate(zip(todo, wanted, strict=False)):
            if n % SLICE_EVENTS == 0:
                self.beat()
                await asyncio.sleep(0)
            before = known.get(key)
            if key in seen or (before is not None and before.state not in ("skipped", "dead")):
                chunk.duplicates[instance.name] = chunk.duplicates.get(instance.name, 0) + 1
                continue
            made = self._one(chunk, instance, event, delivery, before, key[1])
            self._admit(chunk, made, before, seen)
        return wanted[: len(todo)]

    def _one(
        self,
        chunk: Chunk,
        instance: Instance,
        event: Event,
        delivery: int,
        before: Known | None,
        digest: bytes,
        *,
        anyway: bool = False,
    ) -> Outcome:
        """What becomes of one event. ``anyway``: a person asked for it, whatever it did to an earlier worker."""
        if (instance.name, event.topic) in self.circuit.open:
            return Outcome(
                instance.name,
                instance.env,
                digest,
                event.topic,
                to_ms(event.received_at),
                delivery,
                held=True,
                reason="held: too many events of this topic were rejected",
            )
        if not anyway and self.suspects.condemned(digest):
            return self._poison(chunk, instance, event, delivery)
        if event.topic == INSTALL:
            self.active.add(instance.name)
        elif self._left(instance) and not _of_the_install(instance, event.topic):
            received = to_ms(event.received_at)
            return Outcome(
                *(instance.name, instance.env, digest, event.topic, received, delivery),
                state="skipped",
                reason=installs.GONE,
            )
        confirmed = before.confirmed if before is not None else frozenset()
        self.suspects.at(digest)
        made, disconnect = self._translator.outcome(instance, event, delivery, confirmed=confirmed, digest=digest)
        self.suspects.done()
        if disconnect is not None:
            chunk.pauses.append((instance.name, disconnect, f"misoflow resume {instance.name}"))
        rejected = made.state == "dead"
        if self.circuit.note(instance.name, event.topic, rejected):
            self._trip(chunk, instance.name, event.topic, made.reason)
        return made

    def _left(self, instance: Instance) -> bool:
        """Whether it is an install that is not there (any more, or yet)."""
        installable = "/" in instance.name and isinstance(instance.connector, Installable)
        return installable and instance.name not in self.active

    def _poison(self, chunk: Chunk, instance: Instance, event: Event, delivery: int) -> Outcome:
        made = self._translator.poison(instance, event, delivery)
        log.error(
            "a %r event of %s ended the worker and is a dead letter now. Look at it with: misoflow dead list",
            event.topic,
            instance.name,
        )
        if self.circuit.note_poison(instance.name, event.topic):
            self._trip(chunk, instance.name, event.topic, made.reason)
        return made

    def _trip(self, chunk: Chunk, instance: str, topic: str, reason: str) -> None:
        chunk.circuits.append((instance, topic, reason))
        log.error(
            "too many %r events of %s are rejected; they are held untranslated. Last reason: %s. "
            "Mend the mapping, then: misoflow resume %s",
            topic,
            instance,
            reason,
            instance,
        )

    def _admit(self, chunk: Chunk, made: Outcome, before: Known | None, seen: set[tuple[str, bytes]]) -> None:
        key = (made.instance, made.hash)
        if key in seen or (before is not None and before.state not in ("skipped", "dead")):
            chunk.duplicates[made.instance] = chunk.duplicates.get(made.instance, 0) + 1
            return
        seen.add(key)
        if before is not None:
            made.row, made.received = before.row, before.received
        if len(self._links) > LINKS_REMEMBERED:
            self._links.clear()
        fresh = [pair for pair in made.links if pair not in self._links]
        self._links.update(fresh)
        made.links = fresh
        chunk.outcomes.append(made)


def _of_the_install(instance: Instance, topic: str) -> bool:
    """Whether it is about the install itself: such events count whatever state it is in."""
    return topic == INSTALL or (isinstance(instance.connector, Installable) and topic in instance.connector.lifecycle)


def _under_way(made: Outcome) -> bool:
    """Miso may still refuse something of it, or its topic is held."""
    made_of = (made.held, made.pieces, made.parts, made.fetches, made.groups, made.absents)
    return made.state == "pending" and any(made_of)


def _delivery_hash(delivery: Delivery) -> bytes:
    return hashlib.blake2b(f"delivery\0{delivery.id}".encode(), digest_size=16).digest()
