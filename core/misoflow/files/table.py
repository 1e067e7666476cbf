"""CSV: a header line, then a row a line; cells are text, and an empty cell is an absent one.

Comma, semicolon or tab, whichever the header has most of; UTF-8 with or without a mark.
https://www.rfc-editor.org/rfc/rfc4180
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from misoflow.errors import Reject
from misoflow.files.lines import without_bom
from misoflow.files.rows import BLOCK, KEPT, MAX_ROW, BadRow, Block, Row, too_large


def csv_rows(chunks: Iterable[bytes], after: int = 0) -> Iterator[Block]:
    """Rows numbered by the line on which they begin (the header is line 1), those up to ``after`` left out.

    Rows with more or fewer cells than the header, or with bytes that are not UTF-8, are bad rows; lines
    without any filled cell are skipped. Raises Reject for a header without names or with one twice, and for
    a line or cell larger than MAX_ROW.
    """
    # for the whole process, so never made smaller: somebody else may have asked for more
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW))
    rows = _rows(_Lines(without_bom(chunks)), after)
    while block := list(islice(rows, BLOCK)):
        yield block


def _rows(lines: _Lines, after: int) -> Iterator[Row | BadRow]:
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines.first.count), strict=True)
    columns: list[str] = []
    while True:
        number = reader.line_num + 1
        lines.taken.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield _unreadable(lines, number, error)
            continue
        if cells is None:
            return
        if not columns:
            columns = _columns(cells)
        elif number > after and any(cells):
            yield _row(number, columns, cells, lines)


def _columns(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if "" in names or twice:
        what = f"names {twice[0]!r} twice" if twice and twice[0] else "leaves a column without a name"
        raise Reject(f"the CSV header {what}; each column needs a name of its own")
    return names


def _row(number: int, columns: list[str], cells: list[str], lines: _Lines) -> Row | BadRow:
    if len(cells) != len(columns):
        return BadRow(number, f"the row has {len(cells)} cells, the header {len(columns)}", lines.raw())
    try:
        raw = orjson.dumps({name: cell for name, cell in zip(columns, cells, strict=True) if cell})
    except TypeError:
        return BadRow(number, "the row is not UTF-8; save the file as UTF-8", lines.raw())
    return Row(number, raw) if len(raw) <= MAX_ROW else too_large(number, raw)


def _unreadable(lines: _Lines, number: int, error: csv.Error) -> BadRow:
    if sum(map(len, lines.taken)) > MAX_ROW:
        raise Reject(f"a cell that begins on line {number} is larger than {MAX_ROW // 1024**2} MiB")
    if lines.ended:
        return BadRow(number, "a quote is opened and never closed: the rest of the file is inside", lines.raw()[:KEPT])
    return BadRow(number, f"the row is no CSV: {error}", lines.raw())


class _Lines:
    """The lines of a file as text, and those that the present row was made of."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._text = io.TextIOWrapper(io.BufferedReader(_Stream(chunks)), "utf-8", errors="surrogateescape", newline="")
        self.taken: list[str] = []
        self.ended = False
        self._given = 0
        self.first = self._read()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._read() if self._given else self.first
        self._given += 1
        if not line:
            self.ended = True
            raise StopIteration
        self.taken.append(line)
        return line

    def raw(self) -> bytes:
        """The bytes of the present row, without the end of its last line."""
        return "".join(self.taken).encode("utf-8", "surrogateescape").rstrip(b"\r\n")

    def _read(self) -> str:
        line = self._text.readline(MAX_ROW)
        if len(line) == MAX_ROW and line[-1] not in "\r\n":
            raise Reject(f"line {self._given + 1} is larger than {MAX_ROW // 1024**2} MiB")
        return line


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = filter(None, chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        with memoryview(buffer) as target:
            size = min(len(target), len(self._left))
            target[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
