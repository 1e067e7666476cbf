"""Shopify under the authors' kit: webhooks with the objects that they lead to, and the pixel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from misoflow.testing import ConnectorContract
from misoflow.testing.history import FAILURES
from misoflow_sandbox.shopify import App, Options, ShopifySandbox, ShopifyWorld, ShopSpec
from misoflow_shopify import Shopify
from misoflow_shopify.mapping import OBJECTS, THIN
from misoflow_shopify.pixel import TOPICS

from tests.shopify.mapped import SECRET, SHOP, signed

NEW_SECRET = "a-newer-client-secret-of-the-tests"
APP = {"client_id": "an-app-of-the-tests", "client_secret": SECRET}


MAPPED = {"carts": "webhooks", "metafields": ["custom.material", "custom.watts"], "language": "en"}


class TestWebhooks(ConnectorContract):
    """All webhooks, and products, orders, customers and carts as they are read."""

    connector = Shopify
    config = {**APP, **MAPPED}
    channels = ("deliveries",)
    topics = (*OBJECTS, *THIN)
    signature_headers = ("x-shopify-hmac-sha256",)
    rotated = {"client_secret": [NEW_SECRET, SECRET]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {"x-shopify-hmac-sha256": signed(body)}


class TestPixel(ConnectorContract):
    """What visitors do, which nobody signs: a key in the address says for which shop it is."""

    connector = Shopify
    config = {**APP, "steps": True, "impressions": True}
    channels = ("deliveries",)
    topics = TOPICS
    samples = "samples_pixel"
    signature_headers = ()
    signs_body = False
    rotated = {"client_secret": [NEW_SECRET, SECRET]}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {}


TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FROM, UNTIL = TODAY - timedelta(days=25), TODAY
STAND_IN = "http://127.0.0.1:8620"


def stand_in() -> ShopifySandbox:
    """A shop as Shopify's documents describe it; nobody listens at its address."""
    spec = ShopSpec(domain=SHOP, products=12, orders=40, customers=12, history_days=40)
    app = App(custom=True, secrets=[SECRET], client_id=APP["client_id"], all_orders=True)
    app.scopes.append("read_all_orders")
    world = ShopifyWorld(shops=(spec,), start=round(TODAY.timestamp() * 1000) + 60_000)
    made = ShopifySandbox(world, Options(speed=0, throttle=False), app)
    made.url = STAND_IN
    made.installs.install(SHOP)
    return made


SANDBOX = stand_in()


async def asked(request: httpx.Request) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=SANDBOX.app)) as client:  # type: ignore[arg-type]
        headers = {name: value for name, value in request.headers.items() if name != "accept-encoding"}
        return await client.request(request.method, request.url, content=request.content, headers=headers)


def since(found: Iterable[Any], name: str, start: datetime, end: datetime | None = None) -> int:
    """How many of the shop's things have a time in a window."""
    first, last = start.timestamp() * 1000, float("inf") if end is None else end.timestamp() * 1000
    return sum(first <= getattr(one, name) < last for one in found)


def held() -> dict[str, int]:
    """Events of all that the shop holds: an order is two, and the catalogue ends with one of its own."""
    shop, lately = SANDBOX.shop(), FROM - timedelta(minutes=10)
    changed = since(shop.products, "updated_at", lately) + since(shop.customers, "updated_at", lately)
    return {
        "catalog": len(shop.products) + len(shop.collections) + 1,
        "orders": 2 * since(shop.orders, "created_at", FROM, UNTIL),
        "customers": since(shop.customers, "updated_at", FROM, UNTIL),
        "changes": changed + 2 * since(shop.orders, "updated_at", lately),
    }


class TestHistory(ConnectorContract):
    """All streams of a custom app's shop, which the stand-in answers for."""

    connector = Shopify
    config = {
        **APP,
        **MAPPED,
        "shop": SHOP,
        "public_url": "https://ingest.example.com",
        "api_url": f"{STAND_IN}/{{shop}}",
    }
    channels = ("history",)
    topics = ("product", "collection", "catalog_end", "order", "order_state", "customer")
    history = held()
    period = (FROM.date(), UNTIL.date())

    def upstream(self, request: httpx.Request) -> httpx.Response:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, asked(request)).result()

    @pytest.mark.xfail(
        reason="a catalogue that is read to its end lets its bulk operation go, so that the next reading is another "
        "one, whose end is another event"
    )
    def test_backfill_resumes_from_every_page(self) -> None:
        super().test_backfill_resumes_from_every_page()

    @pytest.mark.xfail(reason="a first 401 gets a new token, a first 429 is waited for: test_admin.py")
    def test_failures_are_classified(self, failure: str) -> None:
        super().test_failures_are_classified(failure)

    @pytest.mark.parametrize("failure", [name for name in FAILURES if name not in ("401", "429")])
    def test_other_failures_are_classified(self, failure: str) -> None:
        super().test_failures_are_classified(failure)
