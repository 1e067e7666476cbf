"""The schedule: a missed run happens once, no change of the clocks skips or doubles one, and what waits says why."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from misoflow import schedule
from misoflow.control import call
from misoflow.crontab import crontab
from misoflow.outputs import to_ms
from misoflow.schedule import Schedule, first_run, timed, trigger_of
from misoflow.status import status
from misoflow.store import budgets, slices
from misoflow.streams import StreamConfig

from tests.core.site import Site
from tests.core.test_backfill import DAY, Past, finished, past

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    Past.troubles, Past.calls, Past.gate, Past.per_hour, Past.late = {}, [], None, 1, []
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.05)


def config(**table: Any) -> StreamConfig:
    return StreamConfig.model_validate(table)


async def jobs_of(s: Site) -> list[slices.Job]:
    return await s.engine.store.run(slices.job_rows, "past")


async def test_a_stream_is_pulled_by_itself_and_next_time_only_what_is_new(tmp_path: Path) -> None:
    yesterday = (datetime.now(UTC) - DAY).date()
    async with past(tmp_path, f'backfill.likes = {{ from = {yesterday}, every = "1s", lag = "1h" }}\n') as s:
        await s.until(lambda: s.counts("past").get("delivered", 0) >= 24)
        await s.until(lambda: len(Past.calls) >= 2)
        found = status(s.settings, s.vault)["instances"]["past"]
        assert found["schedule"][0]["job"] == "past/likes"
        assert found["schedule"][0]["next"] > time.time() * 1000 - 2000
        assert all(job.purpose == "history" for job in await jobs_of(s))


async def test_runs_missed_while_the_machine_slept_happen_once(tmp_path: Path) -> None:
    async with past(tmp_path, 'backfill.tail = { every = "1h" }\n') as s:
        await s.until(lambda: len(Past.calls) == 1)
        await finished(s, [job.id for job in await jobs_of(s)])
        await asyncio.sleep(0.3)
        clock = s.engine.schedule._scheduler
        clock.modify_job("past/tail", next_run_time=datetime.now(UTC) - timedelta(hours=9, minutes=1))
        clock.wakeup()
        await s.until(lambda: len(Past.calls) == 2)
        await asyncio.sleep(0.5)
        assert len(Past.calls) == 2
        assert clock.get_job("past/tail").next_run_time > datetime.now(UTC)


async def test_runs_missed_while_nothing_ran_happen_once(tmp_path: Path) -> None:
    async with past(tmp_path, 'backfill.tail = { every = "1h" }\n') as s:

        def ran() -> bool:
            rows = status(s.settings, s.vault)["instances"]["past"]["schedule"]
            return bool(rows) and rows[0]["last"] is not None

        await s.until(lambda: len(Past.calls) == 1 and ran(), 30)
        await finished(s, [job.id for job in await jobs_of(s)])
        await s.stop()
        await s.start()
        await asyncio.sleep(0.5)
        assert len(Past.calls) == 1  # it is not due
        await s.engine.store.run(budgets.ran, "past/tail", to_ms(datetime.now(UTC) - timedelta(hours=5)), None)
        await s.stop()
        await s.start()
        await s.until(lambda: len(Past.calls) == 2)
        await asyncio.sleep(0.3)
        assert len(Past.calls) == 2


async def test_what_cannot_run_says_why(tmp_path: Path) -> None:
    async with past(tmp_path, 'backfill.tail = { every = "1s" }\n') as s:
        await call(s.settings, "pause", instance="past")

        def note() -> str | None:
            rows = status(s.settings, s.vault)["instances"]["past"]["schedule"]
            text: str | None = rows[0]["note"] if rows else None
            return text

        await s.until(lambda: note() == "the instance is paused")


async def test_late_events_are_found_by_the_scheduled_repull(tmp_path: Path) -> None:
    yesterday = (datetime.now(UTC) - DAY * 2).date()
    table = f'{{ from = {yesterday}, every = "1s", repull = "3d", repull_every = "1s" }}'
    async with past(tmp_path, f"backfill.likes = {table}\n") as s:
        await s.until(lambda: s.counts("past").get("delivered", 0) >= 48)
        from tests.core.test_backfill import made

        moment = datetime.combine(yesterday, datetime.min.time(), UTC) + timedelta(minutes=5)
        Past.late = [made("likes", moment)]
        await s.until(lambda: any("00:05" in record["timestamp"] for record in s.interactions()))
        rows = await finished(s, [job.id for job in await jobs_of(s) if job.purpose == "repull"][:1])
        assert rows


def changes(zone: str) -> list[datetime]:
    """The hours of 2026 in which a zone's clocks change, in UTC."""
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]


