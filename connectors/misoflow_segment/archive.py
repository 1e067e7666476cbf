"""Segment's archives of raw calls, on disk or in an object store: the same events, with the same ids, as live.

``segment-logs/<source>/<received day>/<file>.gz``, the day as UTC midnight in milliseconds:
https://segment.com/docs/connections/storage/catalog/aws-s3/#data-format
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
from misoflow import Event, Page, Reject, Slice, files

from misoflow_segment import deliveries
from misoflow_segment.keys import Json

UNREADABLE = "unreadable"
NOT_FOR_US = "not for Miso"
TOPICS = (UNREADABLE, NOT_FOR_US)
PAGE = 2000


class Place(msgspec.Struct):
    """How far a day has been read: a file as it was listed, and the last row of it."""

    path: str = ""
    version: str = ""
    row: int = 0


def pull(folder: str, names: tuple[str, ...], part: Slice) -> Iterator[Page]:
    """The calls received on the slice's days, file by file; the cursor moves with every page.

    Raises Retry for a file that is cut off, Halt when a store needs a login.
    """
    place = msgspec.json.decode(part.cursor, type=Place) if part.cursor else Place()
    day = part.start
    while day < part.end:
        for source in _listed(f"{folder.rstrip('/')}/{int(day.timestamp() * 1000)}"):
            if source.path < place.path:
                continue
            same = (source.path, source.version) == (place.path, place.version)
            place = Place(source.path, source.version, place.row if same else 0)
            yield from _file(source, names, place)
        day += timedelta(days=1)


def _listed(folder: str) -> list[files.Source]:
    """A day without a folder is a day without calls; that the archive itself is there is looked at by ``check``."""
    try:
        return files.expand([folder])
    except Reject:
        return []


def _file(source: files.Source, names: tuple[str, ...], place: Place) -> Iterator[Page]:
    found: list[Event] = []
    for block in files.read(source, format="jsonl", after=place.row):
        for row in block:
            found.append(_event(source.name, row, names))
            place.row = row.number
        if len(found) >= PAGE:
            yield Page(found, msgspec.json.encode(place).decode())
            found = []
    yield Page(found, msgspec.json.encode(place).decode())


def _event(name: str, row: files.Row | files.BadRow, names: tuple[str, ...]) -> Event:
    data = files.parsed(row)
    if isinstance(data, files.BadRow):
        where = {"file": name, "line": data.number, "reason": data.reason}
        return Event(f"unreadable-{deliveries.digest(where)}", UNREADABLE, where)
    event = deliveries.event_of(data, 0, deletes=False)
    if not is_for(data.get("integrations"), names):
        return Event(event.id, NOT_FOR_US, event.data)
    return event


def is_for(integrations: Any, names: tuple[str, ...]) -> bool:
    """Whether the call was meant for one of these destinations: archives hold what others were sent, too.

    https://segment.com/docs/guides/filtering-data/#filtering-with-the-integrations-object
    """
    if type(integrations) is not dict:
        return True
    chosen: Json = {str(key).casefold(): value for key, value in integrations.items()}
    ours = [chosen[name.casefold()] for name in names if name.casefold() in chosen]
    if any(value is False for value in ours):
        return False
    return chosen.get("all") is not False or any(value for value in ours)
