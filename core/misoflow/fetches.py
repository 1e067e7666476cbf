"""Thin events: equal fetches are done once, and their events are translated in turn."""

from __future__ import annotations

import asyncio
import logging

from misoflow.clock import now_ms, pause
from misoflow.contain import cancelled
from misoflow.delivery import RawsOf
from misoflow.errors import Halt, Reject, Retry
from misoflow.instances import Instances
from misoflow.intake import Intake
from misoflow.pipeline import describe, from_ms, plain, stamped
from misoflow.store import Store, StoreUnavailable, control
from misoflow.store.fetches import Due, due_fetches, failed_fetch, later_fetch, waiting_for

log = logging.getLogger("misoflow.work")

AT_ONCE = 4
RETRY_MS = (1000, 300_000)


class Fetcher:
    """Calls ``Connector.fetch`` for what ``Fetch`` effects asked for, a few at a time."""

    def __init__(self, store: Store, instances: Instances, intake: Intake, raws_of: RawsOf) -> None:
        self._store = store
        self._instances = instances
        self._intake = intake
        self._raws_of = raws_of

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                busy = await self.step()
            except StoreUnavailable:  # the intake says so
                busy = False
            if not busy:
                await pause(stopping, 0.2)

    async def step(self) -> bool:
        """Do what is due; False when nothing was."""
        due = await self._store.run(due_fetches, now_ms(), AT_ONCE)
        due = [one for one in due if not self._intake.is_paused(one.instance)]
        await asyncio.gather(*(self._one(fetch) for fetch in due))
        return bool(due)

    async def _one(self, fetch: Due) -> None:
        instance = self._instances.get(fetch.instance)
        if instance is None:
            await self._store.run(later_fetch, fetch, now_ms() + RETRY_MS[1])
            return
        try:
            found = await instance.connector.fetch(fetch.kind, fetch.ref)
            found = [stamped(event, from_ms(now_ms())) for event in found]
        except Retry as error:
            wait = error.after * 1000 if error.after else min(RETRY_MS[0] * 2**fetch.tries, RETRY_MS[1])
            await self._store.run(later_fetch, fetch, now_ms() + int(wait))
        except Halt as error:
            log.error("%s is paused: %s. Do: %s", fetch.instance, error.reason, error.fix)
            fix = f"{error.fix}, then: misoflow resume {fetch.instance}"
            await self._store.run(control.pause, fetch.instance, error.reason, fix, now_ms())
            await self._intake.refresh()
        except BaseException as error:
            if cancelled(error):
                raise
            reason = plain(error.reason) if isinstance(error, Reject) else describe(error)
            raws = await self._raws_of(await self._store.run(waiting_for, fetch))
            await self._store.run(failed_fetch, fetch, f"fetching {fetch.kind} failed: {reason}", raws, now_ms())
        else:
            await self._intake.fetched(instance, found, (fetch.instance, fetch.kind, fetch.ref))
