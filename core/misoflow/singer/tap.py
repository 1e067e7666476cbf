"""``singer-tap``: a connector's history as a Singer tap, oldest first, with states that only proven pages move."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from misoflow.backfill import plan
from misoflow.backfill.pull import WAITS, as_async
from misoflow.clock import now_ms, pause
from misoflow.connector import Slice, Stream
from misoflow.errors import Halt, MisoflowError, Reject, Retry, Unreachable
from misoflow.instances import Instance
from misoflow.pipeline import describe, from_ms
from misoflow.singer.bookmarks import Bookmark, Bookmarks, Part
from misoflow.singer.catalog import Selection
from misoflow.singer.kinds import KEYS
from misoflow.singer.making import Maker
from misoflow.singer.messages import line_of
from misoflow.streams import StreamConfig, stream_of

log = logging.getLogger("misoflow.work")

ATTEMPTS = 6
"""At one place of a stream; then the run ends, and the next one goes on there."""


class Tap:
    """One run over the ``streams`` of an instance; ``waits`` are the seconds between attempts."""

    def __init__(
        self,
        instance: Instance,
        config: Callable[[str], StreamConfig],
        maker: Maker,
        selection: Selection,
        bookmarks: Bookmarks,
        write: Callable[[bytes], None],
    ) -> None:
        self._instance = instance
        self._config = config
        self._maker = maker
        self._selection = selection
        self._bookmarks = bookmarks
        self._write = write
        self._now = now_ms()
        self.waits: tuple[float, ...] = WAITS
        self.stopping = asyncio.Event()
        self._told = b""

    async def run(self, streams: list[str]) -> None:
        """Schemas, then everything that is new of these streams. Raises Halt, Retry and Reject.

        What was written before stays right: the state that was written last says where to go on.
        """
        for kind in self._selection.without:
            schema = self._selection.schema(kind)
            self._write(line_of({"type": "SCHEMA", "stream": kind, "schema": schema, "key_properties": KEYS[kind]}))
        for stream in streams:
            if self.stopping.is_set():
                break
            shape = stream_of(self._instance.connector, stream)
            await (self._poll(stream, shape) if shape.poll else self._range(stream, shape))
        self._tell()

    def _tell(self) -> None:
        line = line_of({"type": "STATE", "value": self._bookmarks.value()})
        if line != self._told:
            self._told = line
            self._write(line)

    async def _poll(self, stream: str, shape: Stream) -> None:
        """One run of a polled stream, from the cursor that the run before ended with."""
        mark = self._bookmarks.of(stream)
        mark.slice = mark.slice or Part(self._now - plan.ms(shape.width), self._now, mark.cursor)
        if await self._whole(stream, mark, mark.slice):
            mark.cursor, mark.slice = mark.slice.cursor, None
            self._tell()

    async def _range(self, stream: str, shape: Stream) -> None:
        """What is missing up to now, slice by slice, oldest first, so that one date says what is done."""
        mark = self._bookmarks.of(stream)
        step, width = plan.ms(shape.step), plan.ms(shape.width)
        start, end = self._span(stream, mark)
        low, high = plan.floor(start, step), plan.ceil(end, step)
        sure = max(plan.floor(min(end, self._now - plan.ms(shape.settle)), step), low)
        while not self.stopping.is_set():
            if mark.slice is None:
                if low >= high:
                    return
                mark.slice = Part(low, min(low + width, high))
            before = sum(self._maker.records.values())
            if not await self._whole(stream, mark, mark.slice):
                return
            read = sum(self._maker.records.values()) - before
            width = plan.next_width(shape, mark.slice.end - mark.slice.start, read)
            low = mark.slice.end
            mark.to, mark.slice = min(low, sure), None
            self._tell()

    def _span(self, stream: str, mark: Bookmark) -> tuple[int, int]:
        """[start, end) in ms that is wanted and was not read, a slice in hand left out."""
        config = self._config(stream)
        first = plan.to_ms(config.start) if config.start is not None else self._now - plan.ms(plan.DEFAULT_DEPTH)
        last = plan.to_ms(config.end) if config.end is not None else self._now - plan.ms(config.lag)
        done = mark.slice.end if mark.slice is not None else mark.to
        return first if done is None else done, min(last, self._now)

    async def _whole(self, stream: str, mark: Bookmark, part: Part) -> bool:
        """Every page of a slice, again from its cursor when it breaks off; False when told to stop."""
        failed = 0
        while not self.stopping.is_set():
            cursor = part.cursor
            try:
                return await self._pages(stream, part)
            except (Halt, BrokenPipeError):
                raise
            except Exception as error:
                failed = 1 if part.cursor != cursor else failed + 1
                if failed >= ATTEMPTS or not isinstance(error, MisoflowError):
                    raise _final(stream, error) from error
                log.warning("%s: %s", stream, _reason(error))
                await pause(self.stopping, self._wait(error, failed))
        return False

    async def _pages(self, stream: str, part: Part) -> bool:
        source = Slice(stream, from_ms(part.start), from_ms(part.end), part.cursor)
        pages = as_async(self._instance.connector.backfill(source))
        try:
            async for page in pages:
                await self._maker.page(page.events, self._now)
                if page.cursor != part.cursor:
                    part.cursor = page.cursor
                    self._tell()
                if self.stopping.is_set():
                    return False
        finally:
            await pages.aclose()  # type: ignore[attr-defined]
        return True

    def _wait(self, error: Exception, failed: int) -> float:
        if isinstance(error, Unreachable):
            return self.waits[-1]
        after = error.after if isinstance(error, Retry) else None
        return after if after is not None else self.waits[min(failed, len(self.waits)) - 1]


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, MisoflowError) else describe(error)


def _final(stream: str, error: Exception) -> MisoflowError:
    text = f"{stream} did not come whole: {_reason(error)}"
    return Retry(text) if isinstance(error, Retry) else Reject(text)


def chosen(instance: Instance, wanted: list[str] | None) -> list[str]:
    """The connector's streams to read, those first that others wait for; Reject when there is none of that name."""
    known: dict[str, Any] = dict(instance.connector.streams)
    if not known:
        raise Reject(f"{instance.name} has no history as it is set up, so it is no tap")
    for name in wanted or []:
        if name not in known:
            raise Reject(f"{instance.name} has no stream {name!r} (known: {', '.join(sorted(known))})")
    shapes = {name: stream_of(instance.connector, name) for name in known}
    names = wanted or [name for name, shape in shapes.items() if not shape.background]
    return sorted(names, key=lambda name: len(shapes[name].after))
