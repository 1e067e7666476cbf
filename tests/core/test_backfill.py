"""History: slices, proof, repeats, halving, backpressure and the audit of every slice."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow.backfill import plan
from misoflow.connector import Event, Page, Slice, Stream
from misoflow.control import ActionError, call
from misoflow.errors import ConfigError, Halt, Reject, Retry, Unreachable
from misoflow.outputs import to_ms
from misoflow.pipeline import unpack
from misoflow.status import dead_letters, history
from misoflow.store import slices
from misoflow.streams import stream_configs

from tests.core.site import Site, item, site
from tests.core.toy import Toy

DAY = timedelta(days=1)
START = datetime(2026, 10, 1, tzinfo=UTC)


class Past(Toy):
    """Hourly likes; ``troubles`` maps a slice's start to errors that its next attempts raise half-way."""

    streams = {  # noqa: RUF012
        "likes": Stream(DAY, step=DAY),
        "first": Stream(DAY * 30, step=DAY),
        "later": Stream(DAY, step=DAY, after=("first",)),
        "tail": Stream(DAY, poll=True, background=True),
        "plain": DAY,
    }
    troubles: dict[Any, list[Exception]] = {}  # noqa: RUF012
    calls: list[Slice] = []  # noqa: RUF012
    gate: asyncio.Event | None = None
    per_hour = 1
    late: list[Event] = []  # noqa: RUF012

    def backfill(self, part: Slice) -> AsyncIterator[Page] | Iterator[Page]:
        self.calls.append(part)
        return self._plain(part) if part.stream == "plain" else self._pages(part)

    def _events(self, part: Slice) -> list[Event]:
        hours = int((part.end - part.start) / timedelta(hours=1))
        moments = [part.start + timedelta(hours=n) for n in range(hours)]
        return [made(part.stream, moment, n) for moment in moments for n in range(self.per_hour)]

    async def _pages(self, part: Slice) -> AsyncIterator[Page]:
        events = self._events(part) + [e for e in self.late if part.start <= e.data["when"] < part.end]
        if self.gate is not None:
            await self.gate.wait()
        half = len(events) // 2
        yield Page(events[:half], part.cursor)
        waiting = self.troubles.get(part.start) or self.troubles.get("any")
        if waiting:
            raise waiting.pop(0)
        yield Page(events[half:], f"end of {part.end.date()}")

    def _plain(self, part: Slice) -> Iterator[Page]:
        events = self._events(part)
        done = int(part.cursor or 0)
        for at in range(done, len(events), 10):
            yield Page(events[at : at + 10], str(at + 10))


def made(stream: str, moment: datetime, n: int = 0) -> Event:
    data = {"p": f"p{n}", "at": moment.isoformat(), "when": moment}
    return Event(f"{stream}-{moment.isoformat()}-{n}", "like", data)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Past.troubles, Past.calls, Past.gate, Past.per_hour, Past.late = {}, [], None, 1, []


MORE = '[instances.past]\nconnector = "tests.core.test_backfill:Past"\n'


def past(tmp_path: Path, more: str = "") -> Any:
    return site(tmp_path, more=MORE + more)


async def pull(s: Site, stream: str, days: int, **more: Any) -> list[dict[str, Any]]:
    """Pull ``days`` from START; the slices, once all is settled."""
    s.engine.backfills.puller.waits = (0.01,)
    start, end = to_ms(START), to_ms(START + DAY * days)
    jobs = (await call(s.settings, "backfill.start", instance="past", streams=[stream], start=start, end=end))["jobs"]
    return await finished(s, jobs)


async def finished(s: Site, jobs: list[int]) -> list[dict[str, Any]]:
    for _ in range(1200):
        if s.task.done():
            s.task.result()
        rows = [await s.engine.store.run(slices.job, job) for job in jobs]
        if all(job.state in ("done", "failed") for job in rows):
            return await s.engine.store.run(slices.view, "past", jobs)
        await asyncio.sleep(0.05)
    raise AssertionError(await s.engine.store.run(slices.view, "past", jobs))


