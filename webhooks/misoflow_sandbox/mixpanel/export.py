"""The raw export's body: lines, gzip, and the ways in which it ends badly inside of a 200."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from misoflow_sandbox.mixpanel.world import World

BLOCK = 256 * 1024
GZIP_FROM = 1400
"""Smaller bodies come as they are."""
MEMBER_LINES = 1000
_PROCESSED = re.compile(r'number\(properties\["mp_processing_time_ms"\]\)\s*(>=|>|<|<=)\s*(-?\d+)\Z')
_EQUAL = re.compile(r'properties\["([^"]+)"\]\s*==\s*"([^"]*)"\Z')

Wanted = Callable[[str, int, bytes], bool]


def wanted(event: str | None, where: str | None) -> Wanted:
    """A filter from the parameters ``event`` and ``where``; ValueError for an expression that is none."""
    names = None if event is None else frozenset(json.loads(event))
    conditions = [] if not where else [_condition(part.strip()) for part in where.split(" and ")]

    def keep(name: str, processed: int, line: bytes) -> bool:
        if names is not None and name not in names and b'"$hotshard_events"' not in line[:40]:
            return False
        return all(condition(processed, line) for condition in conditions)

    return keep


def _condition(text: str) -> Callable[[int, bytes], bool]:
    if match := _PROCESSED.match(text):
        sign, bound = match[1], int(match[2])
        compare: dict[str, Callable[[int], bool]] = {
            ">=": lambda n: n >= bound,
            ">": lambda n: n > bound,
            "<": lambda n: n < bound,
            "<=": lambda n: n <= bound,
        }
        return lambda processed, line: compare[sign](processed)
    if match := _EQUAL.match(text):
        name, value = match[1], match[2]
        return lambda processed, line: json.loads(line)["properties"].get(name) == value
    raise ValueError(f"cannot parse where: {text}")


def lines(world: World, first: date, last: date, now: int | None, keep: Wanted, limit: int) -> Iterator[bytes]:
    """The lines of an export; ``limit`` 0: all."""
    count = 0
    for name, processed, line in world.rows(first, last, now):
        if keep(name, processed, line):
            yield line
            count += 1
            if count == limit:
                return


def blocks(source: Iterator[bytes]) -> Iterator[bytes]:
    """Lines joined to blocks."""
    held: list[bytes] = []
    size = 0
    for line in source:
        held.append(line)
        size += len(line)
        if size >= BLOCK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def spoiled(source: Iterator[bytes], fault: str | None, total: int) -> Iterator[bytes]:
    """The lines with a fault of content in them; ``total`` is about half of their number."""
    ends = {
        "abort": b"terminated early\n",
        "abort_export": b"export terminated early\n",
        "error_tail": b'{"error": "query exceeded its limits", "status": 500}\n',
        "cut_line": b'{"event":"Product Viewed","properties":{"time":17',
    }
    for number, line in enumerate(source):
        if fault in ends and number >= total:
            yield ends[fault]
            return
        if fault == "bad_line" and number == total // 2:
            yield b'{"event": "Product Viewed", "properties": {"time": oops}}\n'
        yield line


def gzipped(source: Iterator[bytes], fault: str | None) -> Iterator[bytes]:
    """One gzip member, or several, or one without its end."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for block in source:
        yield packer.compress(block)
        if fault == "multi_member":
            yield packer.flush()
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    tail = packer.flush()
    yield tail[:-9] if fault == "cut_gzip" else tail


def answer_of(headers: dict[str, Any], encoded: bool) -> list[tuple[bytes, bytes]]:
    """Response headers of an export."""
    found = [(b"content-type", b"text/plain; charset=utf-8")]
    return [*found, (b"content-encoding", b"gzip")] if encoded else found
