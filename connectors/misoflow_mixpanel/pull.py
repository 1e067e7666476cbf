"""Exports to pages: what is read is yielded as it comes, and only the end of a whole answer moves the cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from misoflow import Event, Halt, Page, Slice

from misoflow_mixpanel.client import TooLate
from misoflow_mixpanel.identity import Links
from misoflow_mixpanel.names import HIDDEN, IDENTITY
from misoflow_mixpanel.reading import Incomplete, parsed
from misoflow_mixpanel.rows import as_ingested, event_of, malformed, unwrapped
from misoflow_mixpanel.times import Finding, detect

if TYPE_CHECKING:
    from misoflow_mixpanel.connector import Mixpanel

PAGE = 2000
SAMPLE = 2000
"""Events looked at to tell the project's clock."""
MOST_BAD = 0.001
OVERLAP_MS = 2 * 3600 * 1000
"""Rows become visible a while after they were processed."""
OLDEST = timedelta(days=5)
"""What a device sends later is refused: https://developer.mixpanel.com/reference/track-event."""
PROCESSED = "mp_processing_time_ms"


class Project(msgspec.Struct, omit_defaults=True):
    """What the data has told of the project; kept in the instance's state."""

    mode: str = ""
    merge: str = ""
    zone: str = ""
    """The time zone that times were read in; "" where they are UTC."""


