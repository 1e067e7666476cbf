"""The same object by webhook and as it is read gives the same events and records, byte for byte.

Webhooks are those of the stand-in, which has orders of the awkward kinds: guests, custom lines, deleted variants.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from misoflow import Event, Request, Slice
from misoflow.budget import Unmetered
from misoflow.http import Http
from misoflow_sandbox.shopify import App, Options, ShopifyWorld, ShopSpec, order_payloads, payloads, served_shopify
from misoflow_sandbox.shopify.app import ShopifySandbox
from misoflow_shopify import Shopify, nodes, queries
from misoflow_shopify.config import ShopifyConfig

from tests.shopify.fake import MemoryState
from tests.shopify.mapped import NOW, outputs

ORDERS = 40


@pytest.fixture
async def both() -> AsyncIterator[tuple[ShopifySandbox, Shopify]]:
    """A stand-in with one shop, and the connector of a custom app there."""
    world = ShopifyWorld(shops=(ShopSpec(products=20, orders=ORDERS, customers=12, history_days=30),))
    async with served_shopify(world, Options(throttle=False), App(custom=True)) as shopify:
        shop = shopify.shop()
        shopify.installs.install(shop.domain)
        connector = Shopify(
            ShopifyConfig(
                client_id="sandbox-client",
                client_secret=("sandbox-secret",),  # type: ignore[arg-type]
                shop=shop.domain,
                public_url="https://ingest.example.com",
                api_url=f"{shopify.url}/{{shop}}",
            )
        )
        connector.http, connector.budget, connector.state = Http(), Unmetered(), MemoryState()
        yield shopify, connector


def told(connector: Shopify, topic: str, body: dict[str, Any]) -> list[Event]:
    """The events of a webhook, verified elsewhere."""
    headers = {
        "x-shopify-topic": topic,
        "x-shopify-shop-domain": connector.config.shop or "",
        "x-shopify-webhook-id": "w",
    }
    return list(connector.events(Request(json.dumps(body).encode(), headers, received_at=NOW)))


def made(connector: Shopify, event: Event) -> str:
    return json.dumps(outputs(connector, event), sort_keys=True)


async def test_orders(both: tuple[ShopifySandbox, Shopify]) -> None:
    shopify, connector = both
    shop, merchant = shopify.shop(), shopify.merchant()
    ids = [order.id for order in shop.orders]
    assert len(ids) >= ORDERS
    for number in ids[:10:2]:
        merchant.cancel(number)
    for number in ids[1:10:2]:
        merchant.refund(number)
    refunds = 0
    for number in ids:
        read = await connector.fetch("order", str(number))
        heard = told(connector, "orders/updated", order_payloads.order(shop, shop.orders.keep(number)))
        assert [event.id for event in heard] == [event.id for event in read]
        for one, other in zip(heard, read, strict=True):
            refunds += made(connector, one).count('"refund"')
            assert made(connector, one) == made(connector, other), number
    assert refunds > 5


async def test_customers(both: tuple[ShopifySandbox, Shopify]) -> None:
    shopify, connector = both
    shop = shopify.shop()
    events = [event async for page in listed(connector) for event in page]
    read = {event.data["id"]: event for event in events}
    assert len(read) > 5
    for customer in shop.customers:
        (heard,) = told(connector, "customers/update", payloads.customer(shop, customer))
        other = read[heard.data["id"]]
        if heard.id == other.id:
            assert made(connector, heard) == made(connector, other)
        else:  # a webhook without the figures is another, smaller event
            assert heard.data["orders_count"] is None
            assert heard.id.rpartition("/")[0] == other.id.rpartition("/")[0]


async def listed(connector: Shopify) -> AsyncIterator[list[Event]]:
    """All customers, as the hourly look reads them."""
    assert connector.config.shop is not None
    ever = "updated_at:>='2000-01-01T00:00:00Z'"
    async for page in connector.reader.listed(queries.CHANGED_CUSTOMERS, "customers", ever):
        yield [nodes.customer(node, shop=connector.config.shop) for node in page]


async def test_b7_each_topic_is_the_same_by_every_way(both: tuple[ShopifySandbox, Shopify]) -> None:
    shopify, connector = both
    bulk = await by_bulk(connector)
    shop = shopify.shop()
    hooks: dict[str, Event] = {}
    for number in [order.id for order in shop.orders]:
        for event in told(connector, "orders/updated", order_payloads.order(shop, shop.orders.keep(number))):
            hooks[event.id] = event
    for collection in shop.collections.values():
        found = told(connector, "collections/update", payloads.collection(shop, collection))
        hooks |= {object_of(event): event for event in found if event.topic == "collection"}
    compared = Counter[str]()
    for event in bulk:
        ways = [*await fetched(connector, event), *filter(None, [hooks.get(event.id) or hooks.get(object_of(event))])]
        for other in ways:
            if other.topic == event.topic:
                compared[event.topic] += 1
                assert made(connector, at_once(other)) == made(connector, at_once(event)), event.id
    assert compared["product"] >= 20
    assert compared["collection"] >= 6
    assert compared["order"] >= ORDERS
    assert compared["order_state"] >= ORDERS


async def by_bulk(connector: Shopify) -> list[Event]:
    """All of history, each event once."""
    now = datetime.now(UTC) + timedelta(minutes=1)
    found: list[Event] = []
    for stream in ("catalog", "orders", "customers"):
        async for page in connector.backfill(Slice(stream, now - timedelta(days=59), now)):  # type: ignore[union-attr]
            found += page.events
    return found


async def fetched(connector: Shopify, event: Event) -> list[Event]:
    """The events of the same object, read by itself."""
    kinds = {"product": "product", "collection": "collection", "order": "order", "order_state": "order"}
    kind = kinds.get(event.topic)
    return [] if kind is None else await connector.fetch(kind, event.data["id"])


def object_of(event: Event) -> str:
    return event.id.partition("@")[0]


def at_once(event: Event) -> Event:
    """As if all had been read at the same time: that is the version, and all that may differ."""
    return Event(event.id, event.topic, {**event.data, "read_at": 0} if "read_at" in event.data else event.data)
