"""Bulk operations: started once, found again after a crash, waited for, and read whole or not at all.

https://shopify.dev/docs/api/usage/bulk-operations/queries
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from misoflow import Reject, Retry
from msgspec import Struct

from misoflow_shopify import queries
from misoflow_shopify.admin import Admin, may_download
from misoflow_shopify.jsonl import Broken, Group, Lines, Spool
from misoflow_shopify.link import Link
from misoflow_shopify.nodes import ms_of

Json = dict[str, Any]
POLL = (1.0, 60.0)
"""Seconds between two looks, from the first to the slowest. The webhook that says the same may not come."""
GROWTH = 1.3
"""From one look to the next: an operation is found done when no more than a third of its time has gone by again."""
LATE_PARTIAL = (10, 10.0)
"""How often, and how long between, to look for the partial data of an operation that failed."""
LONGEST = 10 * 86_400.0
"""Shopify itself ends an operation after ten days."""
OLDEST_MS = 6 * 86_400_000
"""Links end after 7 days."""
BUSY_SECONDS = 60.0
BUSY_CODES = ("OPERATION_IN_PROGRESS", "LIMIT_REACHED", "THROTTLED")
UNDER_WAY = ("CREATED", "RUNNING", "CANCELING")
AT_ONCE = 250
"""Groups handed over at a time."""
LOST = 5
"""Connections that may be lost in a row."""


class Failed(Retry):
    """The operation did not come to its end; ``operation`` may have partial data."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(f"Shopify's bulk operation ended as {operation.status} ({operation.error or 'no reason'})")
        self.operation = operation


class Operation(Struct):
    """A bulk operation as it was last seen. ``at``: ms at which it was created."""

    id: str
    status: str
    at: int
    query: str = ""
    error: str = ""
    count: int = 0
    size: int | None = None
    url: str | None = None
    partial: str | None = None


