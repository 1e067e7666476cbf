"""Sending a result of a bulk operation, whole or from some byte on."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from typing import IO

from misoflow_sandbox.protocol import Receive, Scope, Send, reset

CHUNK = 1 << 16
FLUSH_SECONDS = 0.05
"""What was sent before a reset has to reach the other side first."""


async def send_file(
    asgi: tuple[Scope, Receive, Send], file: IO[bytes], headers: Mapping[str, str], cut: int | None = None
) -> int:
    """Send it; gives the status. ``cut``: the connection is reset after so many bytes."""
    scope, receive, send = asgi
    size = os.fstat(file.fileno()).st_size
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    start = int(asked[1]) if asked else 0
    if asked and start >= size:
        fields = [(b"content-range", f"bytes */{size}".encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 416, "headers": fields})
        await send({"type": "http.response.body", "body": b""})
        return 416
    end = min(size, int(asked[2]) + 1) if asked and asked[2] else size
    fields = [
        (b"content-type", b"application/jsonl"),
        (b"content-length", str(end - start).encode()),
        (b"accept-ranges", b"bytes"),
        (b"etag", f'"{file.fileno()}-{size}"'.encode()),
    ]
    if asked:
        fields.append((b"content-range", f"bytes {start}-{end - 1}/{size}".encode()))
    status = 206 if asked else 200
    await send({"type": "http.response.start", "status": status, "headers": fields})
    stop = end if cut is None else min(end, start + cut)
    for data in _parts(file, start, stop):
        await send({"type": "http.response.body", "body": data, "more_body": True})
    if stop < end:
        await asyncio.sleep(FLUSH_SECONDS)
        await reset(scope, receive)
    else:
        await send({"type": "http.response.body", "body": b""})
    return status


def _parts(file: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
    """By its place, since several may read it at once."""
    while start < stop:
        data = os.pread(file.fileno(), min(CHUNK, stop - start), start)
        start += len(data)
        yield data
