"""How fast one Miso environment may be asked: back-off after failures, and how large a batch may be. No I/O."""

from __future__ import annotations

import random

from misoflow.retry import backoff

MAX_RECORDS = 10_000
FLOOR_RECORDS = 100
GROW_EVERY = 60.0
LEAST_BACKOFF = 1.0


class Pace:
    """Times are the event loop's, in seconds; each call is given the present one."""

    def __init__(self, jitter: random.Random) -> None:
        self._random = jitter
        self._limit_at = 0.0
        self.failures = 0
        self.open_until = 0.0
        self.limit = MAX_RECORDS
        """Records of a batch that is sealed now."""

    def reset(self) -> None:
        """It answers again."""
        self.failures, self.open_until = 0, 0.0

    def failed(self, now: float, after: float | None) -> bool:
        """Note a failure; ``after`` is what the other side asked for. True for the first of a row.

        Requests that were under way together count once.
        """
        if now < self.open_until and after is None:
            return False
        wait = after if after is not None else max(LEAST_BACKOFF, backoff(self.failures, self._random))
        self.failures += 1
        self.open_until = max(self.open_until, now + wait)
        return self.failures == 1

    def shrink(self, now: float) -> None:
        """Batches were too large."""
        self.limit = max(FLOOR_RECORDS, self.limit // 2)
        self._limit_at = now

    def grow(self, now: float) -> None:
        """A tenth more each minute, up to where it started."""
        if self.limit < MAX_RECORDS and now - self._limit_at >= GROW_EVERY:
            self.limit = min(MAX_RECORDS, self.limit * 11 // 10)
            self._limit_at = now
