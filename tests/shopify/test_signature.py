"""Who is let in by webhook: rows 10 to 12 and 23 of the failure modes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from misoflow import Request, Unauthorized

from tests.shopify.mapped import OLD_SECRET, SECRET, SHOP, shopify, signed, split, translate, webhook

BODY = {"id": 1}
OTHER = "other-shop.myshopify.com"


def refused(request: Request, **settings: Any) -> None:
    with pytest.raises(Unauthorized):
        shopify(**settings).verify(request)


@pytest.mark.parametrize("family", ["x-shopify-", "shopify-"])
def test_both_families_of_headers_are_taken(family: str) -> None:
    request = webhook("products/update", BODY, family=family)
    shopify().verify(request)
    assert shopify().tenant(request) == SHOP
    assert [event.topic for event in split(request)] == ["product_touched"]


GOOD = signed(json.dumps(BODY).encode())
WRONG = {
    "missing": "",
    "blank": "   ",
    "of another secret": signed(json.dumps(BODY).encode(), "another"),
    "not ASCII": "é" * 44,
    "short": base64.b64encode(b"x" * 31).decode(),
    "long": base64.b64encode(b"x" * 33).decode(),
    "hexadecimal": base64.b64decode(GOOD).hex(),
    "cut": GOOD[:-1],
    "no base64": "!" * 44,
    "endless": "A" * 100_000,
    "url-safe": GOOD.replace("+", "-").replace("/", "_") + "-_",
    "with a line in it": GOOD[:20] + "\n" + GOOD[20:],
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG.keys())
def test_10_a_wrong_signature_is_unauthorized_and_nothing_else(given: str) -> None:
    refused(webhook("products/update", BODY, hmac_sha256=given))


def test_11_the_previous_secret_is_accepted_and_a_third_is_not() -> None:
    both = (SECRET, OLD_SECRET)
    raw = json.dumps(BODY).encode()
    shopify(client_secret=both).verify(webhook("products/update", raw, hmac_sha256=signed(raw, OLD_SECRET)))
    shopify(client_secret=both).verify(webhook("products/update", raw))
    refused(webhook("products/update", raw, hmac_sha256=signed(raw, "a-third")), client_secret=both)
    refused(webhook("products/update", raw, hmac_sha256=signed(raw, OLD_SECRET)))


RAW = [
    b'{"id": 1, "title": "caf\xc3\xa9 \xe2\x80\xa8"}',
    rb'{"id": 1, "title": "A \u0026 B"}',
    rb'{"id":1,"url":"https:\/\/x.example\/a"}',
    b'{ "id" : 1.0e0 }\n',
    b'{"id": 1, "id": 2}',
]


@pytest.mark.parametrize("raw", RAW)
def test_12_the_signature_is_over_the_bytes_as_they_came(raw: bytes) -> None:
    shopify().verify(webhook("products/update", raw))
    again = json.dumps(json.loads(raw)).encode()
    if again != raw:
        refused(webhook("products/update", again, hmac_sha256=signed(raw)))


DESTRUCTIVE = {
    "app/uninstalled": {"id": 1, "domain": "shop.example", "myshopify_domain": SHOP},
    "shop/redact": {"shop_id": 1, "shop_domain": SHOP},
    "customers/redact": {"shop_domain": SHOP, "customer": {"id": 9}},
    "customers/data_request": {"shop_domain": SHOP, "customer": {"id": 9}},
}


@pytest.mark.parametrize(("topic", "body"), DESTRUCTIVE.items(), ids=DESTRUCTIVE)
def test_23_what_deletes_must_name_its_shop_in_the_signed_body(topic: str, body: dict[str, Any]) -> None:
    shopify().verify(webhook(topic, body))
    refused(webhook(topic, body, shop_domain=OTHER))
    refused(webhook(topic, {"id": 1}))
    refused(webhook(topic, b"[1]"))
    refused(webhook(topic, b"no json"))
    refused(webhook(topic, {key: {"x": 1} for key in body}))


def test_23_a_replayed_body_under_the_header_of_a_deleting_topic_is_refused() -> None:
    refused(webhook("shop/redact", {"id": 5, "title": "a product's body, signed, under another topic"}))


@pytest.mark.parametrize(
    "shop", ["", "evil.example", f"{SHOP}.evil.example", f"a@{SHOP}", f"{SHOP}:443", f"{SHOP}\nx", "дemo.myshopify.com"]
)
def test_a_delivery_without_the_name_of_a_shop_is_refused(shop: str) -> None:
    refused(webhook("products/update", BODY, shop_domain=shop))


def test_the_name_of_the_shop_is_read_without_regard_to_case() -> None:
    assert shopify().tenant(webhook("products/update", BODY, shop_domain=SHOP.upper())) == SHOP


def test_an_app_of_one_shop_takes_no_other_one() -> None:
    request = webhook("products/update", BODY)
    shopify(shop=SHOP).verify(request)
    assert shopify(shop=SHOP).tenant(request) == ""
    refused(request, shop=OTHER)


def test_22_a_compliance_request_about_an_unknown_customer_is_answered_and_says_why_nothing_is_done() -> None:
    body = {"shop_domain": SHOP, "customer": {"email": "someone@example.com"}}
    (made,) = translate(webhook("customers/redact", body))
    assert "no customer by id" in made["skip"]
