"""Genuine deliveries for ``simulate`` and tests: each is new, and signed with the newest secret.

Bodies are shaped like those in https://shopify.dev/docs/api/webhooks/latest, with what must not go on in them.
"""

from __future__ import annotations

import json
import secrets
import uuid
from datetime import UTC, datetime
from typing import Any

from misoflow import Request, sign_hmac

from misoflow_shopify import pixel
from misoflow_shopify.config import API_VERSION, ShopifyConfig
from misoflow_shopify.domains import pixel_key
from misoflow_shopify.fields import Json, written

SHOP = "demo-shop.myshopify.com"
PRODUCT, VARIANT, CUSTOMER = 632910392, 808950810, 207119551
PERSON = {"id": CUSTOMER, "email": "bob.norman@example.com", "first_name": "Bob", "last_name": "Norman"}
ADDRESS = {"address1": "1 Rue des Carrières", "zip": "K1A 0B1", "country_code": "CA", "province_code": "ON"}
WEBHOOKS = {
    "product_touched": "products/update",
    "product_deleted": "products/delete",
    "inventory_touched": "inventory_levels/update",
    "order": "orders/create",
    "order_state": "orders/cancelled",
    "order_touched": "orders/edited",
    "refund_touched": "refunds/create",
    "collection": "collections/update",
    "collection_touched": "collections/update",
    "customer": "customers/update",
    "customer_deleted": "customers/delete",
    "cart": "carts/update",
    "shop_touched": "shop/update",
    "scopes_touched": "app/scopes_update",
    "bulk_finished": "bulk_operations/finish",
    "uninstalled": "app/uninstalled",
    "redact_shop": "shop/redact",
    "redact_customer": "customers/redact",
    "data_request": "customers/data_request",
    "unknown": "themes/publish",
}
"""Our topic -> a webhook that gives it. The others are only read."""


def request_for(config: ShopifyConfig, topic: str) -> Request:
    """A delivery of that topic; LookupError for a topic of history."""
    shop = config.shop or SHOP
    if topic in pixel.TOPICS:
        key = pixel_key(config, shop)
        body = json.dumps(_of_pixel(topic)).encode()
        return Request(body, {"content-type": "text/plain;charset=UTF-8"}, pixel.CHANNEL, f"pixel/{key}")
    webhook = WEBHOOKS[topic]
    now = datetime.now(UTC).replace(microsecond=0)
    body = json.dumps(_body(webhook, shop, written(now)), ensure_ascii=False).encode()
    return Request(
        body,
        {
            "content-type": "application/json",
            "x-shopify-topic": webhook,
            "x-shopify-shop-domain": shop,
            "x-shopify-api-version": API_VERSION,
            "x-shopify-webhook-id": str(uuid.uuid4()),
            "x-shopify-event-id": str(uuid.uuid4()),
            "x-shopify-triggered-at": written(now),
            "x-shopify-hmac-sha256": sign_hmac(body, config.client_secret, encoding="base64"),
        },
    )


def _body(webhook: str, shop: str, now: str) -> Json:
    kind, _, action = webhook.partition("/")
    person = {"shop_id": 954889, "shop_domain": shop, "customer": {**PERSON, "phone": "555-625-1199"}}
    match kind:
        case "products":
            return {"id": PRODUCT, **({} if action == "delete" else _product(now))}
        case "inventory_levels":
            return {"inventory_item_id": 39072856, "location_id": 655441491, "available": 12, "updated_at": now}
        case "orders":
            return (
                {"order_edit": {"id": 78912328793, "order_id": 450789469}}
                if action == "edited"
                else _order(action, now)
            )
        case "refunds":
            return {"id": 890088186047892319, "order_id": 450789469, "created_at": now, "refund_line_items": []}
        case "collections":
            return {"id": 841564295, "handle": "ipods", "title": "IPods", "updated_at": now, "sort_order": "manual"}
        case "customers" if action in ("redact", "data_request"):
            return {**person, "orders_requested": [299938], "orders_to_redact": [299938]}
        case "customers":
            return {**PERSON, "created_at": now, "updated_at": now, "orders_count": 3, "total_spent": "199.65"} | {
                "default_address": ADDRESS
            }
        case "carts":
            line = {"id": VARIANT, "variant_id": VARIANT, "product_id": PRODUCT, "quantity": 2, "price": "199.00"}
            return {"id": f"cart-{secrets.token_hex(8)}", "line_items": [line], "updated_at": now, "note": "for Bob"}
        case "shop" | "app" if action in ("update", "uninstalled"):
            return {"id": 548380009, "name": "Demo", "email": "owner@example.com", "myshopify_domain": shop}
        case "shop":
            return {"shop_id": 954889, "shop_domain": shop}
    return {"id": 1, "admin_graphql_api_id": "gid://shopify/Sample/1"}


