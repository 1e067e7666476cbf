"""Events that come late: by processing time in the tail, by pulling again; and nothing is sent twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from misoflow_sandbox.mixpanel import World

from tests.mixpanel.kit import audited, calls, expected, mix

DAYS = 6
TODAY = datetime.now(UTC).date()
FIRST = TODAY - timedelta(days=DAYS - 1)


def at(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


async def test_late_events_come_by_the_tail_and_nothing_is_sent_again(tmp_path: Path) -> None:
    world = World(start=FIRST, days=DAYS - 1, per_day=600, late=0.086)
    noon = at(TODAY - timedelta(days=1))
    async with mix(tmp_path, world, now=noon) as m:
        audited(await m.pull("events"))
        m.judge(noon)
        before = m.sent().total()
        audited(await m.start(streams=["tail"]))
        m.judge(noon)
        m.sandbox.now = None
        rows = await m.start(streams=["tail"])
        audited(rows)
        m.judge()
        late = expected(world).total() - before
        assert late > 20
        assert m.sent().total() == before + late
        where = calls(m.sandbox)[-1]["params"]["where"]
        assert where.startswith('number(properties["mp_processing_time_ms"]) >= ')
        # the tail brings what is new, not five days of known events
        assert rows[0]["read"] < world.days * world.per_day / 2


async def test_late_events_come_by_pulling_the_days_again(tmp_path: Path) -> None:
    world = World(start=FIRST, days=DAYS - 1, per_day=600, late=0.086)
    noon = at(TODAY - timedelta(days=1))
    async with mix(tmp_path, world, now=noon) as m:
        audited(await m.pull("events"))
        before = m.sent().total()
        m.sandbox.now = None
        instance = m.site.engine.instances.get("mix")
        assert instance is not None
        rows = await m.finished(await m.site.engine.backfills.repull(instance, "events", timedelta(days=DAYS)))
        audited(rows)
        m.judge()
        assert sum(row["repeats"] for row in rows) >= before
        assert m.site.counts("mix")["delivered"] == m.sent().total()
