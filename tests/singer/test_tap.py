"""singer-tap: a connector's history as records and states, of which each says truly where to go on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from misoflow.records import INTERACTIONS, Product, User
from misoflow_sandbox.mixpanel import MixpanelSandbox, MixpanelWorld, Options
from misoflow_sandbox.serving import served

from tests.mixpanel.kit import expected, key_of, long_after
from tests.singer.kit import TIME, Given, Place

SHOP = "shop:Shop"
DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]


@pytest.fixture(autouse=True)
def platform(place: Place) -> None:
    """The connector stands beside the settings, as one does that is not installed."""
    shutil.copy(Path(__file__).with_name("shop.py"), place.folder)


def shop(place: Place, *more: str, code: int = 0, settings: dict[str, Any] | None = None, **what: Any) -> Given:
    """Runs a tap of a shop that holds ``what`` (as it is when nothing is given)."""
    if what:
        place.write("shop.json", what)
    dates = {"start_date": DAYS[0], "end_date": "2026-11-04"}
    file = str(place.folder / "shop.json")
    place.write("tap.json", {"file": file, **dates, **(settings or {})})
    return place.tap(SHOP, *more, code=code)


def going_on(place: Place, given: Given) -> tuple[str, str]:
    return "--state", str(place.write("state.json", given.state))


def a_like(name: str) -> dict[str, Any]:
    return {"id": name, "do": "like", "p": name}


def pages(*sizes: int, prefix: str = "") -> list[list[dict[str, Any]]]:
    return [[a_like(f"{prefix}{page}-{n}") for n in range(size)] for page, size in enumerate(sizes)]


def liked(*given: Given) -> list[str]:
    return sorted(one["product_ids"][0] for some in given for one in some.records("interactions"))


def test_the_catalog_has_every_field_of_every_record_type(place: Place) -> None:
    catalog = json.loads(place.run("singer-tap", "files", "--discover").stdout)
    streams = {one["tap_stream_id"]: one for one in catalog["streams"]}
    assert "$ref" not in json.dumps(catalog)
    fields = {name for cls in INTERACTIONS.values() for name in cls.__struct_fields__}
    assert streams["interactions"]["schema"]["properties"].keys() == fields | {"_sdc_uuid", "type"}
    assert streams["products"]["schema"]["properties"].keys() == {*Product.__struct_fields__, "_sdc_deleted_at"}
    assert streams["users"]["schema"]["properties"].keys() == set(User.__struct_fields__)
    for one in streams.values():
        assert set(one["key_properties"]) <= one["schema"]["properties"].keys()
        jsonschema_rs.Draft7Validator(one["schema"])


def test_files_come_once_and_a_second_run_goes_on(place: Place) -> None:
    folder = place.folder / "rows"
    folder.mkdir()
    rows = [{"type": "like", "user_id": "u", "product_ids": [f"p{n}"], "timestamp": TIME} for n in range(30)]
    (folder / "one.jsonl").write_text("\n".join(map(json.dumps, rows[:20])))
    place.write("tap.json", {"paths": [f"{folder}/"]})
    first = place.tap("files")
    assert liked(first) == sorted(f"p{n}" for n in range(20))
    schemas = {one["stream"]: one["schema"] for one in first.messages if one["type"] == "SCHEMA"}
    for record in first.records("interactions"):
        jsonschema_rs.Draft7Validator(schemas["interactions"]).validate(record)
    assert liked(place.tap("files", *going_on(place, first))) == []
    (folder / "two.jsonl").write_text("\n".join(map(json.dumps, rows[20:])))
    assert liked(place.tap("files", *going_on(place, first))) == sorted(f"p{n}" for n in range(20, 30))


def test_a_range_comes_oldest_first_and_the_state_says_up_to_where(place: Place) -> None:
    days = {day: pages(2, 1, prefix=day) for day in DAYS}
    given = shop(place, days=days)
    assert liked(given) == sorted(f"{day}{n}" for day in DAYS for n in ("0-0", "0-1", "1-0"))
    end = int(datetime(2026, 11, 4, tzinfo=UTC).timestamp() * 1000)
    assert given.state["bookmarks"]["days"] == {"to": end}
    mine = [one["value"]["bookmarks"].get("days", {}) for one in given.messages if one["type"] == "STATE"]
    assert [mark["to"] for mark in mine if "to" in mark] == sorted(mark["to"] for mark in mine if "to" in mark)
    assert liked(shop(place, *going_on(place, given))) == []
    # whichever state was the last that a target confirmed: what came before it and what comes after is everything
    before: set[str] = set()
    for one in given.messages:
        if one["type"] == "RECORD":
            before.add(one["record"]["product_ids"][0])
        elif one["type"] == "STATE":
            rest = shop(place, "--state", str(place.write("state.json", one["value"])))
            assert before.isdisjoint(liked(rest))
            assert sorted(before.union(liked(rest))) == liked(given)


def test_a_run_that_breaks_off_goes_on_at_the_last_proven_page(place: Place) -> None:
    days = {day: pages(2, 2, prefix=day) for day in DAYS}
    broken = shop(place, code=69, days=days, trouble=["", "", "", *["retry"] * 6])
    assert "days did not come whole: the shop is busy" in broken.said
    rest = shop(place, *going_on(place, broken))
    assert liked(broken) == [f"{DAYS[0]}{n}" for n in ("0-0", "0-1", "1-0", "1-1")] + [f"{DAYS[1]}0-{n}" for n in "01"]
    both = Counter(liked(broken, rest))
    assert set(both.values()) == {1}
    assert len(both) == 12


def test_a_page_that_proves_nothing_moves_no_state(place: Place) -> None:
    broken = shop(place, code=69, days={DAYS[0]: pages(2, 2)}, unproven=True, trouble=["", *["retry"] * 6])
    assert set(liked(broken)) == {"0-0", "0-1"}
    assert [one for one in broken.messages if one["type"] == "STATE"] == []


def test_a_short_trouble_is_waited_out(place: Place) -> None:
    given = shop(place, days={DAYS[0]: pages(2, 2)}, trouble=["", "retry", "retry"])
    assert liked(given) == ["0-0", "0-1", "1-0", "1-1"]


def test_a_halt_ends_the_run_with_what_to_do(place: Place) -> None:
    assert "the shop has closed; open it" in shop(place, code=78, days={DAYS[0]: pages(1)}, trouble=["halt"]).said


def test_parts_of_a_user_are_put_together_before_they_go_out(place: Place) -> None:
    def part(number: int, source: str, **fields: Any) -> dict[str, Any]:
        return {"id": f"e{number}", "do": "user", "u": "u1", "source": source, "v": number, "fields": fields}

    first = [[part(1, "traits", city="Berlin", age=3)], [part(2, "cohorts", group_id="g")]]
    given = shop(place, days={DAYS[0]: first}, people={DAYS[0]: [[part(3, "traits", city="Bonn")]]})
    users = given.records("users")
    assert users[-1] == {"user_id": "u1", "city": "Bonn", "age": 3, "group_id": "g"}
    assert users[0] == {"user_id": "u1", "city": "Berlin", "age": 3}
    # what a run before gave is known only where it is kept
    later = {"news": [part(9, "cohorts", group_id="h")]}
    assert shop(place, **later).records("users") == [{"user_id": "u1", "group_id": "h"}]
    kept = {"data": "kept"}
    shop(place, settings=kept, days={DAYS[0]: first})
    assert shop(place, settings=kept, **later).records("users")[-1] == {
        "user_id": "u1",
        "city": "Berlin",
        "age": 3,
        "group_id": "h",
    }


def test_effects_other_than_records(place: Place) -> None:
    news = [
        {"id": "1", "do": "once", "key": "order-1", "p": "a"},
        {"id": "2", "do": "once", "key": "order-1", "p": "b"},
        {"id": "3", "do": "product", "p": "x", "v": 2, "title": "new"},
        {"id": "4", "do": "product", "p": "x", "v": 1, "title": "old"},
        {"id": "5", "do": "product", "p": "y", "v": 1, "title": "y"},
        {"id": "6", "do": "thin", "ref": "f"},
        {"id": "7", "do": "nothing"},
    ]
    given = shop(place, news=news)
    ordered = [one for one in given.records("interactions") if one["product_ids"][0] in "ab"]
    assert len({one["_sdc_uuid"] for one in ordered}) == 1, "whoever brings an order, it is the same one"
    assert {one["product_id"]: one["title"] for one in given.records("products")} == {"x": "new", "y": "y"}
    assert "f" in liked(given)
    assert "1 event skipped" in given.said
    gone = shop(place, *going_on(place, given), news=[*news, {"id": "8", "do": "gone", "p": "y"}])
    (removed,) = gone.records("products")
    assert removed["product_id"] == "y"
    assert removed["_sdc_deleted_at"]


def test_only_what_the_catalog_selects_is_given(place: Place) -> None:
    catalog = json.loads(place.run("singer-tap", SHOP, "--discover").stdout)
    for stream in catalog["streams"]:
        for one in stream["metadata"]:
            if one["breadcrumb"] == [] and stream["stream"] != "interactions":
                one["metadata"]["selected"] = False
            if one["breadcrumb"] == ["properties", "user_id"]:
                one["metadata"]["selected"] = False
    path = place.write("catalog.json", catalog)
    product = {"id": "2", "do": "product", "p": "x", "v": 1, "title": "x"}
    given = shop(place, "--catalog", str(path), news=[a_like("1"), product])
    assert {one.get("stream") for one in given.messages} == {None, "interactions"}
    (record,) = given.records("interactions")
    assert "user_id" not in record
    assert record["product_ids"] == ["1"]


def test_an_event_that_cannot_be_translated_is_told_and_the_rest_is_given(place: Place) -> None:
    given = shop(place, code=1, news=[a_like("1"), {"id": "2", "do": "like", "p": "p", "at": "never"}, a_like("3")])
    assert liked(given) == ["1", "3"]
    assert "1 × like:" in given.said
    assert "$.timestamp" in given.said


def test_a_mapping_that_went_wrong_stops_the_run_before_the_state_moves(place: Place) -> None:
    bad = [{"id": str(n), "do": "like", "p": "p", "at": "never"} for n in range(100)]
    place.write("shop.json", {"news": bad})
    given = shop(place, code=78)
    assert "too many like events are rejected" in given.said
    assert all("news" not in one["value"]["bookmarks"] for one in given.messages if one["type"] == "STATE")


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "why"),
    [
        (["nothing"], {}, 78, "'nothing' is not installed"),
        ([SHOP], {"file": "f", "pull": ["nope"]}, 1, "has no stream 'nope' (known: days, news, people)"),
        ([SHOP], {"file": "f", "start_date": "soon"}, 78, "start_date: must be a date"),
        ([SHOP], {"file": "f", "miso": "x"}, 78, "miso: has no use in a tap"),
        ([SHOP], {}, 78, "file: Field required"),
        ([SHOP], {"file": "f", "fiel": 1}, 78, "did you mean 'file'"),
        (["singer"], {}, 1, "has no history"),
        ([SHOP, "--state", "bad.json"], {"file": "f"}, 78, "bad.json: bookmarks"),
        ([SHOP, "--catalog", "bad.json"], {"file": "f"}, 78, "bad.json: streams"),
        ([SHOP, "--state", "none.json"], {"file": "f"}, 78, "cannot be read"),
    ],
)
def test_settings_that_cannot_be_used(
    place: Place, arguments: list[str], settings: dict[str, Any], code: int, why: str
) -> None:
    place.write("bad.json", {"bookmarks": {"days": 1}, "streams": 1})
    place.write("tap.json", settings)
    said = place.run("singer-tap", *arguments, "--config", "tap.json", code=code).stderr
    assert why in said, said
    assert len(said.splitlines()) == 1


def test_a_target_that_ends_early_is_no_traceback(place: Place) -> None:
    place.write("shop.json", {"news": [a_like(str(n)) for n in range(20_000)]})
    place.write("tap.json", {"file": str(place.folder / "shop.json")})
    process = place.start("singer-tap", SHOP, "--config", "tap.json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(timeout=60) == 75
    assert said == "the target has ended; run both again with its last state\n"


def test_mixpanel_through_tap_and_target_is_what_it_holds(place: Place) -> None:
    """Repeated, late and odd rows included; the second run finds nothing new."""
    world = MixpanelWorld(events_per_day=300, days=4, import_share=0.005)
    sandbox = MixpanelSandbox(world, Options(now=long_after(world) / 1000, limits="off"))
    with served(sandbox, date_header=False) as url:
        account = {"project_id": world.project_id, "username": world.username, "secret": world.secret}
        dates = {"start_date": str(world.start), "end_date": str(world.start + timedelta(days=world.days))}
        place.write("tap.json", {**account, **dates, "api_url": url, "pull": ["events"]})
        given = place.tap("mixpanel")
        again = place.tap("mixpanel", *going_on(place, given))
    place.configure(streams={})
    place.run("singer-target", "--config", "config.json", stdin=given.lines.encode())
    assert Counter(key_of(one) for one in place.interactions()) == expected(world)
    assert again.records("interactions") == []


def test_a_secret_of_the_settings_is_in_nothing_that_is_written(place: Place) -> None:
    secret = "a-service-account-s-secret"
    account = {"project_id": 1, "username": "user", "secret": secret, "api_url": "http://127.0.0.1:1"}
    place.write("tap.json", {**account, "pull": ["events"]})
    done = place.run("singer-tap", "mixpanel", "--config", "tap.json", code=69)
    assert secret not in done.stdout + done.stderr


def test_a_tap_pipes_into_a_target(place: Place) -> None:
    """In a shell, as people do."""
    shop(place, days={DAYS[0]: pages(5, 5)})
    place.configure(streams={})
    tap = place.start("singer-tap", SHOP, "--config", "tap.json")
    target = place.start("singer-target", "--config", "config.json")
    assert tap.stdout is not None
    out, err = target.communicate(tap.stdout.read(), timeout=60)
    assert target.returncode == 0, err
    assert tap.wait(timeout=60) == 0
    assert len(place.liked()) == 10
    assert json.loads(out.splitlines()[-1])["bookmarks"].keys() == {"days", "people", "news"}
