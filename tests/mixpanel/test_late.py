"""Events that come late: by processing time in the tail, by pulling again; and nothing is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from misoflow.clock import now_ms
from misoflow_sandbox.mixpanel import MixpanelWorld

from tests.mixpanel.kit import FULL, Mix, at, audited, expected, mix

WORLD = MixpanelWorld(days=5, events_per_day=20_000 if FULL else 600, late_share=0.086)
TODAY = at(WORLD.start + timedelta(days=WORLD.days))
NOON = TODAY - 43_200_000
"""Noon of the last day, when half of it and much of the days before has not come yet."""
LATER = TODAY + 5 * 86_400_000 + 3_600_000
"""When the last device has sent what it held back."""


def clock_from(moment: int) -> Callable[[], int]:
    """A clock that shows ``moment`` (ms) now."""
    behind = now_ms() - moment
    return lambda: now_ms() - behind


def it_is(m: Mix, moment: int) -> None:
    """For Mixpanel and for the engine."""
    m.sandbox.change(now=moment / 1000)
    m.site.engine.backfills.now = clock_from(moment)


async def test_late_events_come_by_the_tail_and_nothing_is_sent_again(tmp_path: Path) -> None:
    async with mix(tmp_path, WORLD, now=NOON) as m:
        it_is(m, NOON)
        audited(await m.pull("events"))
        m.judge(NOON)
        reads = [NOON]
        before = m.sent().total()
        for moment in (NOON + 1, *range(NOON + 43_200_000, LATER, 43_200_000), LATER):
            it_is(m, moment)
            rows = await m.start(streams=["tail"])
            audited(rows)
            reads.append(moment)
            m.judge(*reads)
            if moment > NOON + 1:
                assert rows[-1]["read"] < WORLD.days * WORLD.events_per_day / 3, "what is new, not all of five days"
        late = expected(WORLD, *reads).total() - before
        assert late > WORLD.events_per_day / 2
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
        m.judge(NOON, LATER)
        assert sum(row["repeats"] for row in rows) >= before
