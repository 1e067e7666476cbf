"""Who it was and when: rows that are keyed anew, both identity systems, wall clocks and the hour that comes twice."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import pytest
from misoflow_sandbox.mixpanel import MixpanelWorld
from msgspec import structs

from tests.mixpanel.kit import MONTH, at, audited, long_after, mix

DAYS = 3
SMALL = MixpanelWorld(days=DAYS, events_per_day=MONTH.events_per_day, odd_share=0.15, duplicate_share=0.05, users=100)


@pytest.mark.parametrize("merge", ["simplified", "original"])
async def test_rows_that_are_keyed_anew_are_known_again(
    tmp_path: Path, merge: Literal["simplified", "original"]
) -> None:
    """Mixpanel joins a person's ids days later and rewrites ``distinct_id`` of old rows, now and then without a
    ``$distinct_id_before_identity``."""
    world = structs.replace(SMALL, id_merge=merge, link_seconds=20 * 86_400)
    before = at(world.start + timedelta(days=DAYS + 1))
    async with mix(tmp_path, world, now=before) as m:
        audited(await m.pull())
        await m.judge(before)
        m.sandbox.change(now=long_after(world) / 1000)
        rows = await m.pull("events")
        audited(rows)
        await m.judge(before, long_after(world))
        assert sum(row["repeats"] for row in rows) >= DAYS * world.events_per_day * 0.95


async def test_hot_shards_and_many_odd_rows(tmp_path: Path) -> None:
    world = structs.replace(SMALL, hot_share=0.2, hot_after=10, odd_share=0.3)
    async with mix(tmp_path, world) as m:
        audited(await m.pull("events"))
        await m.judge()


async def test_a_project_with_original_merge_is_resolved_before_its_events(tmp_path: Path) -> None:
    world = structs.replace(SMALL, days=10, events_per_day=MONTH.events_per_day // 2, id_merge="original")
    async with mix(tmp_path, world) as m:
        audited(await m.pull())
        await m.judge()


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("America/Los_Angeles", date(2026, 10, 31)),
        ("Europe/Berlin", date(2026, 10, 24)),
        ("Europe/Berlin", date(2026, 3, 28)),
        ("Australia/Lord_Howe", date(2026, 4, 4)),
    ],
)
async def test_wall_clock_projects_are_right_in_the_hour_that_comes_twice(
    tmp_path: Path, zone: str, start: date
) -> None:
    """Without late events: of one that comes an hour late nobody can tell which of the two hours it was."""
    world = structs.replace(
        SMALL, start=start, timezone=zone, time_mode="project", late_share=0.0, events_per_day=MONTH.events_per_day * 2
    )
    async with mix(tmp_path, world, f'timezone = "{zone}"') as m:
        audited(await m.pull("events"))
        await m.judge()


async def test_a_project_that_moved_keeps_the_old_zone_on_old_rows(tmp_path: Path) -> None:
    moved = SMALL.start + timedelta(days=2)
    world = structs.replace(
        SMALL, timezone="Europe/Berlin", time_mode="project", earlier_zones=((moved, "Asia/Tokyo"),), late_share=0.0
    )
    more = f'timezone = "Europe/Berlin"\ntz_history = [{{ until = {moved}, zone = "Asia/Tokyo" }}]'
    async with mix(tmp_path, world, more) as m:
        audited(await m.pull("events"))
        await m.judge()


async def test_a_wall_clock_project_without_a_time_zone_is_halted(tmp_path: Path) -> None:
    world = structs.replace(SMALL, days=1, timezone="America/Los_Angeles", time_mode="project")
    async with mix(tmp_path, world) as m:
        pulling = asyncio.create_task(m.pull("events"))
        await m.site.until(lambda: m.site.engine.intake.is_paused("mix"))
        assert m.sent().total() == 0
        pulling.cancel()
