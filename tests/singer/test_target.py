"""singer-target: every record of a tap arrives or is accounted for, and no state is told before that."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from misoflow.records import INTERACTIONS

from tests.singer.kit import LIKES, TIME, Place, like, likes, record, schema, state, text

ALL = sorted(f"p{number}" for number in range(50))


def test_records_arrive_and_the_last_state_is_told(place: Place) -> None:
    done = place.target(likes(range(50)))
    assert place.liked() == ALL
    assert done.states[-1] == {"likes": 50}
    assert "50 records: 50 delivered, 0 known before" in done.stderr
    assert place.interactions()[0]["user_id"] == "u0"


def test_products_users_and_interactions_as_miso_has_them_need_no_mapping(place: Place) -> None:
    place.configure(streams={})
    place.target(
        [
            schema("products", {"product_id": {}}, ["product_id"]),
            record("products", product_id="p1", title="Lamp", description=None, _sdc_extracted_at=TIME),
            schema("users", {"user_id": {}}, ["user_id"]),
            record("users", user_id="u1", city="Berlin"),
            schema("interactions", {"type": {}}, []),
            record("interactions", type="like", user_id="u1", product_ids=["p1"], timestamp=TIME),
        ]
    )
    assert place.held("products") == {"p1": {"product_id": "p1", "title": "Lamp"}}
    assert place.held("users") == {"u1": {"user_id": "u1", "city": "Berlin"}}
    assert place.liked() == ["p1"]


def test_rules_map_as_in_plugins_toml(place: Place) -> None:
    rules = [
        {
            "match": "orders",
            "where": 'status = "paid"',
            "type": "checkout",
            "user_id": "$.buyer",
            "product_ids": "$.items",
            "timestamp": "$.at",
        },
        {"match": "orders", "type": "none"},
    ]
    place.configure(streams={}, rules=rules)
    order = {"buyer": 7, "items": [1, 2], "at": TIME}
    orders = [
        schema("orders"),
        record("orders", id=1, status="paid", **order),
        record("orders", id=2, status="open", **order),
    ]
    done = place.target(orders)
    (made,) = place.interactions()
    assert (made["type"], made["user_id"], made["product_ids"]) == ("checkout", "7", ["1", "2"])
    assert "1 delivered, 1 skipped" in done.stderr
    # an order that is paid later was skipped, not delivered: it counts when it is paid, and once
    paid = [
        schema("orders"),
        record("orders", id=2, status="paid", **order),
        record("orders", id=1, status="paid", **order),
    ]
    place.target(paid)
    place.target(paid)
    assert len(place.interactions()) == 2


def test_a_row_that_is_deleted_at_the_source(place: Place) -> None:
    items = [schema("items"), record("items", id=1, name="a"), record("items", id=2, name="b")]
    place.target(items)
    place.target([schema("items"), record("items", id=1, name="a", _sdc_deleted_at=TIME)])
    assert set(place.held("products")) == {"2"}


def test_a_product_that_changes_and_changes_back_is_as_it_was_last(place: Place) -> None:
    for name in ("a", "b", "a"):
        place.target([schema("items"), record("items", id=1, name=name), state(name)])
        assert place.held("products")["1"]["title"] == name
    sent = place.posts()
    done = place.target([schema("items"), record("items", id=1, name="a"), state("again")])
    assert done.states == ["again"]
    assert "1 record: nothing new, 1 known before" in done.stderr
    assert place.posts() == sent
    place.target([schema("items"), *[record("items", id=1, name=name) for name in "bcb"]])
    assert place.held("products")["1"]["title"] == "b"
    # with another mapping a row that is as it was means something else
    place.configure(streams={"items": {"kind": "products", "fields": {"product_id": "$.id", "title": "Lamp"}}})
    place.target([schema("items"), record("items", id=1, name="b")])
    assert place.held("products")["1"]["title"] == "Lamp"


def test_no_state_before_miso_has_what_came_ahead_of_it(place: Place) -> None:
    place.fault(status=503, times=-1, match={"method": "POST"}, headers={"Retry-After": "0"})
    process = place.start("singer-target", "--config", "config.json")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text(likes(range(50))).decode())
    process.stdin.flush()
    while place.posts() < 3:  # the pipe is open still: the target is in the middle of its run
        time.sleep(0.05)
    assert not select.select([process.stdout], [], [], 0)[0], "a state was told while Miso took nothing"
    place.sandbox.faults.rules.clear()
    first = json.loads(process.stdout.readline())
    had = place.liked()
    process.stdin.close()
    assert len(had) >= first["likes"]
    rest = [json.loads(line) for line in process.stdout]
    assert process.wait(timeout=60) == 0
    assert [first, *rest][-1] == {"likes": 50}
    assert place.liked() == ALL


@pytest.mark.parametrize(
    "crash",
    ["singer.page:3", "singer.taken:2", "singer.state", "send.before", "send.after", "work.before_commit:3",
     "work.after_commit:3", "outcome.after"],
)  # fmt: skip
def test_a_kill_at_any_moment_loses_nothing_and_sends_nothing_twice(place: Place, crash: str) -> None:
    """A tap that is started again with the last state sends what came after it."""
    messages = likes(range(50))
    killed = place.target(messages, code=-signal.SIGKILL, crash=crash)
    last = killed.states[-1]["likes"] if killed.states else 0
    assert len(place.liked()) >= last
    done = place.target([messages[0], *likes(range(last, 50))[1:]])
    assert done.states[-1] == {"likes": 50}
    had = place.liked()
    assert sorted(set(had)) == ALL
    # what Miso took without being able to say so goes out again as the same bytes
    assert had == ALL or crash in ("send.after",)


@pytest.mark.parametrize(("every", "crash"), [(10, "send.before"), (100, "singer.taken")])
def test_what_was_taken_in_before_a_kill_is_waited_for(place: Place, every: int, crash: str) -> None:
    """The tap sends nothing of it again, so only what the store holds can bring it to Miso."""
    messages = likes(range(20), every)
    place.target(messages, code=-signal.SIGKILL, crash=crash)
    assert place.liked() == []
    place.configure(patience_seconds=0.5)
    place.fault(status=503, times=-1, match={"method": "POST"})
    assert place.target([messages[0], state("too early")], code=69).states == []
    place.sandbox.faults.rules.clear()
    assert place.target([messages[0], state("later")]).states == ["later"]
    assert set(place.liked()) >= {f"p{number}" for number in range(10)}


def test_a_422_in_the_middle_costs_the_bad_record_only(place: Place) -> None:
    place.fault(reject_marker='"p13"')
    done = place.target(likes(range(50)), code=1)
    assert done.states[-1] == {"likes": 50}
    assert place.liked() == sorted(set(ALL) - {"p13"})
    assert "1 dead, 49 delivered" in done.stderr
    assert "dead letter 1: likes:" in done.stderr


def test_a_record_that_never_fits_is_a_dead_letter_each_time_it_comes(place: Place) -> None:
    messages = [schema("likes"), like(1), record("likes", id=2, user="u", item="p2", at="yesterday"), state(2)]
    done = place.target(messages, code=1)
    assert done.states == [2]
    assert "$.timestamp" in done.stderr
    assert place.target(messages, code=1).states == [2]
    place.configure(dead_letters="report")
    assert place.target(messages).states == [2]
    assert place.liked() == ["p1"]


def test_an_outage_in_the_middle_loses_nothing(place: Place) -> None:
    place.fault(status=503, times=2, after=1, match={"method": "POST"}, headers={"Retry-After": "0"})
    place.fault(reset="mid", times=1, after=2, match={"method": "POST"})
    done = place.target(likes(range(50)))
    assert done.states[-1] == {"likes": 50}
    assert sorted(set(place.liked())) == ALL


def test_an_outage_that_does_not_end_ends_the_run_without_a_state(place: Place) -> None:
    place.configure(patience_seconds=0.5)
    place.fault(status=503, times=-1, match={"method": "POST"})
    done = place.target(likes(range(20)), code=69)
    assert done.states == []
    assert "nothing is lost" in done.stderr
    place.sandbox.faults.rules.clear()
    place.configure()
    assert place.target(likes(range(20))).states[-1] == {"likes": 20}
    assert place.liked() == sorted(f"p{number}" for number in range(20))


def test_a_refused_key_ends_the_run_with_what_to_do(place: Place) -> None:
    place.configure(api_key="another")
    done = place.target(likes(range(20)), code=78)
    assert done.states == []
    assert "key" in done.stderr
    assert "another" not in done.stderr
    place.configure()
    assert place.target(likes(range(20))).states[-1] == {"likes": 20}
    assert len(place.liked()) == 20


def test_a_mapping_that_went_wrong_stops_before_a_million_dead_letters(place: Place) -> None:
    bad = [record("likes", id=number, user="u", item="p", at="never") for number in range(200)]
    done = place.target([schema("likes"), *bad, state("past them")], code=78)
    assert done.states == []
    assert "are held, as too many were rejected" in done.stderr


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([b"{nonsense"], "line 13 is no Singer message"),
        ([record("others", id=1)], "line 13: RECORD of stream 'others' before its SCHEMA"),
        ([record("likes", id="text")], "line 13: a record of stream 'likes' violates its schema at $.id (type)"),
        ([record("likes", user="u")], "line 13: a record of stream 'likes' lacks its key property 'id'"),
        ([schema("unknown")], "line 13: stream 'unknown' is not mapped; set streams.unknown to"),
        ([{"type": "SCHEMA", "stream": "likes", "schema": {}}], "line 13: SCHEMA of stream 'likes' has no properties"),
    ],
)
def test_what_the_tap_got_wrong_is_told_and_what_came_before_arrives(
    place: Place, messages: list[Any], why: str
) -> None:
    done = place.target([*likes(range(10)), *messages, like(77)], code=65)
    assert why in done.stderr
    assert done.states == [{"likes": 10}]
    assert place.liked() == sorted(f"p{number}" for number in range(10))


def test_an_activated_version_deletes_nothing_and_says_so_once(place: Place) -> None:
    version = {"type": "ACTIVATE_VERSION", "stream": "likes", "version": 1}
    done = place.target([schema("likes"), version, like(1), version])
    assert done.stderr.count("ACTIVATE_VERSION") == 1
    assert place.liked() == ["p1"]


def test_a_stop_in_the_middle_ends_without_loss(place: Place) -> None:
    process = place.start("singer-target", "--config", "config.json")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text(likes(range(10))).decode())
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"likes": 10}
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, out + err
    assert "nothing is lost" in err


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"api_key": "k", "streams": {"a": "things"}}, "streams.a.kind"),
        ({"api_key": "k", "streams": {"a": {"kind": "products", "fields": {"sku": "$.id"}}}}, "no such field"),
        ({"api_key": "k", "streams": {"a": {"kind": "interactions", "fields": {"user_id": "$.id"}}}}, "need a type"),
        ({"api_key": "k", "template_folder": "t"}, "templates are not run"),
        ({"streams": {}}, "api_key: Field required"),
        ({"api_key": "k", "apikey": "k"}, "did you mean 'api_key'"),
        ({"api_key": "k", "api_server": "http://miso.example"}, "api_server: must be https"),
        ({"plugins_toml": "none.toml", "instance": "tap"}, "cannot be read"),
        ([], "must be an object"),
    ],
)
def test_settings_that_cannot_be_used(place: Place, config: Any, why: str) -> None:
    place.write("config.json", config)
    done = place.target([], code=78)
    assert why in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


PLUGINS = """
[miso]
api_key = "key"
api_url = "{url}"
[engine]
port = 0
admin_port = 0
[instances.crm]
connector = "singer"
[instances.crm.streams]
likes = {likes}
[instances.web]
connector = "segment"
shared_secret = "a-secret-of-the-tests"
"""


def of_instance(place: Place, instance: str = "crm") -> None:
    fields = ", ".join(f'{key} = "{value}"' for key, value in LIKES["fields"].items())  # type: ignore[attr-defined]
    likes = f'{{ kind = "interactions", fields = {{ {fields} }} }}'
    (place.folder / "plugins.toml").write_text(PLUGINS.format(url=place.url, likes=likes))
    place.write("config.json", {"plugins_toml": "plugins.toml", "instance": instance})


def test_an_instance_of_plugins_toml_without_and_with_a_running_work(place: Place) -> None:
    of_instance(place)
    assert place.target(likes(range(20))).states[-1] == {"likes": 20}
    with subprocess.Popen(
        [sys.executable, "-m", "misoflow", "work"],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as work:
        assert work.stdout is not None
        assert work.stdout.readline().startswith("ready")
        done = place.target(likes(range(50)))
        work.terminate()
    assert done.states[-1] == {"likes": 50}
    assert place.liked() == ALL
    assert "30 delivered, 20 known before" in done.stderr


@pytest.mark.parametrize("instance", ["web", "nobody"])
def test_an_instance_that_is_no_singer_is_refused(place: Place, instance: str) -> None:
    of_instance(place, instance)
    assert f"no instance '{instance}'" in place.target([], code=78).stderr


def test_about_names_every_setting(place: Place) -> None:
    found = json.loads(place.run("singer-target", "--about", "--json").stdout)
    assert {"api_key", "api_server", "streams", "rules"} <= found["settings"]["properties"].keys()
    assert all(one.get("description") for one in found["settings"]["properties"].values())
    assert "api_server" in place.run("singer-target", "--about").stdout


def test_every_type_of_miso_can_be_mapped(place: Place) -> None:
    """Of each type the fields are those of its record."""
    streams = {
        kind: {"kind": "interactions", "fields": {"type": kind, "user_id": "$.u", "timestamp": TIME}}
        for kind in INTERACTIONS
    }
    place.configure(streams=streams)
    assert "nothing new" in place.target([]).stderr
