"""A project, an engine and a Miso sandbox together, and the judge of what arrived."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from misoflow.control import call
from misoflow.outputs import to_ms
from misoflow.store import slices
from misoflow_sandbox.mixpanel import Action, Call, LedgerEvent, MixpanelSandbox, MixpanelWorld, Options, Rule
from misoflow_sandbox.mixpanel.events import Events
from misoflow_sandbox.mixpanel.templates import VERBS
from misoflow_sandbox.serving import served

from tests.core.site import Site, site

FULL = bool(os.environ.get("MISOFLOW_FULL"))
MONTH = MixpanelWorld(events_per_day=20_000 if FULL else 1000, import_share=0.005, hot_share=0.01, hot_after=5)
"""With late and repeated rows, imports, hot shards, and the odd rows of the stand-in: U+2028 in strings, lone
surrogates, huge numbers, times as floats and texts, rows without an id."""
SETTINGS = """
[instances.mix]
connector = "mixpanel"
project_id = {world.project_id}
username = "{world.username}"
secret = "{world.secret}"
api_url = "{url}"
profiles = false
{more}
"""
MISO = {
    "Product Viewed": "product_detail_page_view",
    "Product Added": "add_to_cart",
    "Products Searched": "search",
    "Order Completed": "checkout",
}
"""What a Miso user would expect of each event of the stand-in; the others are of no use there."""
EXPORT = "/api/2.0/export"


@dataclass
class Mix:
    """One instance ``mix`` of a world."""

    site: Site
    sandbox: MixpanelSandbox

    @property
    def world(self) -> MixpanelWorld:
        return self.sandbox.world

    async def pull(self, *streams: str, first: date | None = None, days: int | None = None) -> list[dict[str, Any]]:
        """Pull a range (all of the world's by default); its slices, once nothing is open."""
        first = first or self.world.start
        last = first + timedelta(days=self.world.days if days is None else days)
        return await self.start(streams=list(streams) or None, start=at(first), end=at(last))

    async def start(self, **args: Any) -> list[dict[str, Any]]:
        self.site.engine.backfills.puller.waits = (0.01,)
        jobs = (await call(self.site.settings, "backfill.start", instance="mix", **args))["jobs"]
        return await self.finished(jobs)

    async def finished(self, jobs: list[int]) -> list[dict[str, Any]]:
        for _ in range(60_000 if FULL else 1200):
            if self.site.task.done():
                self.site.task.result()
            states = [(await self.site.engine.store.run(slices.job, job)).state for job in jobs]
            if all(state in ("done", "failed") for state in states):
                break
            await asyncio.sleep(0.05)
        return await self.site.engine.store.run(slices.view, "mix", jobs)

    def fault(self, *rules: Rule | Action) -> None:
        self.sandbox.faults.add(*rules)

    def calls(self, path: str = EXPORT) -> list[Call]:
        return [one for one in self.sandbox.calls if one.path == path]

    async def audit(self, rows: list[dict[str, Any]]) -> None:
        """Slices of the whole world: each is done, and what was read of it is what one whole export of it shows."""
        audited(rows)
        assert sum(row["read"] for row in rows) == await asyncio.to_thread(self._shown)

    def _shown(self) -> int:
        now, days = self.sandbox.clock.ms(), self.world.all_days()
        return sum(len(chunk) for day in days for chunk in self.sandbox.events.rows(day, now))

    def sent(self) -> Counter[str]:
        """What Miso holds."""
        return Counter(key_of(json.loads(line)) for line in self.site.lines())

    async def judge(self, *reads: int) -> None:
        """Exactly the ledger is at Miso, each event once, and every event is accounted for.

        ``reads``: when the project was pulled, in ms of its clock; by default once, after all had happened.
        """
        await asyncio.to_thread(self._judge, *reads)  # the engine's watchdog wants its turns

    def _judge(self, *reads: int) -> None:
        sent, wanted = self.sent(), expected(self.world, *reads)
        missing, extra = wanted - sent, sent - wanted
        assert not missing, f"{missing.total()} missing, such as {next(iter(missing))}"
        assert not extra, f"{extra.total()} too many, such as {next(iter(extra))}"
        counts = self.site.counts("mix")
        assert counts["accepted"] == sum(1 for _ in seen(self.world, reads)) + counts.get("dead", 0)
        assert counts["delivered"] == wanted.total()
        assert "pending" not in counts


def at(day: date) -> int:
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))


def long_after(world: MixpanelWorld) -> int:
    """When everything has arrived and all ids are joined, in ms."""
    return at(world.start + timedelta(days=world.days + 40))


def key_of(record: dict[str, Any]) -> str:
    """Type, timestamp, user, device, product or search words of a record at Miso."""
    what = record["search"]["keywords"] if "search" in record else record["product_ids"][0]
    who = (record.get("user_id"), record.get("anonymous_id"))
    return _key(record["type"], record["timestamp"], *who, what)


def _key(kind: str, moment: str, user: str | None, device: str | None, what: str) -> str:
    return f"{kind} {moment} {user} {device} {what}"


def expected(world: MixpanelWorld, *reads: int) -> Counter[str]:
    """What a perfect connector delivers of the world when it is pulled at these times."""
    linked = _linked(world, reads) if world.id_merge == "original" else None
    found: Counter[str] = Counter()
    for one, read in seen(world, reads):
        if one.name not in MISO:
            continue
        by_time = read >= one.time_ms + world.link_seconds * 1000
        joined = by_time if linked is None else one.device in linked
        user = one.user or (one.person if joined else None)
        if user or one.device:
            found[_key(MISO[one.name], _written(one.time_ms), user, one.device, one.subject)] += 1
    return found


def seen(world: MixpanelWorld, reads: Iterable[int]) -> Iterable[tuple[LedgerEvent, int]]:
    """Every event that is visible at one of these times, and at which first."""
    events, moments = Events(world), sorted(reads) or [long_after(world)]
    for day in world.all_days():
        for one in events.ledger(day):
            first = next((read for read in moments if one.processed_ms <= read), None)
            if first is not None:
                yield one, first


def _linked(world: MixpanelWorld, reads: Iterable[int]) -> set[str | None]:
    """Devices that an identity event names."""
    return {one.device for one, _ in seen(world, reads) if one.name in VERBS}


def _written(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def audited(rows: list[dict[str, Any]]) -> None:
    """Every slice is done, and each event read is a new one or one that was known."""
    assert rows
    for row in rows:
        assert row["state"] == "done", row
        assert row["read"] == row["taken"] + row["repeats"], row
        if row["attempts"] == 1:
            assert sum(row["counts"].values()) == row["taken"], row


@contextlib.asynccontextmanager
async def mix(tmp_path: Path, world: MixpanelWorld, more: str = "", now: int | None = None) -> AsyncIterator[Mix]:
    """The engine with a project as it is at ``now`` (ms; by default long after its last day), without rate limits."""
    clock = (now or long_after(world)) / 1000
    sandbox = MixpanelSandbox(world, Options(now=clock, limits="off"))
    with served(sandbox, date_header=False) as url:
        async with site(tmp_path, more=SETTINGS.format(world=world, url=url, more=more)) as made:
            yield Mix(made, sandbox)
