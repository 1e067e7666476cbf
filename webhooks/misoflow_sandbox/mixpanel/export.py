"""``GET /api/2.0/export``: its parameters, its rows, and the ways in which it breaks off.

https://developer.mixpanel.com/reference/raw-event-export
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import orjson
from isal import isal_zlib

from misoflow_sandbox.mixpanel.events import Events, Row
from misoflow_sandbox.mixpanel.faults import MARKERS, Action
from misoflow_sandbox.mixpanel.state import Options, Refusal
from misoflow_sandbox.mixpanel.where import BadExpression, Expression
from misoflow_sandbox.mixpanel.world import MixpanelWorld

MOST = 100_000
GZIP_ABOVE = 1400
PROCESSED = "mp_processing_time_ms"
BROKEN = b'{"event":"Product Viewed","properties":{"time":17\n'


class Request(NamedTuple):
    """What an export asks for."""

    first: date
    last: date
    only: frozenset[str] | None
    where: Expression | None
    in_ms: bool
    limit: int | None


class Piece(NamedTuple):
    """A part of a body. ``member``: the next part begins a new gzip member; ``stall``: silence after it, in s."""

    data: bytes
    rows: int = 0
    member: bool = False
    stall: float = 0.0


def read(params: Mapping[str, str], world: MixpanelWorld, options: Options, now_ms: int) -> Request:
    """The parameters. Raises Refusal, 400 or 403."""
    first, last = _date(params, "from_date"), _date(params, "to_date")
    today = world.today(now_ms)
    if last > today:
        raise Refusal(400, "to_date cannot be later than today")
    if first > last:
        raise Refusal(400, "from_date cannot be later than to_date")
    most = options.export_history_days
    if most is not None and (today - first).days > most:
        raise Refusal(403, f"Date range exceeds {most} days into the past")
    where = None
    try:
        where = Expression(params["where"]) if params.get("where") and options.honours_where else None
    except BadExpression as error:
        raise Refusal(400, f"invalid where: {error}") from None
    if params.get("time_in_ms", "false").lower() not in ("true", "false", "0", "1"):
        raise Refusal(400, "time_in_ms must be true or false")
    in_ms = params.get("time_in_ms", "false").lower() in ("true", "1")
    return Request(first, last, _names(params.get("event")), where, in_ms, _limit(params.get("limit")))


def _date(params: Mapping[str, str], name: str) -> date:
    text = params.get(name, "")
    try:
        if len(text) != len("2026-01-01"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(400, f"{name} is required, as yyyy-mm-dd") from None


def _names(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Refusal(400, "event must be a JSON array of names")
    return frozenset(found)


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) <= MOST:
        raise Refusal(400, f"limit must be an integer from 1 to {MOST}")
    return int(text)


def rows(events: Events, asked: Request, now_ms: int) -> Iterator[list[Row]]:
    """What the export shows, in lists; some may be empty."""
    left = asked.limit
    keep = _filter(asked.where)
    day = max(asked.first, events.world.start)
    end = min(asked.last, events.world.start + timedelta(days=events.world.days - 1))
    while day <= end:
        for chunk in events.rows(day, now_ms, in_ms=asked.in_ms, only=asked.only):
            found = chunk if keep is None else [row for row in chunk if keep(row)]
            if left is None:
                yield found
                continue
            yield found[:left]
            left -= min(left, len(found))
            if not left:
                return
        day += timedelta(days=1)


def _filter(where: Expression | None) -> Callable[[Row], bool] | None:
    if where is None:
        return None
    if where.names <= {PROCESSED}:
        return lambda row: where({PROCESSED: row.processed_ms})
    return lambda row: where(_properties(row.line))


def _properties(line: bytes) -> dict[str, Any]:
    """All properties of a row, and ``$time``, which expressions know in seconds."""
    found: dict[str, Any] = json.loads(line)["properties"]
    when = float(found["time"])
    return {**found, "$time": when / 1000 if when >= 1e11 else when}


def pieces(chunks: Iterator[list[Row]], action: Action) -> Iterator[Piece]:
    """The body, with what a rule does to it."""
    plain = not (action.ends or action.members or action.bad_lines or action.stall)
    sent, last = 0, b""
    for chunk in chunks:
        if plain:
            yield Piece(b"".join([row.line for row in chunk]), len(chunk))
            continue
        lines = [row.line for row in chunk]
        while lines:
            if action.ends and sent >= action.after_rows:
                yield _ending(action, lines[0])
                return
            size = min(len(lines), _next_mark(action, sent) - sent)
            part, lines = lines[:size], lines[size:]
            sent, last = sent + size, part[-1]
            bad = BROKEN if sent in action.bad_lines else b""
            member = bool(action.members) and sent % (action.members or 1) == 0
            stall = action.stall if sent == action.after_rows else 0.0
            yield Piece(b"".join(part) + bad, size, member, stall)
    if action.ends:
        yield _ending(action, last)


def _next_mark(action: Action, sent: int) -> int:
    """The next number of rows after which something is to happen."""
    marks = [mark for mark in (*action.bad_lines, action.after_rows) if mark > sent]
    if action.members:
        marks.append(sent - sent % action.members + action.members)
    return min(marks, default=sent + MOST)


def _ending(action: Action, line: bytes) -> Piece:
    return Piece(MARKERS.get(action.ends or "", line[: len(line) // 2]))


class Gzip:
    """Compresses a body."""

    def __init__(self) -> None:
        self._squeeze = _member()

    def take(self, piece: Piece) -> bytes:
        """What can go out; all of it before a silence or the next member."""
        found: bytes = self._squeeze.compress(piece.data)
        if piece.member:
            found += self.end()
            self._squeeze = _member()
        elif piece.stall:
            found += self.flush()
        return found

    def flush(self) -> bytes:
        """What is held back, without an end."""
        return bytes(self._squeeze.flush(zlib.Z_SYNC_FLUSH))

    def end(self) -> bytes:
        return bytes(self._squeeze.flush())


def _member() -> Any:
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
