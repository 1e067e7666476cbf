"""Segment's archives of raw calls, on disk or in an object store: the same events, with the same ids, as live.

``segment-logs/<source>/<received day>/<file>.gz``, the day as UTC midnight in milliseconds:
https://segment.com/docs/connections/storage/catalog/aws-s3/#data-format
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
from misoflow import Event, Page, Reject, Retry, Slice, files

from misoflow_segment import deliveries
from misoflow_segment.keys import Json

UNREADABLE = "unreadable"
NOT_FOR_US = "not for Miso"
TOPICS = (UNREADABLE, NOT_FOR_US)
PAGE = 2000
MOST_PROBLEMS = 3
"""Named in one message."""


class Place(msgspec.Struct):
    """How far a day has been read: a file as it was listed, and the last row of it."""

    path: str = ""
    version: str = ""
    row: int = 0


def pull(folder: str, names: tuple[str, ...], part: Slice) -> Iterator[Page]:
    """The calls received on the slice's days, file by file; the cursor moves with every page.

    A file that is cut off or damaged does not hold up the others, but the cursor stays in front of it. Raises
    Retry at the end when one did not come whole, Halt when a store needs a login.
    """
    place = msgspec.json.decode(part.cursor, type=Place) if part.cursor else Place()
    kept: str | None = None
    problems: list[str] = []
    day = part.start
    while day < part.end:
        for source in _listed(f"{folder.rstrip('/')}/{int(day.timestamp() * 1000)}"):
            if source.path < place.path:
                continue
            same = (source.path, source.version) == (place.path, place.version)
            place = Place(source.path, source.version, place.row if same else 0)
            try:
                for found in _file(source, names, place):
                    yield Page(found, _cursor(place) if not problems else kept)
            except (Retry, Reject) as error:
                kept = kept if problems else _cursor(place)
                problems.append(error.reason)
        day += timedelta(days=1)
    if problems:
        raise Retry("; ".join(problems[:MOST_PROBLEMS]))


def _cursor(place: Place) -> str:
    return msgspec.json.encode(place).decode()


def _listed(folder: str) -> list[files.Source]:
    """A day without a folder is a day without calls; that the archive itself is there is looked at by ``check``."""
    try:
        return files.expand([folder])
    except Reject:
        return []


def _file(source: files.Source, names: tuple[str, ...], place: Place) -> Iterator[list[Event]]:
    """A page's events at a time; ``place`` says up to where. Lines or an array, whatever the name says."""
    found: list[Event] = []
    try:
        for block in files.read(source, format="json", after=place.row):
            found += [_event(source.name, row, names) for row in block]
            place.row = block[-1].number
            if len(found) >= PAGE:
                yield found
                found = []
    except (Retry, Reject):
        yield found  # what stands before the trouble is good
        raise
    yield found


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
