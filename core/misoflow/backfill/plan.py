"""How a range of history is cut into slices. Pure; times are milliseconds, ranges half-open."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from misoflow.connector import Stream

TARGET_EVENTS = 500_000
"""Events a slice should hold: as few calls as possible, and not too much to pull again."""
WIDEST = 8
DEFAULT_DEPTH = timedelta(days=90)
UTC = ZoneInfo("UTC")


def to_ms(moment: date | datetime) -> int:
    """Milliseconds since 1970; a date is its midnight, and what has no zone is UTC."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def floor(moment: int, step: int) -> int:
    return moment - moment % step


def ceil(moment: int, step: int) -> int:
    return -(-moment // step) * step


def cut(start: int, low: int, width: int, step: int) -> tuple[int, int] | None:
    """The next slice below ``low``; None when ``start`` is reached."""
    if low <= start:
        return None
    return max(start, ceil(low, step) - ceil(max(width, 1), step)), low


def next_width(stream: Stream, span: int, read: int) -> int:
    """The width of the next slice, in ms: towards TARGET_EVENTS, at most doubled or quartered at once."""
    base, step = ms(stream.width), ms(stream.step)
    wanted = span * TARGET_EVENTS // read if read else span * 2
    wanted = min(max(wanted, span // 4), span * 2)
    return max(step, floor(min(max(wanted, base // WIDEST), base * WIDEST), step))


def middle(start: int, end: int, step: int) -> int | None:
    """Where a slice is halved; None when it cannot be."""
    half = ceil((start + end) // 2, step)
    return half if start < half < end else None
