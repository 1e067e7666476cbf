"""JSON arrays, an element at a time, without parsing: only brackets and strings are told apart.

Taken are ``[…]`` and the body of Miso's own API, ``{"data": […]}``, with ``data`` as its first key.
https://docs.miso.ai/api-reference (Data APIs)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from misoflow.errors import Reject
from misoflow.files.inflate import Truncated
from misoflow.files.lines import without_bom
from misoflow.files.rows import BLOCK, MAX_ROW, Block, Row

OPENING = re.compile(rb'\s*+(?:(\{)\s*+"data"\s*+:\s*+)?+\[')
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)
_SCALAR = re.compile(rb"(?:" + _STRING + rb'|[^\s,\[\]{}"]++)(?=[\s,\]])', re.DOTALL)
_SPACE = re.compile(rb"\s*+")


def json_array(chunks: Iterable[bytes], after: int = 0) -> Iterator[Block]:
    """Rows numbered by element, those up to ``after`` left out.

    An element that is no JSON inside of its brackets is still a row, and the file goes on behind it. Holds a
    chunk and one element. Raises, once the rows before it are out, Reject where the array itself is broken or
    an element is larger than MAX_ROW, and Truncated where it has no end.
    """
    rows: Block = []
    trouble: Reject | Truncated | None = None
    elements = _Scan(without_bom(chunks)).elements()
    number = 0
    while True:
        try:
            element = next(elements, None)
        except (Reject, Truncated) as error:
            trouble, element = error, None
        if element is not None:
            number += 1
            if number > after:
                rows.append(Row(number, element))
        if rows and (element is None or len(rows) == BLOCK):
            yield rows
            rows = []
        if element is None:
            break
    if trouble:
        raise trouble


class _Scan:
    """A window on the file, the place in it, and where the element begins that stands there."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = filter(None, chunks)
        self._text = b""
        self._start = 0
        self._at = 0
        self._number = 0

    def elements(self) -> Iterator[bytes]:
        """The bytes of each element."""
        wrapped = self._open()
        upcoming = self._next()
        while upcoming != b"]":
            self._number += 1
            yield self._nested(0) if upcoming in b"[{" else self._scalar()
            upcoming = self._next()
            if upcoming == b",":
                self._at += 1
                upcoming = self._next()
            elif upcoming != b"]":
                raise Reject(f"the array is broken behind record {self._number}: a comma or ] must stand there")
        self._at += 1
        if wrapped:
            self._nested(1)
        if self._next(may_end=True):
            raise Reject(f"the array ends after record {self._number}, but the file goes on")

    def _open(self) -> bool:
        while not (found := OPENING.match(self._text)):
            if len(self._text) > MAX_ROW or not self._more():
                raise Reject('the file must be a JSON array, or {"data": […]}')
        self._at = found.end()
        return found[1] is not None

    def _next(self, may_end: bool = False) -> bytes:
        """The next byte that is no white space, not taken yet; b"" at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at : self._at + 1]
            self._text, self._at = b"", 0
            if not self._more():
                if may_end:
                    return b""
                raise Truncated(f"the array has no end: the file stops behind record {self._number}")

    def _nested(self, depth: int) -> bytes:
        """What stands here until ``depth`` brackets, and those opened on the way, are closed."""
        self._start = self._at
        while True:
            found = _BRACKET.match(self._text, self._at)
            if not found:
                self._longer()
                continue
            self._at = found.end()
            depth += 1 if found[1] in b"[{" else -1
            if not depth:
                return self._taken()

    def _scalar(self) -> bytes:
        self._start = self._at
        while not (found := _SCALAR.match(self._text, self._at)):
            self._longer()
        self._at = found.end()
        return self._taken()

    def _taken(self) -> bytes:
        if self._at - self._start > MAX_ROW:
            raise self._too_large()
        return self._text[self._start : self._at]

    def _longer(self) -> None:
        """Another chunk; what stands before the element goes."""
        self._text, self._at, self._start = self._text[self._start :], self._at - self._start, 0
        if len(self._text) > MAX_ROW:
            raise self._too_large()
        if not self._more():
            raise Truncated(f"the array has no end: the file stops inside of record {self._number}")

    def _too_large(self) -> Reject:
        return Reject(f"record {self._number} is larger than {MAX_ROW // 1024**2} MiB, or its quotes do not pair")

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._text += chunk
        return bool(chunk)