def audited(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["read"] == row["taken"] + row["repeats"], row
        assert row["open_read"] == 0
        assert row["state"] == "done", row


async def test_a_range_comes_newest_first_and_adds_up(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        rows = await pull(s, "likes", 9)
        audited(rows)
        assert [row["start"] for row in rows] == sorted((row["start"] for row in rows), reverse=True)
        assert sum(row["read"] for row in rows) == 9 * 24
        assert rows[0]["end"] == to_ms(START + DAY * 9)
        assert rows[-1]["start"] == to_ms(START)
        assert all(a["start"] == b["end"] for a, b in itertools.pairwise(rows))
        assert s.counts("past") == {"accepted": 216, "delivered": 216}
        assert len({record["context"]["custom_context"]["uuid"] for record in s.interactions()}) == 216
        # widths follow the measured volume: each may be twice the one before
        assert [(row["end"] - row["start"]) // plan.ms(DAY) for row in rows] == [1, 2, 4, 2]


async def test_the_same_range_again_sends_nothing_twice(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        await pull(s, "likes", 3)
        rows = await pull(s, "likes", 3)
        audited(rows)
        assert sum(row["repeats"] for row in rows) == 72
        assert s.counts("past") == {"accepted": 72, "delivered": 72, "duplicates": 72}
        assert len(s.interactions()) == 72


async def test_the_same_command_goes_on_with_its_open_job(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        Past.gate = asyncio.Event()
        args = {"instance": "past", "streams": ["likes"], "start": to_ms(START), "end": to_ms(START + DAY * 2)}
        first = (await call(s.settings, "backfill.start", **args))["jobs"]
        assert (await call(s.settings, "backfill.start", **args))["jobs"] == first
        Past.gate.set()
        audited(await finished(s, first))


async def test_an_unproven_attempt_is_pulled_again_whole(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        Past.troubles[START + DAY] = [Retry("cut"), Retry("cut again", outcome_unknown=True)]
        rows = await pull(s, "likes", 2)
        audited(rows)
        assert [row["attempts"] for row in rows] == [3, 1]
        assert [(row["taken"], row["repeats"]) for row in rows] == [(12, 12), (24, 0)]
        assert len(s.interactions()) == 48


async def test_what_never_comes_whole_is_halved_then_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with past(tmp_path, "") as s:
        Past.troubles[START + DAY * 2] = [Reject("too much")] * 100
        s.engine.backfills.puller.waits = (0.01,)
        jobs = [
            await s.engine.store.run(
                slices.add_job,
                "past",
                "likes",
                "again",
                (to_ms(START), to_ms(START + DAY * 4)),
                width=plan.ms(DAY * 2),
                step=plan.ms(DAY),
                now=0,
            )
        ]
        rows = await finished(s, jobs)
        by_start = {row["start"]: row for row in rows}
        bad = by_start[to_ms(START + DAY * 2)]
        assert (bad["state"], bad["error"], bad["end"] - bad["start"]) == ("failed", "too much", plan.ms(DAY))
        audited([row for row in rows if row is not bad])
        assert (await s.engine.store.run(slices.job, jobs[0])).state == "failed"
        Past.troubles.clear()
        again = (await call(s.settings, "backfill.start", instance="past", streams=["likes"]))["jobs"]
        assert jobs[0] in again
        audited(await finished(s, jobs))
        assert s.counts("past")["delivered"] >= 96


async def test_a_halt_pauses_the_instance_and_a_resume_goes_on(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        Past.troubles["any"] = [Halt("401", "a new key")]
        pulling = asyncio.create_task(pull(s, "likes", 2))
        await s.until(lambda: s.engine.intake.is_paused("past"))
        await call(s.settings, "resume", instance="past")
        audited(await pulling)
        assert len(s.interactions()) == 48


async def test_a_plain_generator_and_cursors_that_move_by_page(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        rows = await pull(s, "plain", 1)
        audited(rows)
        assert (rows[0]["read"], rows[0]["cursor"]) == (24, "30")


async def test_a_stream_waits_for_those_it_names(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        Past.gate = asyncio.Event()
        start, end = to_ms(START), to_ms(START + DAY * 2)
        args = {"instance": "past", "streams": ["later", "first"], "start": start, "end": end}
        jobs = (await call(s.settings, "backfill.start", **args))["jobs"]
        await s.until(lambda: Past.calls)
        await asyncio.sleep(0.5)
        assert {part.stream for part in Past.calls} == {"first"}
        Past.gate.set()
        audited(await finished(s, jobs))
        assert [part.stream for part in Past.calls][-1] == "later"


async def test_a_polled_stream_goes_on_from_its_cursor(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        cursors = []
        for _ in range(2):
            jobs = (await call(s.settings, "backfill.start", instance="past", streams=["tail"]))["jobs"]
            cursors.append((await finished(s, jobs))[0]["cursor"])
        assert [part.cursor for part in Past.calls] == [None, cursors[0]]


async def test_what_came_late_is_found_by_a_repull_and_nothing_else_is_sent(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        await pull(s, "likes", 3)
        sent = len(s.interactions())
        Past.late = [made("likes", START + DAY + timedelta(minutes=n)) for n in range(1, 8)]
        rows = await pull(s, "likes", 3)
        audited(rows)
        assert sum(row["taken"] for row in rows) == 7
        assert len(s.interactions()) == sent + 7


async def test_without_dates_only_what_is_missing_is_pulled(tmp_path: Path) -> None:
    more = f"backfill.likes = {{ from = {START.date()}, to = {(START + DAY * 2).date()} }}\n"
    async with past(tmp_path, more) as s:
        jobs = (await call(s.settings, "backfill.start", instance="past", streams=["likes"]))["jobs"]
        assert sum(row["read"] for row in await finished(s, jobs)) == 48
        assert (await call(s.settings, "backfill.start", instance="past", streams=["likes"]))["jobs"] == []


async def test_a_day_that_is_not_over_is_pulled_again_by_the_next_run(tmp_path: Path) -> None:
    yesterday = (datetime.now(UTC) - DAY).date()
    async with past(tmp_path, f"backfill.likes = {{ from = {yesterday} }}\n") as s:
        args = {"instance": "past", "streams": ["likes"]}
        await finished(s, (await call(s.settings, "backfill.start", **args))["jobs"])
        rows = await finished(s, (await call(s.settings, "backfill.start", **args))["jobs"])
        assert [(row["read"], row["repeats"]) for row in rows] == [(24, 24)]


async def test_dead_letters_of_history_are_tried_again_from_their_own_bytes(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        Past.late = [Event("odd", "reject", {"when": START + timedelta(hours=1), "p": "x"})]
        rows = await pull(s, "likes", 1)
        audited(rows)
        assert rows[0]["counts"] == {"delivered": 24, "dead": 1}
        retried = await call(s.settings, "dead.retry", instance="past")
        assert (retried["tried"], retried["states"]) == (1, {"dead": 1})


async def test_what_miso_refuses_keeps_its_event(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        fault = {"match": {"path": "/v1/interactions"}, "times": -1, "action": {"reject_marker": "p-poison"}}
        s.sandbox.faults.add(json.dumps([fault]).encode())
        Past.late = [Event("refused", "like", {"when": START, "p": "p-poison", "at": "2026-10-01T00:00:00Z"})]
        rows = await pull(s, "likes", 1)
        audited(rows)
        assert rows[0]["counts"] == {"delivered": 24, "dead": 1}
        (letter,) = dead_letters(s.settings, s.vault, instance="past")
        assert unpack(letter.raw).event().data["p"] == "p-poison"
        s.sandbox.faults.rules.clear()
        assert (await call(s.settings, "dead.retry", instance="past"))["states"] == {"pending": 1}
        await s.until(lambda: s.counts("past") == {"accepted": 25, "delivered": 25})


async def test_what_was_skipped_and_is_refused_when_it_comes_again_keeps_its_event(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        data = {"when": START, "p": "p-poison", "at": "2026-10-01T00:00:00Z"}
        Past.late = [Event("refused", "skip", data)]
        await pull(s, "likes", 2)
        assert s.counts("past") == {"accepted": 49, "delivered": 48, "skipped": 1}
        fault = {"match": {"path": "/v1/interactions"}, "times": -1, "action": {"reject_marker": "p-poison"}}
        s.sandbox.faults.add(json.dumps([fault]).encode())
        Past.late = [Event("refused", "like", data)]
        await pull(s, "likes", 2)
        assert s.counts("past") == {"accepted": 49, "delivered": 48, "dead": 1, "duplicates": 48}
        (letter,) = dead_letters(s.settings, s.vault, instance="past")
        assert unpack(letter.raw).event().data["p"] == "p-poison"


async def test_an_erased_persons_history_leaves_the_page(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        await call(s.settings, "pause", instance="web")
        s.engine.senders["default"]._linger_ms = 60_000
        start, end = to_ms(START), to_ms(START + DAY)
        jobs = (await call(s.settings, "backfill.start", instance="past", streams=["likes"], start=start, end=end))[
            "jobs"
        ]
        await s.until(lambda: s.counts("past").get("pending") == 24)
        await call(s.settings, "forget", users=["u"])
        s.engine.senders["default"]._linger_ms = 0
        audited(await finished(s, jobs))
        assert s.counts("past") == {"accepted": 24, "erased": 24}
        assert s.interactions() == []


async def test_a_source_that_cannot_be_reached_burns_no_tries(tmp_path: Path) -> None:
    Past.troubles = {"any": [Unreachable("no connection") for _ in range(20)]}
    async with past(tmp_path) as s:
        rows = await pull(s, "likes", 1)
        audited(rows)
        assert [(row["attempts"], row["read"]) for row in rows] == [(1, 24)], "neither halved nor given up"


async def test_who_goes_on_pulls_the_same_range_once(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        s.engine.backfills.now = lambda: to_ms(START + DAY * 3)
        Past.gate = asyncio.Event()
        first = await s.engine.backfills.start("past", ["likes"])
        await s.engine.backfills.stop(first)
        s.engine.backfills.now = lambda: to_ms(START + DAY * 3) + 1000
        assert await s.engine.backfills.start("past", ["likes"]) == [*first, first[0] + 1], "another day has begun"
        s.engine.backfills.now = lambda: to_ms(START + DAY * 3) + 5000
        assert await s.engine.backfills.start("past", ["likes"]) == [*first, first[0] + 1]


async def test_a_range_with_nothing_in_it_is_said(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        end = to_ms(datetime(1999, 1, 1, tzinfo=UTC))
        with pytest.raises(ActionError, match="to 1999-01-01 00:00 UTC; name both"):
            await call(s.settings, "backfill.start", instance="past", streams=["likes"], end=end)


async def test_what_a_job_waits_for_is_said(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        Past.gate = asyncio.Event()
        span = {"start": to_ms(START), "end": to_ms(START + DAY)}
        await call(s.settings, "backfill.start", instance="past", streams=["first", "later"], **span)
        await s.until(lambda: history(s.settings, s.engine.vault)["jobs"][1]["waits"] == "waits for first")


async def test_an_unknown_stream_or_instance_is_said(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        with pytest.raises(ActionError, match="no stream 'nope'"):
            await call(s.settings, "backfill.start", instance="past", streams=["nope"])
        with pytest.raises(ActionError, match="no instance"):
            await call(s.settings, "backfill.start", instance="nobody")
        with pytest.raises(ActionError, match="has no history"):
            await call(s.settings, "backfill.start", instance="web")


def test_settings_are_checked_with_their_path() -> None:
    for table, path in (
        ({"nope": {}}, "instances.past.backfill.nope"),
        ({"likes": {"every": "soon"}}, "instances.past.backfill.likes.every"),
        ({"likes": {"every": "6h", "at": "02:00"}}, "instances.past.backfill.likes"),
        ({"likes": {"at": "25:00"}}, "instances.past.backfill.likes.at"),
        ({"likes": {"often": 1}}, "instances.past.backfill.likes.often"),
        ({"likes": {"cron": "61 * * * *"}}, "instances.past.backfill.likes.cron"),
        ({"likes": {"every": "999999999w"}}, "instances.past.backfill.likes.every"),
        ({"likes": {"from": "yesterday"}}, "instances.past.backfill.likes.from"),
        ({"likes": {"from": START, "to": START}}, "instances.past.backfill.likes"),
    ):
        with pytest.raises(ConfigError) as caught:
            stream_configs(Past.streams, table, "instances.past.backfill")
        assert caught.value.where == path
    found = stream_configs(Past.streams, {"likes": {"from": START.date(), "every": "6h", "lag": "2h"}}, "x")
    assert (found["likes"].every, found["likes"].lag) == (timedelta(hours=6), timedelta(hours=2))


@given(
    st.integers(0, 10**12),
    st.integers(1, 10**10),
    st.integers(1, 10**9),
    st.sampled_from([1, 1000, 86_400_000]),
)
def test_cutting_covers_the_range_once(start: int, span: int, width: int, step: int) -> None:
    start, low = plan.floor(start, step), plan.ceil(start + span, step)
    width = max(width, (low - start) // 50)
    edges = []
    while (piece := plan.cut(start, low, width, step)) is not None:
        assert piece[0] < piece[1] == low
        assert piece[0] % step == 0
        edges.append(piece)
        low = piece[0]
    assert edges[-1][0] == start


@given(st.integers(1, 10**11), st.integers(0, 10**8))
def test_widths_stay_within_bounds(span: int, read: int) -> None:
    stream = Stream(DAY, step=DAY)
    width = plan.next_width(stream, span, read)
    assert plan.ms(DAY) <= width <= plan.ms(DAY) * plan.WIDEST
    assert width % plan.ms(DAY) == 0


async def test_live_events_come_before_history_and_an_overlap_counts_once(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        first = START.isoformat()
        await s.send({"id": f"likes-{first}-0", "do": "like", "p": "p0", "at": first}, instance="past")
        await s.settled(1, "past")
        Past.per_hour = 200
        pulling = asyncio.create_task(pull(s, "likes", 6))
        await s.until(lambda: len(Past.calls) >= 2)
        await s.send(item("like", p="live"))
        await s.until(lambda: s.counts("web") == {"accepted": 1, "delivered": 1}, 30)
        assert not pulling.done(), "the live event waited for history"
        rows = await pulling
        audited(rows)
        assert sum(row["repeats"] for row in rows) == 1
        assert s.counts("past") == {"accepted": 28_800, "delivered": 28_800, "duplicates": 1}
        assert len({record["context"]["custom_context"]["uuid"] for record in s.interactions()}) == 28_801


async def test_a_field_that_was_renamed_at_the_source_holds_its_topic_and_not_the_stream(tmp_path: Path) -> None:
    async with past(tmp_path) as s:
        start = START + timedelta(hours=2)
        renamed = [Event(f"renamed-{n}", "reject", {"when": start, "p": "x"}) for n in range(200)]
        Past.late = renamed
        pulling = asyncio.create_task(pull(s, "likes", 3))
        await s.until(lambda: s.counts("past").get("delivered") == 72, 20)
        counts = s.counts("past")
        assert counts["dead"] < 100
        assert counts["pending"] == 200 - counts["dead"]

        def note() -> str:
            (job,) = history(s.settings, s.vault)["jobs"]
            return (job["waits"] or "") if job["stuck"] else ""

        await s.until(lambda: "events of reject are held" in note())
        assert "misoflow resume past" in note()
        pulling.cancel()
