"""One delivery as bytes: msgpack, the body zstd-compressed, sealed by the vault; and the CRC of its row."""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import zstandard

from misoflow.connector import Event, Request
from misoflow.vault import Vault, VaultError

CONTEXT = b"delivery"
COMPRESS_FROM = 512
"""Bodies of fewer bytes are kept as they are."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RAW, _ZSTD = 0, 1


@dataclass(slots=True)
class Delivery:
    """What the inbox holds of one delivery. ``request`` is None where the row is damaged.

    ``events`` is set when the delivery was rewritten without some of its events; the body is empty then.
    """

    id: int
    instance: str
    request: Request | None
    received_ms: int
    events: list[Event] | None = None


class _Event(msgspec.Struct, array_like=True):
    id: str
    topic: str
    data: msgspec.Raw
    received_ms: int | None


class _Payload(msgspec.Struct, array_like=True):
    channel: str
    path: str
    method: str
    headers: dict[str, str]
    query: dict[str, str]
    packing: int
    body: bytes
    holds_events: bool = False


class _Tools(threading.local):
    """zstd contexts may not be shared between threads."""

    def __init__(self) -> None:
        self.squeeze = zstandard.ZstdCompressor(level=1)
        self.expand = zstandard.ZstdDecompressor()
        self.pack = msgspec.msgpack.Encoder()
        self.unpack = msgspec.msgpack.Decoder(_Payload)


NOBODY = "-"
_tools = _Tools()
_events_to_json = msgspec.json.Encoder()
_events_from_json = msgspec.json.Decoder(list[_Event])
_crc_head = struct.Struct("<qq")


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def seal_delivery(vault: Vault, request: Request, events: list[Event] | None = None) -> bytes:
    """The payload column of a delivery: of the whole request, or of its head and these ``events``."""
    body = request.body if events is None else _dump(events)
    packing = _RAW
    if len(body) > COMPRESS_FROM:
        packing, body = _ZSTD, _tools.squeeze.compress(body)
    payload = _Payload(
        request.channel,
        request.path,
        request.method,
        dict(request.headers),
        dict(request.query),
        packing,
        body,
        events is not None,
    )
    return vault.seal(_tools.pack.encode(payload), CONTEXT)


def open_delivery(
    vault: Vault, sealed: bytes, *, received_at: datetime | None = None
) -> tuple[Request, list[Event] | None]:
    """The request, and the events it was split into if it was rewritten; raises VaultError."""
    try:
        payload = _tools.unpack.decode(vault.open(sealed, CONTEXT))
        body = payload.body if payload.packing == _RAW else _tools.expand.decompress(payload.body)
        events = _load(body) if payload.holds_events else None
    except (msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise VaultError(f"a delivery is damaged: {error}") from None
    request = Request(
        body=body if events is None else b"",
        headers=payload.headers,
        channel=payload.channel,
        path=payload.path,
        method=payload.method,
        query=payload.query,
        received_at=received_at,
    )
    return request, events


def row_crc(id: int, instance: str, received_ms: int, sealed: bytes) -> int:
    """CRC-32 over every column of a row."""
    return zlib.crc32(sealed, zlib.crc32(_crc_head.pack(id, received_ms) + instance.encode()))


def blank(id: int, instance: str, received_ms: int, crc: int, size: int) -> tuple[str, int, bytes]:
    """(instance, crc, payload) of a row without anything in it, each exactly as large as before.

    SQLite overwrites a row of the same size where it stands; otherwise it may move it or its neighbours to other
    pages, and leave copies behind (https://www.sqlite.org/pragma.html#pragma_secure_delete clears only what is freed).
    """
    name = NOBODY * len(instance.encode())
    start = bytes(size - 2)
    base = row_crc(id, name, received_ms, start)
    for end in range(2**16):
        found = zlib.crc32(end.to_bytes(2, "big"), base)
        if _width(found) == _width(crc):
            break
    return name, found, start + end.to_bytes(2, "big")


def is_blank(instance: str) -> bool:
    """Whether a delivery of that name was blanked; no instance can be called so."""
    return instance.startswith(NOBODY)


def _width(number: int) -> int:
    """Bytes that SQLite takes for it (https://www.sqlite.org/fileformat.html#record_format)."""
    return next(n for n in (1, 2, 3, 4, 6) if number < 1 << (8 * n - 1))


def open_row(vault: Vault, row: tuple[Any, ...]) -> Delivery:
    """A row (id, instance, received_ms, crc, payload) as a delivery; ``request`` None if it is damaged."""
    id, instance, received_ms, _crc, sealed = row
    if not sound(row):
        return Delivery(id, instance if isinstance(instance, str) else "", None, 0)
    if is_blank(instance):
        return Delivery(id, instance, Request(b""), received_ms, [])
    try:
        request, events = open_delivery(vault, sealed, received_at=from_ms(received_ms))
    except VaultError:
        return Delivery(id, instance, None, received_ms)
    return Delivery(id, instance, request, received_ms, events)


def sound(row: tuple[Any, ...]) -> bool:
    """Whether the row's CRC is right; a damaged file may give columns of any type."""
    id, instance, received_ms, crc, sealed = row
    return (
        isinstance(instance, str)
        and isinstance(received_ms, int)
        and isinstance(sealed, bytes)
        and row_crc(id, instance, received_ms, sealed) == crc
    )


def _dump(events: list[Event]) -> bytes:
    # JSON, not msgpack: the platforms' integers may exceed 64 bits.
    return _events_to_json.encode(
        [
            [
                event.id,
                event.topic,
                event.data,
                None if event.received_at is None else to_ms(event.received_at),
            ]
            for event in events
        ]
    )


def _load(body: bytes) -> list[Event]:
    return [
        Event(
            item.id,
            item.topic,
            msgspec.json.decode(item.data),
            None if item.received_ms is None else from_ms(item.received_ms),
        )
        for item in _events_from_json.decode(body)
    ]
