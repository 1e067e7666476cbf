"""A day of a shop as the stand-in tells it: everything is let in, nothing of a person gets through, orders add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest
from misoflow import Event, Reject, Request
from misoflow_sandbox.shopify import (
    App,
    Merchant,
    Options,
    Shop,
    ShopifySandbox,
    ShopifyWorld,
    Shopper,
    ShopSpec,
    refunded_units,
    units,
    visit,
)
from misoflow_sandbox.shopify.catalog import FIRST_PRODUCT
from misoflow_sandbox.shopify.shop import Pixel
from misoflow_shopify import Shopify, pixel
from misoflow_shopify.domains import pixel_key

from tests.shopify.mapped import NOW, outputs, shopify
from tests.shopify.test_orders import Ledger

Family = Literal["classic", "events", "both"]
HOOKS = "http://127.0.0.1:9/hooks/shop"


class Day:
    """A shop whose webhooks and pixel requests are kept instead of being sent."""

    def __init__(self, family: Family = "classic") -> None:
        self.connector = shopify(client_secret=("sandbox-secret",), steps=True, impressions=True)
        world = ShopifyWorld(shops=(ShopSpec(products=12, orders=6, customers=6),), start=int(NOW.timestamp() * 1000))
        options = Options(speed=0, headers=family)
        self.sandbox = ShopifySandbox(world, options, App(webhook_url=HOOKS, protected=True))
        self.shop: Shop = self.sandbox.installs.install("demo-shop.myshopify.com")
        settings = {"accountID": pixel_key(self.connector.config, self.shop.domain), "endpoint": HOOKS}
        self.shop.pixel = Pixel(1, settings)
        self.merchant: Merchant = self.sandbox.merchant()
        self.clicks: list[Request] = []

    def post(self, url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
        found = {name.lower(): value for name, value in headers.items()}
        path = url.partition("/hooks/shop/")[2]
        self.clicks.append(Request(body, found, pixel.CHANNEL, path, received_at=NOW))
        return 204

    def shopper(self, number: int, **settings: Any) -> Shopper:
        return Shopper(self.shop, self.sandbox.hooks, self.post, number, **settings)

    def webhooks(self) -> Iterator[Request]:
        for delivery in self.sandbox.hooks.deliveries:
            headers: Mapping[str, str] = self.sandbox.hooks.headers(delivery)
            yield Request(delivery.body, {name.lower(): one for name, one in headers.items()}, received_at=NOW)

    def events(self) -> Iterator[Event]:
        """Of all that came, verified."""
        for request in [*self.webhooks(), *self.clicks]:
            self.connector.verify(request)
            assert self.connector.tenant(request) == self.shop.domain
            for event in self.connector.events(request):
                yield Event(event.id, event.topic, event.data, NOW)

    def close(self) -> None:
        self.sandbox.close()


def played(family: Family) -> Day:
    """Visitors look and buy; the merchant changes, refunds, cancels, edits; people ask to be forgotten."""
    day = Day(family)
    merchant, shop = day.merchant, day.shop
    bought = [order for number in range(1, 9) if (order := visit(day.shopper(number), number, buys=number % 4 != 0))]
    customer = next(iter(shop.customers)).id
    visit(day.shopper(20, customer=customer), 20)
    merchant.refund(bought[0].id)
    merchant.cancel(bought[1].id)
    merchant.cancel(bought[2].id, refund=False)
    first = shop.products.keep(FIRST_PRODUCT + 1)
    merchant.update_product(first.id, title="Another title")
    merchant.set_inventory(first.variants[0].id, 0)
    merchant.delete_product(merchant.create_product("Short-lived").id)
    merchant.delete_collection(merchant.create_collection("Short-lived").id)
    merchant.update_customer(customer, country="DE")
    merchant.delete_customer(merchant.create_customer().id)
    merchant.data_request(customer)
    merchant.redact_customer(customer)
    merchant.redact_customer(customer, only_email=True)
    merchant.change_shop(currency="EUR")
    day.sandbox.installs.uninstall(shop.domain)
    return day


def told(connector: Shopify, event: Event) -> list[dict[str, Any]]:
    try:
        return outputs(connector, event)
    except Reject as error:
        assert event.topic == "data_request"
        return [{"rejected": error.reason}]


@pytest.mark.parametrize("family", ["classic", "events", "both"])
def test_every_delivery_is_let_in_and_tells_no_more_than_it_may(family: Family) -> None:
    day = played(family)
    try:
        found = list(day.events())
        assert {event.topic for event in found} >= {
            *("order", "order_state", "customer", "product_touched", "product_deleted", "inventory_touched", "cart"),
            *("collection_touched", "collection", "refund_touched", "shop_touched", "customer_deleted", "uninstalled"),
            *("redact_customer", "data_request", "pixel_page_viewed", "pixel_checkout_completed", "pixel_cart_viewed"),
        }
        assert "unknown" not in {event.topic for event in found}
        for event in found:
            text = json.dumps([event.id, event.data, told(day.connector, event)]).casefold()
            assert "canary" not in text, event.topic
            assert "+1555019" not in text, event.topic
    finally:
        day.close()


def test_the_orders_of_the_day_are_one_checkout_each_and_refunds_add_up() -> None:
    day = played("classic")
    try:
        found = [event.data for event in day.events() if event.topic == "order"]
        ledger = Ledger()
        for data in found:
            ledger.take(data)
        numbers = {data["id"] for data in found}
        assert len(numbers) >= 6
        checkouts: dict[str, dict[str, Any]] = {}
        refunds: Counter[str] = Counter()
        for key, record, free in ledger.records:
            if record["type"] == "checkout":
                number = record["context"]["custom_context"]["order_id"]
                assert number not in checkouts
                checkouts[number] = record
            else:
                _, number, line, _ = key.split(":")
                refunds[f"{number}:{line}"] += free
        assert checkouts.keys() == numbers
        for number, record in checkouts.items():
            order = day.shop.orders.keep(int(number))
            assert list(zip(record["product_ids"], record["quantities"], strict=True)) == units(day.shop, order)
            wanted = {f"{number}:{line}": count for line, count in refunded_units(order).items()}
            if order.cancelled_at is not None:  # the others' refunds are read, which the webhooks only ask for
                assert {key: one for key, one in refunds.items() if key.startswith(number)} == wanted
    finally:
        day.close()


def test_an_order_finds_its_visitor_by_what_the_pixel_told() -> None:
    day = Day()
    try:
        shopper = day.shopper(3)
        assert visit(shopper, 3) is not None
        bound: dict[str, str] = {}
        late: tuple[str, ...] = ()
        for event in day.events():
            for output in day.connector.translate(event):
                if type(output).__name__ == "Alias":
                    bound[output.key] = output.anonymous_id  # type: ignore[union-attr]
                if event.topic == "order":
                    late = output.record.anonymous_id.keys  # type: ignore[union-attr]
        assert len(late) == 3
        assert [bound.get(key) for key in late] == [shopper.client_id] * 3
    finally:
        day.close()
