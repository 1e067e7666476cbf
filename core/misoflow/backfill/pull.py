"""One slice from the source into the store, page by page, and what is done when it does not come whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from misoflow.backfill import plan
from misoflow.clock import pause
from misoflow.connector import Page, Slice
from misoflow.contain import cancelled
from misoflow.crash import point
from misoflow.errors import Halt, Reject, Retry, Unreachable
from misoflow.pipeline import describe, from_ms
from misoflow.store import StoreUnavailable, control, slices
from misoflow.store.slices import Job, Piece
from misoflow.store.values import PageMark
from misoflow.streams import stream_of

if TYPE_CHECKING:
    from misoflow.engine import Engine
    from misoflow.instances import Instance

log = logging.getLogger("misoflow.work")

CHUNK_EVENTS = 1000
BACKLOG = 40_000
"""Records on their way to Miso above which no more are pulled."""
LIVE_SECONDS = 1.0
"""How long a page waits for live intake to catch up."""
WAITS = (5.0, 20.0, 60.0)
WHOLE_ATTEMPTS = 3
"""Then a slice is halved."""
LAST_ATTEMPTS = 6
"""Then one that cannot be halved is given up and reported."""

_END: Any = object()
"""No page: a plain generator has ended."""


class Puller:
    """Pulls slices. ``waits`` are the seconds between attempts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waits: tuple[float, ...] = WAITS

    async def pull(self, job: Job, piece: Piece) -> None:
        """One attempt at a slice; raises nothing but StoreUnavailable and cancellation."""
        engine = self._engine
        instance = engine.instances.get(job.instance)
        if instance is None:
            return
        await engine.store.run(slices.begin, piece.id, engine.backfills.now())
        part = Slice(job.stream, from_ms(piece.start), from_ms(piece.end), piece.cursor)
        try:
            await self._pages(instance, part, piece)
        except StoreUnavailable:
            raise
        except Halt as error:
            log.error("%s is paused: %s. Do: %s", instance.name, error.reason, error.fix)
            fix = f"{error.fix}, then: misoflow resume {instance.name}"
            await engine.store.run(control.pause, instance.name, error.reason, fix, engine.backfills.now())
            await engine.intake.refresh()
            await self._again(job, piece, error.reason, 0, counts=False)
        except Unreachable as error:  # an outage says nothing about the slice
            await self._again(job, piece, error.reason, self.waits[-1], counts=False)
        except Retry as error:
            await self._again(job, piece, error.reason, error.after, counts=error.after is None)
        except Reject as error:
            await self._again(job, piece, error.reason, None)
        except BaseException as error:
            if cancelled(error):
                raise
            log.exception("pulling %s of %s failed", job.stream, job.instance)
            await self._again(job, piece, describe(error), None)
        else:
            point("slice.before_pulled")
            shape = stream_of(instance.connector, job.stream)
            read = await engine.store.run(slices.read_of, piece.id)
            width = job.width if shape.poll else plan.next_width(shape, piece.end - piece.start, read)
            await engine.store.run(slices.pulled, piece.id, width)
            point("slice.after_pulled")

    async def _pages(self, instance: Instance, part: Slice, piece: Piece) -> None:
        cursor = part.cursor
        pages = as_async(instance.connector.backfill(part))
        try:
            async for page in pages:
                await self._page(instance, page, piece, moved=page.cursor != cursor)
                cursor = page.cursor
        finally:
            await pages.aclose()  # type: ignore[attr-defined]

    async def _page(self, instance: Instance, page: Page, piece: Piece, *, moved: bool) -> None:
        """The page in chunks, so that live intake has its turn; only the last one moves the cursor."""
        point("page.read")
        last = max(0, (len(page.events) - 1) // CHUNK_EVENTS * CHUNK_EVENTS)
        for at in range(0, last + 1, CHUNK_EVENTS):
            found = page.events[at : at + CHUNK_EVENTS]
            await self._room(instance)
            mark = PageMark(piece.id, len(found), moved and at == last, page.cursor)
            await self._engine.intake.pulled(instance, found, mark)

    async def _room(self, instance: Instance) -> None:
        """Live deliveries come first, and what Miso has not answered for yet does not grow without end."""
        engine = self._engine
        await self.turn()
        while await engine.store.run(slices.backlog, instance.env) > BACKLOG:
            await pause(engine.stopping, 0.05)

    async def turn(self) -> None:
        """Wait a little for live intake to catch up."""
        for _ in range(int(LIVE_SECONDS / 0.02)):
            if not self._engine.intake.busy:
                break
            await asyncio.sleep(0.02)

    async def _again(self, job: Job, piece: Piece, reason: str, after: float | None, *, counts: bool = True) -> None:
        """Whole again after a while, then in halves, then reported."""
        engine = self._engine
        attempts = piece.attempts + 1
        now = engine.backfills.now()
        log.warning("%s of %s, slice %d: %s", job.stream, job.instance, piece.id, reason)
        if counts and attempts >= WHOLE_ATTEMPTS:
            cursor_free = piece.cursor is None
            half = plan.middle(piece.start, piece.end, job.step) if cursor_free and job.purpose != "poll" else None
            if half is not None:
                await engine.store.run(slices.halve, piece.id, half)
                return
            if attempts >= LAST_ATTEMPTS:
                log.error("%s of %s: slice %d is given up: %s", job.stream, job.instance, piece.id, reason)
                await engine.store.run(slices.give_up, piece.id, reason, now)
                return
        wait = after if after is not None else self.waits[min(attempts, len(self.waits)) - 1]
        await engine.store.run(slices.again, piece.id, reason, now + int(wait * 1000), counts=counts)


async def as_async(pages: AsyncIterator[Page] | Iterator[Page]) -> AsyncIterator[Page]:
    """Pages of an async generator as they are; those of a plain one from a thread."""
    if isinstance(pages, AsyncIterator):
        try:
            async for page in pages:
                yield page
        finally:
            await pages.aclose()  # type: ignore[attr-defined]
        return
    plain = pages
    while (page := await asyncio.to_thread(_next, plain)) is not _END:
        if isinstance(page, BaseException):
            raise page
        yield page


def _next(pages: Iterator[Page]) -> Any:
    """In a thread. Errors come back as values: some of them would break the task that awaits the thread."""
    try:
        return next(pages, _END)
    except BaseException as error:
        return error
