"""Who does the work of a target's run: the running ``work`` of its data folder, or an engine of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from misoflow import control
from misoflow.config import Settings
from misoflow.engine import Engine
from misoflow.errors import Retry
from misoflow.singer.target import Ask

GONE_SECONDS = 15.0
"""A work that crashed is started again by its parent; after this long it has not been."""
STEP_SECONDS = 0.25


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Ask]:
    """What to ask. An engine of our own is ended with the run; it answers for what is in flight first."""
    if await control.running(settings):
        yield _running(settings)
        return
    engine = Engine(settings)
    up = asyncio.Event()
    task = asyncio.create_task(engine.run(up.set))
    await asyncio.wait([task, asyncio.create_task(up.wait())], return_when=asyncio.FIRST_COMPLETED)

    async def ask(verb: str, **args: Any) -> Any:
        if task.done():
            task.result()
            raise Retry("the engine has ended; nothing that was taken in is lost")
        return await engine.actions.call(verb, args)

    try:
        yield ask
    finally:
        engine.stopping.set()
        await task


def _running(settings: Settings) -> Ask:
    async def ask(verb: str, **args: Any) -> Any:
        for _ in range(int(GONE_SECONDS / STEP_SECONDS)):
            try:
                if await control.running(settings):
                    return await control.call(settings, verb, **args)
            except ConnectionError:
                pass  # it ended meanwhile; asking again is harmless, for records are known again
            await asyncio.sleep(STEP_SECONDS)
        raise Retry("misoflow has ended; nothing that was taken in is lost")

    return ask
