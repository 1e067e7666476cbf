"""Events that come late: by processing time in the tail, by pulling again; and nothing is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from misoflow.clock import now_ms
from misoflow_sandbox.mixpanel import Action, MixpanelWorld
from msgspec import structs

from tests.mixpanel.kit import FULL, Mix, at, audited, mix

WORLD = MixpanelWorld(days=5, events_per_day=20_000 if FULL else 300, late_share=0.086)
TODAY = at(WORLD.start + timedelta(days=WORLD.days))
HOUR = 3_600_000
DAY = 24 * HOUR
NOON = TODAY - 12 * HOUR
"""Noon of the last day, when half of it and much of the days before has not come yet."""
LATER = TODAY + 6 * DAY
"""When the last device has sent what it held back."""


def clock_from(moment: int) -> Callable[[], int]:
    """A clock that shows ``moment`` (ms) now."""
    behind = now_ms() - moment
    return lambda: now_ms() - behind


def it_is(m: Mix, moment: int) -> None:
    """For Mixpanel and for the engine."""
    m.sandbox.change(now=moment / 1000)
    m.site.engine.backfills.now = clock_from(moment)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
async def test_late_events_come_by_the_tail_and_nothing_is_sent_again(
    tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every 26 hours here, which leaves the tail's own five days no room; every few minutes in earnest.

    Each first answer breaks off after some pages, which prove nothing.
    """
    monkeypatch.setattr("misoflow_mixpanel.pull.PAGE", 50)
    mode: Literal["utc", "project"] = "utc" if zone == "UTC" else "project"
    world = structs.replace(WORLD, timezone=zone, time_mode=mode)
    begin = TODAY - 3 * DAY - 6 * HOUR
    moments = (begin + 1, *range(begin + 26 * HOUR, LATER, 26 * HOUR), LATER)
    async with mix(tmp_path, world, "" if zone == "UTC" else f'timezone = "{zone}"', now=begin) as m:
        it_is(m, begin)
        audited(await m.pull("events"))
        await m.judge(begin)
        for moment in moments:
            it_is(m, moment)
            m.fault(Action(ends="terminated", after_rows=120))
            rows = await m.start(streams=["tail"])
            audited(rows)
            assert rows[-1]["attempts"] > 1
            if moment > begin + 1:
                assert rows[-1]["read"] < WORLD.events_per_day * 1.5, "what is new, not all of five days"
        await m.judge(begin, *moments)
        where = m.calls()[-1].params["where"]
        assert where.startswith('number(properties["mp_processing_time_ms"]) >= ')


async def test_late_events_come_by_pulling_the_days_again(tmp_path: Path) -> None:
    async with mix(tmp_path, WORLD, now=NOON) as m:
        it_is(m, NOON)
        audited(await m.pull("events"))
        before = m.sent().total()
        it_is(m, LATER)
        instance = m.site.engine.instances.get("mix")
        assert instance is not None
        span = timedelta(days=WORLD.days + 6)
        rows = await m.finished(await m.site.engine.backfills.repull(instance, "events", span))
        audited(rows)
        await m.judge(NOON, LATER)
        assert sum(row["repeats"] for row in rows) >= before


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles", "Pacific/Pago_Pago"])
async def test_a_day_that_is_not_over_in_the_project_s_zone_is_pulled_again(tmp_path: Path, zone: str) -> None:
    world = structs.replace(WORLD, days=3, timezone=zone, time_mode="project", late_share=0.0)
    end = at(world.start + timedelta(days=world.days))
    more = f'timezone = "{zone}"\nbackfill.events = {{ from = {world.start} }}'
    moments = range(end - DAY + 5 * HOUR, end + 2 * DAY, 9 * HOUR)
    async with mix(tmp_path, world, more, now=moments[0]) as m:
        for moment in moments:
            it_is(m, moment)
            audited(await m.start(streams=["events"]))
        await m.judge(*moments)
