"""Files of bulk operations: lines in any order to whole objects, in bounded memory.

A line is a node; that of a child names its parent, which may come after it, and the same child may be below many
parents: https://shopify.dev/docs/api/usage/bulk-operations/queries. Lines are spread over unnamed temporary files by
the hash of their root (nothing of those is left, whatever happens), then grouped one file at a time.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import msgspec
from misoflow import Retry
from msgspec import Struct, field

Json = dict[str, Any]
Group = tuple[Json, list[Json]]
"""A root and its children, each child once."""
PART_BYTES = 8 * 1024 * 1024
"""As much as is decoded at once."""
BITS = 5
"""Of the hash, for each time that lines are spread."""
PARTS = 1 << BITS
DEEPEST = 4
LONGEST_LINE = 64 * 1024 * 1024


class Broken(Retry):
    """The file is not what Shopify says it is: nothing of it can be relied on."""


class _Head(Struct):
    id: str = ""
    parent: str = field(name="__parentId", default="")


_head = msgspec.json.Decoder(_Head).decode
_node = msgspec.json.Decoder(dict[str, Any]).decode


class Lines:
    """Chunks of bytes to lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now."""
        first, *others = chunk.split(b"\n")
        if not others:
            self._rest += first
            if len(self._rest) > LONGEST_LINE:
                raise Broken("a line of the bulk file has no end")
            return []
        lines = [self._rest + first, *others[:-1]]
        self._rest = others[-1]
        return [line for line in lines if line]

    def last(self) -> list[bytes]:
        """A last line that does not end in a newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.strip() else []


class Spool:
    """Lines by root. ``size``: bytes that will come, if known; the order of the groups follows from it alone."""

    def __init__(self, size: int | None, depth: int = 0) -> None:
        one = size is not None and size <= PART_BYTES
        self._depth = depth
        self._files: list[IO[bytes]] = [_unnamed() for _ in range(1 if one else PARTS)]
        self.lines = 0

    def close(self) -> None:
        """Give the room on disk back."""
        for file in self._files:
            file.close()

    def add(self, lines: list[bytes]) -> None:
        """Broken when one is no node."""
        files, many, shift = self._files, len(self._files), self._depth * BITS
        for line in lines:
            try:
                head = _head(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise Broken("a line of the bulk file is cut off or is no JSON") from None
            root = head.parent or head.id
            if not root:
                raise Broken("a line of the bulk file has no id")
            file = files[(zlib.crc32(root.encode()) >> shift) % many]
            file.write(line)
            file.write(b"\n")
        self.lines += len(lines)

    def groups(self, *, whole: bool = True) -> Iterator[Group]:
        """All objects. With ``whole`` a child without its root is Broken, else it is left out."""
        for file in self._files:
            size = file.tell()
            file.seek(0)
            if size <= PART_BYTES or self._depth == DEEPEST:
                yield from _grouped(file, whole)
            else:
                yield from self._split(file, whole)
            file.close()

    def _split(self, file: IO[bytes], whole: bool) -> Iterator[Group]:
        inner = Spool(None, self._depth + 1)
        try:
            while lines := file.readlines(PART_BYTES // 8):
                inner.add([line.rstrip(b"\n") for line in lines])
            yield from inner.groups(whole=whole)
        finally:
            inner.close()


def _unnamed() -> IO[bytes]:
    return cast(IO[bytes], tempfile.TemporaryFile())


def _grouped(file: IO[bytes], whole: bool) -> Iterator[Group]:
    roots: dict[str, Json] = {}
    children: dict[str, dict[Any, Json]] = {}
    for line in file:
        node = _node(line)
        parent = cast("str | None", node.pop("__parentId", None))
        if parent is None:
            kept = roots.setdefault(node["id"], node)
        else:
            # a child without an id is told by its whole line
            kept = children.setdefault(parent, {}).setdefault(node.get("id") or line, node)
        if kept != node:
            raise Broken("the bulk file has two versions of one object")
    if whole and not children.keys() <= roots.keys():
        raise Broken("the bulk file has a child without its parent")
    for key, root in roots.items():
        yield root, list(children.get(key, {}).values())
