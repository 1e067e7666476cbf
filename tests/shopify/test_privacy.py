"""Personal data in any place of any delivery is in no event and in no record: forty canaries."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from misoflow import Event, Reject, Request
from misoflow_shopify import samples
from misoflow_shopify.mapping import ROWS

from tests.shopify.mapped import NOW, SHOP, clicked, order, outputs, product, shopify, signed, split, variant

MARK = "qzcanary"
NAMES = (
    *("email", "phone", "first_name", "last_name", "name", "company", "address1", "address2", "city", "zip", "note"),
    *("contact_email", "customer_email", "billing_address", "shipping_address", "client_details", "browser_ip", "ip"),
    *(
        "user_agent",
        "accept_language",
        "session_hash",
        "landing_site",
        "referring_site",
        "token_of_payment",
        "latitude",
    ),
    *(
        "longitude",
        "birthday",
        "tags_of_customer",
        "marketing_consent",
        "credit_card_number",
        "payment_details",
        "iban",
    ),
    *("firstName", "lastName", "fullName", "phoneNumber", "emailAddress", "addresses", "password", "properties"),
)
CANARIES = {name: f"{MARK}-{name}@person.example" for name in NAMES}
CONNECTOR = shopify(steps=True, impressions=True, carts="webhooks", metafields=["custom.material"])
WHOLE = shopify(group_mode="product")


def test_there_are_forty() -> None:
    assert len(CANARIES) == 40


def planted(value: Any) -> Any:
    """The value with all canaries in each of its objects, under names that it does not have."""
    if isinstance(value, dict):
        return {**CANARIES, **{key: planted(item) for key, item in value.items()}}
    return [planted(item) for item in value] if isinstance(value, list) else value


def told(event: Event) -> str:
    """All that becomes of an event, as text."""
    found: list[Any] = []
    for connector in (CONNECTOR, WHOLE):
        try:
            found += outputs(connector, event)
        except Reject as error:
            found.append([error.reason, error.path])
    return json.dumps(found)


@pytest.mark.parametrize("topic", [topic for topic in ROWS if topic in samples.WEBHOOKS])
def test_webhooks(topic: str) -> None:
    given = CONNECTOR.sample(topic)
    body = json.dumps(planted(json.loads(given.body))).encode()
    headers = {**given.headers, "x-shopify-hmac-sha256": signed(body)}
    request = Request(body, headers, received_at=NOW)
    CONNECTOR.verify(request)
    events = split(request)
    assert topic in [event.topic for event in events]
    for event in events:
        assert MARK not in json.dumps([event.id, event.data])
        assert MARK not in told(event)


@pytest.mark.parametrize("topic", [topic for topic in ROWS if topic.startswith("pixel_")])
def test_the_pixel(topic: str) -> None:
    given = CONNECTOR.sample(topic)
    (event,) = split(clicked(planted(json.loads(given.body))))
    assert event.topic == topic
    assert MARK not in json.dumps([event.id, event.data])
    assert MARK not in told(event)


READ: dict[str, Any] = {
    "product": product(
        variant("11", options=[{"name": "Size", "value": "L"}]),
        metafields=[{"namespace": "custom", "key": "material", "type": "json", "value": "oak"}],
    ),
    "collection": {"shop": SHOP, "id": "5", "handle": "light", "title": "Light", "read_at": 1},
    "catalog_end": {"version": 5},
    "order": order(),
    "order_state": order(cancelled_at="2026-11-20T11:00:00Z"),
    "customer": {
        **{"shop": SHOP, "id": "9", "created_at": None, "updated_at": "2026-11-20T11:00:00Z", "country": "CA"},
        **{"state": "ON", "orders_count": 1, "amount_spent": "5"},
    },
    "cart_changed": {
        **{"shop": SHOP, "cart": "h", "at": "2026-11-20T11:00:00Z", "added": [["11", "1", 1]], "removed": []},
        "customer": None,
    },
    "shop_changed": {"shop": SHOP},
}


@pytest.mark.parametrize("topic", READ)
def test_what_is_read(topic: str) -> None:
    data = copy.deepcopy(READ[topic])
    assert MARK not in told(Event("e", topic, planted(data), NOW))


def test_every_topic_is_looked_at() -> None:
    assert {*READ, *samples.WEBHOOKS, *(topic for topic in ROWS if topic.startswith("pixel_"))} == set(ROWS)


FREE_TEXTS = {
    "page_viewed": ("page", "title"),
    "checkout_started": ("page", "title"),
    "search_submitted": ("data", "query"),
}


@pytest.mark.parametrize("name", FREE_TEXTS)
def test_texts_that_visitors_write_lose_what_reaches_a_person(name: str) -> None:
    topic = f"pixel_{name}"
    body = json.loads(CONNECTOR.sample(topic).body)
    outer, inner = FREE_TEXTS[name]
    body["event"][outer] = {**body["event"][outer], inner: f"hello {MARK}@person.example or +49 (0)30 1234567"}
    body["event"]["page"]["referrer"] = (
        f"https://x.example/{MARK}@person.example?email={MARK}@person.example&utm_term={MARK}@x.de"
    )
    body["event"]["userAgent"] = f"Browser ({MARK}@person.example)"
    (event,) = split(clicked(body))
    assert MARK not in told(event)
    assert "1234567" not in told(event)
