"""The Mixpanel project that the stand-in plays: settings, days and time zones, and when each event happened.

Nothing is stored: every figure follows from the settings, the day and the event's number, so that millions of events
stream from a few kilobytes. https://developer.mixpanel.com/reference/raw-event-export
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from math import gcd
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

SLOTS = 1024
"""The kinds of events repeat after so many; a share below 1/1024 is rounded up to one of them."""
DAY_MS = 86_400_000
EPOCH = date(1970, 1, 1).toordinal()

LATE, IMPORTED, TWICE, HOT, FLOAT_TIME, LINKED = 1, 2, 4, 8, 16, 32
"""Flags of a slot. LINKED: its person's ids are joined later, which rewrites ``distinct_id`` of this row."""

Moment = tuple[int, int, int, int, int, int]
"""Number in the day, slot, true UTC ms, hash, received ms, processed ms."""


class MixpanelWorld(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project. Shares are of all events, 0 to 1.

    ``time_mode`` project: ``time`` is the wall clock of ``timezone`` as if it were UTC, and dates of requests are of
    that zone, as in projects created before 2023. ``earlier_zones``: (first day of the next zone, zone) in order.
    """

    project_id: int = 1234567
    username: str = "misoflow.sandbox"
    secret: str = "sandbox-secret"  # noqa: S105 (of a stand-in)
    project_secret: str = "sandbox-project-secret"  # noqa: S105
    region: Literal["us", "eu", "in"] = "us"
    start: date = date(2026, 9, 1)
    days: int = 30
    events_per_day: int = 1000
    seed: int = 1
    timezone: str = "UTC"
    time_mode: Literal["utc", "project"] = "utc"
    earlier_zones: tuple[tuple[date, str], ...] = ()
    id_merge: Literal["simplified", "original"] = "simplified"
    users: int = 500
    products: int = 200
    late_share: float = 0.02
    """Sent by a device one hour to five days after they happened."""
    import_share: float = 0.0
    """Came by ``/import`` six to thirty-four days after they happened."""
    duplicate_share: float = 0.005
    """Stored twice, the second time a minute later."""
    system_share: float = 0.05
    """Mixpanel's own events; with ``id_merge`` original half of them are $identify, $create_alias and $merge."""
    odd_share: float = 0.03
    """Strings with U+2028, lone surrogates, floats, missing and shared ids, and the like (templates.odd_kinds)."""
    hot_share: float = 0.0
    """Belong to one user; those after the ``hot_after``-th of a day are $hotshard_events."""
    hot_after: int = 200_000
    link_seconds: float = 86_400.0
    """How long after an event its person's ids are joined."""
    visible_seconds: float = 0.0
    """How long after its processing an event appears in exports."""

    def __repr__(self) -> str:
        return f"MixpanelWorld(project_id={self.project_id}, start={self.start}, days={self.days})"

    def all_days(self) -> list[date]:
        return [self.start + timedelta(days=n) for n in range(self.days)]

    def zone(self, day: date) -> ZoneInfo:
        """The zone whose wall clock the events of this day carry."""
        return ZoneInfo(next((name for until, name in self.earlier_zones if day < until), self.timezone))

    def today(self, now_ms: int) -> date:
        """The last date that a request may name."""
        zone = ZoneInfo(self.timezone) if self.time_mode == "project" else UTC
        return datetime.fromtimestamp(now_ms / 1000, zone).date()


class Day:
    """One day of a world: from when to when, and what the wall clock adds to UTC.

    ``offset_ms`` holds until ``switch_ms`` (UTC), ``later_offset_ms`` from then on; both 0 where time is UTC.
    """

    def __init__(self, world: MixpanelWorld, day: date) -> None:
        self.date = day
        self.number = day.toordinal() - EPOCH
        if world.time_mode == "utc":
            self.start_ms, self.end_ms = self.number * DAY_MS, (self.number + 1) * DAY_MS
            self.offset_ms = self.later_offset_ms = self.switch_ms = 0
            return
        zone = world.zone(day)
        self.start_ms = _midnight_ms(day, zone)
        self.end_ms = _midnight_ms(day + timedelta(days=1), zone)
        self.offset_ms = _offset_ms(self.start_ms, zone)
        self.later_offset_ms = _offset_ms(self.end_ms - 1, zone)
        self.switch_ms = self._switch(zone)

    def _switch(self, zone: ZoneInfo) -> int:
        """The first instant with the later offset; the start of the day where there is one offset only."""
        if self.offset_ms == self.later_offset_ms:
            return self.start_ms
        before, after = self.start_ms, self.end_ms - 1
        while after - before > 1:
            middle = (before + after) // 2
            if _offset_ms(middle, zone) == self.offset_ms:
                before = middle
            else:
                after = middle
        return after

    def wall_ms(self, utc_ms: int) -> int:
        """What ``time`` says, in ms."""
        return utc_ms + (self.offset_ms if utc_ms < self.switch_ms else self.later_offset_ms)


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _offset_ms(utc_ms: int, zone: ZoneInfo) -> int:
    found = datetime.fromtimestamp(utc_ms / 1000, zone).utcoffset()
    assert found is not None
    return round(found.total_seconds() * 1000)


def flags_of_slots(world: MixpanelWorld) -> list[int]:
    """LATE, IMPORTED and TWICE, spread over the slots by the seed."""
    dice = random.Random(world.seed)  # noqa: S311
    flags = [0] * SLOTS
    order = dice.sample(range(SLOTS), SLOTS)
    late, imported = slots(world.late_share), slots(world.import_share)
    for slot in order[:late]:
        flags[slot] |= LATE
    for slot in order[late : late + imported]:
        flags[slot] |= IMPORTED
    for slot in dice.sample(range(SLOTS), slots(world.duplicate_share)):
        flags[slot] |= TWICE
    return flags


def slots(share: float) -> int:
    return min(SLOTS, max(1, round(share * SLOTS))) if share > 0 else 0


def moments(world: MixpanelWorld, day: Day, flags: list[int]) -> Iterator[Moment]:
    """The events of a day in the order of an export, which is not the order of time."""
    n = world.events_per_day
    span, first = day.end_ms - day.start_ms, (day.number - (world.start.toordinal() - EPOCH)) * n
    salt = world.seed * 0x85EBCA6B
    stride = _stride(n)
    for i in range(n):
        slot = (first + i) & 1023
        mixed = ((first + i) * 0x9E3779B1 + salt & 0xFFFFFFFF) >> 10
        t = day.start_ms + (i * stride % n) * span // n
        flag = flags[slot] & 3
        if not flag:
            received = t + 250 + (mixed & 1023)
        elif flag & LATE:
            received = t + 3_600_000 + mixed * 102
        else:
            received = t + 6 * DAY_MS + mixed * 576
        yield i, slot, t, mixed, received, received + 900 + (mixed >> 11 & 511)


def _stride(n: int) -> int:
    """About 0.618 n, without a common divisor with n: multiples of it reach every number below n once."""
    found = max(1, int(n * 0.618))
    while gcd(found, n) != 1:
        found += 1
    return found
