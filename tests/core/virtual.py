"""An event loop whose clock jumps to the next timer whenever nothing else is going on."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    """Waits for real work (the store's thread, sockets for a moment), then lets the clock jump instead of sleeping."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        ready = super().select(0.004)
        while not ready and (timeout is None or self.loop.in_threads):
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
        self.in_threads = 0
        """Calls that threads are busy with: on a slow machine the clock must not run away meanwhile."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, future: asyncio.Future[Any]) -> None:
        self.in_threads -= 1

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
