"""JSON of any shape: events by paths, records by rules, and what is known as a repeat."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow import Reject
from misoflow_http.mapped import moment_of

from tests.http.kit import LATER, RULES, SECRET, events, hook, http, ids, records

ORDER = {
    "event": "order.paid",
    "customer": {"id": 17},
    "lines": [{"sku": "a"}, {"sku": 5}, {"sku": "_no"}],
    "counts": ["2", 1],
    "total": "19.90",
    "at": "2026-11-19T08:00:00+01:00",
}
HMAC = {"auth": "hmac", "secret": SECRET}


def mapped(**settings: Any) -> Any:
    return http(RULES, **{**HMAC, **settings})


def test_a_rule_makes_the_record_and_the_connector_adds_the_time() -> None:
    assert records(mapped(time_path="at"), hook(ORDER)) == [
        {
            **{"is": "Checkout", "type": "checkout", "user_id": "17", "product_ids": ["a", "5"]},
            **{"quantities": [2, 1], "revenue": 19.9, "timestamp": "2026-11-19T07:00:00.000Z"},
        }
    ]
    (made,) = records(mapped(), hook(ORDER))
    assert made["timestamp"] == "2026-11-20T10:00:00.123Z"  # its arrival


def test_a_time_of_the_rules_own_comes_first() -> None:
    rules = [{"match": "like", "type": "like", "user_id": "$.user", "timestamp": "$.when"}]
    (made,) = records(http(rules, time_path="at", **HMAC), hook({"event": "like", "user": "u", "when": 0, "at": "no"}))
    assert made["timestamp"] == "1970-01-01T00:00:00.000Z"


def test_one_event_a_list_of_them_or_a_list_somewhere() -> None:
    one = {"event": "like", "user": "u", "item": "p"}
    assert len(records(mapped(), hook(one))) == 1
    assert len(records(mapped(), hook([one, one]))) == 2
    assert len(records(mapped(list_path="data.items"), hook({"data": {"items": [one, one, one]}}))) == 3
    assert len(records(mapped(list_path="$[0].x"), hook([{"x": one}]))) == 1
    assert records(mapped(), hook([])) == []
    with pytest.raises(Reject) as refused:
        events(mapped(list_path="data.items"), hook({"data": {}}))
    assert refused.value.path == "$.data.items"


def test_what_no_rule_knows_is_skipped_and_says_so() -> None:
    assert records(mapped(), hook([{"event": "ping"}, {"event": "new"}, {}])) == [
        {"skipped": "a rule of this instance drops it"},
        {"skipped": "unmapped: no rule of this instance knows this event"},
        {"skipped": "unmapped: no rule of this instance knows this event"},
    ]


def test_the_events_name_may_stand_anywhere() -> None:
    deep = {"meta": {"kind": "LIKED"}, "user": "u", "item": "p"}
    assert records(mapped(event_path="meta.kind"), hook(deep))[0]["is"] == "Like"


def test_an_item_that_is_no_object_is_a_dead_letter_of_its_own() -> None:
    connector = mapped()
    good, bad = events(connector, hook([{"event": "like", "user": "u", "item": "p"}, "x"]))
    assert list(connector.translate(good))
    with pytest.raises(Reject) as refused:
        list(connector.translate(bad))
    assert refused.value.path == "$[1]"


def test_texts_lose_contacts_and_ids_that_are_none_are_left_out() -> None:
    rules = [{"match": "s", "type": "search", "anonymous_id": "$.v", "search": {"keywords": "$.q"}}]
    (made,) = records(http(rules, **HMAC), hook({"event": "s", "v": "v1", "q": "lamp jo@shop.example"}))
    assert made["search"] == {"keywords": "lamp"}


def test_an_id_of_the_events_own_is_what_knows_it() -> None:
    connector = mapped(id_path="meta.id")
    event = {"event": "like", "user": "u", "item": "p", "meta": {"id": 7}}
    assert ids(connector, hook(event)) == ids(connector, hook([event], at=LATER)) == ["id-7"]
    long = {"meta": {"id": "x" * 5000}}
    assert len(ids(connector, hook(long))[0]) < 50
    for none in ("", None, [], {}, True):
        assert ids(connector, hook({"meta": {"id": none}})) != ids(connector, hook({"meta": {"id": none}}, at=LATER))


def test_the_message_of_standard_webhooks_is_what_knows_a_repeat() -> None:
    connector = http(RULES, auth="standard-webhooks", secret=SECRET)
    event = {"event": "like"}
    first = ids(connector, hook([event, event], webhook_id="m1"))
    assert len(set(first)) == 2
    assert ids(connector, hook([event, event], at=LATER, webhook_id="m1")) == first
    assert ids(connector, hook([event, event], webhook_id="m2")) != first


def test_a_body_with_a_time_is_a_repeat_and_one_without_is_not() -> None:
    connector = mapped(time_path="at")
    assert ids(connector, hook(ORDER)) == ids(connector, hook(ORDER, at=LATER))
    timeless = {**ORDER, "at": None}
    assert ids(connector, hook(timeless)) != ids(connector, hook(timeless, at=LATER))
    assert ids(connector, hook(timeless)) == ids(connector, hook(timeless))


WHEN = datetime(2026, 11, 19, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        *("2026-11-19T08:00:00Z", "2026-11-19T09:00:00+01:00", "2026-11-19 08:00:00", WHEN.timestamp(), "1795075200"),
        *(int(WHEN.timestamp() * 1000), str(int(WHEN.timestamp() * 1000))),
    ],
)
def test_times_in_their_usual_forms(value: Any) -> None:
    assert moment_of(value) == WHEN


@pytest.mark.parametrize("value", ["soon", "", True, [], {}, float("nan"), 1e300, -1e300, "2026-13-01"])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(Reject):
        moment_of(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ORDER, "x"]), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_whatever_comes_is_a_valid_record_a_skip_or_a_reject(item: Any) -> None:
    connector = mapped(id_path="x", time_path="at")
    if type(item) is dict:
        item = {"event": "order.paid", **item}
    for event in events(connector, hook(item)):
        # these the engine makes dead letters of
        with contextlib.suppress(Reject, TypeError, ValueError, LookupError, AttributeError):
            list(connector.translate(event))


def test_the_sample_is_genuine_and_has_what_the_paths_name() -> None:
    connector = mapped(list_path="data.items", event_path="meta.kind", id_path="id", time_path="meta2.at")
    request = connector.sample("json")
    connector.verify(request)
    (event,) = events(connector, request)
    assert event.topic == "json"
    assert event.id.startswith("id-")
