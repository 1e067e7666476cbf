"""From a delivery to events: every form of body, ids, and the clock of Segment's libraries."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from misoflow import Event, Reject, Request
from misoflow_segment.deliveries import id_of
from misoflow_segment.mapping import TOPICS

from tests.segment.kit import NOW, SECRET, TOKEN, call, delivery, events, plain, segment, track, translate

VIEW = track("Product Viewed", {"product_id": "p"})


def topics(data: Any) -> list[str]:
    return [event.topic for event in events(data)]


def test_one_event_a_batch_and_an_extensible_batch() -> None:
    other = {**VIEW, "messageId": "m-2", "type": "PAGE"}
    assert [event.id for event in events(VIEW)] == ["m-1"]
    assert [(event.id, event.topic) for event in events([VIEW, other])] == [("m-1", "Product Viewed"), ("m-2", "page")]
    assert [event.data for event in events([{"json": VIEW}, {"json": other}])] == [VIEW, other]
    assert events([]) == []


def test_a_bad_element_does_not_take_its_neighbours_with_it() -> None:
    batch: list[Any] = [{**VIEW, "messageId": f"m-{number}"} for number in range(1000)]
    batch[500] = {"properties": {"product_id": "p"}}
    found = events(batch)
    assert [event.topic for event in found].count("malformed") == 1
    connector = segment()
    with pytest.raises(Reject, match="set Data to the whole event"):
        connector.translate(found[500])
    assert all(list(connector.translate(event)) for event in found if event.topic != "malformed")


@pytest.mark.parametrize(
    "element",
    [
        None,
        5,
        "x",
        True,
        [],
        [[]],
        {},
        {"product_id": "p"},
        {"type": "charge"},
        {"type": 5},
        {"type": ["track"]},
        {"type": "track"},
        {"userId": "u"},
        {"audienceName": "a"},
        {"json": 5},
        {"event": 5},
        {"type": "", "userId": "u"},
    ],
)
def test_what_is_no_event_is_refused_with_a_reason(element: Any) -> None:
    connector = segment()
    for data in ([element, VIEW], element):
        event = events(data, connector)[0] if data != [] else events([[]], connector)[0]
        assert event.topic == "malformed"
        with pytest.raises(Reject) as caught:
            connector.translate(event)
        assert caught.value.reason
        assert caught.value.path.startswith("$")


def test_ids_of_malformed_elements_are_stable_and_distinct() -> None:
    first, second = events([None, None, {"a": 1}, {"a": 1}]), events([None, None, {"a": 1}, {"a": 1}])
    assert [event.id for event in first] == [event.id for event in second]
    assert len({event.id for event in first}) == 4


@pytest.mark.parametrize(
    ("data", "topic"),
    [
        ({"event": "Product Viewed"}, "Product Viewed"),
        ({"type": "TRACK", "event": "x"}, "track"),
        ({"Type": "Identify"}, "identify"),
        ({"TYPE": "screen"}, "screen"),
        ({"type": " group "}, "group"),
        ({"type": "alias"}, "alias"),
        ({"type": "delete"}, "delete"),
    ],
)
def test_the_kind_of_call(data: dict[str, Any], topic: str) -> None:
    assert topics(data) == [topic]


def test_keys_of_the_call_in_any_case() -> None:
    (made,) = translate({"Type": "track", "Event": "Product Viewed", "user_id": "u", "properties": {"sku": "s"}})
    assert made["user_id"] == "u"


def test_ids() -> None:
    assert id_of({"messageId": " m "}) == "m"
    assert id_of({"messageId": 5}) == "5"
    assert id_of({"messageId": "x" * 500}).startswith("long-")
    base = {"type": "track", "userId": "u", "event": "e", "properties": {"a": 1}, "timestamp": "2026-01-01"}
    first = id_of(base)
    assert first == id_of({**base, "messageId": "", "sentAt": "x", "receivedAt": "y", "context": {"ip": "z"}})
    assert first == id_of({**base, "properties": {"a": 1}})
    for change in (
        {"userId": "v"},
        {"event": "f"},
        {"properties": {"a": 2}},
        {"timestamp": "2026-01-02"},
        {"type": "page"},
    ):
        assert id_of({**base, **change}) != first
    assert id_of({**base, "properties": {"a": 2**80}})


def test_bodies_that_are_no_json_are_refused_whole() -> None:
    for body in (b"", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b"[" * 10_000, b"{} x"):
        with pytest.raises(Reject):
            list(segment().events(delivery(body)))
    assert topics(b"\xef\xbb\xbf  " + json.dumps(VIEW).encode()) == ["Product Viewed"]


def test_deep_properties_and_big_numbers_pass() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"d": deep}
    (event,) = events(track("Product Viewed", {"product_id": 2**65}, userId=2**64 + 1))
    (made,) = [plain(output) for output in segment().translate(event)]
    assert (made["user_id"], made["product_ids"]) == ("18446744073709551617", ["36893488147419103232"])
    assert len(translate(track("Product Viewed", {"product_id": "p", "deep": deep}))) == 1


def test_json_that_says_it_is_a_form_is_json() -> None:
    body = json.dumps({**SINGLE, "type": "track"}).encode()
    request = Request(body, {"content-type": "application/x-www-form-urlencoded"}, received_at=NOW)
    assert [event.topic for event in segment().events(request)] == topics(json.loads(body)) != ["malformed"]


def test_forms() -> None:
    fields = {"type": "track", "event": "Product Viewed", "userId": "u", "properties[product_id]": "p"}
    request = Request(
        urlencode(fields).encode(), {"content-type": "application/x-www-form-urlencoded"}, received_at=NOW
    )
    (event,) = segment(batch_token=TOKEN).events(request)
    assert event.data["properties"] == {"product_id": "p"}
    body = urlencode({"type": "track", "event": "Product Viewed", "userId": "u", "properties": '{"sku":"s"}'})
    assert [event.data["properties"] for event in events([{"body": body}])] == [{"sku": "s"}]
    assert topics([{"body": "a=b"}]) == ["malformed"]


# the Tracking API -----------------------------------------------------------------------------------------------


def tracked(data: Any, path: str = "v1/track", method: str = "POST", arrived: datetime = NOW) -> list[Event]:
    query = {}
    body = json.dumps(data).encode()
    if method == "GET":
        query, body = {"data": base64.b64encode(body).decode().rstrip("=")}, b""
    request = Request(body, {"content-type": "text/plain"}, "tracking", path, method, query, arrived)
    return list(segment(write_key="k").events(request))


SINGLE = {"event": "Product Viewed", "anonymousId": "a", "messageId": "m", "properties": {"product_id": "p"}}


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("v1/t", "Product Viewed"),
        ("v1/track", "Product Viewed"),
        ("v1/pixel/track", "Product Viewed"),
        ("v1/p", "page"),
        ("v1/page", "page"),
        ("v1/s", "screen"),
        ("v1/i", "identify"),
        ("v1/identify", "identify"),
        ("v1/g", "group"),
        ("v1/group", "group"),
        ("v1/a", "alias"),
        ("v1/alias", "alias"),
        ("v1/screen/", "screen"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_type_comes_from_the_path(path: str, topic: str, method: str) -> None:
    assert [event.topic for event in tracked(SINGLE, path, method)] == [topic]
    assert [event.topic for event in tracked({**SINGLE, "type": "screen"}, path, method)] == ["screen"]


@pytest.mark.parametrize("path", ["v1/batch", "v1/b", "v1/import"])
def test_a_batch_shares_its_context_and_the_items_win(path: str) -> None:
    body = {
        "batch": [
            {**SINGLE, "type": "track", "context": {"locale": "de"}},
            {**SINGLE, "type": "track", "messageId": "m2", "context": None},
            5,
        ],
        "context": {"locale": "en", "ip": "8.8.8.8"},
        "integrations": {"Miso": {"miso_id": "x"}},
        "writeKey": "k",
        "sentAt": "2026-02-23T22:30:00Z",
    }
    first, second, third = tracked(body, path)
    assert first.data["context"] == {"locale": "de", "ip": "8.8.8.8"}
    assert second.data["context"] == {"locale": "en", "ip": "8.8.8.8"}
    assert first.data["integrations"] == {"Miso": {"miso_id": "x"}}
    assert third.topic == "malformed"
    assert tracked({"batch": []}, path) == []


def test_the_write_key_and_deletes_stop_here() -> None:
    (event,) = tracked({**SINGLE, "writeKey": "k"}, "v1/t")
    assert "writeKey" not in event.data
    (forged,) = tracked({"type": "delete", "userId": "victim"}, "v1/t")
    assert forged.topic == "malformed"
    with pytest.raises(Reject, match="signed webhooks only"):
        segment(write_key="k").translate(forged)
    (in_batch,) = tracked({"batch": [{"type": "delete", "userId": "victim"}]}, "v1/batch")
    assert in_batch.topic == "malformed"


@pytest.mark.parametrize("skew", [0, 3600, -3600, 10 * 365 * 86400, -10 * 365 * 86400])
def test_a_wrong_clock_is_corrected(skew: int) -> None:
    """The event happened 10 s before it was sent, whatever the sender's clock shows."""
    clock = NOW + timedelta(seconds=skew)
    item = {**SINGLE, "type": "track", "timestamp": (clock - timedelta(seconds=10)).isoformat()}
    sent = clock.isoformat()
    for found in (tracked({**item, "sentAt": sent}, "v1/t"), tracked({"batch": [item], "sentAt": sent}, "v1/batch")):
        assert found[0].data["timestamp"] == "2026-02-23T22:29:50.000Z"
        assert found[0].data["originalTimestamp"] == item["timestamp"]
        assert found[0].data["receivedAt"] == "2026-02-23T22:30:00.000Z"


