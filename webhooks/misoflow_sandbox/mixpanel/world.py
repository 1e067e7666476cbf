"""What happened in the stand-in's project: made day by day from a seed, never held in memory.

A day is a day of the project's calendar. In a project made before 2023 ``time`` is the wall clock of the
project's zone, written as if it were UTC, so the hour that comes twice when summer ends comes twice.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

KINDS = (
    ("Product Viewed", 40),
    ("Product Added", 10),
    ("Products Searched", 10),
    ("Order Completed", 5),
    ("Song Played", 10),
    ("$mp_web_page_view", 15),
    ("App Opened", 10),
)
"""Event name and its share in percent."""
KIND_OF = tuple(name for name, share in KINDS for _ in range(share))
MISO = {
    "Product Viewed": "product_detail_page_view",
    "Product Added": "add_to_cart",
    "Products Searched": "search",
    "Order Completed": "checkout",
    "Song Played": "listen",
}
"""What a Miso user would expect of each; the others are of no use there."""
IDENTITY = "$identify"
DAY_MS = 86_400_000


class Happening(NamedTuple):
    """One event as it truly happened. ``insert_id`` is unique; times in ms UTC."""

    number: int
    insert_id: str
    name: str
    at: int
    shown: int
    """``time`` as it is exported."""
    received: int
    processed: int
    user: str
    """"" for a visitor."""
    device: str
    product: str


@dataclass(frozen=True)
class World:
    """The project. Shares are of all events."""

    project_id: int = 1234567
    username: str = "demo.service-account"
    secret: str = "demo-secret-of-the-stand-in"  # noqa: S105 (a stand-in's)
    project_secret: str = "demo-project-secret"  # noqa: S105
    start: date = date(2026, 10, 1)
    days: int = 30
    per_day: int = 1000
    seed: int = 1
    zone: str = "UTC"
    wall_clock: bool = False
    """The project was made before 2023."""
    original: bool = False
    """The project has Original ID Merge: $identify links, $user_id says nothing."""
    late: float = 0.0
    repeats: float = 0.0
    odd: float = 0.0
    """Rows with U+2028, lone surrogates, huge integers, seconds as floats."""
    hot: float = 0.0
    users: int = 200
    profiles: int = 100

    def happenings(self, day: date) -> Iterator[Happening]:
        """A day's events, in no order but a steady one."""
        index = (day - self.start).days
        if not 0 <= index < self.days:
            return
        rng = random.Random(f"{self.seed}/{index}")  # noqa: S311 (a stand-in's data)
        zone = ZoneInfo(self.zone) if self.wall_clock else UTC
        first = _ms(datetime(day.year, day.month, day.day, tzinfo=zone))
        after = day + timedelta(days=1)
        length = _ms(datetime(after.year, after.month, after.day, tzinfo=zone)) - first
        pick, whole = rng.random, rng.randrange
        for number in range(self.per_day):
            at = first + length * number // self.per_day
            late = self.late and pick() < self.late
            delay = whole(DAY_MS // 4, 4 * DAY_MS) if late else whole(200, 1500)
            person = whole(self.users)
            yield Happening(
                number,
                f"{self.seed:04x}{index:06x}{number:010x}",
                KIND_OF[whole(100)],
                at,
                self._shown(at, zone),
                at + delay,
                at + delay + 2000,
                f"user-{person}" if person % 3 else "",
                f"{index:04x}{person:010x}-{person:012x}-0a1b2c3d-1fa400-{index:04x}{person:010x}",
                f"p{index}-{number}",
            )

    def _shown(self, at: int, zone: ZoneInfo | object) -> int:
        if not self.wall_clock:
            return at
        local = datetime.fromtimestamp(at / 1000, zone)  # type: ignore[arg-type]
        return at + int((local.utcoffset() or timedelta()).total_seconds() * 1000)

    def rows(self, first: date, last: date, now: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(event name, processed, line) of the days, both included, as far as they are processed at ``now``."""
        day = first
        while day <= last:
            rng = random.Random(f"{self.seed}/rows/{day}")  # noqa: S311
            known: set[str] = set()
            for one in self.happenings(day):
                if now is not None and one.processed > now:
                    continue
                if self.original and one.user and one.user not in known:
                    known.add(one.user)
                    yield IDENTITY, one.processed, self._identify(one)
                line = self._line(one, rng)
                yield one.name, one.processed, line
                if self.repeats and rng.random() < self.repeats:
                    yield one.name, one.processed, line
            day += timedelta(days=1)

    def _identify(self, one: Happening) -> bytes:
        properties = {
            "time": one.shown,
            "distinct_id": one.device,
            "$identified_id": one.user,
            "$anon_id": one.device,
            "$insert_id": "i" + one.insert_id,
            "mp_processing_time_ms": one.processed,
        }
        return json.dumps({"event": IDENTITY, "properties": properties}).encode() + b"\n"

    def _line(self, one: Happening, rng: random.Random) -> bytes:
        name = one.name
        identity, wrapped = self._identity(one), b""
        if self.hot and rng.random() < self.hot:
            # https://docs.mixpanel.com/docs/tracking-best-practices/hot-shard-limits
            kept = one.user or "$device:" + one.device
            wrapped = b'"mp_original_event_name":"%b","mp_original_distinct_id":"%b",' % (name.encode(), kept.encode())
            identity = b'"distinct_id":"",' + identity.partition(b'",')[2]
            name = "$hotshard_events"
        return b'{"event":"%b","properties":{"time":%b,%b%b"$insert_id":"%b",%b%b%b}}\n' % (
            name.encode(),
            self._time(one, rng),
            identity,
            wrapped,
            one.insert_id.encode(),
            PROPERTIES.get(one.name, b"") % {b"p": one.product.encode(), b"n": one.number % 7 + 1},
            self._oddity(rng) if self.odd else b"",
            b'"mp_processing_time_ms":%d,"$mp_api_timestamp_ms":%d,"$browser":"Chrome","$os":"Windows",'
            b'"$current_url":"https://shop.example/p/%d?utm_source=news&token=abc","$city":"Berlin",'
            b'"mp_country_code":"DE","mp_lib":"web"' % (one.processed, one.received, one.number % 1000),
        )

    def _time(self, one: Happening, rng: random.Random) -> bytes:
        if self.odd and rng.random() < self.odd:
            return b"%.3f" % (one.shown / 1000)
        return b"%d" % one.shown

    def _identity(self, one: Happening) -> bytes:
        """The ids as the project's merge system exports them."""
        device = one.device.encode()
        if self.original:
            # a bare device id until $identify links it; the canonical id says nothing
            return b'"distinct_id":"%b","$device_id":"%b",' % (device, device)
        if not one.user:
            return b'"distinct_id":"$device:%b","$device_id":"%b",' % (device, device)
        user = one.user.encode()
        return b'"distinct_id":"%b","$user_id":"%b","$device_id":"%b",' % (user, user, device)

    def _oddity(self, rng: random.Random) -> bytes:
        if rng.random() >= self.odd:
            return b""
        return rng.choice(ODDITIES)

    def ledger(self, now: int | None = None) -> Iterator[Happening]:
        """Every event that counts, once."""
        for index in range(self.days):
            for one in self.happenings(self.start + timedelta(days=index)):
                if now is None or one.processed <= now:
                    yield one

    def profile(self, number: int) -> dict[str, object]:
        """A user profile: https://developer.mixpanel.com/reference/engage-query."""
        return {
            "$distinct_id": f"user-{number}" if number % 3 else f"$device:{number:012x}",
            "$properties": {
                "$name": f"Person {number}",
                "$email": f"person{number}@example.com",
                "$city": "Berlin",
                "$country_code": "DE",
                "$last_seen": f"{self.start}T08:00:00",
                "plan": "gold" if number % 2 else "free",
            },
        }


PROPERTIES = {
    "Product Viewed": b'"product_id":"%(p)b","price":19.9,',
    "Product Added": b'"product_id":"%(p)b","quantity":%(n)d,',
    "Products Searched": b'"query":"%(p)b",',
    "Order Completed": b'"order_id":"o-%(p)b","total":%(n)d.5,"products":[{"product_id":"%(p)b","quantity":%(n)d}],',
    "Song Played": b'"content_id":"%(p)b","$duration":%(n)d.25,',
}
ODDITIES = (
    '"note":"line\u2028separator\u2029and\u0085next",'.encode(),
    b'"note":"half a pair \\ud83d here",',
    b'"counter":98765432109876543210,',
    '"note":"\u00fcml\u00e4ut \\u0000 null",'.encode(),
)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
