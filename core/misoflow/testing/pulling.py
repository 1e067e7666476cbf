"""Running ``backfill`` against a stand-in of the platform, with a failure at any request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any

import httpx

from misoflow.backfill.pull import as_async
from misoflow.connector import Connector, Event, Page, Slice
from misoflow.testing.base import Given, fail
from misoflow.testing.subject import MemoryState, make, no_waiting

ENDLESS = 10_000
"""Requests or pages after which a pull is taken for one that never ends."""


@dataclass(frozen=True)
class Fault:
    """What the platform answers instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    body: bytes = b""


@dataclass
class Pulled:
    """What came of one pull."""

    pages: list[Page] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    error: Exception | None = None
    state: MemoryState = field(default_factory=MemoryState)

    def events(self) -> list[Event]:
        return [event for page in self.pages for event in page.events]

    def ids(self) -> list[str]:
        return [event.id for event in self.events()]


class Upstream(httpx.AsyncBaseTransport):
    """``upstream`` of the contract in place of the network; answers with ``fault`` at request number ``at``."""

    def __init__(self, contract: Given, pulled: Pulled, fault: Fault | None, at: int) -> None:
        self._contract = contract
        self._pulled = pulled
        self._fault = fault
        self._at = at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        requests = self._pulled.requests
        requests.append(request)
        if len(requests) > ENDLESS:
            fail(f"`backfill` made {ENDLESS} requests and was not done: does it follow the cursor of the answers?")
        if self._fault is not None and len(requests) == self._at:
            if self._fault.lost:
                raise httpx.ReadError("the connection was lost", request=request)
            return _unread(httpx.Response(self._fault.status, headers=self._fault.headers, content=self._fault.body))
        answer: Any = self._contract.upstream(request)
        return _unread(await answer if inspect.isawaitable(answer) else answer)


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def _unread(answer: httpx.Response) -> httpx.Response:
    """An answer that can be read as from a socket: one made of a body counts as read already."""
    if not isinstance(answer.stream, httpx.ByteStream):
        return answer
    return httpx.Response(answer.status_code, headers=answer.headers, stream=_Bytes(b"".join(answer.stream)))


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


def pull(
    contract: Given,
    stream: str,
    *,
    cursor: str | None = None,
    state: MemoryState | None = None,
    fault: Fault | None = None,
    at: int = 0,
) -> Pulled:
    """All pages from ``cursor`` on, or up to what was raised; by a new connector."""
    found = Pulled(state=state or MemoryState())

    async def run() -> None:
        try:
            async with equipped(contract, found, fault, at) as connector:
                async for page in as_async(connector.backfill(part_of(contract, stream, cursor))):
                    found.pages.append(page)
                    if len(found.pages) > ENDLESS:
                        fail(f"`backfill` gave {ENDLESS} pages and was not done: does its cursor move?")
        except Exception as error:
            found.error = error

    with no_waiting():
        asyncio.run(run())
    return found


@asynccontextmanager
async def equipped(contract: Given, found: Pulled, fault: Fault | None, at: int) -> AsyncIterator[Connector[Any]]:
    """A new connector whose ``http`` reaches the contract's platform; what it asks for is kept in ``found``."""
    transport = None
    if type(contract).upstream is not Given.upstream:
        transport = Upstream(contract, found, fault, at)
    connector = make(contract, transport=transport, state=found.state)
    try:
        yield connector
    finally:
        await connector.http.close()


def _moment(day: Any) -> datetime:
    if isinstance(day, datetime):
        return day if day.tzinfo else day.replace(tzinfo=UTC)
    return datetime.combine(day, time(), UTC)
