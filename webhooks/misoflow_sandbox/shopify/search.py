"""Shopify's search syntax, as far as synchronisation needs it: times, ids, tags and states, joined by AND.

https://shopify.dev/docs/api/usage/search-syntax
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from misoflow_sandbox.shopify.entities import FOREVER

TERM = re.compile(r"""(\w+):(<=|>=|<|>)?(?:'([^']*)'|"([^"]*)"|([^\s()]+))""")
TIMES = ("created_at", "updated_at", "processed_at")


class Search(Struct):
    """What a query asks for: ranges in ms, from the first until before the second, and equal values.

    A field that is not known narrows nothing, as documented.
    """

    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    least_id: int = 0
    values: dict[str, str] = field(default_factory=dict)

    def range(self, *names: str) -> tuple[int, int]:
        """What all of these times must lie in."""
        found = [self.ranges.get(name, (0, FOREVER)) for name in names]
        return max(one[0] for one in found), min(one[1] for one in found)


def read(text: str | None, timezone: str) -> Search:
    """Read a query; dates and times without an offset are of the shop's zone."""
    found = Search()
    for name, sign, single, double, bare in TERM.findall(text or ""):
        value = single or double or bare
        if name in TIMES:
            low, high = found.ranges.get(name, (0, FOREVER))
            start, end = _bounds(sign, value, timezone)
            found.ranges[name] = (max(low, start), min(high, end))
        elif name == "id" and sign in (">", ">="):
            found.least_id = int(value) + (sign == ">")
        else:
            found.values[name] = value
    return found


def _bounds(sign: str, value: str, timezone: str) -> tuple[int, int]:
    """Times are of whole seconds, and a date without a time is that whole day."""
    start = _moment(value, timezone)
    last = start + timedelta(days=1) if "T" not in value else start + timedelta(seconds=1)
    first, after = round(start.timestamp() * 1000), round(last.timestamp() * 1000)
    return {">": (after, FOREVER), ">=": (first, FOREVER), "<": (0, first), "<=": (0, after)}.get(sign, (first, after))


def _moment(value: str, timezone: str) -> datetime:
    try:
        found = datetime.fromisoformat(value).replace(microsecond=0)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(timezone))
