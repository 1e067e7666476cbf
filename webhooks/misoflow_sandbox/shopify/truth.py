"""What should be at Miso of a shop, in the shop's own words: for the tests that compare.

Nothing here knows how a connector maps; these are facts about the shop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from misoflow_sandbox.shopify.history import total
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.things import Order, Product


class Bought(Struct):
    """Units of an order: (variant, quantity) of the lines whose variant is known."""

    order: str
    customer: str | None
    total: str
    units: list[tuple[str, int]]


def on_sale(shop: Shop) -> Iterator[Product]:
    """Products that a visitor finds: active and published on the Online Store."""
    return (one for one in shop.products if one.status == "ACTIVE" and one.published)


def variants_on_sale(shop: Shop) -> set[str]:
    """Ids of the variants that belong into Miso."""
    return {str(variant.id) for product in on_sale(shop) for variant in product.variants}


def counted_orders(shop: Shop, scopes: tuple[str, ...] | None = None) -> Iterator[Order]:
    """Orders that are no tests, of the time that these scopes see (the app's by default)."""
    since = shop.seen_orders(shop.scopes if scopes is None else scopes)
    return (one for one in shop.orders if not one.test and one.created_at >= since)


def units(shop: Shop, order: Order) -> list[tuple[str, int]]:
    """What was bought, as far as the variant is still there; the same variant twice is added up."""
    found: dict[int, int] = {}
    for line in order.lines:
        if line.variant is not None and shop.variant(line.variant) is not None:
            found[line.variant] = found.get(line.variant, 0) + line.quantity
    return [(str(variant), quantity) for variant, quantity in found.items()]


def refunded_units(order: Order) -> dict[str, int]:
    """Line id -> units that were refunded, a cancellation without refund included."""
    found = {str(line.id): line.quantity - order.left(line) for line in order.lines}
    if order.cancelled_at is not None:
        found = {str(line.id): line.quantity for line in order.lines}
    return {line: count for line, count in found.items() if count}


def truth(shop: Shop) -> dict[str, Any]:
    """All of it, as JSON takes it."""
    return {
        "variants": sorted(variants_on_sale(shop)),
        "orders": [
            {
                "id": str(one.id),
                "customer": None if one.customer is None else str(one.customer),
                "hundredths": total(one),
                "units": units(shop, one),
                "refunded": refunded_units(one),
            }
            for one in counted_orders(shop)
        ],
        "customers": sorted(str(one.id) for one in shop.customers),
    }