def test_without_sent_at_the_time_stays_as_sent() -> None:
    sent = {**SINGLE, "timestamp": "2026-02-23T20:00:00.000Z"}
    assert tracked(sent, "v1/t")[0].data["timestamp"] == "2026-02-23T20:00:00.000Z"
    assert tracked({**sent, "sentAt": "nonsense"}, "v1/t")[0].data["timestamp"] == "2026-02-23T20:00:00.000Z"
    assert tracked(SINGLE, "v1/t")[0].data["timestamp"] == "2026-02-23T22:30:00.000Z"


def test_a_retry_has_the_same_id_whenever_it_arrives() -> None:
    nameless = {key: value for key, value in SINGLE.items() if key != "messageId"} | {
        "timestamp": "2026-02-23T20:00:00Z"
    }
    later = NOW + timedelta(minutes=3)
    first = tracked({**nameless, "sentAt": "2026-02-23T22:30:00Z"}, "v1/t")[0].id
    assert tracked({**nameless, "sentAt": "2026-02-23T22:33:00Z"}, "v1/t", arrived=later)[0].id == first


# samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("settings", [{"shared_secret": SECRET}, {"batch_token": TOKEN}, {"write_key": "k"}])
def test_samples_are_genuine_and_of_their_topic(topic: str, settings: dict[str, Any]) -> None:
    connector = segment(**settings)
    if topic == "delete" and "write_key" in settings:
        with pytest.raises(LookupError):
            connector.sample(topic)
        return
    request = connector.sample(topic)
    stamped = Request(request.body, request.headers, request.channel, request.path, received_at=datetime.now(UTC))
    connector.verify(stamped)
    (event,) = connector.events(stamped)
    assert event.topic == topic
    if topic == "malformed":
        with pytest.raises(Reject):
            connector.translate(event)
    else:
        assert [plain(output) for output in connector.translate(event)]
    assert next(iter(connector.events(connector.sample(topic)))).id != event.id


def test_samples_by_any_name_and_none_by_an_unknown_one() -> None:
    connector = segment()
    assert next(iter(connector.events(connector.sample("Viewed Product")))).topic == "Product Viewed"
    for unknown in ("Nothing Known", "", "!!"):
        with pytest.raises(LookupError):
            connector.sample(unknown)


def test_call_is_what_the_other_tests_think_it_is() -> None:
    assert topics(call(type="page")) == ["page"]
