"""History by raw export against the stand-in, under each of its faults."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from misoflow_sandbox.mixpanel import World

from tests.mixpanel.kit import audited, calls, mix

SMALL = World(days=3, per_day=600)


async def test_every_event_arrives_once(tmp_path: Path) -> None:
    async with mix(tmp_path, SMALL) as m:
        audited(await m.pull())
        m.judge()
        counts = m.site.counts("mix")
        assert counts["accepted"] == 1800
        assert counts["delivered"] == m.sent().total()
        assert counts["skipped"] == 1800 - counts["delivered"]


FAULTS = (
    *("429", "429_hour", "429_retry_after", "500", "503", "cut_socket", "cut_gzip", "abort", "abort_export"),
    *("error_tail", "multi_member", "identity", "cut_line", "slow"),
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_costs_nothing(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_mixpanel.client.IN_PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr("misoflow_mixpanel.client.FULL_HOUR_SECONDS", 0.05)
    async with mix(tmp_path, SMALL) as m:
        again = fault not in ("multi_member", "identity", "slow")
        m.fault(fault, times=2 if again else 1, after=1)
        rows = await m.pull("events")
        audited(rows)
        m.judge()
        assert not m.sandbox.faults
        assert (max(row["attempts"] for row in rows) > 1) == (again and not fault.startswith("429"))
        assert len(calls(m.sandbox)) == len(rows) + (2 if again else 0)


async def test_a_bad_line_is_a_dead_letter_with_its_place(tmp_path: Path) -> None:
    async with mix(tmp_path, World(days=1, per_day=2000)) as m:
        m.fault("bad_line")
        rows = await m.pull("events")
        audited(rows)
        m.judge()
        assert rows[0]["counts"]["dead"] == 1
        from misoflow.status import dead_letters

        (letter,) = dead_letters(m.site.settings, m.site.vault, instance="mix")
        assert letter.path.startswith("$ at byte ")


async def test_odd_rows_repeats_and_hot_shards(tmp_path: Path) -> None:
    world = World(days=2, per_day=800, odd=0.2, repeats=0.1, hot=0.1)
    async with mix(tmp_path, world) as m:
        rows = await m.pull("events")
        audited(rows)
        m.judge()
        assert sum(row["repeats"] for row in rows) > 50


async def test_a_project_with_original_merge_is_resolved_before_its_events(tmp_path: Path) -> None:
    async with mix(tmp_path, World(days=3, per_day=400, original=True, users=50)) as m:
        audited(await m.pull())
        m.judge()


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
    world = World(start=start, days=3, per_day=960, zone=zone, wall_clock=True)
    async with mix(tmp_path, world, f'timezone = "{zone}"') as m:
        audited(await m.pull("events"))
        m.judge()


async def test_a_wall_clock_project_without_a_time_zone_is_halted(tmp_path: Path) -> None:
    world = World(days=1, per_day=500, zone="America/Los_Angeles", wall_clock=True)
    async with mix(tmp_path, world) as m:
        import asyncio

        pulling = asyncio.create_task(m.pull("events"))
        await m.site.until(lambda: m.site.engine.intake.is_paused("mix"))
        assert m.sent().total() == 0
        pulling.cancel()
