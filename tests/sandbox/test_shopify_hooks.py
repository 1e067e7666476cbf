"""Webhooks of Shopify's stand-in: who gets them, their proofs, their bodies, and when they come again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from misoflow_sandbox.shopify import HookRule, Merchant, Options, ShopifySandbox, ShopifyWorld, ShopSpec, shopify_thread

from tests.sandbox.shopify_calls import START, AppClient, Received, receiver

DOMAIN = "demo-shop.myshopify.com"
HOUR = 3600
SUBSCRIBE = """mutation($t: WebhookSubscriptionTopic!, $u: String!, $f: [String!]) {
  webhookSubscriptionCreate(topic: $t, webhookSubscription: {uri: $u, includeFields: $f}) {
    webhookSubscription { id } userErrors { message } } }"""


@pytest.fixture
def received() -> Iterator[Received]:
    with receiver() as found:
        yield found


@pytest.fixture
def shopify(received: Received) -> Iterator[ShopifySandbox]:
    with shopify_thread(ShopifyWorld(shops=(ShopSpec(most_variants=120),), start=START), Options(speed=0)) as found:
        found.app_config.webhook_url = received.url
        found.installs.install(DOMAIN)
        yield found


@pytest.fixture
def merchant(shopify: ShopifySandbox) -> Merchant:
    return shopify.merchant()


def only(received: Received, topic: str) -> dict[str, Any]:
    [body] = received.bodies(topic)
    found: dict[str, Any] = json.loads(body)
    return found


def signed_with(received: Received, secret: str) -> list[bool]:
    digests = [
        base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode() for _, body in received.all
    ]
    return [one == headers["x-shopify-hmac-sha256"] for one, (headers, _) in zip(digests, received.all, strict=True)]


def test_a_webhook_carries_its_proof_and_its_ids(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    product = list(merchant.shop.products)[4]
    merchant.update_product(product.id, title="Mug & <Saucer> für Zoë")
    shopify.settle()
    headers, body = received.all[0]
    assert signed_with(received, "sandbox-secret") == [True]
    assert headers["x-shopify-topic"] == "products/update"
    assert headers["x-shopify-shop-domain"] == DOMAIN
    assert headers["x-shopify-api-version"] == "2026-10"
    assert headers["x-shopify-triggered-at"].startswith("2026-09-21T")
    assert len({headers["x-shopify-webhook-id"], headers["x-shopify-event-id"]}) == 2
    assert b"Mug \\u0026 \\u003cSaucer\\u003e f\xc3\xbcr Zo\xc3\xab" in body
    assert json.loads(body)["title"] == "Mug & <Saucer> für Zoë"


def test_both_families_of_headers(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    for family in ("events", "both"):
        shopify.options.headers = family  # type: ignore[assignment]
        merchant.update_product(next(iter(merchant.shop.products)).id, title=family)
        shopify.settle()
    events, both = (headers for headers, _ in received.all)
    assert "x-shopify-topic" not in events
    assert events["shopify-action"] == "update"
    assert events["shopify-hmac-sha256"]
    assert both["shopify-webhook-id"] == both["x-shopify-webhook-id"]


def test_the_oldest_secret_signs_until_it_is_revoked(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    shopify.installs.rotate_secret("newer")
    merchant.change_shop(name="One")
    shopify.settle()
    shopify.installs.revoke_secret("sandbox-secret")
    merchant.change_shop(name="Two")
    shopify.settle()
    assert signed_with(received, "sandbox-secret") == [True, False]
    assert signed_with(received, "newer") == [False, True]


def test_product_payloads_have_their_traps(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    large = list(merchant.shop.products)[1]
    merchant.update_product(large.id, tags=["a", "b c"], status="UNLISTED")
    merchant.delete_product(large.id)
    shopify.settle()
    body = only(received, "products/update")
    assert (body["tags"], body["status"]) == ("a, b c", "unlisted")
    assert (len(body["variants"]), len(body["variant_gids"])) == (100, 120)
    assert "metafields" not in body
    assert "collections" not in body
    assert body["updated_at"].endswith("-04:00")
    assert only(received, "products/delete") == {"id": large.id}


def test_stock_does_not_name_its_variant(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    variant = next(one for product in merchant.shop.products for one in product.variants if one.tracked)
    merchant.set_inventory(variant.id, 0)
    shopify.settle()
    body = only(received, "inventory_levels/update")
    assert body["inventory_item_id"] == variant.inventory_item
    assert str(variant.id) not in json.dumps(body)
    events = {headers["x-shopify-event-id"] for headers, _ in received.all}
    assert received.topics() == ["inventory_levels/update", "products/update"]
    assert len(events) == 1


def test_an_order_has_tokens_personal_data_and_no_checkout_id(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    shopper = shopify.shopper(3, customer=next(iter(merchant.shop.customers)).id)
    shopper.add(next(one.id for one in list(merchant.shop.products)[2].variants if one.tracked), 2)
    order = shopper.buy(attributes=[("_miso_anon", "anon-1")])
    shopify.settle()
    body = only(received, "orders/create")
    assert "checkout_id" not in body
    assert (body["cart_token"], body["checkout_token"]) == (order.cart_token, order.checkout_token)
    assert body["note_attributes"] == [{"name": "_miso_anon", "value": "anon-1"}]
    assert "canary" in json.dumps(body).lower()
    assert body["line_items"][0]["quantity"] == 2
    assert {"carts/create", "customers/update", "inventory_levels/update"} <= set(received.topics())
    updated = only(received, "customers/update")
    assert updated["orders_count"] == merchant.shop.customers.keep(order.customer or 0).orders_count


def test_refund_cancel_and_edit(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    order = next(one for one in merchant.shop.orders if not one.refunds and len(one.lines) > 1 and one.lines[1].variant)
    added = merchant.edit_order(order.id, {list(merchant.shop.products)[2].variants[0].id: 2}, {order.lines[0].id: 1})
    merchant.refund(order.id, amount="2.50")
    merchant.cancel(order.id)
    shopify.settle()
    edit = only(received, "orders/edited")["order_edit"]["line_items"]
    assert edit["additions"] == [{"id": added[0].id, "delta": 2}]
    refunds = {body["id"]: body for body in map(json.loads, received.bodies("refunds/create"))}
    assert len(refunds) == 3
    assert sum(body["refund_line_items"] == [] for body in refunds.values()) == 1
    kept = merchant.shop.orders.keep(order.id)
    assert all(kept.left(line) == 0 for line in kept.lines)
    cancelled = only(received, "orders/cancelled")
    assert cancelled["cancelled_at"]
    assert [one["current_quantity"] for one in cancelled["line_items"]] == [0] * len(kept.lines)


def test_a_deleted_variant_is_null_in_later_payloads(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    order = next(one for one in merchant.shop.orders if one.lines[0].variant)
    merchant.delete_variant(order.lines[0].variant or 0)
    merchant.touch_order(order.id)
    shopify.settle()
    line = only(received, "orders/updated")["line_items"][0]
    assert (line["variant_id"], line["product_id"]) == (None, order.lines[0].product)


def test_what_fails_is_sent_eight_times_more_within_four_hours(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    received.status = 500
    merchant.change_shop(name="New")
    shopify.settle()
    assert len(received.all) == 1
    delivery, pauses = shopify.hooks.deliveries[0], list[int]()
    for _ in range(2):
        pauses.append(delivery.due - shopify.clock.now())
        shopify.clock.advance(pauses[-1] / 1000 - 0.001)
        shopify.settle()
        before = len(received.all)
        shopify.clock.advance(0.001)
        shopify.settle()
        assert len(received.all) == before + 1
    assert [round(one / 1000) for one in pauses] == [56, 113]
    for _ in range(30):
        shopify.clock.advance(600)
        shopify.settle()
    assert len(received.all) == 9
    assert len({headers["x-shopify-webhook-id"] for headers, _ in received.all}) == 1
    assert len({body for _, body in received.all}) == 1
    assert shopify.hooks.deliveries[0].state == "failed"


def test_redirects_fail_and_any_2xx_is_a_success(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    for status in (302, 204):
        received.status = status
        merchant.change_shop(name=str(status))
        shopify.settle()
    assert [one.state for one in shopify.hooks.deliveries] == ["waiting", "delivered"]


def test_no_answer_in_time_is_a_failure(shopify: ShopifySandbox, merchant: Merchant) -> None:
    shopify.app_config.webhook_url = "http://127.0.0.1:1/nobody"
    merchant.change_shop(name="New")
    shopify.settle()
    assert shopify.hooks.deliveries[0].statuses == [0]


def test_a_subscription_of_a_shop_is_deleted_after_eight_failures(shopify: ShopifySandbox, received: Received) -> None:
    app, merchant = AppClient(shopify), shopify.merchant()
    shopify.app_config.webhook_url = None
    made = app(SUBSCRIBE, t="SHOP_UPDATE", u=received.url, f=["id", "name"])["webhookSubscriptionCreate"]
    assert made["userErrors"] == []
    merchant.change_shop(name="New")
    shopify.settle()
    assert json.loads(received.all[0][1]) == {"id": app.shop.id, "name": "New"}
    received.status = 500
    for n in range(7):
        merchant.change_shop(name=str(n))
        shopify.settle()
    received.status = 200
    merchant.change_shop(name="heard")
    shopify.settle()
    received.status = 500
    for n in range(8):
        assert len(app.shop.subscriptions) == 1
        merchant.change_shop(name=str(n))
        shopify.settle()
    assert app.shop.subscriptions == {}
    count = len(received.all)
    merchant.change_shop(name="unheard")
    shopify.settle()
    assert len(received.all) == count


def test_rules_drop_delay_double_and_repeat(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    shopify.hooks.rules += [HookRule(drop=True), HookRule(delay=100, after=1), HookRule(copies=2, after=2)]
    shopify.hooks.rules.append(HookRule(twice=True, after=3))
    for n in range(4):
        merchant.change_shop(name=f"n{n}")
    shopify.settle()

    def names() -> list[str]:
        return sorted(json.loads(body)["name"] for _, body in received.all)

    assert names() == ["n2", "n2", "n2", "n3"]
    shopify.clock.advance(101)
    shopify.settle()
    assert names() == ["n1", "n2", "n2", "n2", "n3", "n3"]
    assert [one.state for one in shopify.hooks.deliveries][:2] == ["dropped", "delivered"]


def test_uninstalling_says_so_and_redacts_two_days_later(
    shopify: ShopifySandbox, merchant: Merchant, received: Received
) -> None:
    shopify.installs.uninstall(DOMAIN)
    merchant.change_shop(name="unheard")
    shopify.settle()
    assert received.topics() == ["app/uninstalled"]
    assert only(received, "app/uninstalled")["myshopify_domain"] == DOMAIN
    shopify.clock.advance(47 * HOUR)
    shopify.settle()
    assert received.topics() == ["app/uninstalled"]
    shopify.clock.advance(HOUR)
    shopify.settle()
    assert only(received, "shop/redact") == {"shop_id": merchant.shop.id, "shop_domain": DOMAIN}


def test_people_ask_and_are_forgotten(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    first, second = [one.id for one in merchant.shop.customers][:2]
    merchant.data_request(first)
    merchant.delete_customer(first)
    merchant.redact_customer(first)
    merchant.redact_customer(second, only_email=True)
    shopify.settle()
    assert received.topics() == ["customers/data_request", "customers/delete"]
    shopify.clock.advance(10 * 24 * HOUR)
    shopify.settle()
    bodies = [json.loads(body)["customer"] for body in received.bodies("customers/redact")]
    assert {one.get("id") for one in bodies} == {first, None}


def test_scopes_change_what_is_heard(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    shopify.installs.set_scopes(DOMAIN, ["read_orders"])
    merchant.update_product(next(iter(merchant.shop.products)).id, title="unheard")
    shopify.settle()
    assert received.topics() == ["app/scopes_update"]
    assert only(received, "app/scopes_update")["current"] == ["read_orders"]


def test_collections_tell_of_themselves(shopify: ShopifySandbox, merchant: Merchant, received: Received) -> None:
    made = merchant.create_collection("Gifts", tag="gift")
    merchant.update_collection(made.id, handle="presents")
    merchant.delete_collection(made.id)
    shopify.settle()
    assert received.topics() == ["collections/create", "collections/delete", "collections/update"]
    assert only(received, "collections/update")["handle"] == "presents"


def test_webhooks_of_several_threads_are_all_different(shopify: ShopifySandbox, merchant: Merchant) -> None:
    def change() -> None:
        for n in range(200):
            merchant.change_shop(name=str(n))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    shopify.hooks.rules.append(HookRule(drop=True, times=-1))
    threads = [threading.Thread(target=change) for _ in range(4)]
    try:
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    finally:
        sys.setswitchinterval(before)
    deliveries = shopify.hooks.deliveries
    assert len({one.webhook_id for one in deliveries}) == len({one.event_id for one in deliveries}) == 800
