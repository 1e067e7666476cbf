"""What ``serve`` does beside receiving: slow connections, retention, erased people's deliveries, warnings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from misoflow.clock import now_ms
from misoflow.inbox import Inbox, InboxFull, InboxUnavailable

from misoflow_webhooks.admin import DISK_WARNING
from misoflow_webhooks.protocol import Deadlines, close_overdue

log = logging.getLogger("misoflow.serve")

SWEEP_SECONDS = 0.25
STORE_SECONDS = 3.75
"""How long a delivery may wait for the disk, give or take a sweep; the platforms give up after five seconds."""
EVERY_SECONDS = 1.0
DAY_MS = 24 * 3600 * 1000
WARN_EVERY_SECONDS = 3600


async def sweep(connections: set[Any], deadlines: Deadlines, inbox: Inbox) -> None:
    """Close connections that are too slow, and refuse what the disk is too slow for, while the task lives."""
    loop = asyncio.get_running_loop()
    pause = min(SWEEP_SECONDS, deadlines.head / 4)
    while True:
        await asyncio.sleep(pause)
        close_overdue(connections, loop.time(), deadlines)
        inbox.expire(STORE_SECONDS)


class Upkeep:
    """Prunes what the store has used up and retention has passed, rewrites and blanks what the store asks for."""

    def __init__(self, inbox: Inbox, retention_days: float) -> None:
        self._inbox = inbox
        self._retention_ms = int(retention_days * DAY_MS)
        self._rewritten: list[tuple[int, bytes]] = []
        self._warned = -float(WARN_EVERY_SECONDS)

    async def run(self) -> None:
        """One step a second, for as long as the task lives."""
        while True:
            try:
                await self.step()
                await self._inbox.audit_rest()
            except (InboxFull, InboxUnavailable):
                pass  # whoever sends something hears of it, and so does /readyz
            except Exception:
                log.exception("upkeep of the inbox failed; it is tried again")
            self._warn()
            await asyncio.sleep(EVERY_SECONDS)

    async def step(self) -> None:
        """What the store's progress allows and asks for; nothing while there is no store."""
        progress = await asyncio.to_thread(store_progress, self._inbox.data)
        if progress is None:
            return
        if progress.rewrites and progress.rewrites != self._rewritten:
            await self._inbox.rewrite(progress.rewrites)
        self._rewritten = progress.rewrites
        await self._inbox.erase(progress.erasures)
        await self._inbox.prune(progress.done_before, now_ms() - self._retention_ms)

    def _warn(self) -> None:
        now = time.monotonic()
        if now - self._warned < WARN_EVERY_SECONDS:
            return
        texts = [] if self._inbox.degraded is None else [self._inbox.degraded]
        if self._inbox.disk_used() >= DISK_WARNING:
            texts.append(f"the disk of {self._inbox.data} is {self._inbox.disk_used():.0%} full")
        for text in texts:
            log.warning("%s", text)
            self._warned = now


def store_progress(data: Path) -> Any:
    """The store's Progress, or None while there is no store."""
    from misoflow.store import progress

    return progress(data)


def engine_figures(settings: Any, vault: Any) -> Callable[[], dict[str, Any]]:
    """What ``/metrics`` adds about events, batches and pauses."""

    def read() -> dict[str, Any]:
        from misoflow.status import status

        return status(settings, vault)

    return read