class Pull:
    """One slice of one stream."""

    def __init__(self, connector: Mixpanel, part: Slice) -> None:
        self._connector = connector
        self._config = connector.config
        self._part = part
        self._project = Project()
        self._links = Links()
        self._learnt = 0
        self._bad = 0
        self._read = 0
        self._through = date.min
        """The last day that Mixpanel was asked for."""
        self.newest = 0
        """The largest processing time seen, in ms."""

    async def days(self) -> AsyncIterator[Page]:
        """Events of whole days."""
        first, last = _days(self._part)
        events = (*self._config.events, *HIDDEN) if self._config.events else ()
        async for page in self._pages(first, last, events=events):
            yield page
        yield Page([], f"{last}")

    async def identity(self) -> AsyncIterator[Page]:
        """Identity events alone: they say which ids are one person before the events of these people come."""
        first, last = _days(self._part)
        async for page in self._pages(first, last, events=IDENTITY):
            yield page
        if not self._project.merge and self._config.id_merge == "auto":
            await self._note(merge="original" if self._links.edges else "simplified")
        yield Page([], f"{last}")

    async def tail(self) -> AsyncIterator[Page]:
        """What was processed since the last time, of whatever day: rows of late events come by this."""
        await self._load()
        clock_known = bool(self._project.mode or not self._config.timezone)
        seen = int(self._part.cursor or 0)
        first, last = self._recent(seen)
        where = f'number(properties["{PROCESSED}"]) >= {seen - OVERLAP_MS}' if seen else ""
        async for page in self._pages(first, last, where=where):
            yield page
        # a day that was left out holds rows that were processed before the newest ones of the others
        if clock_known and self._through == last:
            yield Page([], str(max(seen, self.newest)))

    def _recent(self, seen: int) -> tuple[date, date]:
        """The days whose rows can have been processed since ``seen`` (ms; 0: in the slice's span), up to today."""
        since = self._part.start
        if seen:
            since = min(since, datetime.fromtimestamp((seen - OVERLAP_MS) / 1000, UTC) - OLDEST)
        now = self._part.end
        zone = self._config.zone_on(now.replace(tzinfo=None)) if self._project.mode == "project" else UTC
        return since.astimezone(zone).date(), now.astimezone(zone).date()

    async def _pages(
        self, first: date, last: date, *, events: tuple[str, ...] = (), where: str = ""
    ) -> AsyncIterator[Page]:
        await self._load()
        self._through = last
        try:
            async for page in self._export(first, last, events, where):
                yield page
        except TooLate as error:
            self._through = min(last, error.today)
            if self._through < first:
                return
            async for page in self._export(first, self._through, events, where):
                yield page
        await self._keep_links()

    async def _export(self, first: date, last: date, events: tuple[str, ...], where: str) -> AsyncIterator[Page]:
        """Pages of at most PAGE events that all carry the old cursor: only the end of the answer proves them."""
        waiting: list[dict[str, Any]] = []
        clock_known = bool(self._project.mode)
        found: list[Event] = []
        async with self._connector.client.export(first, last, events=events, where=where) as (reader, chunks):
            offset = 0
            async for chunk in chunks:
                rows, offset = self._rows(reader.feed(chunk), offset, found)
                waiting += rows
                if not clock_known:
                    if len(waiting) < SAMPLE:
                        continue
                    await self._tell_clock(waiting)
                    clock_known = True
                found += self._events(waiting)
                waiting = []
                while len(found) >= PAGE:
                    yield Page(found[:PAGE], self._part.cursor)
                    found = found[PAGE:]
            rows, _ = self._rows(reader.last(), offset, found)
            waiting += rows
        if self._bad > MOST_BAD * self._read and self._bad > 1:
            raise Incomplete(f"{self._bad} of {self._read} lines of the export are no events")
        if not clock_known and waiting:
            await self._tell_clock(waiting)
        found += self._events(waiting)
        if found:
            yield Page(found, self._part.cursor)

    def _rows(self, lines: list[bytes], offset: int, found: list[Event]) -> tuple[list[dict[str, Any]], int]:
        """The lines as objects; what is none becomes a dead letter."""
        rows = []
        for line in lines:
            row = parsed(line)
            if row is None or type(row.get("event")) is not str:
                if line.strip():
                    self._bad += 1
                    found.append(malformed(line, offset))
            else:
                rows.append(row)
            offset += len(line) + 1
        self._read += len(lines)
        return rows, offset

    def _events(self, rows: list[dict[str, Any]]) -> list[Event]:
        """The rows as events, with what is known of the project and of the person."""
        mode, merge = self._project.mode or "utc", self._merge()
        links = self._links if merge == "original" else None
        found = []
        for row in rows:
            properties = row.get("properties") or {}
            processed = properties.get(PROCESSED)
            if type(processed) is int and processed > self.newest:
                self.newest = processed
            if row["event"] in IDENTITY:
                self._links.learn(row["event"], properties)
            known = {"mode": mode, "merge": merge}
            if links is not None and not properties.get("$user_id"):
                user = links.user_of(as_ingested(unwrapped(row)[1]))
                if user is not None:
                    known["user"] = user
            found.append(event_of(row, known))
        return found

    def _merge(self) -> str:
        if self._config.id_merge != "auto":
            return self._config.id_merge
        # these three events exist in projects with original merge only
        return "original" if self._links.edges else self._project.merge or "simplified"

    async def _load(self) -> None:
        state = self._connector.state
        saved = await state.get("project")
        found = msgspec.json.decode(saved, type=Project) if saved else Project()
        config = self._config
        other_mode = found.mode and config.time_mode not in ("auto", found.mode)
        if other_mode or (found.mode == "project" and found.zone != config.timezone):
            raise Halt(
                "time_mode or timezone was changed after events had been pulled",
                "put it back; or, if it was wrong, pull into a new instance: the times sent so far were wrong too",
            )
        self._project = found
        self._links = Links.loaded(await state.get("links"))
        self._learnt = len(self._links.edges)

    async def _note(self, **changes: str) -> None:
        """Remember what was found out."""
        state = self._connector.state
        while True:
            saved = await state.get("project")
            found = msgspec.json.decode(saved, type=Project) if saved else Project()
            for name, value in changes.items():
                setattr(found, name, value)
            if await state.put("project", msgspec.json.encode(found), expected=saved):
                self._project = found
                return

    async def _keep_links(self) -> None:
        """Pairs learnt by this slice, together with those that others learnt meanwhile."""
        state = self._connector.state
        while len(self._links.edges) > self._learnt:
            saved = await state.get("links")
            merged = Links.loaded(saved)
            for edge in self._links.edges:
                merged.add(*edge)
            if await state.put("links", merged.saved(), expected=saved):
                self._links, self._learnt = merged, len(merged.edges)

    async def _tell_clock(self, rows: list[dict[str, Any]]) -> None:
        """Whether times are UTC or wall clock: found in the data, and held against the settings. Raises Halt."""
        config = self._config
        zones = config.zone_on if config.timezone else None
        finding = detect(((row.get("properties") or {}) for row in rows[:SAMPLE]), zones)
        mode: str | None = finding.mode
        if config.time_mode == "auto":
            mode = mode or self._undecided(finding)
        elif mode is not None and mode != config.time_mode:
            raise Halt(
                f'time_mode is "{config.time_mode}", but the events say "{mode}": {finding.reason}',
                "correct time_mode or timezone; a wrong one shifts all history",
            )
        elif mode is None and "hours" in finding.reason:
            raise Halt(
                f'time_mode is "{config.time_mode}" with timezone "{config.timezone}", but {finding.reason}',
                "correct timezone to the project's own (Project settings → Overview)",
            )
        mode = mode or config.time_mode
        await self._note(mode=mode, zone=config.timezone if mode == "project" else "")

    def _undecided(self, finding: Finding) -> str:
        if "hours" in finding.reason:
            raise Halt(
                f"the project's times are no UTC: {finding.reason}",
                "set timezone to the project's own (Project settings → Overview)",
            )
        if "no offset" in finding.reason:
            raise Halt(
                f"whether times are UTC cannot be told: {finding.reason}",
                'set time_mode to "project" if the project was made before 2023, else to "utc"',
            )
        return "utc"


def _days(part: Slice) -> tuple[date, date]:
    """First and last day of a slice, both included."""
    last: datetime = part.end - timedelta(microseconds=1)
    return part.start.date(), last.date()
