"""A month of history by raw export, whatever Mixpanel does; each run is held against the stand-in's own ledger.

`make test`: each fault alone on 30 days of 60 events, all of them in turn on 30 days of 1,000; `make test-all`:
all that on 30 days of 20,000.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import get_args

import pytest
from misoflow.status import dead_letters
from misoflow_sandbox.faults import Match
from misoflow_sandbox.mixpanel import Action, MixpanelWorld, Rule
from misoflow_sandbox.mixpanel.faults import Ending
from msgspec import structs

from tests.mixpanel.kit import EXPORT, FULL, MONTH, audited, mix

ALONE = MONTH if FULL else structs.replace(MONTH, events_per_day=60)
MIDDLE = ALONE.events_per_day * 3 // 2
"""Inside of the second request, which is for two days."""
END = 10**9
ENDINGS = [
    (ends, plain)
    for plain in (False, True)
    for ends in get_args(Ending)
    if not (plain and ends == "unfinished")  # nobody can tell
]
REFUSALS = {
    "429 with Retry-After": Action(status=429, headers={"Retry-After": "1"}),
    "429 without Retry-After": Action(status=429, body={"error": "Query rate limit exceeded"}),
    "429 for too many at once": Action(status=429, body={"error": "too many export requests in progress"}),
    "500": Action(status=500),
    "503": Action(status=503, body="<html>upstream</html>"),
}
HARMLESS = {
    "several gzip members": Action(members=50),
    "no gzip": Action(identity=True),
    "a pause": Action(stall=0.2, after_rows=MIDDLE),
    "a late start": Action(delay=0.2),
}


def spread(*actions: Action) -> list[Rule]:
    """One after the other, no more than two in a row."""
    return [Rule(one, Match(path=EXPORT), after=1 + n // 2) for n, one in enumerate(actions)]


@pytest.fixture(autouse=True)
def short_waits_and_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_mixpanel.client.IN_PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr("misoflow_mixpanel.client.FULL_HOUR_SECONDS", 0.05)
    if not FULL:  # several pages a request, as there are with more events
        monkeypatch.setattr("misoflow_mixpanel.pull.PAGE", 100)


async def test_every_event_arrives_once(tmp_path: Path) -> None:
    async with mix(tmp_path, ALONE) as m:
        audited(await m.pull("identity"))
        rows = await m.pull("events")
        await m.audit(rows)
        await m.judge()
        assert sum(row["repeats"] for row in rows) > 0, "rows that Mixpanel stores twice"
        assert all(row["attempts"] == 1 for row in rows)


async def test_a_month_of_all_that_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_mixpanel.pull.PAGE", 1000)
    places = cycle((1, MONTH.events_per_day * 3 // 2, END))
    endings = [Action(ends=ends, after_rows=next(places), identity=plain) for ends, plain in ENDINGS]
    wrong = [*endings, *REFUSALS.values(), *HARMLESS.values()]
    async with mix(tmp_path, MONTH) as m:
        m.fault(*spread(*wrong))
        rows = []
        for n in range(6):
            rows += await m.pull("events", first=MONTH.start + timedelta(days=25 - 5 * n), days=5)
        await m.audit(rows)
        await m.judge()
        assert [rule.fired for rule in m.sandbox.faults.rules] == [1] * len(wrong)


@pytest.mark.parametrize(("ends", "plain"), ENDINGS, ids=[f"{e}, {'plain' if p else 'gzip'}" for e, p in ENDINGS])
async def test_an_export_that_ends_early_is_pulled_again(tmp_path: Path, ends: Ending, plain: bool) -> None:
    actions = [Action(ends=ends, after_rows=n, identity=plain) for n in (1, MIDDLE, END)]
    async with mix(tmp_path, ALONE) as m:
        m.fault(*spread(*actions))
        rows = await m.pull("events")
        await m.audit(rows)
        await m.judge()
        assert all(rule.fired for rule in m.sandbox.faults.rules)
        assert len(m.calls()) == len(rows) + 3
        assert max(row["attempts"] for row in rows) > 1


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_request_is_made_again(tmp_path: Path, name: str) -> None:
    async with mix(tmp_path, ALONE) as m:
        m.fault(*spread(*[REFUSALS[name]] * 3))
        rows = await m.pull("events")
        await m.audit(rows)
        await m.judge()
        assert all(rule.fired for rule in m.sandbox.faults.rules)
        assert len(m.calls()) == len(rows) + 3
        assert (max(row["attempts"] for row in rows) == 1) == name.startswith("429"), "a limit is no failed attempt"


async def test_an_hour_whose_calls_others_have_used_up_is_waited_for(tmp_path: Path) -> None:
    async with mix(tmp_path, ALONE) as m:
        clock = m.sandbox.clock.seconds()
        for n in range(58):
            m.sandbox.limits.take("export", clock - 3599 + n)
        m.sandbox.change(limits="virtual")
        pulling = asyncio.create_task(m.pull("events"))
        refused = 0
        while not pulling.done():
            if sum(one.status == 429 for one in m.calls()) > refused:
                refused += 1
                m.sandbox.change(now=m.sandbox.clock.seconds() + 1800)
            await asyncio.sleep(0.02)
        rows = await pulling
        await m.audit(rows)
        await m.judge()
        assert refused
        assert all(row["attempts"] == 1 for row in rows)


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_is_odd_and_whole_is_taken_at_once(tmp_path: Path, name: str) -> None:
    async with mix(tmp_path, ALONE) as m:
        m.fault(Rule(HARMLESS[name], times=-1))
        rows = await m.pull("events")
        await m.audit(rows)
        await m.judge()
        assert all(row["attempts"] == 1 for row in rows)
        assert len(m.calls()) == len(rows)


async def test_a_silent_export_is_left_and_pulled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.http.STREAM_READ_SECONDS", 1.0)
    async with mix(tmp_path, ALONE) as m:
        m.fault(*spread(Action(stall=3600, after_rows=MIDDLE)))
        rows = await m.pull("events")
        await m.audit(rows)
        await m.judge()
        assert [one.ended for one in m.calls()].count(False) == 1
        assert max(row["attempts"] for row in rows) > 1


async def test_a_range_that_never_comes_whole_is_halved(tmp_path: Path) -> None:
    async with mix(tmp_path, ALONE) as m:
        m.fault(Rule(Action(ends="terminated", after_rows=MIDDLE), times=3, after=1))
        rows = await m.pull("events")
        await m.audit(rows)
        await m.judge()
        days = sorted((row["end"] - row["start"]) // 86_400_000 for row in rows)
        assert days[:3] == [1, 1, 1], "the first day, and the two of the request that failed"


async def test_a_bad_line_is_a_dead_letter_with_its_place(tmp_path: Path) -> None:
    async with mix(tmp_path, MixpanelWorld(days=1, events_per_day=2000)) as m:
        m.fault(Action(bad_lines=[1000]))
        rows = await m.pull("events")
        audited(rows)
        await m.judge()
        assert rows[0]["counts"]["dead"] == 1
        (letter,) = dead_letters(m.site.settings, m.site.vault, instance="mix")
        assert letter.path.startswith("$ at byte ")


async def test_an_export_of_many_bad_lines_is_no_export(tmp_path: Path) -> None:
    async with mix(tmp_path, MixpanelWorld(days=1, events_per_day=2000)) as m:
        m.fault(Action(bad_lines=[500, 700, 900]))
        rows = await m.pull("events")
        audited(rows)
        await m.judge()
        assert rows[0]["attempts"] == 2
