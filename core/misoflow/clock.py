"""The wall clock in milliseconds, in one place, so that tests can set it; and waiting that a stop ends."""

from __future__ import annotations

import asyncio
import time


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until the engine stops."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
