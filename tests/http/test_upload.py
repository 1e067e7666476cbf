"""Miso's upload API: what is taken, what becomes of it, what is a repeat, and what its clients read."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow import Fate, Reject, Request
from misoflow_http.upload import MOST_RECORDS, answer

from tests.http.kit import LATER, NOW, call, events, http, ids, like, records

PRODUCT = {"product_id": "P1", "title": "Lamp", "custom_attributes": {"watts": 5}}
# what the official JavaScript client takes a line of a 422 apart with
LINE = re.compile(r"^\s*data\.(\d+)(?:\.(\S+))?\s+(?:\(([^)]*)\)\s+)?is\s+invalid\.\s+(.*)$")


def test_records_go_on_as_they_are() -> None:
    view = like(type="product_detail_page_view", duration=3.5, context={"page": {"url": "https://a.example"}})
    assert records(http(), call("v1/interactions", {"data": [like(), view]})) == [
        {"is": "Like", **like()},
        {"is": "ProductDetailPageView", **view},
    ]
    assert records(http(), call("v1/products", {"data": [PRODUCT]})) == [{"is": "Product", **PRODUCT}]
    user = {"user_id": "u1", "age": 30}
    assert records(http(), call("v1/users", {"data": [user]})) == [{"is": "User", **user}]


def test_an_interaction_without_a_time_happened_when_it_arrived() -> None:
    (made,) = records(http(), call("v1/interactions", {"data": [like(timestamp=None)]}))
    assert made["timestamp"] == "2026-11-20T10:00:00.123Z"


@pytest.mark.parametrize(
    ("path", "item", "where"),
    [
        ("v1/interactions", like(product_ids="p1"), "$.data[1].product_ids"),
        ("v1/interactions", like(user_id=None), "$.data[1].user_id"),
        ("v1/interactions", like(type="lke"), "$.data[1].type"),
        ("v1/interactions", like(timestamp="yesterday"), "$.data[1].timestamp"),
        ("v1/interactions", like(user_hash="x"), "$.data[1]"),
        ("v1/interactions", 7, "$.data[1]"),
        ("v1/interactions", None, "$.data[1]"),
        ("v1/products", {**PRODUCT, "price": 3}, "$.data[1]"),
        ("v1/products", {"product_id": "_p"}, "$.data[1].product_id"),
        ("v1/users", {"user_id": ""}, "$.data[1].user_id"),
    ],
)
def test_a_bad_record_takes_no_other_along(path: str, item: Any, where: str) -> None:
    good: dict[str, Any] = {"v1/interactions": like(), "v1/products": PRODUCT, "v1/users": {"user_id": "u"}}[path]
    connector = http()
    request = call(path, {"data": [good, item, good]})
    connector.verify(request)
    first, bad, last = events(connector, request)
    assert list(connector.translate(first))
    assert list(connector.translate(last))
    with pytest.raises(Reject) as refused:
        list(connector.translate(bad))
    assert refused.value.path == where


@pytest.mark.parametrize(
    ("method", "path", "data", "made"),
    [
        ("DELETE", "v1/products/Lamp,No?", b"", [{"is": "RemoveProduct", "product_id": "Lamp,No?"}]),
        ("DELETE", "v1/products/LAMP-1", b"{}", [{"is": "RemoveProduct", "product_id": "LAMP-1"}]),
        ("DELETE", "v1/users/U1", b"{}", [{"is": "RemoveUser", "user_id": "U1"}]),
        (
            *("POST", "v1/products/_delete", {"data": {"product_ids": ["a", "b"]}}),
            [{"is": "RemoveProduct", "product_id": "a"}, {"is": "RemoveProduct", "product_id": "b"}],
        ),
        ("POST", "v1/users/_delete", {"data": {"user_ids": ["a"]}}, [{"is": "RemoveUser", "user_id": "a"}]),
        ("DELETE", "v1/interactions", {"user_ids": ["a"]}, [{"is": "ForgetUser", "user_id": "a"}]),
        ("DELETE", "v1/interactions", {"data": {"user_ids": ["a"]}}, [{"is": "ForgetUser", "user_id": "a"}]),
    ],
)
def test_deletes(method: str, path: str, data: Any, made: list[Any]) -> None:
    connector, request = http(), call(path, data, method=method)
    connector.verify(request)
    if "," in path:  # no id that Miso has; the event says so
        with pytest.raises(Reject):
            records(connector, request)
    else:
        assert records(connector, request) == made


TOO_MANY = {"data": [like()] * (MOST_RECORDS + 1)}


@pytest.mark.parametrize(
    ("method", "path", "data", "said"),
    [
        ("POST", "v1/interactions", b"", "not JSON"),
        ("POST", "v1/interactions", b'{"data":[NaN]}', "not JSON"),
        ("POST", "v1/interactions", [like()], "must be an object"),
        ("POST", "v1/interactions", {}, "must be a list"),
        ("POST", "v1/interactions", {"data": like()}, "must be a list"),
        ("POST", "v1/interactions", {"data": None}, "must be a list"),
        ("POST", "v1/products", {"data": []}, "is empty"),
        ("POST", "v1/interactions", TOO_MANY, "in parts"),
        ("POST", "v1/products/_delete", {"data": ["a"]}, "product_ids"),
        ("POST", "v1/products/_delete", {"data": {"product_ids": [1]}}, "must hold texts"),
        ("POST", "v1/users/_delete", {"data": {"product_ids": ["a"]}}, "user_ids"),
        ("DELETE", "v1/interactions", {"user_ids": []}, "is empty"),
        ("DELETE", "v1/interactions", b"", "not JSON"),
        ("DELETE", "v1/products/_ids", b"", "ask Miso itself"),
    ],
)
def test_a_call_of_the_wrong_shape_is_told_so(method: str, path: str, data: Any, said: str) -> None:
    with pytest.raises(Reject, match=said):
        http().verify(call(path, data, method=method))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "user_ids", "product_ids", "type", "context"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(
    JSON,
    st.sampled_from(["v1/interactions", "v1/products", "v1/users/_delete", "v1/users/x", "v1/x"]),
    st.sampled_from(["POST", "DELETE", "GET"]),
)
def test_whatever_comes_is_taken_or_told_what_is_wrong(data: Any, path: str, method: str) -> None:
    connector, request = http(), call(path, data, method=method)
    try:
        connector.verify(request)
    except Reject:
        return
    for event in events(connector, request):
        with contextlib.suppress(Reject):
            list(connector.translate(event))
    json.dumps(connector.answer(request))


def test_the_same_body_again_is_a_repeat() -> None:
    connector = http()
    body = {"data": [like(), like(), like(user_id="u2")]}
    first = ids(connector, call("v1/interactions", body))
    assert len(set(first)) == 3  # two equal interactions of one call are two
    assert ids(connector, call("v1/interactions", body, at=LATER)) == first
    assert ids(connector, call("v1/interactions", body, at=LATER, api_key="x")) == first
    other = ids(connector, call("v1/interactions", {"data": [like()]}))
    assert not set(other) & set(first)  # the same interaction in another call is another one


def test_an_interaction_with_a_uuid_is_known_in_any_call() -> None:
    connector = http()
    mine = like(timestamp=None, context={"custom_context": {"uuid": "3b241101-e2bb-4255-8caf-4136c566a962"}})
    first = ids(connector, call("v1/interactions", {"data": [mine]}))
    assert ids(connector, call("v1/interactions", {"data": [like(), mine]}, at=LATER))[1:] == first
    assert ids(connector, call("v1/interactions", {"data": [{**mine, "user_id": "other"}]})) != first


def test_what_says_no_time_is_new_each_time_it_arrives() -> None:
    connector = http()
    for path, item in (
        ("v1/interactions", like(timestamp=None)),
        ("v1/products", PRODUCT),
        ("v1/users", {"user_id": "u"}),
    ):
        request = call(path, {"data": [item]})
        assert ids(connector, request) == ids(connector, request)
        assert ids(connector, call(path, {"data": [item]}, at=LATER)) != ids(connector, request)


def test_a_later_product_is_a_newer_version() -> None:
    connector = http()
    versions = []
    for moment in (NOW, NOW + timedelta(seconds=1)):
        (event,) = events(connector, call("v1/products", {"data": [PRODUCT]}, at=moment))
        (made,) = connector.translate(event)
        versions.append(made.version)  # type: ignore[union-attr]
    assert versions[1] - versions[0] == 1000


def test_a_dry_run_sends_nothing_and_says_what_is_wrong() -> None:
    request = call("v1/interactions", {"data": [like(), like(type="no"), like(product_ids=[3])]}, dry_run="1")
    assert records(http(), request) == [{"skipped": "a dry run: nothing was to be sent"}]
    said = answer(request)
    assert said["errors"] is True
    assert [LINE.match(line).group(1, 2) for line in said["data"]] == [("1", "type"), ("2", "product_ids[0]")]  # type: ignore[union-attr]
    good = answer(call("v1/interactions", {"data": [like()]}, dry_run="1"))
    assert good == {"message": "success", "errors": False, "data": []}


def stored(path: str, method: str = "POST", *fates: Fate) -> Request:
    return Request(b"", {}, "miso", path, method, delivery=42, fates=fates)


@pytest.mark.parametrize(
    ("path", "method", "said"),
    [
        ("v1/interactions", "POST", {"message": "success"}),
        ("v1/interactions", "DELETE", {"message": "success"}),
        ("v1/products", "POST", {"message": "success", "data": {"task_id": "42"}}),
        ("v1/users", "POST", {"message": "success", "data": {"task_id": "42"}}),
        ("v1/users/_delete", "POST", {"message": "deleted", "data": {"task_id": "42"}}),
        ("v1/products/p", "DELETE", {"message": "deleted", "data": {"task_id": "42"}}),
    ],
)
def test_answers_in_misos_shape(path: str, method: str, said: Any) -> None:
    assert http().answer(stored(path, method)) == said


def test_a_task_has_no_errors_key_before_it_is_finished() -> None:
    said = answer(stored("v1/products/_status/42", "GET", Fate("delivered"), Fate("pending"), Fate("dead", "x", "$")))
    assert "errors" not in said
    assert said["records"] == {"delivered": 1, "pending": 1, "dead": 1}


def test_a_finished_task_names_what_was_refused_here_or_by_miso() -> None:
    fates = (
        Fate("delivered"),
        Fate("dead", "must not start with '_'", "$.data[1].product_id"),
        Fate(
            "dead", "data.77.custom_attributes.x is invalid. Its data type is not consistent", "$.custom_attributes.x"
        ),
        Fate("skipped"),
        Fate("dead", "splitting this delivery ended the worker", "$"),
    )
    said = answer(stored("v1/products/_status/42", "GET", *fates))
    assert (said["errors"], said["code"]) == (True, 200)
    assert [LINE.match(line).groups() for line in said["data"]] == [  # type: ignore[union-attr]
        ("1", "product_id", None, "must not start with '_'"),
        ("2", "custom_attributes.x", None, "Its data type is not consistent"),
        ("4", None, None, "splitting this delivery ended the worker"),
    ]
    clean = answer(stored("v1/products/_status/42", "GET", Fate("delivered"), Fate("skipped")))
    assert (clean["errors"], clean["data"]) == (False, [])


@pytest.mark.parametrize("topic", ["interactions", "products", "users", "dry_run", "products.delete", "users.delete"])
def test_samples_are_genuine_and_lead_to_their_topic(topic: str) -> None:
    connector = http()
    request = connector.sample(topic)
    connector.verify(request)
    assert [event.topic for event in connector.events(request)] == [topic]
    json.dumps(connector.answer(request))


def test_there_is_no_sample_of_what_is_not_taken() -> None:
    for topic in ("json", "nonsense"):
        with pytest.raises(LookupError):
            http().sample(topic)
    with pytest.raises(LookupError):
        http(auth="none").sample("users")


def test_a_time_is_left_as_it_is_written() -> None:
    (made,) = records(http(), call("v1/interactions", {"data": [like(timestamp="2026-01-01T00:00:00+02:00")]}))
    assert made["timestamp"] == "2026-01-01T00:00:00+02:00"
