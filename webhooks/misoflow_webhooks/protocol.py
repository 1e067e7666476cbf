"""uvicorn's HTTP protocol with deadlines: it has none for slow heads and bodies of its own.

Deadlines are looked at by one sweep over all connections, not by a timer each. A connection that is too slow is
closed without an answer: senders repeat what was cut off, but not what was answered with a 4xx.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from misoflow_webhooks.answers import malformed, refusal

MAX_HEAD = 64 * 1024
PAST_LIMIT = 64 * 1024
"""Bytes of a body still read, and thrown away, once it has been answered."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for a request's head, its whole body, and between two requests; least bytes/s of a body."""

    head: float = 10.0
    body: float = 30.0
    idle: float = 15.0
    rate: float = 1024.0
    rate_after: float = 5.0
    """The rate is judged from so many seconds on."""


_IDLE, _HEAD, _BODY = range(3)
_BAD_REQUEST = malformed("this is not a well-formed HTTP/1.1 request")
_HEAD_TOO_LARGE = refusal(431, "the request's head is larger than 64 KiB", "malformed")


class DeadlineProtocol(HttpToolsProtocol):
    """One connection: knows what it is waiting for, and since when."""

    _phase = _HEAD
    _since = 0.0
    _body_bytes = 0
    _unfinished = 0
    _refusal = _BAD_REQUEST
    _left = PAST_LIMIT

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._phase == _BODY and self.cycle is not None and self.cycle.response_complete:
            self._left -= len(data)
            if self._left < 0:
                self.transport.close()
                return
        in_head = self._phase == _HEAD
        super().data_received(data)
        if in_head and self._phase == _HEAD:
            # A header that never ends reaches no callback of the parser, only its buffer.
            self._unfinished += len(data)
            if self._unfinished > MAX_HEAD:
                self._refusal = _HEAD_TOO_LARGE
                self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase = _HEAD
        self._since = self.loop.time()
        self._unfinished = 0

    def on_headers_complete(self) -> None:
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value) + 4
        if size > MAX_HEAD:
            self._refusal = _HEAD_TOO_LARGE
            raise ValueError("head too large")
        self._phase = _BODY
        self._since = self.loop.time()
        self._body_bytes = 0
        self._left = PAST_LIMIT
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = _IDLE
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close: where the next request would start is not known."""
        if self.transport.is_closing():
            return
        answer = self._refusal
        head = [b"HTTP/1.1 %d %s" % (answer.status, HTTPStatus(answer.status).phrase.encode())]
        head += [name + b": " + value for name, value in answer.headers]
        head += [b"connection: close", b"", answer.body]
        self.transport.write(b"\r\n".join(head))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that is not granted is an ordinary request."""

    def overdue(self, now: float, deadlines: Deadlines) -> bool:
        """Whether the other side has let us wait too long for what must come next."""
        waited = now - self._since
        if self._phase == _HEAD:
            return waited > deadlines.head
        if self._phase == _BODY:
            slow = waited > deadlines.rate_after and self._body_bytes < waited * deadlines.rate
            return slow or waited > deadlines.body
        return False


def close_overdue(connections: set[Any], now: float, deadlines: Deadlines) -> int:
    """Close the connections that are too slow; how many."""
    late = [one for one in connections if isinstance(one, DeadlineProtocol) and one.overdue(now, deadlines)]
    for one in late:
        one.transport.abort()
    return len(late)
