"""What the web pixel really posts, up to the records: the bodies in ``pixel/`` are made by tests/real/test_pixel.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from misoflow import Request
from misoflow_sandbox.shopify import ShopifySandbox, ShopifyWorld, ShopSpec, visit
from misoflow_sandbox.shopify.shop import Pixel
from misoflow_shopify import pixel
from misoflow_shopify.domains import pixel_key

from tests.shopify.mapped import SHOP, outputs, shopify, split

HERE = Path(__file__).parent
SCHEMA = jsonschema_rs.validator_for(json.loads((HERE / "pixel.schema.json").read_text()))
ARRIVED = datetime(2026, 11, 30, 10, 1, tzinfo=UTC)
CLIENT, CUSTOMER = "2a7e4a4f-8f3d-4a4e-9b0f-5d0f3c1b2a90", "9007199254740993"
CART, CHECKOUT = "cart-token-of-shopper-2Slg4", "26c9b1a7f0e34d1d8f4c5a6b7c8d9e0f"
MISO_ID = "0a1b2c3d-0000-4000-8000-a1b2c3d4e5f6"
ONE = {"product_ids": ["41"], "product_group_ids": ["4"]}
SHOWN = {"product_ids": ["41", "52", "63"], "product_group_ids": ["4", "5", "6"]}
COMMON = ("anonymous_id", "user_id", "timestamp", "context")
WHOSE: list[Any] = ["alias cart", "alias checkout"]
EXPECTED: dict[str, list[Any]] = {
    "page_viewed": [{"type": "home_page_view"}],
    "product_viewed": [{"type": "product_detail_page_view", **ONE}],
    "collection_viewed": [{"type": "category_page_view", "category": ["shirts"]}, {"type": "impression", **SHOWN}],
    "search_submitted": [
        {"type": "search", "search": {"keywords": "blaues Hemd"}},
        {"type": "impression", **SHOWN},
    ],
    "product_added_to_cart": [{"type": "add_to_cart", **ONE, "quantities": [2]}],
    "product_removed_from_cart": [{"type": "remove_from_cart", **ONE}],
    "cart_viewed": ["alias cart"],
    "checkout_started": WHOSE,
    "checkout_contact_info_submitted": WHOSE,
    "checkout_address_info_submitted": WHOSE,
    "checkout_shipping_info_submitted": WHOSE,
    "payment_info_submitted": WHOSE,
    "checkout_completed": [*WHOSE, "alias order:5396123456789", "fetch order 5396123456789"],
    "miso_impression": [
        {"type": "impression", "product_ids": ["41"], "product_group_ids": ["4", "5"], "miso_id": MISO_ID}
    ],
    "miso_click": [{"type": "click", **ONE, "miso_id": MISO_ID}],
}
"""The fields that only this record has, and what else comes of the event."""


def recorded(name: str) -> bytes:
    return (HERE / "pixel" / f"{name}.json").read_bytes()


def translated(body: bytes) -> list[dict[str, Any]]:
    connector = shopify(impressions=True)
    path = f"pixel/{pixel_key(connector.config, SHOP)}"
    request = Request(body, {"content-type": "text/plain;charset=UTF-8"}, "pixel", path, received_at=ARRIVED)
    connector.verify(request)
    assert connector.tenant(request) == SHOP
    return [output for event in split(request, connector) for output in outputs(connector, event)]


def short(output: dict[str, Any]) -> Any:
    """An output without what all of them share; tokens are hashed."""
    if "alias" in output:
        assert output["is"] == CLIENT
        kind, _, key = output["alias"].partition(":")
        return f"alias {kind}" if kind in ("cart", "checkout") else f"alias {kind}:{key}"
    if "fetch" in output and "known" not in output:
        return "fetch " + " ".join(output["fetch"])
    record = output.get("known", output)
    return {key: value for key, value in record.items() if key not in COMMON}


def test_a_body_of_each_event_is_recorded() -> None:
    assert {path.stem for path in (HERE / "pixel").iterdir()} == set(EXPECTED)
    assert {name.replace(":", "_") for name in pixel.NAMES} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_the_pixel_posts_becomes(name: str) -> None:
    body = recorded(name)
    SCHEMA.validate(json.loads(body))
    found = translated(body)
    assert [short(output) for output in found] == EXPECTED[name]
    assert CART not in json.dumps(found)
    assert CHECKOUT not in json.dumps(found)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_records_are_of_the_visitor_and_the_page(name: str) -> None:
    event = json.loads(recorded(name))["event"]
    records = [output.get("known", output) for output in translated(recorded(name))]
    for record in (one for one in records if "type" in one):
        assert (record["anonymous_id"], record["user_id"]) == (CLIENT, CUSTOMER)
        assert record["timestamp"] == event["timestamp"]
        context = record["context"]
        assert (context["locale"], context["user_agent"]) == ("de-DE", event["userAgent"])
        assert context["custom_context"] == {"shop": SHOP, "event_id": event["id"]}
        assert context["page"]["url"].startswith("https://shop.example/")


def test_the_campaign_of_the_page_is_told() -> None:
    (record,) = translated(recorded("page_viewed"))
    assert record["context"]["campaign"] == {"name": "autumn sale", "source": "news"}
    assert record["context"]["page"] == {
        "url": "https://shop.example/fr?utm_source=news&utm_campaign=autumn+sale",
        "referrer": "https://search.example/",
        "title": "Shirts – A shop",
    }


def test_the_stand_ins_shoppers_post_what_the_pixel_would() -> None:
    """Else a test with them would show nothing of the pixel."""
    posted: list[tuple[str, bytes]] = []

    def post(url: str, body: bytes, _headers: dict[str, str], _seconds: float) -> int:
        posted.append((url, body))
        return 204

    sandbox = ShopifySandbox(ShopifyWorld(shops=(ShopSpec(products=20),)))
    sandbox.shop().pixel = Pixel(1, {"accountID": "pk-shop", "endpoint": "https://ingest.example/hooks/shop"})
    for number in range(12):
        shopper = sandbox.shopper(number)
        shopper._post = post
        visit(shopper, number)
        shopper.publish("miso:click", {"items": [{"variant": "41", "product": "4"}], "miso_id": MISO_ID})
    assert {url for url, _ in posted} == {"https://ingest.example/hooks/shop/pixel/pk-shop"}
    names = set()
    for _, body in posted:
        SCHEMA.validate(json.loads(body))
        names.add(json.loads(body)["event"]["name"])
    assert names == {*pixel.NAMES} - {"miso:impression"}
