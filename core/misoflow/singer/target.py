"""``singer-target``: a tap's messages in, its states out, and a state never before Miso has all that came before it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from misoflow.clock import now_ms, pause
from misoflow.crash import point
from misoflow.errors import Halt, Retry
from misoflow.singer.connector import Singer
from misoflow.singer.messages import Message, TapError, parse
from misoflow.singer.schemas import Declared

PAGE_RECORDS = 1000
PAGE_BYTES = 4 * 1024 * 1024
CUT_SECONDS = 2.0
"""A state waits this long for more before what came ahead of it is closed off, unless a page is full."""
LOOK_SECONDS = 0.1
Ask = Callable[..., Awaitable[Any]]
"""``await ask("singer.page", …)``: what ``work`` is asked to do."""


@dataclass
class Options:
    """``validate``: hold records against their schema; ``patience``: seconds that Miso may take nothing."""

    validate: bool = True
    patience: float = 900.0


@dataclass
class Summary:
    """What became of a run: records by state, with ``read`` and ``repeats``; ``error``: why it ended early."""

    counts: dict[str, int] = field(default_factory=dict)
    since: int = 0
    stopped: bool = False
    error: Exception | None = None


class Target:
    """One run. ``emit`` gets each state as the bytes that the tap wrote."""

    def __init__(
        self,
        ask: Ask,
        name: str,
        connector: Singer,
        emit: Callable[[bytes], None],
        say: Callable[[str], None],
        options: Options,
    ) -> None:
        self._ask = ask
        self._name = name
        self._connector = connector
        self._emit = emit
        self._say = say
        self._options = options
        self._declared: dict[str, Declared] = {}
        self._said: set[str] = set()
        self._line = 0
        self._run = now_ms()
        self._mapping = msgspec.json.encode(connector.config.model_dump(mode="json"), order="deterministic")
        self._page: list[list[Any]] = []
        self._size = 0
        self._since_cut = 0
        self._cut_at = time.monotonic()
        self._state: bytes | None = None
        """The newest state of the slice in hand."""
        self._states: list[tuple[int, bytes]] = []
        """(slice, state) that wait for their slice."""
        self._job = 0
        self._slice = 0
        self._looked = 0.0
        self._moved = time.monotonic()
        self._seen: Any = None
        self.summary = Summary()

    async def run(self, source: AsyncIterator[list[bytes]], stopping: asyncio.Event) -> Summary:
        """To the end of the source; what came before an error is delivered first, and its states are told."""
        began = await self._ask("singer.begin", instance=self._name)
        self._job, self._slice, self.summary.since = began["job"], began["last"], began["since"]
        try:
            async for lines in source:
                for line in lines:
                    await self._take(line)
                if self._is_due():
                    await self._cut()
                await self._confirm()
        except TapError as error:
            self.summary.error = error
        self.summary.stopped = stopping.is_set()
        if not self.summary.stopped:
            await self._finish(stopping)
        await self._confirm(at_once=True)
        await self._ask("singer.end", job=self._job)
        return self.summary

    async def _finish(self, stopping: asyncio.Event) -> None:
        await self._cut()
        while not await self._confirm():
            await pause(stopping, LOOK_SECONDS)
            if stopping.is_set():
                self.summary.stopped = True
                return

    async def _take(self, line: bytes) -> None:
        self._line += 1
        if not line.strip():
            return
        message = parse(line, self._line)
        match message.type:
            case "RECORD":
                self._record(message, len(line))
                if len(self._page) >= PAGE_RECORDS or self._size >= PAGE_BYTES:
                    await self._flush()
            case "STATE":
                self._state = bytes(message.value)
            case "SCHEMA":
                self._schema(message)
            case _:
                self._once(f"ACTIVATE_VERSION of {message.stream!r}: nothing is deleted at Miso for it; see the guide")

    def _schema(self, message: Message) -> None:
        self._declared[message.stream] = Declared(message, self._line, validate=self._options.validate)
        if self._connector.kind_of(message.stream) is None:
            raise TapError(
                f"line {self._line}: stream {message.stream!r} is not mapped; set streams.{message.stream} to "
                "products, users, interactions or skip, or add a rule"
            )

    def _record(self, message: Message, size: int) -> None:
        declared = self._declared.get(message.stream)
        if declared is None:
            raise TapError(f"line {self._line}: RECORD of stream {message.stream!r} before its SCHEMA")
        declared.check(message.record, self._line)
        self._page.append(self._event(declared, message))
        self._size += size
        self._since_cut += 1

    def _event(self, declared: Declared, message: Message) -> list[Any]:
        """[id, stream, record, row]. An interaction is known by its own id, whenever it comes again.

        A product or user may change and change back, so each of its rows is an event, unless it is as it was.
        """
        own = declared.own_id(message.record)
        if self._connector.kind_of(message.stream) not in ("products", "users"):
            return [own, message.stream, message.record, None]
        said = msgspec.json.encode(message.record, order="deterministic")
        digest = hashlib.blake2b(self._mapping + said, digest_size=12).hexdigest()
        key = hashlib.blake2b(own.encode(), digest_size=12).hexdigest()
        row = [key, digest] if declared.keys else None
        return [f"{message.stream}:{self._run}:{self._line}", message.stream, message.record, row]

    async def _flush(self) -> None:
        """The page in hand into the store; waits while too much is on its way to Miso."""
        page, self._page, self._size = self._page, [], 0
        if not page:
            return
        point("singer.page")
        while (await self._ask("singer.page", instance=self._name, job=self._job, events=page))["full"]:
            await self._confirm()
            await asyncio.sleep(LOOK_SECONDS)
        point("singer.taken")

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._cut_at
        return self._state is not None and (self._since_cut >= PAGE_RECORDS or waited >= CUT_SECONDS)

    async def _cut(self) -> None:
        """Close off what came up to the newest state."""
        await self._flush()
        if self._since_cut:
            self._slice = (await self._ask("singer.cut", job=self._job))["slice"]
        if self._state is not None:
            self._states.append((self._slice, self._state))
        self._state, self._since_cut, self._cut_at = None, 0, time.monotonic()

    async def _confirm(self, *, at_once: bool = False) -> bool:
        """Tell the newest state of which everything is accounted for; True when nothing is on its way any more.

        Raises Halt when only a person can help, Retry when Miso takes nothing for too long.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS and not at_once:
            return False
        self._looked = now
        found = await self._ask("singer.look", instance=self._name, since=self.summary.since)
        self.summary.counts = found["counts"]
        undone = found["undone"]
        ready = [state for piece, state in self._states if undone is None or piece < undone]
        if ready:
            point("singer.state")
            self._emit(ready[-1])
            del self._states[: len(ready)]
        if at_once:
            return undone is None
        self._watch(found, now)
        return undone is None and not self._states

    def _watch(self, found: dict[str, Any], now: float) -> None:
        moves = (found["undone"], found["counts"])
        if found["waits"] is None or moves != self._seen:
            self._moved, self._seen = now, moves
        if found["stuck"] is not None:
            raise Halt(*found["stuck"])
        if found["waits"] is not None:
            self._once(f"Miso cannot take records now ({found['waits']}); goes on by itself")
            if now - self._moved > self._options.patience:
                raise Retry(f"Miso took nothing for {self._options.patience:g} s ({found['waits']})")

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            with contextlib.suppress(OSError):
                self._say(text)
