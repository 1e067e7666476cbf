"""One record to bytes: what passes is valid for Miso, and what does not says why and where."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow.effects import aliased
from misoflow.encode import encode
from misoflow.errors import Reject
from misoflow.narrow import NARROW
from misoflow.records import (
    INTERACTIONS,
    Checkout,
    Custom,
    ForgetUser,
    Like,
    Product,
    Rate,
    RemoveProduct,
    Search,
    User,
)

from tests.conftest import complaint

TIME = "2026-01-01T00:00:00.000Z"
CANARY = "canary-value-77"


def like(**more: Any) -> Like:
    return Like(**{"product_ids": ["p"], "user_id": "u", "timestamp": TIME, **more})


def checkout(**more: Any) -> Checkout:
    return Checkout(**{"product_ids": ["a", "b"], "quantities": [1, 2], "user_id": "u", "timestamp": TIME, **more})


NAN, INF = float("nan"), float("inf")
REFUSED = [
    (like(user_id=None), "$.user_id"),
    (like(user_id=""), "$.user_id"),
    (like(user_id="", anonymous_id=""), "$.user_id"),
    (like(user_id="_u"), "$.user_id"),
    (like(user_id="u" * 513), "$.user_id"),
    (like(anonymous_id="a" * 1025), "$.anonymous_id"),
    (like(timestamp=None), "$.timestamp"),
    (like(timestamp="2026-01-01T00:00:00"), "$.timestamp"),
    (like(timestamp="2026-01-01"), "$.timestamp"),
    (like(timestamp="yesterday"), "$.timestamp"),
    (like(timestamp="2026-02-30T00:00:00Z"), "$.timestamp"),
    (like(timestamp="2026-01-01T00:00:00Z\n"), "$.timestamp"),
    (like(timestamp="2026-01-01T25:00:00Z"), "$.timestamp"),
    (like(timestamp=datetime(2026, 1, 1)), "$.timestamp"),
    (like(timestamp=5), "$.timestamp"),
    (like(timestamp="2026-02-30T00:00:00.000Z"), "$.timestamp"),
    (like(timestamp="2026-01-01 00:00:00.000Z"), "$.timestamp"),
    (like(timestamp="2026-01-01T00:00:00.000z"), "$.timestamp"),
    (like(timestamp="2026-01-01T00:00:00,000Z"), "$.timestamp"),
    (like(product_ids=["ok", "a,b"]), "$.product_ids[1]"),
    (like(product_ids=["_x"]), "$.product_ids[0]"),
    (like(product_ids=[""]), "$.product_ids[0]"),
    (like(product_ids=["x" * 513]), "$.product_ids[0]"),
    (like(product_ids="p"), "$.product_ids"),
    (like(product_ids=[3]), "$.product_ids[0]"),
    (like(miso_id="not-a-uuid"), "$.miso_id"),
    (like(context={"page": {"title": "t"}}), "$.context.page.url"),
    (like(context={"page": None}), "$.context.page"),
    (like(context={"truncated_ip": "1.2.3"}), "$.context.truncated_ip"),
    (like(context={"truncated_ip": "::1"}), "$.context.truncated_ip"),
    (like(context={"locale": 3}), "$.context.locale"),
    (like(context={"anything": None}), "$.context.anything"),
    (like(context={"page": {"url": "u", "anything": None}}), "$.context.page.anything"),
    (like(context={"campaign": {"anything": [NAN]}}), "$.context.campaign.anything[0]"),
    (Search(search={"keywords": "k", "new": None}, user_id="u", timestamp=TIME), "$.search.new"),  # type: ignore[typeddict-unknown-key]
    (like(context={"custom_context": {"a": {"b": 1}}}), "$.context.custom_context.a"),
    (like(context={"custom_context": {"a": [1, "x"]}}), "$.context.custom_context.a"),
    (like(context={"custom_context": {"a": [True]}}), "$.context.custom_context.a"),
    (like(context={"custom_context": {"a": [{"b": {}}]}}), "$.context.custom_context.a[0].b"),
    (like(context={"custom_context": {"a": NAN}}), "$.context.custom_context.a"),
    (like(context={"custom_context": {"a": [1, INF]}}), "$.context.custom_context.a[1]"),
    (checkout(quantities=[1]), "$.quantities"),
    (checkout(quantities=[1, 0]), "$.quantities"),
    (checkout(quantities=[1, -2]), "$.quantities"),
    (checkout(quantities=[1, NAN]), "$.quantities[1]"),
    (checkout(revenue=-1), "$.revenue"),
    (checkout(revenue=NAN), "$.revenue"),
    (checkout(revenue=INF), "$.revenue"),
    (checkout(revenue="10"), "$.revenue"),
    (Rate(product_ids=["p"], rating=5.5, user_id="u", timestamp=TIME), "$.rating"),
    (Rate(product_ids=["p"], rating=-1, user_id="u", timestamp=TIME), "$.rating"),
    (Product(product_id=""), "$.product_id"),
    (Product(product_id="a,b"), "$.product_id"),
    (Product(product_id="p", parent_id=""), "$.parent_id"),
    (Product(product_id="p", rating=6), "$.rating"),
    (Product(product_id="p", language="e"), "$.language"),
    (Product(product_id="p", url="not a url"), "$.url"),
    (Product(product_id="p", url="/relative"), "$.url"),
    (Product(product_id="p", condition="BROKEN"), "$.condition"),  # type: ignore[arg-type]
    (Product(product_id="p", categories=["a"]), "$.categories[0]"),  # type: ignore[list-item]
    (Product(product_id="p", created_at="2026-13-01"), "$.created_at"),
    (Product(product_id="p", updated_at=datetime(2026, 1, 1)), "$.updated_at"),
    (Product(product_id="p", location={"lat": 1}), "$.location"),
    (Product(product_id="p", children=[{"title": "t"}]), "$.children[0].id"),  # type: ignore[typeddict-item]
    (Product(product_id="p", custom_attributes={"a": {"b": []}}), "$.custom_attributes.a.b"),
    (Product(product_id="p", custom_attributes={"a": None}), "$.custom_attributes.a"),  # type: ignore[dict-item]
    (User(user_id="_u"), "$.user_id"),
    (User(user_id="u", age=3.5), "$.age"),  # type: ignore[arg-type]
    (User(user_id="u", custom_attributes={"a": {"b": 1}}), "$.custom_attributes.a"),
    (ForgetUser(user_id=""), "$.user_id"),
    (RemoveProduct(product_id="_p"), "$.product_id"),
    (Custom(custom_action_name=3, user_id="u", timestamp=TIME), "$.custom_action_name"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("record", "path"), REFUSED)
def test_what_miso_would_refuse_or_misread_is_refused_with_its_path(record: Any, path: str) -> None:
    with pytest.raises(Reject) as caught:
        encode(record)
    assert caught.value.path == path
    assert len(caught.value.reason) > 8


@pytest.mark.parametrize(
    "record",
    [
        like(anonymous_id="a", user_id=None),
        like(timestamp="2026-01-01T00:00:00+05:30"),
        like(timestamp="2024-02-29T23:59:59.123456789Z"),
        like(product_ids=[]),
        like(product_ids=None),
        like(context={"custom_context": {"a": [], "b": True, "c": [1, 2.5], "d": [{"x": 1}], "e": "null"}}),
        like(context={"something new": {"nested": [1]}}),
        checkout(quantities=2),
        checkout(quantities=[0.5, 2]),
        Product(product_id="p", location=[{"lat": 1, "lon": 2}], custom_attributes={"a": {"b": 1}}),
        Product(product_id="p", published_at="2026-01-01", url="https://x.example/a?b=c#d"),
        User(user_id="u", age=30, custom_attributes={"tags": ["a", "b"]}),
    ],
)
def test_what_miso_takes_is_written(record: Any) -> None:
    encode(record)


def test_datetimes_become_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(encode(like(timestamp=moment)))["timestamp"] == "2026-01-01T10:00:00.123Z"
    product = Product(product_id="p", created_at=moment, published_at=date(2026, 1, 2))  # type: ignore[arg-type]
    body = json.loads(encode(product))
    assert (body["created_at"], body["published_at"]) == ("2026-01-01T10:00:00.123Z", "2026-01-02")


def test_a_lone_surrogate_is_refused_not_a_crash() -> None:
    with pytest.raises(Reject):
        encode(like(user_id="\ud800"))


def test_a_late_identity_may_still_be_missing() -> None:
    record = Like(product_ids=["p"], anonymous_id=None, timestamp=TIME)
    with pytest.raises(Reject):
        encode(record)
    encode(record, late=True)
    assert aliased("k", default="d") == "d"


@pytest.mark.parametrize("field", ["timestamp", "miso_id", "product_ids", "revenue"])
def test_no_error_holds_the_value(field: str) -> None:
    with pytest.raises(Reject) as caught:
        encode(checkout(**{field: {"x": CANARY} if field == "product_ids" else CANARY}))
    assert CANARY not in f"{caught.value} {caught.value.reason} {caught.value.path} {caught.value.__context__}"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_what_only_looks_empty_or_like_a_list_is_held_against_the_rules_too() -> None:
    with pytest.raises(Reject, match="lat and lon"):
        encode(Product(product_id="p", location={}))
    for mixed in (("a", 1), {"a", 1}, frozenset([("a", 1)])):
        with pytest.raises(Reject, match="only numbers"):
            encode(like(context={"custom_context": {"x": mixed}}))
    assert json.loads(encode(like(context={"custom_context": {"x": ("a", "b")}})))["context"]


@settings(max_examples=400)
@given(st.sampled_from(sorted(INTERACTIONS)), st.data())
def test_whatever_passes_is_valid_by_misos_own_schema(name: str, data: st.DataObject) -> None:
    cls = INTERACTIONS[name]
    fields = {"user_id": "u", "timestamp": TIME}
    if name == "custom":
        fields["custom_action_name"] = "x"
    for field in data.draw(st.sets(st.sampled_from(cls.__struct_fields__), max_size=3)):
        fields[field] = data.draw(anything)
    try:
        body = encode(cls(**fields))
    except Reject:
        return
    assert complaint(body, name) == ""


def judged(record: Any) -> bytes | tuple[str, str]:
    try:
        return encode(record)
    except Reject as refusal:
        return refusal.reason, refusal.path


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(["page", "campaign", "custom_context", "truncated_ip", "locale", "new"]), anything),
    st.dictionaries(st.sampled_from(["url", "name", "title", "new"]), st.none() | st.text(max_size=3) | anything),
)
def test_the_full_schema_alone_judges_no_other_way(context: dict[str, Any], inner: dict[str, Any]) -> None:
    records = [like(context={**context, name: inner}) for name in ("page", "campaign", "custom_context")]
    records.append(like(context=context))
    quickly = [judged(record) for record in records]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("misoflow.encode.PUNCTUATION", "no time has it")
        assert [judged(record) for record in records] == quickly


@settings(max_examples=300)
@given(st.sampled_from([Product, User]), st.data())
def test_whatever_product_or_user_passes_is_valid_too(cls: Any, data: st.DataObject) -> None:
    fields: dict[str, Any] = {"product_id" if cls is Product else "user_id": "x1"}
    for field in data.draw(st.sets(st.sampled_from(cls.__struct_fields__), max_size=3)):
        fields[field] = data.draw(anything)
    try:
        body = encode(cls(**fields))
    except Reject:
        return
    assert complaint(body, cls.__name__.lower()) == ""


urls = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map(lambda tail: "https://" + tail)


@settings(max_examples=400)
@given(st.one_of(urls, st.text(max_size=20)))
def test_urls_that_pass_are_valid_uris(url: str) -> None:
    try:
        body = encode(Product(product_id="p", url=url))
    except Reject:
        return
    assert complaint(body, "product") == ""


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_aware_datetime_is_written_validly(moment: datetime) -> None:
    try:
        body = encode(like(timestamp=moment))
    except Reject:
        assert moment.year < 1000
        return
    assert complaint(body, "like") == ""


def test_only_fields_that_encode_narrows_hold_open_objects() -> None:
    """A null in another one would pass the narrow type unseen."""
    for cls in INTERACTIONS.values():
        for field in msgspec.structs.fields(cls):
            assert field.name in NARROW or not re.search("dict|Any|records", str(field.type)), (cls, field.name)
