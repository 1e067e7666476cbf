"""Running ``backfill`` against a stand-in of the platform, with a failure at any request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import httpx

from misoflow.backfill.pull import as_async
from misoflow.connector import Connector, Event, Page, Slice
from misoflow.testing import tape
from misoflow.testing.base import Given, fail, folder_of
from misoflow.testing.subject import MemoryState, make, no_waiting, secrets_of

HOW_TO_RECORD = "with real settings in `config` run pytest --record-cassettes -k test_backfill_is_complete"
RECEIVED_AT = datetime(2026, 9, 30, 12, tzinfo=UTC)
"""Of all that is pulled."""
ENDLESS = 10_000
"""Requests or pages after which a pull is taken for one that never ends."""


@dataclass(frozen=True)
class Fault:
    """What the platform answers instead. ``lost``: nothing at all; ``cut``: the first half of its answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    cut: bool = False
    body: bytes = b""


@dataclass
class Pulled:
    """What came of one pull."""

    pages: list[Page] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    error: Exception | None = None
    state: MemoryState = field(default_factory=MemoryState)

    def events(self) -> list[Event]:
        """All of them, stamped as the engine does."""
        return [
            Event(event.id, event.topic, event.data, event.received_at or RECEIVED_AT)
            for page in self.pages
            for event in page.events
        ]

    def ids(self) -> list[str]:
        return [event.id for event in self.events()]


class _Platform:
    """What a connector's requests meet: a failure at request number ``at``, else whatever answers."""

    def __init__(self, pulled: Pulled, fault: Fault | None, at: int) -> None:
        self._pulled = pulled
        self._fault = fault
        self._at = at

    def failure(self, request: httpx.Request) -> Fault | None:
        """Note a request; how it fails, if it does. Raises for a lost connection."""
        requests = self._pulled.requests
        requests.append(request)
        if len(requests) > ENDLESS:
            fail(f"`backfill` made {ENDLESS} requests and was not done: does it follow the cursor of the answers?")
        if self._fault is None or len(requests) != self._at:
            return None
        if self._fault.lost:
            raise tape.Lost("the connection was lost")
        return self._fault


class _Upstream(httpx.AsyncBaseTransport):
    """``upstream`` of the contract in place of the network."""

    def __init__(self, contract: Given, platform: _Platform) -> None:
        self._contract = contract
        self._platform = platform

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        failure = self._platform.failure(request)
        if failure is not None and not failure.cut:
            return await _unread(httpx.Response(failure.status, headers=failure.headers, content=failure.body))
        answer: Any = self._contract.upstream(request)
        return await _unread(await answer if inspect.isawaitable(answer) else answer, cut=failure is not None)


class _Bytes(httpx.AsyncByteStream):
    """A body as it comes from a socket; of one that is ``cut`` half."""

    def __init__(self, body: bytes, cut: bool) -> None:
        self._body = body
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = len(self._body) // 2
        yield self._body[:half]
        if self._cut:
            raise tape.Lost("the connection was lost in the middle of an answer")
        yield self._body[half:]


async def _unread(answer: httpx.Response, *, cut: bool = False) -> httpx.Response:
    """An answer that can be read as from a socket: one made of a body counts as read already."""
    if isinstance(answer.stream, httpx.SyncByteStream):
        body = b"".join(answer.stream)
    else:
        body = b"".join([chunk async for chunk in answer.stream])
    return httpx.Response(answer.status_code, headers=answer.headers, stream=_Bytes(body, cut))


def streams_of(contract: Given) -> dict[str, int]:
    """The streams to pull and how many events each holds; fails with what to give."""
    known = list(make(contract).streams)
    if not known:
        fail(f"{contract.connector.__name__} has `backfill` and no `streams`: name them, or nothing is ever pulled")
    if contract.history is None or contract.period is None:
        fail("give `history` (how many events the source holds) and `period` (two dates) of the history to pull")
    if isinstance(contract.history, int):
        if len(known) > 1:
            fail(f"there are several streams, so give `history` by stream: {dict.fromkeys(known, 0)}")
        return {known[0]: contract.history}
    wrong = [name for name in contract.history if name not in known]
    if wrong:
        fail(f"`history` names the stream {wrong[0]!r}; the connector has {', '.join(known)}")
    return dict(contract.history)


