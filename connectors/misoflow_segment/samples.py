"""Genuine deliveries for ``simulate`` and tests: one event for each topic, signed with the instance's secret.

Each is new: its own messageId, order and time, so that it is neither a repeat nor a second checkout.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
from misoflow import Request

from misoflow_segment.names import BEYOND, resolve

USER = "user-97980cfea0067"
VISITOR = "23adfd82-aa0f-45a7-a756-24f2a7a4c895"
PRODUCT: dict[str, Any] = {
    "product_id": "507f1f77bcf86cd799439011",
    "sku": "45790-32",
    "category": "Games",
    "name": "Monopoly: 3rd Edition",
    "brand": "Hasbro",
    "variant": "200 pieces",
    "price": 18.99,
    "quantity": 1,
    "position": 3,
    "url": "https://shop.example/products/507f1f77bcf86cd799439011",
    "image_url": "https://shop.example/images/507f1f77bcf86cd799439011.jpg",
}
SECOND: dict[str, Any] = {"product_id": "505bd76785ebb509fc183733", "sku": "46493-32", "price": 3, "quantity": 2}
LIST: dict[str, Any] = {"list_id": "hot_deals", "category": "Games > Board", "products": [PRODUCT, SECOND]}
ORDER: dict[str, Any] = {
    "checkout_id": "fksdjfsdjfisjf9sdfjsd9f",
    "affiliation": "Web shop",
    "total": 27.5,
    "subtotal": 24.99,
    "revenue": 24.99,
    "shipping": 1.5,
    "tax": 1.01,
    "coupon": "hasbros",
    "currency": "USD",
    "products": [PRODUCT, SECOND],
}
PROMOTION = {"promotion_id": "promo_1", "creative": "top_banner_2", "name": "75% store-wide sale", "position": "top"}
COUPON = {"cart_id": "cart-1", "coupon_id": "may_deals_2016", "coupon_name": "May Deals 2016", "discount": 2.32}
STEP = {"checkout_id": "50314b8e9bcf000000000000", "step": 2, "shipping_method": "post", "payment_method": "card"}
WISHLIST = {"wishlist_id": "skdjsidjsdkdj29j", "wishlist_name": "Loved Games", **PRODUCT}
SHARE = {"share_via": "email", "share_message": "Hey, check out this item", "recipient": "friend@example.com"}
VIDEO = {"session_id": "12345", "position": 45, "total_length": 392}

PROPERTIES: dict[str, dict[str, Any]] = {
    "Products Searched": {"query": "blue hotpants", "products": [PRODUCT]},
    "Product List Viewed": LIST,
    "Product List Filtered": {**LIST, "filters": [{"type": "department", "value": "beauty"}]},
    "Promotion Viewed": PROMOTION,
    "Promotion Clicked": PROMOTION,
    "Cart Viewed": {"cart_id": "cart-1", "products": [PRODUCT, SECOND]},
    "Checkout Started": ORDER,
    "Checkout Step Viewed": STEP,
    "Checkout Step Completed": STEP,
    "Payment Info Entered": STEP,
    "Order Updated": ORDER,
    "Order Completed": ORDER,
    "Order Refunded": ORDER,
    "Order Cancelled": ORDER,
    "Coupon Entered": COUPON,
    "Coupon Applied": COUPON,
    "Coupon Denied": {**COUPON, "reason": "Coupon expired"},
    "Coupon Removed": COUPON,
    "Product Added to Wishlist": WISHLIST,
    "Product Removed from Wishlist": WISHLIST,
    "Wishlist Product Added to Cart": {**WISHLIST, "cart_id": "cart-1"},
    "Product Shared": {**SHARE, **PRODUCT},
    "Cart Shared": {**SHARE, "cart_id": "cart-1", "products": [PRODUCT, SECOND]},
    "Product Reviewed": {"product_id": PRODUCT["product_id"], "review_id": "kdfjrj39fj39jf3", "rating": "5"},
}
ORDERS = ("Checkout Started", "Payment Info Entered", "Order", "Coupon")


def signed_request(topic: str, secrets: list[bytes], tokens: list[bytes], write_keys: list[bytes]) -> Request:
    """The topic's delivery, proven by whatever the instance takes; LookupError if it takes none of that topic."""
    body = msgspec.json.encode(call_for(topic))
    headers = {"content-type": "application/json"}
    if secrets:
        headers["x-signature"] = hmac.new(secrets[0], body, hashlib.sha1).hexdigest()
    elif tokens:
        headers["authorization"] = "Bearer " + tokens[0].decode()
    elif write_keys:
        if topic == "delete":
            raise LookupError("a delete is taken from signed webhooks only")
        headers["authorization"] = "Basic " + base64.b64encode(write_keys[0] + b":").decode()
        return Request(body, headers, "tracking", "v1/track")
    return Request(body, headers)


def call_for(topic: str) -> Any:
    """A decoded call of that topic."""
    if topic == "malformed":
        return {"message": "a mapping that sends only properties", "nonce": uuid.uuid4().hex}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    common: dict[str, Any] = {
        "messageId": f"sample-{uuid.uuid4()}",
        "anonymousId": VISITOR,
        "userId": USER,
        "timestamp": now,
        "context": {
            "ip": "8.8.8.8",
            "locale": "en-US",
            "page": {"url": "https://shop.example/games?utm_source=newsletter", "title": "Games"},
            "userAgent": "Mozilla/5.0 (sample)",
        },
    }
    return {**common, **_own(topic)}


def _own(topic: str) -> dict[str, Any]:
    """What makes the call one of its topic."""
    match topic:
        case "page":
            return {"type": "page", "name": "Home", "properties": {"path": "/", "url": "https://shop.example/"}}
        case "screen":
            return {"type": "screen", "name": "Start"}
        case "identify":
            return {"type": "identify", "traits": {"plan": "premium", "age": 33, "address": {"city": "Berlin"}}}
        case "group":
            return {"type": "group", "groupId": "group-1", "traits": {"name": "Initech"}}
        case "alias":
            return {"type": "alias", "previousId": "39239-239239-239239-23923"}
        case "delete":
            return {"type": "delete"}
        case "track":
            return {"type": "track", "event": "Size Guide Opened", "properties": dict(PRODUCT)}
    name = resolve(topic)
    if name is None or name.topic == "track":
        raise LookupError(topic)
    event = BEYOND[topic][0] if topic in BEYOND else topic
    return {"type": "track", "event": event, "properties": _properties(name.topic)}


def _properties(topic: str) -> dict[str, Any]:
    if topic.startswith("Video"):
        return {**VIDEO, "content_asset_ids" if "Started" in topic else "content_asset_id": _asset(topic)} | (
            {} if "Playback" in topic else {"asset_id": "0129370"}
        )
    properties = dict(PROPERTIES.get(topic, PRODUCT))
    if topic.startswith(ORDERS):
        properties["order_id"] = f"order-{uuid.uuid4().hex[:12]}"
    return properties


def _asset(topic: str) -> Any:
    return ["0129370"] if "Started" in topic else "0129370"
