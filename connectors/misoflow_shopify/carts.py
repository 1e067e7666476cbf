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
    """Asks for the comparison: ``<hash>@<ms>@<product id>:<quantity>,…``, as ``fetch`` alone has a memory."""
    if config.carts != "webhooks":
        return [Skip("carts come from the pixel here (carts)")]
    moment = moment_of(data["at"]) or received
    if moment is None:
        return [Skip("the cart has no time")]
    counts: dict[str, int] = {}
    for line in data["lines"]:
        if (named := line["product" if config.group_mode == "product" else "variant"]) is not None:
            counts[named] = counts.get(named, 0) + line["quantity"]
    lines = ",".join(f"{named}:{count}" for named, count in sorted(counts.items())[:MOST_LINES])
    return [Fetch("cart", f"{data['cart']}@{ms_of(moment)}@{lines}")]


def cart_changed(data: Json) -> Outputs:
    """What the comparison found: lists of (id of a product of Miso's, its group or None, quantity)."""
    common: Json = {
        **of_cart(data["shop"], data["cart"], data["customer"]),
        "timestamp": with_ms(data["at"]),
        "context": {"custom_context": {"shop": data["shop"], "cart": data["cart"]}},
    }
    made: Outputs = []
    for named, group, quantity in data["added"]:
        made.append(AddToCart(**_products(named, group), quantities=[quantity], **common))
    for named, group, _ in data["removed"]:
        made.append(RemoveFromCart(**_products(named, group), **common))
    return made or [Skip("nothing was added or removed")]


def _products(named: Any, group: Any) -> Json:
    return {"product_ids": [named], **({"product_group_ids": [group]} if group is not None else {})}
