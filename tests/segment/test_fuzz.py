"""Whatever comes in ends as records that the encoder takes, as a skip, or as a Reject: never as an exception."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow import Event, Reject, Request, Unauthorized
from misoflow.effects import Merge, Once, Skip
from misoflow.encode import encode
from misoflow_segment.keys import CALL, CONTEXT, PROPERTIES, TRAITS
from misoflow_segment.mapping import TRACKS

from tests.segment.kit import NOW, segment

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["", "null", "p", "_p", "a,b", "a@b.cc", "2026-01-01", "9999-12-31T23:59:59-05:00", "0001-01-01"]),
    st.sampled_from(["https://x.example/a?utm_source=b&miso_id=c#d", "//", "http://", "?", "/", "1.2.3.4", "8.8.8.8"]),
)
KEYS = st.one_of(
    st.sampled_from([*CALL, *PROPERTIES, *TRAITS, *sorted(CONTEXT), "page", "ip", "campaign"]), st.text(max_size=6)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=20,
)
EVENTS = st.sampled_from([*TRACKS, "x", "Viewed Product"])
TYPES = st.sampled_from(["track", "page", "screen", "identify", "group", "alias", "delete", "TRACK", "?"])
CALLS = st.fixed_dictionaries(
    {"type": TYPES, "event": EVENTS},
    optional={
        "properties": st.one_of(st.dictionaries(KEYS, JSON, max_size=10), JSON),
        "traits": st.one_of(st.dictionaries(KEYS, JSON, max_size=6), JSON),
        "context": st.one_of(st.dictionaries(KEYS, JSON, max_size=6), JSON),
        **{key: JSON for key in CALL if key not in ("type", "event", "properties", "traits", "context")},
        "userId": SCALARS,
        "anonymousId": SCALARS,
    },
)
CONNECTORS = [
    segment(),
    segment(shared_secret="s", unmapped="custom", video_complete=True, traits=["plan", "x"], properties=["x", "value"]),
    segment(shared_secret="s", product_id_template="{sku}-{id}", product_group_id_path=["a.b"], link="never"),
    segment(shared_secret="s", pages=[{"path": "/{id}", "type": "read"}, {"name": "x", "type": "category_page_view"}]),
]


def ends_well(event: Event) -> None:
    for connector in CONNECTORS:
        try:
            for output in connector.translate(event):
                match output:
                    case Skip(reason):
                        assert reason
                    case Once(_, record, _):
                        encode(record)
                    case Merge(_, _, part, version, _):
                        assert version > 0
                        encode(part)
                    case _:
                        encode(output)  # type: ignore[arg-type]
        except Reject:
            pass  # its reason is what the dead letter shows


def ends_well_from(request: Request) -> None:
    connector = CONNECTORS[0]
    try:
        found = list(connector.events(request))
    except Reject:
        return
    for event in found:
        assert event.id
        assert event.topic in connector.topics
        ends_well(Event(event.id, event.topic, event.data, NOW))


@settings(max_examples=600, deadline=None)
@given(CALLS)
def test_calls_with_anything_in_them(data: dict[str, Any]) -> None:
    anything_goes(data)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None)
@given(CALLS)
def test_many_calls_with_anything_in_them(data: dict[str, Any]) -> None:
    anything_goes(data)


def anything_goes(data: dict[str, Any]) -> None:
    ends_well_from(Request(json.dumps(data).encode("utf-8", "surrogatepass"), {}, received_at=NOW))


@settings(max_examples=500, deadline=None)
@given(JSON)
def test_any_json_at_all(data: Any) -> None:
    body = json.dumps(data).encode()
    ends_well_from(Request(body, {}, received_at=NOW))
    ends_well_from(Request(b"[" + body + b"," + body + b"]", {}, received_at=NOW))
    ends_well_from(Request(body, {"content-type": "application/x-www-form-urlencoded"}, received_at=NOW))
    for path in ("v1/t", "v1/batch", "v1/", ""):
        ends_well_from(Request(body, {}, "tracking", path, received_at=NOW))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=20))
def test_any_bytes_at_all(body: bytes, header: str, path: str) -> None:
    connector = segment(shared_secret="s", write_key="k", batch_token="t" * 24)
    names = ("x-signature", "authorization", "webhook-signature", "webhook-timestamp", "content-type")
    for headers in [{name: header} for name in names] + [dict.fromkeys(names, header)]:
        for channel in ("webhook", "tracking"):
            for method in ("POST", "GET"):
                request = Request(body, headers, channel, path, method, {"data": header}, NOW)
                with contextlib.suppress(Unauthorized, Reject):
                    connector.verify(request)
                with contextlib.suppress(Reject):
                    list(connector.events(request))


@settings(max_examples=200, deadline=None)
@given(CALLS, st.sampled_from([*TRACKS, "page", "screen", "identify", "group", "alias", "delete", "malformed"]))
def test_a_topic_that_does_not_fit_its_data(data: dict[str, Any], topic: str) -> None:
    ends_well(Event("m", topic, data, NOW))
    ends_well(Event("m", topic, {**data, "event": None}, NOW))
    ends_well(Event("m", topic, None, NOW))
