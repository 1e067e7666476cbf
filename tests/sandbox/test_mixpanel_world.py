"""The project that the Mixpanel stand-in plays: what happened, and how its rows show it."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from misoflow_sandbox.mixpanel.events import Events, Row, ledger
from misoflow_sandbox.mixpanel.where import BadExpression, Expression
from misoflow_sandbox.mixpanel.world import MixpanelWorld

DAY = date(2026, 9, 1)
EVER = 10**15
HOUR_MS = 3_600_000


def rows(world: MixpanelWorld, day: date = DAY, now_ms: int = EVER, **more: Any) -> list[Row]:
    return [row for chunk in Events(world).rows(day, now_ms, **more) for row in chunk]


def parsed(found: list[Row]) -> list[dict[str, Any]]:
    return [json.loads(row.line) for row in found]


def key(event: dict[str, Any]) -> tuple[str, int, str]:
    properties = event["properties"]
    time = float(properties["time"])
    name = properties.get("mp_original_event_name", event["event"])
    return properties.get("$insert_id", ""), round(time if time >= 1e11 else time * 1000), name


@pytest.mark.parametrize("merge", ["simplified", "original"])
def test_the_rows_of_a_day_are_the_ledger(merge: Any) -> None:
    world = MixpanelWorld(events_per_day=5000, id_merge=merge, hot_share=0.05, hot_after=20, import_share=0.01)
    held = [(one.insert_id, one.time_ms, one.name) for one in ledger(world, DAY)]
    shown = [key(event) for event in parsed(rows(world))]
    assert len(held) == len(set(held)) == 5000
    assert set(shown) == set(held)
    assert len(shown) > 5000, "some are stored twice"
    assert max(Counter(shown).values()) == 2


def test_the_seed_decides() -> None:
    assert rows(MixpanelWorld()) == rows(MixpanelWorld())
    assert {row.line for row in rows(MixpanelWorld())}.isdisjoint(row.line for row in rows(MixpanelWorld(seed=2)))


def test_there_is_nothing_outside_of_its_days() -> None:
    world = MixpanelWorld(days=2)
    counts = [len(ledger(world, day)) for day in (date(2026, 8, 31), DAY, date(2026, 9, 2), date(2026, 9, 3))]
    assert counts == [0, 1000, 1000, 0]
    assert not rows(world, date(2026, 9, 3))


def test_late_events_show_up_when_they_are_processed() -> None:
    world = MixpanelWorld(events_per_day=3000, late_share=0.1, import_share=0.05, duplicate_share=0)
    end = datetime(2026, 9, 2, 0, 30, tzinfo=UTC).timestamp() * 1000
    now = [len(rows(world, now_ms=round(end) + days * 24 * HOUR_MS)) for days in (0, 5, 6, 35)]
    assert now[0] == pytest.approx(2575, abs=15)
    assert now[1] == pytest.approx(2850, abs=10)
    assert now[2] < now[3] == 3000
    held = ledger(world, DAY)
    delays = sorted(one.processed_ms - one.time_ms for one in held)
    assert delays[0] < 3000
    assert delays[-1] < 35 * 24 * HOUR_MS
    assert [row.processed_ms for row in rows(world)] == [one.processed_ms for one in held]


def test_imports_say_so() -> None:
    world = MixpanelWorld(import_share=0.1, late_share=0)
    for event in parsed(rows(world)):
        properties = event["properties"]
        late = properties["mp_processing_time_ms"] - key(event)[1] > HOUR_MS
        assert properties.get("$import", False) is late


def test_visible_some_time_after_processing() -> None:
    at = round(datetime(2026, 9, 1, 12, tzinfo=UTC).timestamp() * 1000)
    found = rows(MixpanelWorld(visible_seconds=2700), now_ms=at)
    assert max(row.processed_ms for row in found) <= at - 2_700_000
    assert max(row.processed_ms for row in found) > at - 3_300_000


@pytest.mark.parametrize(
    ("day", "hours", "name"), [(date(2026, 11, 1), 25, "the doubled hour"), (date(2026, 3, 8), 23, "the missing hour")]
)
def test_wall_clock_projects(day: date, hours: int, name: str) -> None:
    world = MixpanelWorld(
        timezone="America/Los_Angeles", time_mode="project", start=day, odd_share=0, events_per_day=5000
    )
    held = {one.insert_id: one.time_ms for one in ledger(world, day)}
    assert max(held.values()) - min(held.values()) == pytest.approx(hours * HOUR_MS, abs=HOUR_MS / 100)
    walls = Counter[int]()
    for event in parsed(rows(world, day)):
        said = datetime.fromtimestamp(event["properties"]["time"] / 1000, UTC).replace(tzinfo=None)
        true = datetime.fromtimestamp(held[event["properties"]["$insert_id"]] / 1000, ZoneInfo(world.timezone))
        assert said == true.replace(tzinfo=None)
        assert said.date() == day
        walls[said.hour] += 1
    assert walls[1 if hours == 25 else 3] == pytest.approx(5000 / hours * (2 if hours == 25 else 1), rel=0.1), name
    assert (2 in walls) is (hours == 25)


def test_a_changed_zone_leaves_old_rows_as_they_are() -> None:
    world = MixpanelWorld(
        timezone="Europe/Berlin", time_mode="project", earlier_zones=((date(2026, 9, 5), "Asia/Tokyo"),), odd_share=0
    )
    for day, hours in ((date(2026, 9, 4), 9), (date(2026, 9, 5), 2)):
        held = {one.insert_id: one.time_ms for one in ledger(world, day)}
        for event in parsed(rows(world, day)):
            shift = event["properties"]["time"] - held[event["properties"]["$insert_id"]]
            assert shift == hours * HOUR_MS


def test_today_is_that_of_the_project() -> None:
    now = round(datetime(2026, 9, 2, 3, tzinfo=UTC).timestamp() * 1000)
    assert MixpanelWorld(timezone="America/Los_Angeles").today(now) == date(2026, 9, 2)
    assert MixpanelWorld(timezone="America/Los_Angeles", time_mode="project").today(now) == DAY


def test_seconds_or_milliseconds() -> None:
    for fine, coarse in zip(parsed(rows(MixpanelWorld())), parsed(rows(MixpanelWorld(), in_ms=False)), strict=True):
        ms = key(fine)[1]
        assert float(coarse["properties"]["time"]) in (ms // 1000, ms / 1000)


def test_odd_rows() -> None:
    found = rows(MixpanelWorld(odd_share=0.2))
    assert all(row.line.count(b"\n") == 1 and row.line.endswith(b"\n") for row in found)
    whole = b"".join(row.line for row in found)
    for mark in ("\u2028", "\u2029", "\u0085", "\\ud83d here", "\\u0000", "98765432109876543", "$device:$device:"):
        assert mark.encode() in whole, mark
    surrogates = next(row.line for row in found if b"ud83d" in row.line)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(surrogates)
    events = parsed(found)
    assert {type(event["properties"]["time"]) for event in events} == {int, float, str}
    assert any("$insert_id" not in event["properties"] for event in events)
    assert any("distinct_id" not in event["properties"] for event in events)
    shared = [one["properties"]["$insert_id"] for one in events if "shared" in one["properties"].get("$insert_id", "")]
    assert len(shared) > len(set(shared)) == 1


def test_a_hot_shard_hides_name_and_user_above_the_limit() -> None:
    world = MixpanelWorld(hot_share=0.3, hot_after=50, duplicate_share=0)
    events = parsed(rows(world))
    hidden = [one["properties"] for one in events if one["event"] == "$hotshard_events"]
    hot = sum(one.user == "hot-user" for one in ledger(world, DAY))
    assert len(hidden) == hot - 50 > 0
    assert sum(one["properties"].get("distinct_id") == "hot-user" for one in events) == 50
    assert {one["distinct_id"] for one in hidden} == {""}
    assert {one["mp_original_distinct_id"] for one in hidden} == {"hot-user"}
    assert {one["mp_original_event_name"] for one in hidden} == {"Product Viewed"}


def test_simplified_projects_join_ids_later() -> None:
    world = MixpanelWorld(late_share=0, duplicate_share=0, odd_share=0)
    held = {one.insert_id: one for one in ledger(world, DAY)}
    early = {key(one)[0]: one["properties"] for one in parsed(rows(world, now_ms=_ms(2, 0, 1)))}
    late = {key(one)[0]: one["properties"] for one in parsed(rows(world, now_ms=_ms(3, 0, 1)))}
    joined = [name for name, one in held.items() if one.person != one.user]
    assert len(joined) > 100
    assert early.keys() == late.keys() == held.keys()
    assert not {name for name in held if early[name] != late[name]} ^ set(joined)
    for name in joined:
        assert early[name]["distinct_id"] == f"$device:{held[name].device}"
        assert late[name]["distinct_id"] == held[name].person
        assert late[name]["$distinct_id_before_identity"] == early[name]["distinct_id"]
    assert not {"$identify", "$create_alias", "$merge"} & set(Events(world).names())


def test_original_projects_show_the_cluster() -> None:
    world = MixpanelWorld(id_merge="original", late_share=0, odd_share=0, duplicate_share=0)
    held = {one.insert_id: one for one in ledger(world, DAY)}
    verbs = Counter[str]()
    for event in parsed(rows(world)):
        properties = event["properties"]
        truth = held[properties["$insert_id"]]
        match event["event"]:
            case "$identify":
                assert (properties["$identified_id"], properties["$anon_id"]) == (truth.user, truth.device)
            case "$create_alias":
                assert (properties["distinct_id"], properties["alias"]) == (truth.device, truth.user)
            case "$merge":
                assert properties["$distinct_ids"] == [truth.device, truth.user]
            case _:
                assert not properties["distinct_id"].startswith("user-")
                assert properties.get("$distinct_id_before_identity") == truth.user
        verbs[event["event"]] += 1
    assert all(verbs[name] for name in ("$identify", "$create_alias", "$merge"))


def test_a_day_is_never_held_in_memory() -> None:
    tracemalloc.start()
    try:
        found = sum(len(chunk) for chunk in Events(MixpanelWorld(events_per_day=20_000)).rows(DAY, EVER))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found > 20_000
    assert peak < 5 * 1024 * 1024, "all of it is 18 MiB"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('properties["n"] == 3', True),
        ('properties["n"] == "3"', False),
        ('properties["n"] != "3"', True),
        ('string(properties["n"]) == "3"', True),
        ('number(properties["t"]) >= 17.5', True),
        ('properties["t"] > 1', False),
        ('not (properties["t"] > 1)', True),
        ('properties["n"] in [1, 2, 3] and properties["t"] == "18"', True),
        ('"bc" in properties["w"] or false', True),
        ('defined(properties["w"])', True),
        ('not defined(properties["gone"])', True),
        ('boolean(properties["n"])', True),
        ('properties["n"] * 2 - 1 == 10 / 2 and 7 % 4 == 3', True),
        ("1 / 0 == 1", False),
        ('-properties["n"] < 0', True),
        ('properties["w"] + "d" == "abcd"', True),
        ("floor(2.7) == 2 and ceil(2.1) == 3 and round(2.6) == 3", True),
        ('event["$time"] >= datetime("2026-09-01T00:00:00")', True),
        ('properties["w"] == "a\\"c"', False),
        ('properties["not"] == "and or"', True),
        ('user["n"] == 3', True),
    ],
)
def test_expressions(text: str, expected: bool) -> None:
    row = {"n": 3, "t": "18", "w": "abc", "$time": 1788220800.0, "not": "and or"}
    assert Expression(text)(row) is expected


@pytest.mark.parametrize("text", ['properties["n"', "1 +", "properties[n] == 1", "1 2", "what(1)", "#", "(" * 60])
def test_expressions_that_are_none(text: str) -> None:
    with pytest.raises(BadExpression):
        Expression(text)


def _ms(day: int, hour: int, minute: int) -> int:
    return round(datetime(2026, 9, day, hour, minute, tzinfo=UTC).timestamp() * 1000)
