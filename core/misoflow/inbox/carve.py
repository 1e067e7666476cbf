"""Finds rows of the inbox in damaged files without SQLite's help.

SQLite gives up a whole log at the first bad frame and a whole page at the first bad cell. Here every place
that looks like the head of a record of ``deliveries`` is tried, and the row's own CRC decides; so a hit is
never wrong, and only rows whose own bytes are damaged are lost. https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from misoflow.inbox.file import PAGE
from misoflow.inbox.inspect import Row
from misoflow.inbox.payload import sound

LOG_HEAD, FRAME_HEAD = 32, 24
MAX_LOCAL = PAGE - 35
MIN_LOCAL = (PAGE - 12) * 32 // 255 - 23
MAX_RECORD = 256 * 1024 * 1024
MOST_ID = 2**63 - 1
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
# Header size, NULL (the id is the rowid), a text, two integers: the record header of every row.
_HEAD = re.compile(
    rb"(?=[\x06-\x0f]\x00(?:[\x0d-\x7f]|[\x81-\xff][\x00-\x7f])[\x01-\x06\x08\x09][\x01-\x06\x08\x09])",
    re.DOTALL,
)
Lookup = Callable[[int], bytes]


def carve(main: Path, logs: list[Path]) -> Iterator[Row]:
    """Rows (id, instance, received_ms, crc, payload) with a good CRC, the newest version of each first."""
    with ExitStack() as stack:
        base = _map(stack, main)

        def page_of_main(number: int) -> bytes:
            return base[(number - 1) * PAGE : number * PAGE] if number > 0 else b""

        leftovers: list[tuple[list[bytes], Lookup]] = []
        for position, log in enumerate(logs):
            for generation, (pages, lookup) in enumerate(_generations(_map(stack, log), page_of_main)):
                if position == 0 and generation == 0:
                    yield from _scan(pages, [lookup, page_of_main])
                else:
                    leftovers.append((pages, lookup))
        yield from _scan((base[at : at + PAGE] for at in range(0, len(base), PAGE)), [page_of_main])
        for pages, lookup in leftovers:
            yield from _scan(pages, [lookup, page_of_main])


def _map(stack: ExitStack, path: Path) -> bytes | mmap.mmap:
    if not path.exists() or path.stat().st_size == 0:
        return b""
    file = stack.enter_context(path.open("rb"))
    return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _generations(log: bytes | mmap.mmap, page_of_main: Lookup) -> Iterator[tuple[list[bytes], Lookup]]:
    """A log's pages by salt, the newest page first; each with a way to look up overflow pages.

    The log is written again from its start after a checkpoint, so its tail may be of an older generation.
    """
    by_salt: dict[bytes, list[tuple[int, bytes]]] = {}
    for at in range(LOG_HEAD, len(log), FRAME_HEAD + PAGE):
        frame = log[at : at + FRAME_HEAD + PAGE]
        page = frame[FRAME_HEAD:]
        by_salt.setdefault(frame[8:16], []).append((int.from_bytes(frame[:4], "big"), page))
    everything = {number: page for frames in reversed(by_salt.values()) for number, page in frames}
    for frames in by_salt.values():
        own = dict(frames)

        def lookup(number: int, own: dict[int, bytes] = own) -> bytes:
            return own.get(number) or everything.get(number) or page_of_main(number)

        yield [page for _, page in reversed(frames)], lookup


def _scan(pages: Iterator[bytes] | list[bytes], lookups: list[Lookup]) -> Iterator[Row]:
    for page in pages:
        for match in _HEAD.finditer(page):
            row = _row_at(page, match.start(), lookups)
            if row is not None:
                yield row


def _row_at(page: bytes, at: int, lookups: list[Lookup]) -> Row | None:
    shape = _shape(page, at)
    if shape is None:
        return None
    text, (time_type, crc_type), blob = shape
    head = page[at]
    size = head + text + _width(time_type) + _width(crc_type) + blob
    for lookup in lookups:
        record = _record(page, at, size, lookup)
        if record is None:
            continue
        position = head + text
        instance = record[head:position]
        received_ms, position = _integer(record, position, time_type)
        crc, position = _integer(record, position, crc_type)
        try:
            name = instance.decode()
        except UnicodeDecodeError:
            return None
        for id in _rowids(page, at):
            row = (id, name, received_ms, crc, record[position:])
            if sound(row):
                return row
    return None


def _shape(page: bytes, at: int) -> tuple[int, tuple[int, int], int] | None:
    """Byte sizes of instance and payload, and the types of the two integers."""
    text, position = _varint(page, at + 2)
    if position + 3 > len(page):
        return None
    kinds = (page[position], page[position + 1])
    blob, position = _varint(page, position + 2)
    fits = position == at + page[at] and text >= 13 and text % 2 == 1 and blob >= 12 and blob % 2 == 0
    if not fits or (blob - 12) // 2 > MAX_RECORD:
        return None
    return (text - 13) // 2, kinds, (blob - 12) // 2


def _record(page: bytes, at: int, size: int, lookup: Lookup) -> bytes | None:
    """The whole record, collected from its overflow pages where it has some."""
    if size <= MAX_LOCAL:
        record = page[at : at + size]
        return record if len(record) == size else None
    local = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4)
    local = local if local <= MAX_LOCAL else MIN_LOCAL
    parts = [page[at : at + local]]
    number = int.from_bytes(page[at + local : at + local + 4], "big")
    left = size - local
    while left > 0:
        more = lookup(number)
        if len(more) < 4 + min(left, PAGE - 4):
            return None
        parts.append(more[4 : 4 + left])
        number = int.from_bytes(more[:4], "big")
        left -= PAGE - 4
    return b"".join(parts)


def _rowids(page: bytes, at: int) -> Iterator[int]:
    """What the varint that ends just before ``at`` may be; its start is not marked."""
    for length in range(1, 10):
        start = at - length
        if start < 0:
            return
        value, end = _varint(page, start)
        if end == at and value <= MOST_ID:
            yield value


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        if at >= len(page):
            return value, at + 1
        byte = page[at]
        at += 1
        if count == 8:
            return (value << 8) | byte, at
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            break
    return value, at


def _width(kind: int) -> int:
    return _INT_BYTES.get(kind, 0)


def _integer(record: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind in (8, 9):
        return kind - 8, at
    end = at + _INT_BYTES[kind]
    return int.from_bytes(record[at:end], "big", signed=True), end
