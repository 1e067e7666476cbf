"""What has to happen now and then: retention, late identities, erased people's raw deliveries."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from misoflow.clock import now_ms, pause
from misoflow.crash import point
from misoflow.inbox import seal_delivery
from misoflow.instances import DAY_MS
from misoflow.pipeline import event_hash, unpack
from misoflow.store import StoreUnavailable, groups, late, listings, scrubs, slices
from misoflow.store.events import prune

if TYPE_CHECKING:
    from misoflow.engine import Engine

log = logging.getLogger("misoflow.work")

EVERY_SECONDS = 1.0
PRUNE_EVERY = 60
PRUNE_ROWS = 5000
ALIAS_DAYS = 30
"""How long an alias is known after it was last bound."""


class Maintenance:
    """Runs beside intake and senders; every step is idempotent and short."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.released: set[str] = set()
        """Instances that were resumed and may have deliveries waiting."""

    async def run(self, stopping: asyncio.Event) -> None:
        turn = 0
        while not stopping.is_set():
            try:
                if turn == 0:
                    self.released |= set(await self._engine.store.run(scrubs.instances))
                await self.step()
                if turn % PRUNE_EVERY == 0:
                    await self.prune()
                turn += 1
            except StoreUnavailable as error:
                self._engine.trouble.say(error)
            await pause(stopping, EVERY_SECONDS)

    async def step(self) -> None:
        """Empty what lists no longer hold, release records whose alias is late, erase people from raw deliveries."""
        engine = self._engine
        while await engine.store.run(listings.sweep, now_ms()) or await engine.store.run(groups.sweep):
            engine.intake.committed()
        waiting = await engine.store.run(late.due, now_ms())
        raws = await engine.raws_of([event for _, event in waiting]) if waiting else {}
        for row, event in waiting:
            await engine.store.run(scrubs.release, row, event, lambda event: raws.get(event, b""), now_ms())
        scrubbed = await engine.store.run(scrubs.deliveries)
        for page in [-delivery for delivery in scrubbed if delivery < 0]:
            await self._scrub_page(page)
        found = engine.inbox.get([delivery for delivery in scrubbed if delivery > 0])
        for delivery in found:
            if delivery.events != []:
                await self._scrub(delivery.id)
        # those that are gone or blanked hold nobody any more, and must not hold up the inbox's pruning
        held = {delivery.id for delivery in found if delivery.events != []}
        await engine.store.run(scrubs.needless, [row for row in scrubbed if row > 0 and row not in held])
        applied = await engine.store.run(scrubs.rewritten)
        done = [row for row, body in applied if engine.inbox.holds(row, body)]
        if done:
            await engine.store.run(scrubs.rewrites_done, done)

    async def _scrub(self, delivery_id: int) -> None:
        """Rewrite one raw delivery without the events of forgotten people."""
        engine = self._engine
        delivery = engine.inbox.get([delivery_id])[0]
        instance = engine.instances.get(delivery.instance)
        if instance is None or delivery.request is None:
            return
        found = engine.intake.events_of(instance, delivery)
        hashes = [event_hash(instance.name, event.id) for event in found]
        gone = await engine.store.run(scrubs.forgotten, instance.name, hashes)
        kept = [event for event, digest in zip(found, hashes, strict=True) if digest not in gone]
        point("scrub.before")
        body = seal_delivery(engine.vault, delivery.request, events=kept)
        await engine.store.run(scrubs.rewrite, delivery_id, body, now_ms())

    async def _scrub_page(self, page: int) -> None:
        """Rewrite one page of history without the events of forgotten people."""
        store = self._engine.store
        raws = await store.run(slices.raws, [page])
        name = await store.run(slices.instance_of, page)
        hashes = [event_hash(name, unpack(raw).id) for raw in raws]
        gone = await store.run(scrubs.forgotten, name, hashes)
        kept = [raw for raw, digest in zip(raws, hashes, strict=True) if digest not in gone]
        await store.run(slices.rewrite_page, page, kept)

    async def prune(self) -> None:
        """Retention: batches 7 days after delivery, dead letters 30, event ids as each instance remembers them."""
        engine = self._engine
        now = now_ms()
        config = engine.settings.engine
        names = await engine.store.run(scrubs.instance_rows)
        seen = []
        for row, name in names:
            instance = engine.instances.get(name)
            if instance is not None:
                seen.append((row, now - instance.dedup_ms))
        await engine.store.run(
            prune,
            batches_before=now - config.retention_days * DAY_MS,
            dead_before=now - config.dead_days * DAY_MS,
            seen_before=seen,
            limit=PRUNE_ROWS,
        )
        await engine.store.run(late.prune, now - ALIAS_DAYS * DAY_MS, PRUNE_ROWS)
