"""Carts by webhook, for shops without a pixel: what was added and removed is found by comparing with the last one.

https://shopify.dev/docs/api/webhooks/latest?reference=toml#list-of-topics-carts/update
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from misoflow import AddToCart, Effect, Fetch, Record, RemoveFromCart, Skip

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import Json, moment_of, ms_of, with_ms
from misoflow_shopify.identity import of_cart

Outputs = list[Record | Effect]
MOST_LINES = 250


def cart(config: ShopifyConfig, data: Json, received: datetime | None) -> Outputs:
    """Asks for the comparison: ``<hash>@<ms>@<variant>:<quantity>,…``, as ``fetch`` alone has a memory."""
    if config.carts != "webhooks":
        return [Skip("carts come from the pixel here (carts)")]
    moment = moment_of(data["at"]) or received
    if moment is None:
        return [Skip("the cart has no time")]
    lines = ",".join(f"{variant}:{count}" for variant, count in sorted(data["lines"].items())[:MOST_LINES])
    return [Fetch("cart", f"{data['cart']}@{ms_of(moment)}@{lines}")]


def cart_changed(config: ShopifyConfig, data: Json) -> Outputs:
    """What the comparison found: lists of (variant, product or None, quantity)."""
    common: Json = {
        **of_cart(data["shop"], data["cart"], data["customer"]),
        "timestamp": with_ms(data["at"]),
        "context": {"custom_context": {"shop": data["shop"], "cart": data["cart"]}},
    }
    made: Outputs = []
    for variant, product, quantity in data["added"]:
        if products := _products(config, variant, product):
            made.append(AddToCart(**products, quantities=[quantity], **common))
    for variant, product, _ in data["removed"]:
        if products := _products(config, variant, product):
            made.append(RemoveFromCart(**products, **common))
    return made or [Skip("nothing was added or removed")]


def _products(config: ShopifyConfig, variant: Any, product: Any) -> Json:
    """The ids of one line; nothing where its product is needed and not known."""
    if config.group_mode == "product":
        return {"product_ids": [product]} if product is not None else {}
    return {"product_ids": [variant], **({"product_group_ids": [product]} if product is not None else {})}
