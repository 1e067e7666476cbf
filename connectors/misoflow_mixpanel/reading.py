"""A raw export as it comes: bytes to lines, and the proof that it came whole.

https://developer.mixpanel.com/reference/raw-event-export answers 200 before it has read its data, so an export
can end early inside a good answer: cut gzip, a last line without its end, a marker or an error in the last line.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from isal import isal_zlib
from misoflow import Retry

GZIP = 31
MOST_INFLATED = 1024 * 1024
MAX_LINE = 4 * 1024 * 1024
_BROKEN: tuple[type[Exception], ...] = (isal_zlib.IsalError, ValueError)  # type: ignore[assignment]  # (its stub)
MARKERS = (b"terminated early", b'{"error":')


class Incomplete(Retry):
    """The export ended before its end; nothing of it proves anything."""


class Lines:
    """Chunks of one answer as lines. The newest whole line is held back: the last one has to be looked at."""

    def __init__(self, *, gzipped: bool) -> None:
        self._inflate = isal_zlib.decompressobj(wbits=GZIP) if gzipped else None
        self._gzipped = gzipped
        self._rest = b""
        self.received = 0
        """Bytes as they came."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes. Raises Incomplete when it is broken."""
        self.received += len(chunk)
        found: list[bytes] = []
        for plain in self._plain(chunk):
            # bytes are split on \n alone: U+2028, U+2029 and U+0085 may stand inside JSON strings
            text = self._rest + plain if self._rest else plain
            last = text.rfind(b"\n", 0, len(text) - 1)
            if last < 0:
                self._rest = text
            else:
                found += text[:last].split(b"\n")
                self._rest = text[last + 1 :]
            if len(self._rest) > MAX_LINE:
                raise Incomplete(f"a line of the export is longer than {MAX_LINE // 2**20} MiB")
        return found

    def _plain(self, chunk: bytes) -> list[bytes]:
        if not self._gzipped:
            return [chunk] if chunk else []
        found: list[bytes] = []
        try:
            while chunk:
                if self._inflate is None or self._inflate.eof:
                    # gzip may be several members one after the other
                    self._inflate = isal_zlib.decompressobj(wbits=GZIP)
                plain = self._inflate.decompress(chunk, MOST_INFLATED)
                if plain:
                    found.append(plain)
                chunk = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        except _BROKEN:
            raise Incomplete("the export is broken gzip") from None
        return found

    def last(self) -> list[bytes]:
        """The last line, once the answer has ended cleanly; [] when it was empty. Raises Incomplete."""
        if self._gzipped and self.received and (self._inflate is None or not self._inflate.eof):
            raise Incomplete("the export's gzip has no end")
        if not self._rest:
            return []
        if not self._rest.endswith(b"\n"):
            raise Incomplete(_marked(self._rest) or "the export's last line is cut")
        line = self._rest[:-1]
        row = parsed(line)
        if row is None or type(row.get("event")) is not str:
            raise Incomplete(_marked(line) or "the export's last line is no event")
        return [line]


def _marked(line: bytes) -> str:
    """What Mixpanel says in band when it gives an export up."""
    return "Mixpanel ended the export early" if any(marker in line for marker in MARKERS) else ""


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line as an object, or None when it is none. Lone surrogates and any size of integer are taken."""
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            row = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
        row = _mended(row)
    return row if type(row) is dict and type(row.get("properties", {})) is dict else None


def _mended(value: Any) -> Any:
    """Without lone surrogates, which no UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(one) for key, one in value.items()}
    return value
