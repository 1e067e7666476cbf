"""Visitors of Shopify's stand-in, and driving it over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from misoflow_sandbox.shopify import (
    App,
    Options,
    ShopifySandbox,
    ShopifyWorld,
    refunded_units,
    shopify_process,
    shopify_thread,
    truth,
    units,
    visit,
)
from misoflow_sandbox.shopify.shop import Pixel

from tests.sandbox.shopify_calls import START, AppClient, Received, receiver

DOMAIN = "demo-shop.myshopify.com"


@pytest.fixture
def received() -> Iterator[Received]:
    with receiver() as found:
        yield found


@pytest.fixture
def shopify(received: Received) -> Iterator[ShopifySandbox]:
    with shopify_thread(ShopifyWorld(start=START), Options(speed=0)) as found:
        found.installs.install(DOMAIN)
        found.shop().pixel = Pixel(1, {"accountID": "pk-1", "endpoint": f"{received.url}/hooks/shop"})
        yield found


def test_a_visit_is_told_by_the_pixel(shopify: ShopifySandbox, received: Received) -> None:
    shopper = shopify.shopper(1)
    order = visit(shopper, 1)
    assert order is not None
    events = [json.loads(body) for _, body in received.all]
    names = [one["event"]["name"] for one in events]
    assert names[0] == "page_viewed"
    assert names[-1] == "checkout_completed"
    assert {"collection_viewed", "search_submitted", "product_viewed", "product_added_to_cart", "cart_viewed"} <= set(
        names
    )
    assert {one["event"]["clientId"] for one in events} == {shopper.client_id}
    assert [one["event"]["seq"] for one in events] == list(range(1, len(events) + 1))
    done = events[-1]["event"]["data"]
    assert (done["order"], done["cart"], done["checkout"]) == (str(order.id), order.cart_token, order.checkout_token)
    assert all(headers["content-type"].startswith("text/plain") for headers, _ in received.all)
    assert [status for _, status in shopper.heard] == [200] * len(events)
    assert "canary" not in json.dumps(events).lower()


def test_visits_are_the_same_every_time(shopify: ShopifySandbox) -> None:
    with shopify_thread(ShopifyWorld(start=START), Options(speed=0)) as other:
        one, two = visit(shopify.shopper(5), 5), visit(other.shopper(5), 5)
    assert one == two


def test_no_pixel_no_consent_no_events(shopify: ShopifySandbox, received: Received) -> None:
    visit(shopify.shopper(2, consent={"analytics": False}), 2)
    shopify.shop().pixel = None
    visit(shopify.shopper(3), 3)
    assert received.all == []


def test_a_cart_becomes_an_order_once(shopify: ShopifySandbox) -> None:
    shopper, shop = shopify.shopper(4), shopify.shop()
    product = list(shop.products)[2]
    before = len(shop.orders)
    shopper.add(product.variants[0].id, 3)
    shopper.remove(product.variants[0].id, 1)
    first = shopper.buy(completed=False)
    assert [(one.variant, one.quantity) for one in first.lines] == [(product.variants[0].id, 2)]
    shopper.add(product.variants[0].id)
    second = shopper.buy()
    assert (second.id, second.number) == (first.id + 1, first.number + 1)
    assert second.cart_token != first.cart_token
    assert len(shop.orders) == before + 2
    assert shopper.heard[-1][0] == "checkout_completed"
    assert [name for name, _ in shopper.heard].count("checkout_completed") == 1


def test_the_truth_follows_what_happens(shopify: ShopifySandbox) -> None:
    merchant, shop = shopify.merchant(), shopify.shop()
    order = visit(shopify.shopper(6), 6)
    assert order is not None
    assert truth(shop)["orders"][-1]["units"] == [(str(one.variant), one.quantity) for one in order.lines]
    merchant.refund(order.id, {order.lines[0].id: 1})
    assert refunded_units(order) == {str(order.lines[0].id): 1}
    merchant.cancel(order.id, refund=False)
    assert refunded_units(order) == {str(one.id): one.quantity for one in order.lines}
    variant = order.lines[0].variant
    merchant.delete_variant(variant or 0)
    assert str(variant) not in dict(units(shop, order))
    assert str(variant) not in truth(shop)["variants"]


def test_it_is_driven_over_http(shopify: ShopifySandbox, received: Received) -> None:
    def post(path: str, given: object) -> httpx.Response:
        return httpx.post(f"{shopify.url}/_sandbox/{path}", json=given, timeout=20)

    assert post("app", {"webhook_url": received.url}).status_code == 200
    product = next(iter(shopify.shop().products)).id
    changed = post("change", {"do": "update_product", "with": {"product": product, "title": "By HTTP"}})
    assert changed.json()["title"] == "By HTTP"
    assert post("change", {"do": "_tell", "with": {}}).status_code == 400
    assert post("change", {"do": "refund", "with": {"order": 1}}).status_code == 400
    assert post("hooks", {"topic": "shop/", "drop": True, "times": -1}).status_code == 200
    assert post("change", {"do": "change_shop", "with": {"name": "dropped"}}).status_code == 200
    bought = post("visit", {"number": 9}).json()["order"]
    line = bought["lines"][0]
    assert (
        post("change", {"do": "refund", "with": {"order": bought["id"], "lines": {line["id"]: 1}}}).status_code == 200
    )
    assert post("clock", {"advance": 60}).status_code == 200
    assert post("settle", {}).status_code == 200
    deliveries = httpx.get(f"{shopify.url}/_sandbox/deliveries").json()
    assert {one["state"] for one in deliveries} == {"delivered", "dropped"}
    assert all("body" not in one for one in deliveries)
    state = httpx.get(f"{shopify.url}/_sandbox/state").json()
    assert state["now"] == START + 60_000
    assert state["shops"][DOMAIN]["orders"] == 61
    assert httpx.get(f"{shopify.url}/_sandbox/truth").json() == json.loads(json.dumps(truth(shopify.shop())))
    assert post("faults", {"action": {"status": 503}, "match": {"path": "/demo"}}).status_code == 200
    assert httpx.get(shopify.install_url()).status_code == 503
    assert post("faults", {"action": {"nonsense": 1}}).status_code == 400
    assert httpx.delete(f"{shopify.url}/_sandbox/faults").status_code == 200
    assert shopify.hooks.rules == []
    assert post("uninstall", {}).status_code == 200
    assert shopify.shop().installed_at is None


def test_a_process_of_its_own() -> None:
    with shopify_process(options=Options(speed=0), app=App(client_id="other", custom=True)) as url:
        assert httpx.post(f"{url}/_sandbox/install", json={}).json() == DOMAIN
        given = {"client_id": "other", "client_secret": "sandbox-secret", "grant_type": "client_credentials"}
        answer = httpx.post(f"{url}/{DOMAIN}/admin/oauth/access_token", json=given)
        assert answer.json()["expires_in"] == 86_399


def test_time_can_run_fast(shopify: ShopifySandbox) -> None:
    before = shopify.clock.now()
    shopify.options.speed = 1_000_000
    shopify.clock.now()
    while shopify.clock.now() < before + 3_600_000:
        pass
    shopify.options.speed = 0
    stopped = shopify.clock.now()
    assert shopify.clock.now() == stopped


def test_changes_reach_the_api(shopify: ShopifySandbox) -> None:
    app, merchant = AppClient(shopify), shopify.merchant()
    product = merchant.create_product("Kettle", variants=2)
    added = merchant.add_variant(product.id, "Size 9", price="21.00")
    merchant.update_variant(product.variants[0].id, compare_at_price="30.00")
    merchant.set_metafield(product.id, "custom", "material", "number_integer", "3")
    merchant.change_shop(primary_domain="kettles.example", currency="EUR")
    query = """query($id: ID!) { shop { currencyCode }
      product(id: $id) { onlineStoreUrl metafields(first: 5) { nodes { type } }
      variants(first: 9) { nodes { id price compareAtPrice } } } }"""
    found = app(query, id=f"gid://shopify/Product/{product.id}")
    assert found["shop"]["currencyCode"] == "EUR"
    assert found["product"]["onlineStoreUrl"].startswith("https://kettles.example/products/kettle-")
    assert found["product"]["metafields"]["nodes"] == [{"type": "number_integer"}]
    variants = found["product"]["variants"]["nodes"]
    assert [one["price"] for one in variants] == ["19.00", "19.00", "21.00"]
    assert variants[0]["compareAtPrice"] == "30.00"
    assert variants[2]["id"].endswith(str(added.id))
