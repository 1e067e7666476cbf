"""Carries installs out: calls ``Installable.install`` after a click and every quarter of an hour, and ``uninstall``.

All of it may be broken off anywhere and is then done again: the connector's verbs are idempotent, and an install's
row says what is still to be done.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from misoflow.clock import now_ms, pause
from misoflow.connector import Problem
from misoflow.contain import cancelled
from misoflow.crash import point
from misoflow.errors import Halt, Reject, Retry
from misoflow.installable import Installable
from misoflow.instances import DAY_MS, Instance
from misoflow.outputs import plain
from misoflow.pipeline import describe
from misoflow.store import StoreUnavailable, control, installs, purge
from misoflow.store.installs import Install

if TYPE_CHECKING:
    from misoflow.engine import Engine

log = logging.getLogger("misoflow.work")

AT_ONCE = 8
LOOK_MS = 15 * 60_000
RETRY_MS = (2000, 300_000)
TURN_SECONDS = 0.2
FORGET_DAYS = 30
"""After that an install that ended is erased, even if the platform never asks for it."""
AGAIN = "click Install again at the platform"


class Installer:
    """Looks after the installs of all templates, a few at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Until the engine stops; what is in hand then is done again."""
        try:
            while not stopping.is_set():
                try:
                    await self.step()
                except StoreUnavailable as error:
                    self._engine.trouble.say(error)
                await pause(stopping, TURN_SECONDS)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def start(self) -> None:
        """Instances that are no templates are installed without a click."""
        for name in self._engine.settings.instances:
            instance = self._engine.instances.get(name)
            if instance is not None and isinstance(instance.connector, Installable) and not instance.connector.template:
                await self._engine.store.run(installs.of_itself, name, now_ms())

    async def step(self) -> None:
        """Begin what is due and not in hand."""
        self._busy = {name: task for name, task in self._busy.items() if not task.done()}
        for one in await self._engine.store.run(installs.due, now_ms(), AT_ONCE * 4):
            if one.name not in self._busy and len(self._busy) < AT_ONCE:
                self._busy[one.name] = asyncio.create_task(self._one(one), name=f"install {one.name}")
        for name in await self._engine.store.run(installs.overdue, now_ms() - FORGET_DAYS * DAY_MS):
            await self._engine.store.run(purge.ask, name, now_ms(), now_ms())

    async def _one(self, one: Install) -> None:
        instance = self._engine.instances.get(one.name)
        if instance is None or not isinstance(instance.connector, Installable):
            return
        try:
            await (self._leave(instance, one) if one.state == "leaving" else self._install(instance, one))
        except StoreUnavailable as error:
            self._engine.trouble.say(error)
        except BaseException as error:
            if cancelled(error):
                raise
            await self._missed(one, error)

    async def _install(self, instance: Instance, one: Install) -> None:
        engine = self._engine
        assert isinstance(instance.connector, Installable)
        found = await instance.connector.install(one.grant)
        point("install.done")
        facts = {"problems": [_problem(one) for one in found.problems], "without": list(found.without)}
        if one.state == "connecting":  # before the click is done with: nobody would do it after the next start
            await engine.actions.resume(one.name)
        again = now_ms() + LOOK_MS
        if not await engine.store.run(installs.done, one.name, one.asked, facts, now_ms(), again):
            return
        if one.state == "connecting" or not one.started:
            wanted = [stream for stream in engine.backfills.streams(instance) if stream not in found.without]
            if wanted:
                await engine.backfills.start(one.name, wanted)
            await engine.store.run(installs.started, one.name, again)
        for stream in found.gaps:
            if stream not in found.without:
                await engine.backfills.anew(one.name, stream)

    async def _leave(self, instance: Instance, one: Install) -> None:
        assert isinstance(instance.connector, Installable)
        await instance.connector.uninstall()
        point("install.left")
        await self._engine.store.run(installs.left, one.name)

    async def _missed(self, one: Install, error: BaseException) -> None:
        """It did not come through: later again, or not without a person."""
        store = self._engine.store
        wait = min(RETRY_MS[0] * 2**one.tries, RETRY_MS[1])
        if isinstance(error, Retry):
            wait = int(error.after * 1000) if error.after else wait
            await store.run(installs.later, one.name, one.asked, plain(error.reason), now_ms() + wait)
        elif isinstance(error, Halt) and one.state == "installed":  # deliveries are still taken in, and wait
            log.error("%s: %s. Do: %s", one.name, error.reason, error.fix)
            await store.run(installs.later, one.name, one.asked, plain(error.reason), now_ms() + LOOK_MS)
            await store.run(control.pause, one.name, plain(error.reason), plain(error.fix), now_ms())
            await self._engine.intake.refresh()
        elif isinstance(error, Halt | Reject) and one.state == "connecting":
            fix = error.fix if isinstance(error, Halt) else AGAIN
            log.error("%s: the install failed: %s. Do: %s", one.name, error.reason, fix)
            await store.run(installs.failed, one.name, one.asked, plain(error.reason), plain(fix))
            await self._engine.intake.refresh()
        else:
            log.error("%s: looking after the install failed, it is tried again: %s", one.name, describe(error))
            await store.run(installs.later, one.name, one.asked, describe(error), now_ms() + wait)


def _problem(problem: Problem) -> dict[str, str]:
    return {name: plain(getattr(problem, name)) for name in ("level", "text", "fix")}
