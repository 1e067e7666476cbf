"""Whatever comes in ends as records that the encoder takes, as a skip, or as a Reject: never as an exception."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow import Event, Reject, Unauthorized, Unwanted
from misoflow.pipeline import DATA_ERRORS
from misoflow_shopify import pixel
from misoflow_shopify.deliveries import WEBHOOKS

from tests.shopify.mapped import SHOP, clicked, order, outputs, product, shopify, split, variant, webhook, wire

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "0", "1", "-1", "1.50", "0.00", "gid://shopify/Product/7", "gid://shopify/Cart/a?key=b", "a,b"]
    ),
    st.sampled_from(
        ["2026-11-20T10:00:00Z", "2026-11-20T05:00:00-05:00", "9999-12-31T23:59:59-05:00", "0001-01-01", SHOP]
    ),
    st.sampled_from(
        ["https://shop.example/collections/a?filter.x=1", "//", "http://[", "?", "/", "a@b.cc", "_x", "Größe"]
    ),
)
REST = [
    *(
        "id",
        "token",
        "variant_id",
        "product_id",
        "quantity",
        "price",
        "total_price",
        "line_items",
        "refunds",
        "customer",
    ),
    *(
        "refund_line_items",
        "line_item_id",
        "created_at",
        "updated_at",
        "processed_at",
        "cancelled_at",
        "test",
        "handle",
    ),
    *("note_attributes", "name", "value", "discount_allocations", "amount_set", "shop_money", "amount", "order_id"),
    *("default_address", "country_code", "inventory_item_id", "order_edit", "cart_token", "checkout_token", "plan"),
    *("source_name", "customer_locale", "currency", "orders_count", "total_spent", "product_listing", "gift_card"),
]
WIRE = [
    *("id", "name", "clientId", "timestamp", "customer", "page", "url", "referrer", "title", "locale", "userAgent"),
    *("data", "variant", "product", "quantity", "collection", "items", "query", "cart", "checkout", "order", "miso_id"),
]
KEYS = st.one_of(st.sampled_from([*REST, *WIRE]), st.text(max_size=6))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=25,
)
OBJECTS = st.dictionaries(st.sampled_from(REST), JSON, max_size=14)
CONNECTORS = [
    shopify(),
    shopify(group_mode="product", steps=True, impressions=True, carts="webhooks", users=False),
]


def ends_well(event: Event) -> None:
    for connector in CONNECTORS:
        with contextlib.suppress(Reject, *DATA_ERRORS):
            for made in outputs(connector, event):
                assert made.get("skip") != ""


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(WEBHOOKS)), st.one_of(OBJECTS, JSON))
def test_webhooks_with_anything_in_them(topic: str, body: Any) -> None:
    try:
        found = split(webhook(topic, body))
    except Reject:
        return
    assert found
    for event in found:
        assert event.id
        assert event.topic in CONNECTORS[0].topics
        json.dumps(event.data)
        try:
            made = [one for connector in CONNECTORS for one in outputs(connector, event)]
        except Reject:
            continue  # and nothing else: what comes by webhook is made neutral first
        assert made


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(pixel.NAMES)), JSON, st.dictionaries(st.sampled_from(WIRE), JSON, max_size=5))
def test_events_of_the_pixel_with_anything_in_them(name: str, data: Any, own: dict[str, Any]) -> None:
    body = wire(name)
    body["event"] |= {"data": data, **own}
    request = clicked(body)
    connector = CONNECTORS[0]
    try:
        connector.verify(request)
    except (Unwanted, Reject):
        return
    (event,) = split(request)
    assert event.topic in connector.topics
    for one in CONNECTORS:
        try:
            assert outputs(one, event)
        except Reject:
            continue


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=30))
def test_any_bytes_at_all(body: bytes, header: str, key: str) -> None:
    requests = [webhook("orders/create", body), webhook(header, body), webhook("shop/redact", body, hmac_sha256=header)]
    for request in [*requests, clicked(body), clicked(body, key=key)]:
        with contextlib.suppress(Unauthorized, Unwanted, Reject):
            CONNECTORS[0].verify(request)
        with contextlib.suppress(Reject):
            split(request)


def changed(data: Any, path: list[int], value: Any) -> Any:
    """The data with one of its fields, wherever it stands, replaced."""
    if not path or not isinstance(data, dict | list) or not data:
        return value
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    places = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    place = places[path[0] % len(places)]
    copy[place] = changed(copy[place], path[1:], value)
    return copy


NEUTRAL = {
    "product": product(
        variant("11", options=[{"name": "Size", "value": "L"}]),
        variant("12"),
        metafields=[{"namespace": "a", "key": "b", "type": "json", "value": "1"}],
    ),
    "order": order(
        refunds=[{"id": "1", "created_at": "2026-11-20T10:00:00Z", "lines": [{"line": "101", "quantity": 1}]}]
    ),
}
NEUTRAL["order_state"] = NEUTRAL["order"]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(NEUTRAL)), st.lists(st.integers(0, 30), min_size=1, max_size=4), JSON)
def test_objects_that_were_read_with_one_field_wrong(topic: str, path: list[int], value: Any) -> None:
    ends_well(Event("e", topic, changed(NEUTRAL[topic], path, value)))


@pytest.mark.parametrize("topic", CONNECTORS[0].topics)
def test_a_topic_that_does_not_fit_its_data(topic: str) -> None:
    for data in (None, {}, [], "x", 5, order(), product(), {"data": None}):
        ends_well(Event("m", topic, data))
