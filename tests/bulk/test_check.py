"""One record of a file is held against the very rules that records made by connectors are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from misoflow import encode
from misoflow.bulk.check import checker
from misoflow.bulk.letters import reason_of
from misoflow.errors import Reject
from misoflow.records import INTERACTIONS, Product, User

BASE = {"user_id": "u", "timestamp": "2026-10-01T00:00:00Z"}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("like", {}),
    ("like", {"user_id": "_u"}),
    ("like", {"user_id": ""}),
    ("like", {"user_id": "u" * 513}),
    ("like", {"product_ids": ["a,b"]}),
    ("like", {"product_ids": ["_a"]}),
    ("like", {"product_ids": [""]}),
    ("like", {"miso_id": "x"}),
    ("like", {"timestamp": "2026-10-01 00:00"}),
    ("like", {"timestamp": "2026-13-01T00:00:00Z"}),
    ("like", {"context": {"truncated_ip": "1.2.3"}}),
    ("like", {"context": {"page": {}}}),
    ("like", {"context": {"custom_context": {"a": {"b": 1}}}}),
    ("like", {"context": {"custom_context": {"a": [1, "b"]}}}),
    ("like", {"context": {"custom_context": {"a": [{"b": [1]}]}}}),
    ("add_to_cart", {"product_ids": ["a"], "quantities": [1, 2]}),
    ("add_to_cart", {"product_ids": ["a"], "quantities": [0]}),
    ("checkout", {"revenue": -1}),
    ("rate", {"rating": 6}),
    ("custom", {"custom_action_name": 3}),
    ("search", {"search": {"filters": {"a": "b"}}}),
    ("product", {"product_id": "_p"}),
    ("product", {"product_id": "p", "rating": 9}),
    ("product", {"product_id": "p", "created_at": "2026-02-30"}),
    ("product", {"product_id": "p", "url": "nope"}),
    ("product", {"product_id": "p", "url": "https://x/%zz"}),
    ("product", {"product_id": "p", "location": {"lat": 1}}),
    ("product", {"product_id": "p", "children": [{"title": "x"}]}),
    ("product", {"product_id": "p", "custom_attributes": {"a": [[1]]}}),
    ("product", {"product_id": "p", "parent_id": ""}),
    ("user", {"user_id": "_u"}),
    ("user", {"user_id": "u", "age": 3.5}),
    ("user", {"user_id": "u", "custom_attributes": {"a": {"b": 1}}}),
]


def verdict(work: Any) -> tuple[str, str] | bytes:
    try:
        return work()  # type: ignore[no-any-return]
    except Reject as error:
        return error.reason, error.path


@pytest.mark.parametrize(("kind", "fields"), CASES)
def test_the_same_verdict_in_the_same_words(kind: str, fields: dict[str, Any]) -> None:
    cls: Any = {"product": Product, "user": User}.get(kind) or INTERACTIONS[kind]
    given = fields if kind in ("product", "user") else {**BASE, **fields}
    wanted = verdict(lambda: encode.encode(cls(**given)))
    raw = msgspec.json.encode(given if kind in ("product", "user") else {"type": kind, **given})
    check = checker({"product": "products", "user": "users"}.get(kind, "interactions"))  # type: ignore[arg-type]
    found = verdict(lambda: check(raw)[0][0])
    assert (raw if isinstance(wanted, bytes) else wanted) == found


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b'{"user_id":"u","name":null}', b'{"user_id":"u"}'),
        (b'{"user_id":"null", "name" : "null"}', b'{"user_id":"null", "name" : "null"}'),
    ],
)
def test_a_null_at_the_top_is_left_out_and_nothing_else_is_touched(raw: bytes, sent: bytes) -> None:
    assert checker("users")(raw) == ([sent], ["null" if b'"null"' in raw else "u"])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"user_id":"u","custom_attributes":{"a":null}}',
        b'{"user_id":"u","name":"\xff"}',
        b'{"user_id":"u","name":"\\ud800"}',
        b'{"user_id":"u","age":NaN}',
        b'{"user_id":"u","custom_attributes":{"a":' + b"[" * 300 + b"]" * 300 + b"}}",
        b'{"user_id":"u"}}',
        b"",
    ],
)
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    with pytest.raises(Reject):
        checker("users")(raw)


def test_text_that_is_no_utf8_is_refused_where_no_schema_reads_it() -> None:
    raw = msgspec.json.encode({"type": "like", **BASE, "context": {"free": "?"}})
    with pytest.raises(Reject):
        checker("interactions")(raw.replace(b"?", b"\xff"))


def test_reasons_are_counted_without_their_places() -> None:
    assert reason_of("data.7.custom_attributes.x is invalid. Its type") == "custom_attributes.x is invalid. Its type"
    assert reason_of("data.7 is invalid. Why") == "record is invalid. Why"
    assert reason_of("is not JSON: JSON is malformed (byte 4)") == "is not JSON: JSON is malformed"
    assert reason_of("must not be empty") == "must not be empty"
    assert reason_of("must not be empty", "$.product_ids[3]") == "product_ids[]: must not be empty"
    assert reason_of("data.7.url is invalid. Why", "$.url") == "url is invalid. Why"


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"timestamp": "yesterday"}, "must be a time with a zone, like 2026-10-01T08:00:00.000Z"),
        ({"timestamp": "2026-10-01"}, "must be a time with a zone, like 2026-10-01T08:00:00.000Z"),
        ({"miso_id": "x"}, "must be a UUID"),
    ],
)
def test_no_pattern_is_shown_to_a_person(field: dict[str, Any], said: str) -> None:
    with pytest.raises(Reject, match=said):
        checker("interactions")(msgspec.json.encode({"type": "like", **BASE, **field}))
    with pytest.raises(Reject, match="must be a date, or a time"):
        checker("users")(b'{"user_id":"u","created_at":"x"}')
    with pytest.raises(Reject, match="is not a URL"):
        checker("users")(b'{"user_id":"u","profile_image":"x"}')
