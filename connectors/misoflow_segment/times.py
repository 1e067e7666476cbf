"""When it happened: any of the forms that Segment's sources send, as RFC 3339 in UTC with milliseconds.

https://segment.com/docs/connections/spec/common/#timestamps
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from misoflow import Reject

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LEEWAY = timedelta(minutes=15)
# 2015-2-02T7:08:09Z, as in Segment's own pages
_UNPADDED = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2}))?(.*))?\Z")
PUNCTUATION = "--T::."
"""Every third character of 2026-01-31T12:00:00.000Z, from the fifth on."""
_EPOCH_UNITS = ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))


def parse(value: Any) -> datetime | None:
    """An aware time, or None when the value is no time. A time without a zone is UTC."""
    if type(value) is str:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return _other(value.strip())
        if value.isdigit():
            return _other(value)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _epoch(value)


def _other(text: str) -> datetime | None:
    if len(text) == 4 and text.isdigit():
        return _made(f"{text}-01-01T00:00:00+00:00")
    try:
        return _epoch(float(text))
    except (ValueError, OverflowError):
        pass
    match = _UNPADDED.match(text[:64])
    if match is None:
        return None
    year, month, day, hour, minute, second, rest = match.groups()
    clock = f"{int(hour or 0):02}:{int(minute or 0):02}:{int(second or 0):02}{rest or ''}"
    return _made(f"{year}-{int(month):02}-{int(day):02}T{clock}")


def _made(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _epoch(number: int | float) -> datetime | None:
    """Seconds, or milli-, micro- or nanoseconds, told apart by their size."""
    for limit, unit in _EPOCH_UNITS:
        if 0 < number < limit:
            try:
                return datetime.fromtimestamp(number / unit, UTC)
            except (ValueError, OverflowError, OSError):
                return None
    return None


def written(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds; Reject where that is impossible."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise Reject("the time is beyond the calendar", "$.timestamp") from None
    return f"{utc.isoformat(timespec='milliseconds')[:-6]}Z"


def moment_of(data: dict[str, Any], received: datetime | None) -> datetime:
    """The event's time: its own if it is believable, else when it was received; Reject if neither is known.

    ``received``: when it reached us, if the event does not say when it reached Segment.
    """
    arrived = parse(data.get("receivedAt")) or received
    moment = parse(data.get("timestamp"))
    if moment is None and "originalTimestamp" in data:
        moment = corrected(data.get("originalTimestamp"), data.get("sentAt"), arrived)
    if moment is None or moment < EARLIEST or (arrived is not None and moment - arrived > LEEWAY):
        moment = arrived
    if moment is None or moment < EARLIEST:
        raise Reject("there is no usable time, neither of the event nor of its arrival", "$.timestamp")
    return moment


def corrected(original: Any, sent: Any, arrived: datetime | None) -> datetime | None:
    """``original`` moved by the sender's clock error, which is what ``sent`` differs by from the arrival."""
    happened, left = parse(original), parse(sent)
    if happened is None or left is None or arrived is None:
        return happened
    try:
        return happened + (arrived - left)
    except OverflowError:
        return happened


def timestamp_of(data: dict[str, Any], received: datetime | None) -> str:
    """``moment_of`` as text."""
    text, arrived = data.get("timestamp"), data.get("receivedAt")
    # nearly all events: both texts have the wanted form, and the event came before its arrival
    if (
        type(text) is type(arrived) is str
        and text[4:20:3] == arrived[4:20:3] == PUNCTUATION
        and text[23:] == arrived[23:] == "Z"
        and "2000" <= text <= arrived
    ):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return text
    return written(moment_of(data, received))