def _product(now: str) -> Json:
    variant = {"id": VARIANT, "product_id": PRODUCT, "title": "Pink", "price": "199.00", "compare_at_price": None}
    return {"title": "IPod Nano", "body_html": None, "tags": "Emotive, Flash", "updated_at": now, "variants": [variant]}


def _order(action: str, now: str) -> Json:
    line = {"id": 466157049, "variant_id": VARIANT, "product_id": PRODUCT, "quantity": 2, "price": "199.00"}
    return {
        "id": secrets.randbelow(10**12) + 10**12,
        "email": PERSON["email"],
        "customer": PERSON,
        "billing_address": ADDRESS,
        "browser_ip": "216.191.105.146",
        "created_at": now,
        "processed_at": now,
        "updated_at": now,
        "cancelled_at": now if action == "cancelled" else None,
        "test": False,
        "currency": "USD",
        "total_price": "409.94",
        "source_name": "web",
        "cart_token": secrets.token_hex(16),
        "checkout_token": secrets.token_hex(16),
        "line_items": [{**line, "name": "IPod Nano - 8GB", "discount_allocations": []}],
        "refunds": [],
    }


def _of_pixel(topic: str) -> Json:
    """A request of our pixel; deploy/shopify/extensions/miso-pixel makes them."""
    name = next(wire for wire, ours in pixel.NAMES.items() if f"pixel_{ours}" == topic)
    page = {
        "url": f"https://shop.example{PATHS.get(name, '/')}",
        "referrer": "https://www.example.com/",
        "title": "IPods",
    }
    event = {
        "id": f"sh-{uuid.uuid4()}",
        "name": name,
        "clientId": str(uuid.uuid4()),
        "seq": 3,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "customer": None,
        "page": page,
        "locale": "en-US",
        "userAgent": "Mozilla/5.0 (sample)",
        "data": _pixel_data(name),
    }
    consent = {"analytics": True, "marketing": False, "preferences": False, "sale": False}
    return {"v": pixel.WIRE_VERSION, "consent": consent, "event": event}


PATHS = {
    "product_viewed": "/products/ipod-nano?variant=808950810&utm_source=newsletter",
    "collection_viewed": "/collections/ipods",
    "search_submitted": "/search?q=ipod&filter.p.vendor=Apple",
    "cart_viewed": "/cart",
}


def _pixel_data(name: str) -> Any:
    item = {"variant": str(VARIANT), "product": str(PRODUCT)}
    if name.startswith("product_"):
        return {**item, "quantity": 1}
    if name == "cart_viewed":
        return {"cart": secrets.token_hex(16)}
    if name.startswith(("checkout_", "payment_")):
        tokens = {"checkout": secrets.token_hex(16), "cart": secrets.token_hex(16)}
        return {**tokens, "order": "450789469" if name == "checkout_completed" else None, "customer": None}
    data: Json = {"items": [item]}
    match name:
        case "page_viewed":
            return {}
        case "collection_viewed":
            data |= {"collection": "841564295", "title": "IPods"}
        case "search_submitted":
            data["query"] = "ipod"
        case _:
            data["miso_id"] = str(uuid.uuid4())
    return data
