"""A source to blocks of rows: which format it is, and the reader for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Literal, get_args

from misoflow.errors import Reject
from misoflow.files.array import OPENING, json_array
from misoflow.files.inflate import Truncated, inflate
from misoflow.files.lines import BOM, json_lines
from misoflow.files.parquet import parquet_rows
from misoflow.files.rows import Block
from misoflow.files.sources import Source, shown, troubles
from misoflow.files.table import csv_rows

Format = Literal["jsonl", "json", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
PIPES = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
COMPRESSED = (".gz", ".zst")
_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_HEAD = 4096
"""Bytes that tell an array from lines."""


def format_of(path: str) -> Format | None:
    """The format that a path's suffix names, before ``.gz`` or ``.zst``; None when it names none.

    Pipes of a shell have no names: they hold JSON Lines or an array.
    """
    if path.startswith(PIPES):
        return "json"
    suffixes = [suffix.lower() for suffix in PurePosixPath(shown(path)).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return _BY_SUFFIX.get(suffixes[-1]) if suffixes else None


def read(
    source: Source,
    format: Format | None = None,
    after: int = 0,
    progress: Callable[[int], object] = lambda size: None,
) -> Iterator[Block]:
    """The rows of a file in blocks, those numbered up to ``after`` left out, in memory that does not grow.

    ``progress`` is told stored bytes as they are read. What is wrong with one row is a BadRow; what is wrong
    with the file is raised when the rows before it are out: Truncated (it has no end yet), Changed (list it
    again), Retry, Halt, or Reject for damage and for a format that nobody knows.
    """
    kind = format or format_of(source.path)
    if kind is None:
        raise Reject(f"{source.name}: its name does not say which format it has; say one of {', '.join(FORMATS)}")
    try:
        if kind == "parquet":
            with troubles(source.name), source.open() as opened:
                yield from parquet_rows(opened, after, progress)
        else:
            plain = inflate(source.chunks(progress), compressed=source.name.lower().endswith(COMPRESSED))
            yield from _READERS[kind](plain, after)
    except Truncated as error:
        raise Truncated(_named(source, error.reason)) from None
    except Reject as error:
        raise Reject(_named(source, error.reason)) from None


def _named(source: Source, reason: str) -> str:
    return reason if source.name in reason else f"{source.name}: {reason}"


def _json(chunks: Iterable[bytes], after: int) -> Iterator[Block]:
    """An array or Miso's body, or lines: many files with JSON Lines are named .json."""
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= _HEAD:
            break
    text = head.removeprefix(BOM)
    if text.strip().partition(b"\n")[0].rstrip() == b"{" and not OPENING.match(text):
        raise Reject('the file is one object over many lines; it must be an array, {"data": […]}, or JSON Lines')
    reader = json_array if OPENING.match(text) else json_lines
    yield from reader(chain((head,), source), after)


_READERS: dict[str, Callable[[Iterable[bytes], int], Iterator[Block]]] = {
    "jsonl": json_lines,
    "json": _json,
    "csv": csv_rows,
}
