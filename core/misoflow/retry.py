"""When to try again. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 900.0
"""However long the other side asks us to wait, we look again after a quarter of an hour."""
BASE_SECONDS = 1.0
CAP_SECONDS = 30.0


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (seconds or an HTTP date); None when it says nothing usable."""
    text = (header or "").strip()
    if not text or len(text) > 100 or not text.isascii():
        return None
    try:
        wait = float(text) if text.replace(".", "", 1).isdigit() else _until(text, now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(wait, LONGEST_SECONDS) if wait >= 0 else None


def _until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def backoff(attempt: int, rng: random.Random) -> float:
    """Full-jitter exponential back-off in seconds: attempt 0 waits up to 1 s, later ones up to 30 s."""
    return rng.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt, 10)))
