"""Takes the erasures of installs through their steps: those of the store, the inbox's owner's, and the files' logs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from misoflow.clock import now_ms, pause
from misoflow.control import ActionError
from misoflow.store import StoreUnavailable, purge
from misoflow.store.purge import Next, Purge

if TYPE_CHECKING:
    from misoflow.engine import Engine

log = logging.getLogger("misoflow.work")

LOOK_SECONDS = 0.5


class Purging:
    """Runs beside intake and senders. Each turn is one short transaction, so the others go on in between."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                busy = await self.step()
            except StoreUnavailable as error:
                self._engine.trouble.say(error)
                busy = False
            await (asyncio.sleep(0) if busy else pause(stopping, LOOK_SECONDS))

    async def step(self) -> bool:
        """One turn of every running erasure; False when all of them wait."""
        running = await self._engine.store.run(purge.running)
        return any([await self._turn(one) for one in running])

    async def ask(self, instance: str) -> int:
        """A person wants an install erased; the number of the erasure. ActionError when there is no such install."""
        if "/" not in instance:
            raise ActionError(
                f"{instance!r} is no install: only of those it is known whom they told Miso of;"
                " misoflow forget erases users"
            )
        store = self._engine.store
        if not await store.run(purge.is_known, instance):
            raise ActionError(f"nothing is known of {instance!r}, or it is being erased already")
        now = now_ms()
        number = await store.run(purge.ask, instance, now, now)
        await self._engine.intake.refresh()
        return number

    async def _turn(self, one: Purge) -> bool:
        engine = self._engine
        if one.name not in engine.intake.paused and one.step == purge.ORDER[0]:
            await engine.intake.refresh()
        if one.step == "inbox":
            return await self._inbox(one)
        if one.step == "log":
            return await self._log(one)
        after = await engine.store.run(purge.turn, one, now_ms())
        engine.intake.committed()
        if one.step == "name" and after is Next.ON:
            await self._released(one)
        return after is not Next.WAIT

    async def _inbox(self, one: Purge) -> bool:
        """Wait until the inbox's owner has blanked the install's deliveries."""
        if self._engine.inbox.erased() < one.id:
            return False
        await self._engine.store.run(purge.passed, one)
        return True

    async def _released(self, one: Purge) -> None:
        """What came under the name meanwhile is another install's, and goes on."""
        engine = self._engine
        engine.intake.circuit.close(one.name)
        engine.intake.forget_links()
        await engine.intake.refresh()
        engine.maintenance.released.add(one.name)

    async def _log(self, one: Purge) -> bool:
        """Old pages stand in the store's log until it is emptied."""
        if not await self._engine.store.truncate_log():
            return False
        await self._engine.store.run(purge.finish, one, now_ms())
        log.info("an install is erased, here and at Miso (erasure %d)", one.id)
        return True
