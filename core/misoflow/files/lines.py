"""JSON Lines: split on newlines only, one split a chunk, nothing parsed. https://jsonlines.org

Unicode's own line separators may stand inside of JSON strings, so nothing but ``\\n`` ends a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from misoflow.errors import Reject
from misoflow.files.rows import KEPT, MAX_ROW, Block, Row, blocks, too_large

BOM = b"\xef\xbb\xbf"


def json_lines(chunks: Iterable[bytes], after: int = 0) -> Iterator[Block]:
    """Rows numbered by line, those up to line ``after`` left out; blank lines are counted and skipped.

    Holds one chunk and one line at most, MAX_ROW bytes of it. Raises Reject for UTF-16.
    """
    source = _Lines(after)
    for chunk in without_bom(chunks):
        yield from source.feed(chunk)
    yield from source.close()


def without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same without a UTF-8 byte order mark; raises Reject for UTF-16's."""
    head = b""
    started = False
    for chunk in chunks:
        if started:
            yield chunk
            continue
        head += chunk
        if len(head) >= len(BOM):
            started = True
            yield _unmarked(head)
    if not started:
        yield _unmarked(head)


def _unmarked(head: bytes) -> bytes:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Reject("the file is UTF-16; save it as UTF-8")
    return head.removeprefix(BOM)


class _Lines:
    """The state between chunks: how many lines are behind, and the beginning of the next one."""

    def __init__(self, after: int) -> None:
        self._after = after
        self._done = 0
        self._pending: list[bytes] = []
        self._held = 0
        self._oversized = False

    def feed(self, chunk: bytes) -> Iterator[Block]:
        end = chunk.rfind(b"\n")
        if end < 0:
            self._hold(chunk)
            return
        if self._skips(chunk, end):
            self._done += chunk.count(b"\n")
        else:
            yield from blocks(self._rows(chunk[:end]))
        self._pending, self._held, self._oversized = [], 0, False
        self._hold(chunk[end + 1 :])

    def close(self) -> Iterator[Block]:
        """The last line, when no newline ends it."""
        if self._held:
            yield from blocks(self._rows(b""))

    def _skips(self, chunk: bytes, end: int) -> bool:
        return self._done < self._after and self._done + chunk.count(b"\n", 0, end + 1) <= self._after

    def _hold(self, piece: bytes) -> None:
        self._held += len(piece)
        if self._oversized:
            return
        self._pending.append(piece)
        if self._held > MAX_ROW:
            self._pending = [b"".join(self._pending)[:KEPT]]
            self._oversized = True

    def _rows(self, ended: bytes) -> Block:
        """Rows of the pending line and what ends it; ``ended`` has no newline at its end."""
        first = self._done + 1
        bad: Block = []
        if self._oversized:
            bad.append(too_large(first, self._pending[0]))
            lines = ended.split(b"\n")
            lines[0] = b""
        else:
            self._pending.append(ended)
            text = b"".join(self._pending)
            lines = text.split(b"\n")
            if b"\r" in text:
                lines = [line.rstrip(b"\r") for line in lines]
        self._done += len(lines)
        rows: Block = [Row(number, line) for number, line in enumerate(lines, first) if line and not line.isspace()]
        if len(ended) + self._held > MAX_ROW:
            rows = [row if len(row.raw) <= MAX_ROW else too_large(row.number, row.raw) for row in rows]
        rows = bad + rows
        return [row for row in rows if row.number > self._after] if first <= self._after else rows