ZONES = (
    *("America/New_York", "Europe/Berlin", "Australia/Lord_Howe"),
    *("America/Santiago", "Africa/Cairo", "Pacific/Auckland"),
)
PERIODS = (
    ({"cron": "0 * * * *"}, timedelta(hours=1)),
    ({"cron": "*/15 * * * *"}, timedelta(minutes=15)),
    ({"cron": "30 2 * * *"}, DAY),
    ({"at": "02:30"}, DAY),
    ({"every": "1h"}, timedelta(hours=1)),
)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("table", "period"), PERIODS)
def test_no_change_of_the_clocks_skips_or_doubles_a_run(
    zone: str, table: dict[str, str], period: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert len(changes(zone)) == 2
        for change in changes(zone):
            trigger = trigger_of(config(**table))
            assert trigger is not None
            before = trigger.get_next_fire_time(change - DAY * 2, change - DAY * 2)
            assert before < change
            while before < change + DAY * 2:
                moment = trigger.get_next_fire_time(before, before + timedelta(seconds=1))
                assert moment - before == period
                before = moment
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("table", "last", "expected"),
    [
        ({"every": "6h"}, None, NOW),
        ({"every": "6h"}, NOW - timedelta(hours=1), NOW + timedelta(hours=5)),
        ({"every": "6h"}, NOW - timedelta(hours=50), NOW),
        ({"at": "02:30"}, None, datetime(2026, 11, 25, 2, 30, tzinfo=UTC)),
        ({"at": "02:30"}, NOW - timedelta(hours=1), datetime(2026, 11, 25, 2, 30, tzinfo=UTC)),
        ({"at": "02:30"}, NOW - timedelta(days=3), NOW),
        ({"cron": "0 13 * * *"}, NOW - timedelta(hours=2), datetime(2026, 11, 24, 13, tzinfo=UTC)),
    ],
)
def test_the_first_run_after_a_start(table: dict[str, str], last: datetime | None, expected: datetime) -> None:
    trigger = trigger_of(config(**table))
    assert trigger is not None
    assert first_run(trigger, None if last is None else to_ms(last), NOW) == expected


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("0", "Sun"),
        ("7", "Sun"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("fri-mon", "Sun Mon Fri Sat"),
        ("5-7", "Sun Fri Sat"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1,sat", "Mon Sat"),
        ("*", "Sun Mon Tue Wed Thu Fri Sat"),
    ],
)
def test_days_of_the_week_are_those_of_cron(weekdays: str, days: str) -> None:
    trigger = crontab(f"30 2 * * {weekdays}")
    sunday = datetime(2026, 11, 29, tzinfo=UTC)
    moments = [trigger.get_next_fire_time(None, sunday + DAY * n) for n in range(7)]
    assert " ".join(f"{m:%a}" for n, m in enumerate(moments) if m.date() == (sunday + DAY * n).date()) == days


@pytest.mark.parametrize("text", ["x", "0 2 * *", "0 2 * * 8", "0 2 * * 1-x", "0 2 * * */0", "0 0 30 2 *", "0 2 1 * 1"])
def test_what_is_no_crontab_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be five fields|never comes|at once"):
        crontab(text)


def test_a_stream_without_times_is_pulled_by_hand_only() -> None:
    assert timed("mix", "events", config()) == []
    assert [job.name for job in timed("mix", "events", config(every="6h", repull="5d"))] == [
        "mix/events",
        "mix/events/repull",
    ]


def test_the_scheduler_is_a_clock_in_utc_that_runs_missed_jobs_once() -> None:
    class Settings:
        instances: dict[str, Any] = {}  # noqa: RUF012

    class Fake:
        settings = Settings()

    defaults = Schedule(Fake())._scheduler._job_defaults  # type: ignore[arg-type]
    assert defaults == {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