def part_of(contract: Given, stream: str, cursor: str | None = None) -> Slice:
    """``period`` as one slice."""
    start, end = contract.period or (None, None)
    return Slice(stream, _moment(start), _moment(end), cursor)


def asked_for(contract: Given, part: Slice) -> list[tuple[str, str, bytes]]:
    """Method, URL and body of what is asked for a slice, whatever comes of it."""
    found = _pulled(contract, part, Pulled())
    return [(request.method, str(request.url), request.content) for request in found.requests]


def gives_events(contract: Given, part: Slice) -> bool:
    """Whether any event comes of a slice."""
    return bool(_pulled(contract, part, Pulled()).events())


def pull(
    contract: Given,
    stream: str,
    *,
    cursor: str | None = None,
    state: MemoryState | None = None,
    fault: Fault | None = None,
    at: int = 0,
    record: bool = False,
) -> Pulled:
    """All pages from ``cursor`` on, or up to what was raised; by a new connector.

    ``record``: a cassette is not played but written, from the platform itself.
    """
    part = part_of(contract, stream, cursor)
    return _pulled(contract, part, Pulled(state=state or MemoryState()), fault, at, record=record)


def _pulled(
    contract: Given, part: Slice, found: Pulled, fault: Fault | None = None, at: int = 0, *, record: bool = False
) -> Pulled:
    async def run() -> None:
        try:
            async with equipped(contract, found, fault, at, record=record) as connector:
                async for page in as_async(connector.backfill(part)):
                    if not isinstance(page, Page) or not isinstance(page.events, list):
                        fail("`backfill` must yield Page(events, cursor), with a list of events")
                    found.pages.append(page)
                    if len(found.pages) > ENDLESS:
                        fail(f"`backfill` gave {ENDLESS} pages and was not done: does its cursor move?")
        except Exception as error:
            found.error = error

    with nullcontext() if record else no_waiting():
        asyncio.run(run())
    return found


@asynccontextmanager
async def equipped(
    contract: Given, found: Pulled, fault: Fault | None = None, at: int = 0, *, record: bool = False
) -> AsyncIterator[Connector[Any]]:
    """A new connector that reaches the contract's platform only; what it asks for is kept in ``found``."""
    platform = _Platform(found, fault, at)
    if type(contract).upstream is not Given.upstream:
        connector = make(contract, transport=_Upstream(contract, platform), state=found.state)
        playing: AbstractContextManager[None] = nullcontext()
    elif contract.cassette:
        connector = make(contract, transport=httpx.AsyncHTTPTransport(), state=found.state)
        playing = _playing(contract, connector, platform, record=record)
    else:
        connector, playing = make(contract, state=found.state), nullcontext()
    try:
        with playing:
            yield connector
    finally:
        await connector.http.close()


def cassette_of(contract: Given) -> Path:
    """The cassette's file; fails the test where there is none yet."""
    path = folder_of(type(contract)) / contract.cassette
    if not path.is_file():
        fail(f"the cassette {contract.cassette} does not exist: {HOW_TO_RECORD}")
    return path


def _playing(
    contract: Given, connector: Connector[Any], platform: _Platform, *, record: bool
) -> AbstractContextManager[None]:
    def answer(request: Any) -> dict[str, Any] | None:
        failure = platform.failure(tape.as_request(request))
        if failure is not None and failure.cut:
            raise tape.Lost("the connection was lost in the middle of an answer")
        return tape.as_answer(failure.status, dict(failure.headers), failure.body) if failure else None

    path = folder_of(type(contract)) / contract.cassette if record else cassette_of(contract)
    return tape.playing(path, secrets_of(connector.config), record=record, answer=answer)


def _moment(day: Any) -> datetime:
    if isinstance(day, datetime):
        return day if day.tzinfo else day.replace(tzinfo=UTC)
    return datetime.combine(day, time(), UTC)
