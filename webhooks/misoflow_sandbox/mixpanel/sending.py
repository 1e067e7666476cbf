"""Sending answers: whole ones, and exports of any length, gzipped or not, slow or broken off as a rule wants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain

from misoflow_sandbox.answers import Answer
from misoflow_sandbox.mixpanel.export import GZIP_ABOVE, Gzip, Piece
from misoflow_sandbox.mixpanel.faults import Action
from misoflow_sandbox.mixpanel.state import Call
from misoflow_sandbox.protocol import Receive, Scope, Send, reset

DRIP_SECONDS = 0.05
FLUSH_SECONDS = 0.05
"""What was sent before a reset has to reach the other side first."""
UNFINISHED = ("cut", "clean")


class Gone(Exception):
    """The client has left."""


class Body:
    """One answer on its way; keeps the figures of its call."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, call: Call, action: Action, date: bytes) -> None:
        self.action = action
        self.call = call
        self._scope = scope
        self._receive = receive
        self._send = send
        self._date = date
        self._gone: asyncio.Task[None] | None = None

    async def whole(self, given: Answer) -> None:
        """Send an answer; a ``cut`` breaks it off in the middle. Raises Gone."""
        self.call.status = given.status
        await self.start(given.status, given.fields())
        if self.action.ends == "cut":
            await self.part(given.body[: len(given.body) // 2])
            await self.cut()
            return
        await self.part(given.body)
        await self.end()

    async def start(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.call.status = status
        headers = [(b"date", self._date), *fields]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def part(self, data: bytes) -> None:
        """Send some bytes, at the speed of the rule. Raises Gone once nobody listens any more."""
        rate = self.action.bytes_a_second
        size = max(1, int(rate * DRIP_SECONDS)) if rate else max(1, len(data))
        for start in range(0, len(data), size):
            some = data[start : start + size]
            await self._send({"type": "http.response.body", "body": some, "more_body": True})
            self.call.size += len(some)
            await self.pause(len(some) / rate if rate else 0)

    async def pause(self, seconds: float) -> None:
        """Send nothing for a while. Raises Gone once nobody listens any more."""
        self._gone = self._gone or asyncio.create_task(self._until_gone())
        if seconds:
            await asyncio.wait({self._gone}, timeout=seconds)
        else:
            await asyncio.sleep(0)
        if self._gone.done():
            raise Gone

    async def end(self) -> None:
        self._listen_no_more()
        self.call.ended = True
        await self._send({"type": "http.response.body", "body": b""})

    async def cut(self) -> None:
        """Reset the connection."""
        await asyncio.sleep(FLUSH_SECONDS)
        self._listen_no_more()
        await reset(self._scope, self._receive)

    def _listen_no_more(self) -> None:
        if self._gone is not None:
            self._gone.cancel()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def send_answer(send: Send, given: Answer, date: bytes) -> None:
    """Send an answer of the sandbox itself."""
    headers = [(b"date", date), *given.fields()]
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": given.body})


async def send_body(out: Body, pieces: Iterator[Piece], *, gzip: bool) -> None:
    """Stream the rows of an export. Raises Gone.

    ``gzip``: the client takes it; used above 1,400 bytes only, as documented, or where a rule wants it.
    """
    head: list[Piece] = []
    for piece in pieces:
        head.append(piece)
        if piece.member or piece.stall or sum(len(one.data) for one in head) > GZIP_ABOVE:
            break
    special = bool(out.action.ends or out.action.members or out.action.stall)
    gzip = gzip and (special or sum(len(one.data) for one in head) > GZIP_ABOVE)
    fields = [(b"content-type", b"text/plain; charset=utf-8"), *([(b"content-encoding", b"gzip")] if gzip else [])]
    squeeze = Gzip() if gzip else None
    await out.start(200, fields)
    for piece in chain(head, pieces):
        await _send_piece(out, piece, squeeze)
    if squeeze is not None:
        await out.part(squeeze.flush() if out.action.ends in UNFINISHED else squeeze.end())
    if out.action.ends == "cut":
        await out.cut()
    else:
        await out.end()


async def _send_piece(out: Body, piece: Piece, squeeze: Gzip | None) -> None:
    data = piece.data if squeeze is None else squeeze.take(piece)
    out.call.rows += piece.rows
    await out.part(data)
    await out.pause(piece.stall)
