"""What the Mixpanel stand-in knows besides its world: options, calls, the clock and the limits."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

import orjson
from msgspec import Struct, field

from misoflow_sandbox.answers import Answer

Family = Literal["export", "query", "app"]
PER_HOUR = {"export": 60, "query": 60}
AT_ONCE = {"export": 100, "query": 5}
PER_SECOND = 3
"""Exports only. https://developer.mixpanel.com/reference/rate-limits"""
HOUR = 3600.0


class Options(Struct, kw_only=True, forbid_unknown_fields=True):
    """How the stand-in behaves."""

    now: float | datetime | None = None
    """Seconds since 1970 or RFC 3339 text: the time stands still there. None: the real time."""
    limits: Literal["real", "virtual", "off"] = "real"
    """Which clock the rate limits use; ``virtual`` is ``now``."""
    refusal: Literal[400, 401] = 401
    """The status of bad credentials; both are seen."""
    expired: bool = False
    """The service account has expired."""
    no_plan: list[Family] = field(default_factory=list)
    """These APIs are not in the project's plan: 402."""
    forbidden: list[Family] = field(default_factory=list)
    """The account's role has no access to these: 403."""
    history_days: int | None = None
    export_history_days: int | None = None
    """The plan shows so many days only; more is a 403 of the query or the export API."""
    honours_where: bool = True
    """Otherwise an export's ``where`` is ignored."""
    page_size: int = 1000
    largest_page: int = 1000
    """The cap of the undocumented ``page_size`` of profile queries."""
    session_seconds: float | None = None
    """How long the pages of a profile query can be had; None: for ever."""


class Call(Struct):
    """One request to the API. ``status`` 0: no answer was begun. ``ended``: the answer went out to its last byte."""

    n: int
    method: str
    path: str
    params: dict[str, str]
    """Of the URL and a form body, without credentials."""
    at: float
    """Seconds since 1970 by the stand-in's clock."""
    status: int = 0
    rows: int = 0
    size: int = 0
    """Bytes of the body as sent."""
    ended: bool = False


class Refusal(Exception):
    """Carries the answer of a request that goes no further."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = refused(status, message, headers)


class Limits:
    """Counts calls over the last hour and second, and those under way, per family."""

    def __init__(self) -> None:
        self._past: dict[str, deque[float]] = {"export": deque(), "query": deque()}
        self._busy = {"export": 0, "query": 0, "app": 0}

    def take(self, family: str, now: float) -> None:
        """Count a call. Raises Refusal."""
        if self._busy[family] >= AT_ONCE[family]:
            raise Refusal(429, f"too many {family} requests in progress for this project")
        past = self._past[family]
        while past and past[0] <= now - HOUR:
            past.popleft()
        last_second = sum(1 for at in past if at > now - 1)
        if len(past) >= PER_HOUR[family] or (family == "export" and last_second >= PER_SECOND):
            raise Refusal(429, "Query rate limit exceeded")
        past.append(now)

    @contextlib.contextmanager
    def under_way(self, family: str) -> Iterator[None]:
        """Count a call as being answered."""
        self._busy[family] += 1
        try:
            yield
        finally:
            self._busy[family] -= 1


class Clock:
    """The stand-in's time, by its options."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def seconds(self) -> float:
        """Since 1970."""
        now = self._options.now
        if isinstance(now, datetime):
            return now.replace(tzinfo=now.tzinfo or UTC).timestamp()
        return time.time() if now is None else now

    def ms(self) -> int:
        return round(self.seconds() * 1000)

    def for_limits(self) -> float:
        return self.seconds() if self._options.limits == "virtual" else time.monotonic()

    def http_date(self) -> bytes:
        return format_datetime(datetime.fromtimestamp(int(self.seconds()), UTC), usegmt=True).encode()


def refused(status: int, message: str, headers: dict[str, str] | None = None, body: Any = None) -> Answer:
    """An error in the shape that Mixpanel's APIs use. ``body`` takes its place; a text goes out as it is."""
    extra = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    if isinstance(body, str):
        return Answer(status, body.encode(), extra, b"text/plain; charset=utf-8")
    return Answer(status, orjson.dumps({"error": message, "status": "error"} if body is None else body), extra)
