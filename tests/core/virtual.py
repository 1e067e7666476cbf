"""An event loop whose clock jumps to the next timer whenever nothing else is going on."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    """Waits a moment for real work (the store's thread), then lets the clock jump instead of sleeping."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0 if timeout is not None and timeout <= 0 else 0.004)
        while not ready and timeout is None:
            ready = super().select(0.004)
        if not ready and timeout is not None and timeout > 0:
            self.loop.skew += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.skew = 0.0

    def time(self) -> float:
        return super().time() + getattr(self, "skew", 0.0)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Run a coroutine on a virtual clock; returns the seconds that passed on it."""
    loop = VirtualLoop()
    try:
        start = loop.time()
        loop.run_until_complete(main())
        return loop.time() - start
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.close()
