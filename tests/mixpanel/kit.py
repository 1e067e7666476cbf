"""A project, an engine and a Miso sandbox together, and the judge of what arrived."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from misoflow.control import call
from misoflow.pipeline import to_ms
from misoflow.store import slices
from misoflow_sandbox.mixpanel import MixpanelSandbox, World
from misoflow_sandbox.mixpanel.world import MISO, Happening
from misoflow_sandbox.serving import served

from tests.core.site import Site, site

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


@dataclass
class Mix:
    """One instance ``mix`` of a world."""

    site: Site
    sandbox: MixpanelSandbox

    @property
    def world(self) -> World:
        return self.sandbox.world

    async def pull(self, *streams: str, first: date | None = None, days: int | None = None) -> list[dict[str, Any]]:
        """Pull a range (all of the world's by default); its slices, once nothing is open."""
        first = first or self.world.start
        last = first + timedelta(days=self.world.days if days is None else days)
        return await self.start(streams=list(streams) or None, start=_ms(first), end=_ms(last))

    async def start(self, **args: Any) -> list[dict[str, Any]]:
        self.site.engine.backfills.puller.waits = (0.01,)
        jobs = (await call(self.site.settings, "backfill.start", instance="mix", **args))["jobs"]
        return await self.finished(jobs)

    async def finished(self, jobs: list[int]) -> list[dict[str, Any]]:
        for _ in range(1200):
            if self.site.task.done():
                self.site.task.result()
            states = [(await self.site.engine.store.run(slices.job, job)).state for job in jobs]
            if all(state in ("done", "failed") for state in states):
                break
            await asyncio.sleep(0.05)
        return await self.site.engine.store.run(slices.view, "mix", jobs)

    def fault(self, name: str, **more: Any) -> None:
        self.sandbox.faults.append({"fault": name, **more})

    def sent(self) -> Counter[tuple[str, str, str, str, str]]:
        """What Miso holds: (type, timestamp, user, anonymous id, product or keywords)."""
        return Counter(_key(record) for record in self.site.interactions())

    def judge(self, now: int | None = None) -> None:
        """Exactly the ledger is at Miso, each event once."""
        sent, wanted = self.sent(), expected(self.world, now)
        missing, extra = wanted - sent, sent - wanted
        assert not missing, f"{missing.total()} missing, such as {next(iter(missing))}"
        assert not extra, f"{extra.total()} too many, such as {next(iter(extra))}"


def _ms(day: date) -> int:
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _key(record: dict[str, Any]) -> tuple[str, str, str, str, str]:
    what = record["search"]["keywords"] if "search" in record else record["product_ids"][0]
    who = (record.get("user_id") or "", record.get("anonymous_id") or "")
    return (record["type"], record["timestamp"], *who, what)


def expected(world: World, now: int | None = None) -> Counter[tuple[str, str, str, str, str]]:
    """What a perfect connector delivers of the world."""
    return Counter(_of(world, one) for one in world.ledger(now) if one.name in MISO)


def _of(world: World, one: Happening) -> tuple[str, str, str, str, str]:
    moment = f"{datetime.fromtimestamp(one.at // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{one.at % 1000:03}Z"
    return (MISO[one.name], moment, one.user, one.device, one.product)


def audited(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["state"] == "done", row
        assert row["read"] == row["taken"] + row["repeats"], row


@contextlib.asynccontextmanager
async def mix(tmp_path: Path, world: World, more: str = "", now: int | None = None) -> AsyncIterator[Mix]:
    sandbox = MixpanelSandbox(world, now=now)
    with served(sandbox) as url:
        async with site(tmp_path, more=SETTINGS.format(world=world, url=url, more=more)) as made:
            yield Mix(made, sandbox)


def calls(sandbox: MixpanelSandbox, path: str = "/api/2.0/export") -> list[dict[str, Any]]:
    return [one for one in json.loads(json.dumps(sandbox.calls)) if one["path"] == path]