class Bulk:
    """The bulk operations of one shop."""

    def __init__(self, link: Link, admin: Admin) -> None:
        self._link = link
        self._admin = admin

    async def run(self, query: str, *, since: int = 0, most: float = LONGEST) -> Operation:
        """The operation of this query, completed: a former one of ours, one under way, or a new one.

        One that was created before ``since`` (ms) is too old; one that takes longer than ``most`` seconds is cancelled.
        Raises Failed, Retry when five are under way already, Halt.
        """
        since = max(since, self._link.there_ms() - OLDEST_MS)
        operation = await self._former(query, since) or await self._running(query, since) or await self._start(query)
        await self._link.remember(_name(query), operation.id)
        operation = await self._ended(operation, most)
        if operation.status == "COMPLETED":
            return operation
        await self.done(query)
        raise Failed(await self._with_partial(operation))

    async def done(self, query: str) -> None:
        """The operation is used, or of no use: the next ``run`` starts another one."""
        await self._link.remember(_name(query), None)

    async def _former(self, query: str, since: int) -> Operation | None:
        known = await self._link.remembered(_name(query), str)
        found = None if known is None else await self._look(known)
        if found is None or found.at < since:
            return None
        return found if found.status in (*UNDER_WAY, "COMPLETED") else None

    async def _running(self, query: str, since: int) -> Operation | None:
        """One that we started and could not write down."""
        data = await self._admin.query(queries.OPERATIONS, {"query": "status:RUNNING type:QUERY"})
        found = [_operation(node) for node in (data.get("bulkOperations") or {}).get("nodes") or ()]
        ours = (one for one in found if one.query == query and one.at >= since)
        return next((one for one in ours if one.status in UNDER_WAY), None)

    async def _start(self, query: str) -> Operation:
        data = await self._admin.query(queries.START, {"query": query})
        answer = data.get("bulkOperationRunQuery") or {}
        errors = answer.get("userErrors") or []
        if not errors and answer.get("bulkOperation"):
            made = _operation(answer["bulkOperation"])
            # one that is over so soon has its count and its file, which this answer does not hold
            return made if made.status in UNDER_WAY else await self._look(made.id) or _unknown(made)
        codes = [str(one.get("code") or "") for one in errors]
        # Shopify's pages name different numbers of operations at once, so this is no failure
        if any(code in BUSY_CODES for code in codes) or any("progress" in str(one.get("message")) for one in errors):
            raise Retry("as many bulk operations run as Shopify allows", BUSY_SECONDS)
        raise Reject(f"Shopify refuses the bulk operation ({', '.join(codes) or 'no reason'})")

    async def _look(self, id_: str) -> Operation | None:
        data = await self._admin.query(queries.OPERATION, {"id": id_})
        node = data.get("bulkOperation")
        return None if node is None else _operation(node)

    async def _ended(self, operation: Operation, most: float) -> Operation:
        wait, slowest = POLL
        while operation.status in UNDER_WAY:
            if self._link.there_ms() - operation.at > most * 1000 and operation.status != "CANCELING":
                await self._admin.query(queries.CANCEL, {"id": operation.id})
            await self._link.sleep(wait)
            wait = min(slowest, wait * GROWTH)
            operation = await self._look(operation.id) or _unknown(operation)
        return operation

    async def _with_partial(self, operation: Operation) -> Operation:
        """After an error of Shopify's own the partial data shows up a while later."""
        times, wait = LATE_PARTIAL if operation.error == "INTERNAL_SERVER_ERROR" else (0, 0.0)
        while times and operation.partial is None:
            await self._link.sleep(wait)
            times -= 1
            operation = await self._look(operation.id) or operation
        return operation

    async def groups(self, operation: Operation) -> AsyncIterator[list[Group]]:
        """All objects of a completed operation, some at a time, always in the same order. Raises Broken, Retry."""
        if operation.url is None:  # nothing was found
            if operation.count:
                raise Broken("Shopify gives no file for its bulk operation")
            return
        spool = Spool(operation.size)
        try:
            size = await self._download(operation.url, spool)
            if operation.size is not None and size != operation.size:
                raise Broken(f"the bulk file has {size} bytes, Shopify says {operation.size}")
            if spool.lines != operation.count:
                raise Broken(f"the bulk file has {spool.lines} lines, Shopify says {operation.count}")
            async for some in _handed_over(spool.groups()):
                yield some
        finally:
            spool.close()

    async def partial(self, operation: Operation) -> AsyncIterator[list[Group]]:
        """The roots of an operation that failed; which of them are whole, their counts must tell."""
        if operation.partial is None:
            return
        spool = Spool(None)
        try:
            with suppress(Broken):  # it may end anywhere
                await self._download(operation.partial, spool)
            async for some in _handed_over(spool.groups(whole=False)):
                yield some
        finally:
            spool.close()

    async def _download(self, url: str, spool: Spool) -> int:
        """Its bytes as they are counted by Shopify."""
        lines, size = Lines(), 0
        async for chunk in self._chunks(url):
            size += len(chunk)
            spool.add(lines.feed(chunk))
        spool.add(lines.last())
        return size

    async def _chunks(self, url: str) -> AsyncIterator[bytes]:
        """The file's bytes, taken up again where a connection was lost."""
        if not may_download(self._link, await self._admin.shop(), url):
            raise Reject("the bulk file is not where Shopify keeps its files")
        at = lost = 0
        while True:
            headers = {"Range": f"bytes={at}-"} if at else {}
            try:
                async with self._link.http.stream("GET", url, headers=headers) as answer:
                    _check(answer.status_code)
                    skip = 0 if answer.status_code == 206 else at
                    inflate = _inflater(answer.headers.get("content-encoding", ""), at)
                    async for raw in answer.aiter_raw():
                        chunk = inflate(raw)[skip:]
                        skip = max(0, skip - len(raw))
                        at, lost = at + len(chunk), 0
                        yield chunk
                return
            except Broken:
                raise
            except Retry:
                lost += 1
                if lost > LOST:
                    raise
                await self._link.sleep(2.0**lost)


def _check(status: int) -> None:
    if status in (200, 206):
        return
    if status >= 500 or status in (408, 425, 429):
        raise Retry(f"the bulk file's host answered {status}")
    raise Broken(f"the link to the bulk file has ended ({status})")


def _inflater(encoding: str, at: int) -> Any:
    """Whole files may come packed; a piece of a packed file is of no use."""
    if encoding in ("", "identity"):
        return lambda raw: raw
    if encoding != "gzip" or at:
        raise Broken("the bulk file comes packed in a way that was not asked for")
    return zlib.decompressobj(31).decompress


async def _handed_over(groups: Iterator[Group]) -> AsyncIterator[list[Group]]:
    """Decoded in a thread: a file's worth takes a moment."""
    while some := await asyncio.to_thread(lambda: list(islice(groups, AT_ONCE))):
        yield some


def _name(query: str) -> str:
    return f"bulk/{hashlib.sha256(query.encode()).hexdigest()[:16]}"


def _operation(node: Json) -> Operation:
    size = node.get("fileSize")
    return Operation(
        id=str(node["id"]),
        status=str(node.get("status") or "").upper(),
        at=ms_of(node["createdAt"]),
        query=str(node.get("query") or ""),
        error=str(node.get("errorCode") or ""),
        count=int(node.get("objectCount") or 0),
        size=None if size is None else int(size),
        url=node.get("url"),
        partial=node.get("partialDataUrl"),
    )


def _unknown(operation: Operation) -> Operation:
    return Operation(operation.id, "EXPIRED", operation.at)
