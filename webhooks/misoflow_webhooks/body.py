"""Bodies within bounds: reading, inflating, and the JSON check of unsigned routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from isal import isal_zlib
from misoflow import rawjson
from misoflow.errors import Reject

Receive = Callable[[], Awaitable[dict[str, Any]]]

STEP = 256 * 1024
# isal's type stub calls this class an instance.
_BROKEN: tuple[type[Exception], ...] = (isal_zlib.IsalError, ValueError)  # type: ignore[assignment]
GZIP = 31
"""zlib's wbits for the gzip format."""


class TooLarge(Exception):
    """More bytes than the route takes."""


class Malformed(Exception):
    """Not what the headers say it is; the text is for the sender."""


class Gone(Exception):
    """The sender hung up before the end."""


class Held:
    """Bytes of unfinished bodies in memory, over all connections."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0


class Crowded(Exception):
    """Too many bytes of unfinished bodies are held already."""


async def read_body(receive: Receive, limit: int, held: Held) -> bytes:
    """The whole body; raises TooLarge as soon as it is longer, Gone, or Crowded."""
    message = await receive()
    if message["type"] != "http.request":
        raise Gone
    first: bytes = message["body"]
    if not message["more_body"]:
        if len(first) > limit:
            raise TooLarge
        return first
    return await _read_rest(receive, limit, held, first)


async def _read_rest(receive: Receive, limit: int, held: Held, first: bytes) -> bytes:
    body = bytearray(first)
    counted = 0
    try:
        while True:
            held.bytes += len(body) - counted
            counted = len(body)
            if counted > limit:
                raise TooLarge
            if held.bytes > held.limit:
                raise Crowded
            message = await receive()
            if message["type"] != "http.request":
                raise Gone
            body += message["body"]
            if not message["more_body"]:
                if len(body) > limit:
                    raise TooLarge
                return bytes(body)
    finally:
        held.bytes -= counted


def inflate(data: bytes, limit: int) -> bytes:
    """One layer of gzip; raises TooLarge beyond ``limit`` bytes, Malformed if cut off or with anything behind.

    The size stands at the end of the data, so a bomb is refused before its content is kept, and room is made
    once. A size that is a lie is found by counting, which keeps nothing either.
    """
    size = int.from_bytes(data[-4:], "little")
    if size <= limit:
        stream = isal_zlib.decompressobj(wbits=GZIP)
        try:
            content: bytes = stream.decompress(data, size + 1)
        except _BROKEN:
            raise Malformed("Malformed gzip content") from None
        if stream.eof and not stream.unused_data and len(content) == size:
            return content
        del content
    _count(data, limit)
    raise Malformed("Malformed gzip content")


def _count(data: bytes, limit: int) -> None:
    stream = isal_zlib.decompressobj(wbits=GZIP)
    total = 0
    try:
        while not stream.eof:
            got = len(stream.decompress(data, STEP))
            data = stream.unconsumed_tail
            total += got
            if total > limit:
                raise TooLarge
            if not got:
                return
    except _BROKEN:
        raise Malformed("Malformed gzip content") from None


def check_json(body: bytes) -> None:
    """Raise Malformed unless it is one JSON value, nested at most 250 deep."""
    try:
        rawjson.parse(body)
    except Reject as error:
        raise Malformed(error.reason) from None
