"""Thin events: equal fetches are done once, and their events are translated in turn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from itertools import chain, zip_longest

from misoflow.clock import now_ms
from misoflow.contain import cancelled
from misoflow.delivery import RawsOf
from misoflow.errors import Halt, Reject, Retry
from misoflow.instances import Instances
from misoflow.intake import Intake
from misoflow.outputs import plain
from misoflow.pipeline import describe, from_ms, stamped
from misoflow.store import Store, StoreUnavailable, control
from misoflow.store.fetches import Due, begin_fetch, due_fetches, failed_fetch, later_fetch, waiting_for

log = logging.getLogger("misoflow.work")

AT_ONCE, EACH = 32, 4
"""Calls under way at the same time, of all instances and of one of them: a hot one must not block the others."""
IDLE_SECONDS = 0.2
RETRY_MS = (1000, 300_000)


class Fetcher:
    """Calls ``Connector.fetch`` for what ``Fetch`` effects asked for, a few at a time."""

    def __init__(self, store: Store, instances: Instances, intake: Intake, raws_of: RawsOf) -> None:
        self._store = store
        self._instances = instances
        self._intake = intake
        self._raws_of = raws_of
        self._busy: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Fetch until the engine stops; a call under way then is made again after the next start."""
        stop = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                with contextlib.suppress(StoreUnavailable):  # the intake says so
                    await self._turn()
                waiters = [stop, *self._busy.values()]
                await asyncio.wait(waiters, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stop, *self._busy.values()):
                task.cancel()
            await asyncio.gather(stop, *self._busy.values(), return_exceptions=True)

    async def _turn(self) -> None:
        """Begin what is due, the first of each instance before the second of any."""
        for key, task in list(self._busy.items()):
            if task.done():
                del self._busy[key]
                if not task.cancelled() and task.exception() is not None:
                    raise task.exception() or RuntimeError("unreachable")
        found = await self._store.run(due_fetches, now_ms(), 2 * EACH)  # those under way are among them
        fresh = [self._fresh(some) for some in found if not self._intake.is_paused(some[0].instance)]
        for fetch in chain.from_iterable(zip_longest(*fresh)):
            if fetch is not None and len(self._busy) < AT_ONCE:
                key = (fetch.instance, fetch.kind, fetch.ref)
                self._busy[key] = asyncio.create_task(self._one(fetch), name=f"fetch {fetch.kind}")

    def _fresh(self, due: list[Due]) -> list[Due]:
        """Of one instance's due fetches, those that may begin beside the ones under way."""
        room = EACH - sum(name == due[0].instance for name, _, _ in self._busy)
        return [one for one in due if (one.instance, one.kind, one.ref) not in self._busy][: max(0, room)]

    async def _one(self, fetch: Due) -> None:
        try:
            await self._call(fetch)
        except StoreUnavailable:  # it is still due
            await asyncio.sleep(IDLE_SECONDS)

    async def _call(self, fetch: Due) -> None:
        instance = self._instances.get(fetch.instance)
        if instance is None:
            await self._store.run(later_fetch, fetch, now_ms() + RETRY_MS[1])
            return
        if not await self._store.run(begin_fetch, fetch):
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
