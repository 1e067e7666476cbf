"""All history of one ``work``: jobs are made, pulled beside live intake, and finished when all is accounted for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from misoflow.backfill import plan
from misoflow.backfill.pull import Puller
from misoflow.backfill.waiting import Waits
from misoflow.budget import JOB
from misoflow.clock import now_ms, pause
from misoflow.connector import Stream
from misoflow.control import ActionError
from misoflow.crash import point
from misoflow.pipeline import from_ms
from misoflow.store import StoreUnavailable, pulls, slices
from misoflow.store.slices import Job
from misoflow.streams import stream_of

if TYPE_CHECKING:
    from misoflow.engine import Engine
    from misoflow.instances import Instance

log = logging.getLogger("misoflow.work")

TURN_SECONDS = 0.2
PAGES_AT_ONCE = 50


class Backfills:
    """Owns the jobs. ``start`` makes them, ``run`` pulls them, one slice of each at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._waits_told = Waits(engine)
        self.puller = Puller(engine)
        self.now: Callable[[], int] = now_ms

    def streams(self, instance: Instance) -> list[str]:
        """The streams that are pulled when none is named, those that others wait for first."""
        chosen = [name for name in instance.connector.streams if not stream_of(instance.connector, name).background]
        return sorted(chosen, key=lambda name: len(stream_of(instance.connector, name).after))

    async def start(
        self, name: str, streams: list[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[int]:
        """Jobs for these streams (all by default): unfinished ones go on, what is missing is added.

        With ``start`` or ``end`` (ms) exactly that range is pulled, again if need be. Raises ActionError.
        """
        instance, names = self.chosen(name, streams)
        jobs: list[int] = []
        for stream in names:
            jobs += await self._start(instance, stream, start, end)
        return jobs

    async def anew(self, name: str, stream: str) -> list[int]:
        """The whole of a stream once more: something of it was out of reach. Raises ActionError."""
        instance, _ = self.chosen(name, [stream])
        if stream_of(instance.connector, stream).poll:
            return await self.start(name, [stream])
        return await self.start(name, [stream], *self._window(instance, stream))

    def chosen(self, name: str, streams: list[str] | None) -> tuple[Instance, list[str]]:
        """The instance and its streams, all by default; ActionError when there is none of that name."""
        instance = self._engine.instances.get(name)
        if instance is None:
            raise ActionError(f"plugins.toml has no instance {name!r}")
        if not instance.connector.streams:
            known = ", ".join(sorted(type(instance.connector).streams))
            less = f" as it is set up (its connector knows: {known}; see its guide)" if known else ""
            raise ActionError(f"{name} has no history{less}")
        for stream in streams or []:
            if stream not in instance.connector.streams:
                raise ActionError(
                    f"{name} has no stream {stream!r} (known: {', '.join(sorted(instance.connector.streams))})"
                )
        return instance, streams or self.streams(instance)

    async def _start(self, instance: Instance, stream: str, start: int | None, end: int | None) -> list[int]:
        store = self._engine.store
        shape = stream_of(instance.connector, stream)
        await store.run(slices.resume_jobs, instance.name, stream)
        await store.run(slices.reopen, instance.name, stream)
        under_way = [job for job in await store.run(slices.open_jobs, instance.name) if job.stream == stream]
        going = [job.id for job in under_way]
        for job in going:
            await self._waits_told.forget(job)
        if shape.poll:
            return going or await self.poll(instance, stream)
        if start is None and end is None:
            missing = await self.missing(instance, stream)
            new = [span for span in missing if not _within(_rounded(shape, span), under_way)]
            return going + [await self._add(instance, stream, "history", span) for span in new]
        low, high = self._window(instance, stream)
        asked = (low if start is None else start, high if end is None else end)
        if asked[0] >= asked[1]:
            first, last = (f"{from_ms(moment):%Y-%m-%d %H:%M}" for moment in asked)
            raise ActionError(f"there is nothing from {first} to {last} UTC; name both --from and --to")
        wanted = _rounded(shape, asked)
        if any((job.start, job.end) == wanted for job in under_way):
            return going
        return [*going, await self._add(instance, stream, "again", wanted)]

    def _window(self, instance: Instance, stream: str) -> tuple[int, int]:
        """How far back and up to where a stream is wanted, in ms."""
        config = self._engine.stream_config(instance.name, stream)
        depth = stream_of(instance.connector, stream).depth or plan.DEFAULT_DEPTH
        now = self.now()
        end = plan.to_ms(config.end) if config.end is not None else now - plan.ms(config.lag)
        start = plan.to_ms(config.start) if config.start is not None else now - plan.ms(depth)
        return start, min(end, now)

    async def missing(self, instance: Instance, stream: str) -> list[tuple[int, int]]:
        """Ranges that are wanted and were never asked for, newest first."""
        start, end = self._window(instance, stream)
        covered = await self._engine.store.run(slices.covered, instance.name, stream)
        if covered is None:
            return [(start, end)] if start < end else []
        return [span for span in ((covered[1], end), (start, covered[0])) if span[0] < span[1]]

    async def poll(self, instance: Instance, stream: str) -> list[int]:
        """One run of a polled stream: a single slice, from where the last one ended."""
        shape = stream_of(instance.connector, stream)
        cursor = await self._engine.store.run(slices.last_cursor, instance.name, stream)
        now = self.now()
        return [await self._add(instance, stream, "poll", (now - plan.ms(shape.width), now), cursor)]

    async def repull(self, instance: Instance, stream: str, span: timedelta) -> list[int]:
        """The last ``span`` once more, for what came late; what is known is recognised."""
        end = self._window(instance, stream)[1]
        return [await self._add(instance, stream, "repull", (end - plan.ms(span), end))]

    async def _add(
        self, instance: Instance, stream: str, purpose: str, span: tuple[int, int], cursor: str | None = None
    ) -> int:
        shape = stream_of(instance.connector, stream)
        width, step = plan.ms(shape.width), plan.ms(shape.step)
        sure = plan.floor(span[1] - plan.ms(shape.settle), step)
        span = _rounded(shape, span)
        if shape.poll:
            width, step = span[1] - span[0], 1
        return await self._engine.store.run(
            slices.add_job,
            instance.name,
            stream,
            purpose,
            span,
            width=width,
            step=step,
            now=self.now(),
            sure=max(sure, span[0]),
            cursor=cursor,
        )

    async def stop(self, jobs: list[int]) -> None:
        """Stop these jobs after the page in hand; ``start`` goes on with them."""
        for job in jobs:
            await self._engine.store.run(slices.stop_job, job)

    async def run(self, stopping: asyncio.Event) -> None:
        """Pull until the engine stops; what is in hand then is pulled again from its cursor."""
        try:
            while not stopping.is_set():
                try:
                    await self._turn(stopping)
                except StoreUnavailable as error:
                    self._engine.trouble.say(error)
                await pause(stopping, TURN_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _turn(self, stopping: asyncio.Event) -> None:
        for number, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[number]
                if not task.cancelled() and task.exception() is not None:
                    raise task.exception() or RuntimeError("unreachable")
        jobs = await self._engine.store.run(slices.open_jobs)
        busy = {(job.instance, job.stream) for job in jobs if job.id in self._tasks}
        for job in jobs:
            if (job.instance, job.stream) not in busy and job.id not in self._tasks and not self._waits(job, jobs):
                busy.add((job.instance, job.stream))
                self._tasks[job.id] = asyncio.create_task(self._pull(job, stopping), name=f"backfill {job.id}")
        open_ids = {job.id for job in jobs}
        for number, task in self._tasks.items():
            if number not in open_ids:  # stopped by a person
                task.cancel()
        await self._asked()
        for piece in await self._engine.store.run(slices.settled):
            await self._settle(piece)
        await self._waits_told.tell(jobs, self.now())

    async def _asked(self) -> None:
        """Start the streams that events asked for; one that is being pulled has its turn afterwards."""
        for pull in await self._engine.store.run(pulls.due, self.now()):
            if self._engine.instances.get(pull.instance) is None or self._engine.intake.is_paused(pull.instance):
                continue
            try:
                await self.start(pull.instance, [pull.stream])
            except ActionError as error:
                log.error("%s asked for its stream %s, which cannot be pulled: %s", *pull[:2], error)
            point("pull.begun")
            await self._engine.store.run(pulls.begun, pull)

    def _waits(self, job: Job, jobs: list[Job]) -> bool:
        """Whether another stream of the instance has to be pulled first."""
        instance = self._engine.instances.get(job.instance)
        if instance is None or job.stream not in instance.connector.streams:
            return True
        return bool(self.first(instance, job, jobs))

    def first(self, instance: Instance, job: Job, jobs: list[Job]) -> set[str]:
        """Streams of the instance under way that have to be pulled before this one."""
        shape = instance.connector.streams.get(job.stream)
        before = shape.after if isinstance(shape, Stream) else ()
        return {other.stream for other in jobs if other.instance == job.instance and other.stream in before}

    async def _pull(self, job: Job, stopping: asyncio.Event) -> None:
        """Slice by slice to the end of the range; then wait until all of it has arrived."""
        store = self._engine.store
        JOB.set(job.id)
        while not stopping.is_set():
            try:
                if self._engine.intake.is_paused(job.instance):
                    await pause(stopping, 1)
                    continue
                piece = await store.run(slices.next_piece, job.id, _cut)
                if piece is None:
                    if await store.run(slices.finish_job, job.id, self.now()) is not None:
                        return
                    await pause(stopping, TURN_SECONDS)
                elif piece.due > self.now():
                    await pause(stopping, min(1.0, (piece.due - self.now()) / 1000))
                else:
                    await self.puller.pull(job, piece)
            except StoreUnavailable as error:
                self._engine.trouble.say(error)
                await pause(stopping, 1)

    async def _settle(self, piece: int) -> None:
        """Everything of the slice has arrived or is accounted for: count it for good."""
        store = self._engine.store
        pages = await store.run(slices.page_ids, piece)
        counts: dict[str, int] = {}
        for at in range(0, len(pages), PAGES_AT_ONCE):
            for state, n in (await store.run(slices.states_of, pages[at : at + PAGES_AT_ONCE])).items():
                counts[state] = counts.get(state, 0) + n
        await store.run(slices.freeze, piece, counts, self.now())


def _rounded(shape: Stream, span: tuple[int, int]) -> tuple[int, int]:
    """Whole steps where the platform takes nothing finer."""
    step = plan.ms(shape.step)
    return span if shape.poll or step <= 1000 else (plan.floor(span[0], step), plan.ceil(span[1], step))


def _within(span: tuple[int, int], jobs: list[Job]) -> bool:
    return any(job.start <= span[0] and span[1] <= job.end for job in jobs)


def _cut(job: Job) -> tuple[int, int] | None:
    return plan.cut(job.start, job.low, job.width, job.step)
