"""The same object by webhook and as it is read gives the same events and records, byte for byte.

Webhooks are those of the stand-in, which has orders of the awkward kinds: guests, custom lines, deleted variants.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from misoflow import Event, Request
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
            assert heard.id == f"{other.id}/part"


async def listed(connector: Shopify) -> AsyncIterator[list[Event]]:
    """All customers, as the hourly look reads them."""
    assert connector.config.shop is not None
    ever = "updated_at:>='2000-01-01T00:00:00Z'"
    async for page in connector.reader.listed(queries.CHANGED_CUSTOMERS, "customers", ever):
        yield [nodes.customer(node, shop=connector.config.shop) for node in page]
