"""How often a platform may be asked: calls an hour and a second by key, shared by all jobs, kept over restarts."""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from misoflow.clock import now_ms
from misoflow.store import budgets

if TYPE_CHECKING:
    from misoflow.store import Store

log = logging.getLogger("misoflow.work")

HOUR_MS = 3_600_000
JOB: ContextVar[int] = ContextVar("job", default=0)
"""The backfill job that calls, if it is one."""


class Budget(Protocol):
    """What a connector sees: ``async with self.budget.call("export/123", per_hour=60): …``."""

    def call(
        self, key: str, *, per_hour: int, per_second: int = 1000, at_once: int = 1000
    ) -> AbstractAsyncContextManager[None]:
        """Waits for a turn. ``key`` names what the platform counts by: API family and account."""
        ...

    async def block(self, key: str, seconds: float) -> None:
        """The platform says its limit is reached: no call of this key before that."""
        ...


class Unmetered:
    """For the few calls of a command that has no store."""

    @asynccontextmanager
    async def call(
        self, key: str, *, per_hour: int, per_second: int = 1000, at_once: int = 1000
    ) -> AsyncIterator[None]:
        """Waits for nothing."""
        yield

    async def block(self, key: str, seconds: float) -> None:
        """The command's own error says it."""


class _Key:
    def __init__(self) -> None:
        self.calls: array[int] = array("q")
        self.blocked = 0
        self.loaded = False
        self.turn = asyncio.Lock()
        self.slots: asyncio.Semaphore | None = None


class StoredBudgets:
    """Times of the last hour's calls by key, in the store before each call is made."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, _Key] = {}
        self.waiting: dict[int, int] = {}
        """Backfill job -> when its next call may be made, in ms, while it waits for that."""

    @asynccontextmanager
    async def call(
        self, key: str, *, per_hour: int, per_second: int = 1000, at_once: int = 1000
    ) -> AsyncIterator[None]:
        """One call inside the limits; waits, first come, first served."""
        entry = self._keys.setdefault(key, _Key())
        entry.slots = entry.slots or asyncio.Semaphore(at_once)
        async with entry.slots:
            async with entry.turn:
                await self._load(key, entry)
                await self._wait(key, entry, per_hour, per_second)
                entry.calls.append(now_ms())
                await self._store.run(budgets.save, key, entry.calls.tobytes(), entry.blocked)
            yield

    async def block(self, key: str, seconds: float) -> None:
        entry = self._keys.setdefault(key, _Key())
        await self._load(key, entry)
        entry.blocked = max(entry.blocked, now_ms() + int(seconds * 1000))
        await self._store.run(budgets.save, key, entry.calls.tobytes(), entry.blocked)

    async def _load(self, key: str, entry: _Key) -> None:
        if not entry.loaded:
            calls, entry.blocked = await self._store.run(budgets.load, key)
            entry.calls.frombytes(calls)
            entry.loaded = True

    async def _wait(self, key: str, entry: _Key, per_hour: int, per_second: int) -> None:
        try:
            while (due := next_turn(entry, per_hour, per_second, now_ms())) > (now := now_ms()):
                if due - now > 5000 and JOB.get() not in self.waiting:
                    log.info("%s: the hour's calls are used up; the next one in %d s", key, (due - now) // 1000)
                self.waiting[JOB.get()] = due
                await asyncio.sleep(min(due - now, 60_000) / 1000)
        finally:
            self.waiting.pop(JOB.get(), None)


def next_turn(entry: _Key, per_hour: int, per_second: int, now: int) -> int:
    """When one more call is inside the limits, in ms; forgets calls older than an hour."""
    while entry.calls and entry.calls[0] <= now - HOUR_MS:
        entry.calls.pop(0)
    due = max(now, entry.blocked)
    if len(entry.calls) >= per_hour:
        due = max(due, entry.calls[len(entry.calls) - per_hour] + HOUR_MS)
    if len(entry.calls) >= per_second:
        due = max(due, entry.calls[len(entry.calls) - per_second] + 1000)
    return due
