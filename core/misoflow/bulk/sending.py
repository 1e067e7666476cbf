"""Batches to Miso: several requests at once, each answer decided as ``misoflow.delivery`` does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from misoflow import plan
from misoflow.bulk.batches import MAX_RECORDS, Batch
from misoflow.bulk.plan import Why
from misoflow.clock import pause
from misoflow.crash import point
from misoflow.encode import Kind
from misoflow.errors import Halt, Reject, Retry
from misoflow.miso import (
    Answer,
    Bad,
    Done,
    Envelope,
    Later,
    Miso,
    Stop,
    TaskDone,
    TaskFailed,
    TaskGone,
    TaskPending,
    TooLarge,
)
from misoflow.miso_lines import BadRecord
from misoflow.pace import FLOOR_RECORDS, Pace

SLOTS = 4
"""Requests at once."""
MOST_REQUESTS = 1000
"""Of one batch: more, and it is no bad record but something that a person should look at."""
MOST_LOST = 5
"""Tasks of one batch that Miso may lose or fail before the upload gives up."""
TASK_SECONDS = (0.1, 10.0)
STUCK_SECONDS = 15 * 60.0


class Stopped(Exception):
    """The person or an earlier error has ended the upload; what is still owed stays in the journal."""


class Sender:
    """Sends to one Miso environment until a batch is answered in full.

    ``save`` writes a batch's plan down; it is called before every request but a batch's first. ``patience``:
    seconds without any success after which it gives up.
    """

    def __init__(
        self, miso: Miso, kind: Kind, save: Callable[[Batch], None], stopping: asyncio.Event, patience: float
    ) -> None:
        self._miso = miso
        self._kind: Kind = kind
        self._save = save
        self._stopping = stopping
        self._patience = patience
        self._pace = Pace(random.Random())  # noqa: S311 (jitter)
        self._slots = asyncio.Semaphore(SLOTS)
        self._probe = asyncio.Lock()
        self._well = self._now()
        self.waiting = ""
        """Why nothing is sent just now, for a person."""

    def most(self) -> int:
        """Records of a batch that is filled now."""
        return min(self._pace.limit, MAX_RECORDS[self._kind])

    async def bring(self, batch: Batch) -> None:
        """All of a batch. Raises Halt, Retry when Miso does not answer for too long, Reject, Stopped."""
        state = batch.plan
        while state.todo:
            if state.requests > MOST_REQUESTS:
                raise Reject(f"one batch needed more than {MOST_REQUESTS} requests: Miso names no bad record in it")
            if state.task is not None:
                answer = await self._follow(batch)
            else:
                answer = await self._post(batch)
            point("upload.answered")
            self._act(batch, answer)

    async def _post(self, batch: Batch) -> Answer:
        async with self._slots:
            failed = self._pace.failures
            if failed:
                async with self._probe:  # one asks whether Miso is back, the others wait for what it hears
                    await self._wait()
                    return await self._sent(batch)
            return await self._sent(batch)

    async def _wait(self) -> None:
        while (left := self._pace.open_until - self._now()) > 0 and self._pace.failures:
            await pause(self._stopping, left)
            self._go_on()

    async def _sent(self, batch: Batch) -> Answer:
        self._go_on()
        batch.plan.requests += 1
        if batch.plan.requests > 1:
            self._save(batch)
        point("upload.before")
        answer = await self._miso.upload(self._kind, _body(batch))
        if not isinstance(answer, Later | Stop):
            self._pace.reset()
            self._pace.grow(self._now())
            self._well, self.waiting = self._now(), ""
        return answer

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _act(self, batch: Batch, answer: Answer) -> None:
        """What the answer makes of the batch's first request."""
        state = batch.plan
        match answer:
            case Done(task_id, bad):
                if task_id is not None and state.task is None and self._kind != "interactions":
                    state.task = task_id
                    self._save(batch)
                else:
                    state.accepted(_named(bad))
            case Bad(bad, _):
                state.unprocessable(_named(bad))
            case TooLarge():
                self._pace.shrink(self._now())
                state.too_large()
            case Later(reason, after, unknown):
                self._failed(batch, reason, after, unknown)
            case Envelope(reason):
                raise Halt(f"Miso refuses the request itself: {reason}", "update misoflow")
            case Stop(reason, fix):
                raise Halt(reason, fix)

    def _failed(self, batch: Batch, reason: str, after: float | None, unknown: bool) -> None:
        now = self._now()
        if unknown and len(batch) > FLOOR_RECORDS:
            self._pace.shrink(now)
        self._pace.failed(now, after)
        self.waiting = reason
        if now - self._well > self._patience:
            raise Retry(f"{reason}, for {self._patience:.0f} s; the same command goes on where this one ended")

    async def _follow(self, batch: Batch) -> Answer:
        """Ask for the task of an upload until it is finished; one that is lost, failed or stuck is sent again."""
        wait, began = TASK_SECONDS[0], self._now()
        while True:
            self._go_on()
            match await self._miso.task(self._kind, batch.plan.task or ""):
                case TaskDone(bad):
                    self._well = self._now()
                    return Done(None, bad)
                case TaskPending() if self._now() - began < STUCK_SECONDS:
                    self._well = self._now()
                case TaskPending() | TaskGone() | TaskFailed():
                    batch.plan.task = None
                    batch.plan.lost += 1
                    if batch.plan.lost >= MOST_LOST:
                        raise Retry(f"Miso takes an upload of {self._kind}, but its task fails")
                    return Later("Miso failed or lost the task of an upload")
                case Stop() as refused:
                    return refused
                case Later(reason, after):
                    self._failed(batch, reason, after, False)
                    wait = max(wait, after or 0)
            await pause(self._stopping, wait)
            wait = min(wait * 2, TASK_SECONDS[1])

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _body(batch: Batch) -> bytes:
    request = batch.plan.todo[0]
    whole: Any = [(0, len(batch))]
    return batch.body if request == whole else plan.body(batch.records(), request)


def _named(bad: list[BadRecord]) -> dict[int, Why]:
    return {one.index: (one.sentence, one.path) for one in bad}
