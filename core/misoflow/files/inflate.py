"""Compressed bytes to plain ones, in pieces of bounded size, with a proof that the end was reached.

The first bytes decide what a file is, not its name: archives are often misnamed. Several gzip members or zstd
frames in a row are one file, as ``cat a.gz b.gz`` makes them. What does not end where it should is ``Truncated``.
Formats: https://www.rfc-editor.org/rfc/rfc1952 and https://www.rfc-editor.org/rfc/rfc8878.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import zstandard
from isal import isal_zlib

from misoflow.errors import Reject, Retry

PIECE = 1024 * 1024
"""Most bytes of one piece of inflated gzip."""
ZSTD_STEP = 2048
"""Compressed bytes at a time: zstd's decompressor has no cap on what they become, at worst 128 KiB from 4."""
GZIP = 31
"""zlib's wbits for the gzip format."""
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))
_MAGICS = (_GZIP_MAGIC, _ZSTD_MAGIC, *_ZSTD_SKIPPABLE)
# isal's type stub calls this class an instance.
_BROKEN: tuple[type[Exception], ...] = (zstandard.ZstdError, isal_zlib.IsalError, ValueError)  # type: ignore[assignment]


class Truncated(Retry):
    """The file ends too early; it may be whole at the next try."""


def inflate(chunks: Iterable[bytes], *, compressed: bool = False) -> Iterator[bytes]:
    """The plain bytes of one file, whatever it is compressed with.

    ``compressed``: its name says that it is, so an empty one is cut off. Raises Truncated where the
    compressed stream has no end, Reject where it is damaged.
    """
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= 4:
            break
    stream = chain((head,), source)
    if head.startswith(_GZIP_MAGIC):
        yield from _members(stream, _gzip_member, "gzip")
    elif head.startswith((_ZSTD_MAGIC, *_ZSTD_SKIPPABLE)):
        yield from _members(stream, _zstd_frame, "zstd")
    elif any(magic.startswith(head) for magic in _MAGICS) and (head or compressed):
        raise Truncated(f"the file ends after {len(head)} bytes, inside of its gzip or zstd header")
    else:
        yield from filter(None, stream)


class _Input:
    """Chunks with a way to put back what belongs to the next member."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._back = b""

    def next(self) -> bytes:
        """Bytes that were put back, or the next chunk; b"" at the end."""
        data, self._back = self._back, b""
        return data or next((chunk for chunk in self._chunks if chunk), b"")

    def put_back(self, data: bytes) -> None:
        self._back = data


def _members(chunks: Iterator[bytes], member: Callable[[_Input], Iterator[bytes]], format_: str) -> Iterator[bytes]:
    source = _Input(chunks)
    first = True
    while data := source.next():
        if not first and format_ == "gzip":
            data = data.lstrip(b"\0")  # tape tools pad a file with zeros; gzip takes that too
            if not data:
                continue
        source.put_back(data)
        first = False
        try:
            yield from member(source)
        except EOFError:
            raise Truncated(f"the file is cut off: its {format_} stream has no end") from None
        except _BROKEN:
            raise Reject(f"the file is damaged: its {format_} stream cannot be read; write it again") from None


def _gzip_member(source: _Input) -> Iterator[bytes]:
    stream = isal_zlib.decompressobj(wbits=GZIP)
    while not stream.eof:
        data = source.next()
        if not data:
            raise EOFError
        while not stream.eof:
            piece = stream.decompress(data, PIECE)
            data = stream.unconsumed_tail
            if piece:
                yield piece
            if len(piece) < PIECE and not data:
                break
    source.put_back(stream.unused_data)


def _zstd_frame(source: _Input) -> Iterator[bytes]:
    stream = zstandard.ZstdDecompressor().decompressobj()
    while not stream.eof:
        data = source.next()
        if not data:
            raise EOFError
        at = 0
        while at < len(data) and not stream.eof:
            piece = stream.decompress(data[at : at + ZSTD_STEP])
            at += ZSTD_STEP
            if piece:
                yield piece
        if stream.eof:
            source.put_back(stream.unused_data + data[at:])
