"""When it happened. ``time`` is UTC in newer projects and, in those made before 2023, the project's wall clock.

https://docs.mixpanel.com/docs/data-structure/events-and-properties (time), …/orgs-and-projects/managing-projects
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from misoflow import Reject

Mode = Literal["utc", "project"]
Zones = Callable[[datetime], ZoneInfo]
EARLIEST = 1_230_768_000_000
"""2009-01-01 in ms: before it there was no Mixpanel."""
LEEWAY = 3_600_000
CLOCK_ERROR = 5_000
QUARTER = 900_000
EPOCH = datetime(1970, 1, 1)
MILLISECONDS_FROM = 1e11


def epoch_ms(value: Any) -> int | None:
    """``time`` as exported, in ms: seconds or milliseconds, as int, float or numeric text; None otherwise."""
    if type(value) is str and len(value) <= 20:
        try:
            value = float(value)
        except ValueError:
            return None
    if type(value) is int:
        return value if value >= MILLISECONDS_FROM else value * 1000
    if type(value) is float and math.isfinite(value):
        return round(value) if value >= MILLISECONDS_FROM else round(value * 1000)
    return None


def wall_clock(ms: int, zones: Zones, received: int | None) -> int:
    """A wall clock's reading (as if it were UTC) as true UTC, both in ms.

    The hour that comes twice when summer ends is the later one if Mixpanel had ``received`` it by then; an hour
    that the clocks skip is moved by the gap.
    """
    naive = EPOCH + timedelta(milliseconds=ms)
    zone = zones(naive)
    first, second = (int(naive.replace(tzinfo=zone, fold=fold).timestamp() * 1000) for fold in (0, 1))
    if first < second and received is not None and second <= received + CLOCK_ERROR:
        return second
    return first


def true_ms(properties: dict[str, Any], mode: Mode, zones: Zones, now: int) -> int:
    """The event's time in ms UTC. Reject when there is none, or none that can be; ``now`` is when it was pulled."""
    ms = epoch_ms(properties.get("time"))
    if ms is None:
        raise Reject("the event has no usable time", "$.properties.time")
    received = received_ms(properties)
    try:
        if mode == "project":
            ms = wall_clock(ms, zones, received)
        if not EARLIEST <= ms <= (received or now) + LEEWAY:
            raise Reject("the event's time is before 2009 or after it was received", "$.properties.time")
    except (OverflowError, ValueError):
        raise Reject("the event's time is beyond the calendar", "$.properties.time") from None
    return ms


def received_ms(properties: dict[str, Any]) -> int | None:
    """When Mixpanel received it (UTC, ms), else when it was processed."""
    for name in ("$mp_api_timestamp_ms", "mp_processing_time_ms"):
        value = properties.get(name)
        if type(value) is int and value > MILLISECONDS_FROM:
            return value
    return None


def written(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    minutes, rest = divmod(ms, 60_000)
    return f"{_minute(minutes)}{rest // 1000:02}.{rest % 1000:03}Z"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """Events of an export share their minutes, so each is written once."""
    return f"{datetime.fromtimestamp(minutes * 60, UTC):%Y-%m-%dT%H:%M:}"


class Finding(NamedTuple):
    """What the data says of the project's clock."""

    mode: Mode | None
    """None: it cannot be told."""
    reason: str


def detect(rows: Iterable[dict[str, Any]], zones: Zones | None) -> Finding:
    """UTC or wall clock, from how much later than ``time`` Mixpanel received the events.

    Most events arrive at once, so the low end of the differences is the clock's own: nothing in UTC, minus the
    zone's offset on a wall clock. ``zones`` is None when no time zone is configured.
    """
    seen = []
    for properties in rows:
        ms, received = epoch_ms(properties.get("time")), received_ms(properties)
        if ms is not None and received is not None and not properties.get("$import"):
            seen.append((ms, received))
    if not seen:
        return Finding(None, "no event says when Mixpanel received it")
    plain = _low(received - ms for ms, received in seen)
    if zones is None:
        if plain == 0:
            return Finding("utc", "events arrive right after their time")
        return Finding(None, f"events seem to arrive {plain / 3_600_000:+.2f} hours after their time")
    local = _low(received - wall_clock(ms, zones, received) for ms, received in seen)
    if plain == 0 and local == 0:
        return Finding(None, "the time zone has no offset on these dates")
    if plain == 0 or local == 0:
        return Finding("utc" if plain == 0 else "project", "events arrive right after their time")
    return Finding(None, f"events seem to arrive {plain / 3_600_000:+.2f} hours after their time")


def _low(differences: Iterable[int]) -> int:
    """The 5th percentile, to the nearest quarter of an hour, in ms."""
    ordered = sorted(differences)
    return round(ordered[len(ordered) // 20] / QUARTER) * QUARTER
