"""Carts, checkouts, refunds and reviews.

https://segment.com/docs/connections/spec/ecommerce/v2/#core-ordering-overview
"""

from __future__ import annotations

from misoflow import AddToCart, Checkout, Custom, Effect, Rate, Record, Refund, once, privacy, values

from misoflow_segment.call import Call
from misoflow_segment.keys import Json
from misoflow_segment.products import agreed_miso_id, listed, required, single, some, with_quantities

Outputs = list[Record | Effect]
BEST_RATING = 5
MAX_KEY = 512


def added(call: Call) -> Outputs:
    """Product Added, Wishlist Product Added to Cart."""
    return [AddToCart(**with_quantities(call, single(call)), **call.common())]


def custom(call: Call) -> Outputs:
    """Under its own name, with products where there are any."""
    items = listed(call)
    return [Custom(custom_action_name=call.action, **some(call, items), **_common(call, items))]


def started(call: Call) -> Outputs:
    """Checkout Started: the checkout itself only where the instance says so, or orders would count twice."""
    return checkout(call) if call.plan.config.checkout_on == "started" else custom(call)


def completed(call: Call) -> Outputs:
    """Order Completed."""
    return checkout(call) if call.plan.config.checkout_on == "completed" else custom(call)


def checkout(call: Call) -> Outputs:
    """One checkout an order, whether the browser, the server or both report it."""
    items = listed(call)
    record = Checkout(**with_quantities(call, items), revenue=revenue(call, items), **_common(call, items))
    return [once_an_order(call, record)]


def once_an_order(call: Call, record: Record) -> Record | Effect:
    """The record by its order's id, unless there is none or the instance counts every report."""
    order = order_id(call)
    if order is None or not call.plan.config.once_per_order:
        return record
    return once(f"checkout:{order}", record)


def refunded(call: Call) -> Outputs:
    """Order Refunded: the spec asks only for order_id, and a refund without products is none to Miso."""
    items = listed(call)
    products = some(call, items)
    common = _common(call, items)
    if products:
        return [Refund(**products, **common)]
    return [Custom(custom_action_name="order_refunded", **common)]


def cancelled(call: Call) -> Outputs:
    """Order Cancelled: takes the checkout back as a refund does."""
    if call.plan.config.order_cancelled == "custom":
        return custom(call)
    items = listed(call)
    products = some(call, items)
    common = _common(call, items)
    return [Refund(**products, **common) if products else Custom(custom_action_name="order_cancelled", **common)]


def reviewed(call: Call) -> Outputs:
    """Product Reviewed: the rating is a text in the spec; what is no number on the scale is kept as custom."""
    products = required(call, single(call))
    common = call.common()
    rating = values.number_of(call.properties.get("rating"))
    if rating is not None and 0 <= rating <= call.plan.config.rating_scale:
        scaled = round(rating * BEST_RATING / call.plan.config.rating_scale, 4)
        return [Rate(rating=int(scaled) if scaled == int(scaled) else scaled, **products, **common)]
    return [Custom(custom_action_name="product_reviewed", **products, **common)]


def revenue(call: Call, items: list[Json]) -> int | float | None:
    """What the order brought, shipping and tax included as Miso wants it; None when the event does not say.

    Segment's ``revenue`` is without shipping and tax, ``total`` is with them.
    """
    properties, only = call.properties, call.plan.config.only_currency
    if only and str(properties.get("currency") or only).strip().lower() != only.strip().lower():
        return None
    stated = values.first_number(properties, "total", "revenue", "value")
    if stated is not None:
        return stated
    subtotal = values.first_number(properties, "subtotal")
    if subtotal is not None:
        return _cents(
            subtotal
            + (values.first_number(properties, "shipping") or 0)
            + (values.first_number(properties, "tax") or 0)
        )
    prices = [(values.money_of(item.get("price")), values.money_of(item.get("quantity", 1))) for item in items]
    known = [price * (1 if quantity is None else quantity) for price, quantity in prices if price is not None]
    return _cents(sum(known)) if known and len(known) == len(items) else None


def _cents(amount: int | float) -> int | float:
    """Without the dust that adding binary fractions leaves."""
    return amount if isinstance(amount, int) else round(amount, 6)


def order_id(call: Call) -> str | None:
    """The order's id; on an order event the top-level ``id`` means it too."""
    for key in ("order_id", "id"):
        value = call.properties.get(key)
        if type(value) is str and privacy.plain(value):
            return privacy.plain(value)[:MAX_KEY]
        if type(value) is int:
            return str(value)
    return None


def _common(call: Call, items: list[Json]) -> Json:
    """The common fields; the order's id in custom_context and the products' miso_id where they agree."""
    common = call.common(order_id=order_id(call)) if "id" in call.properties else call.common()
    if common["miso_id"] is None and items:
        common["miso_id"] = agreed_miso_id(items)
    return common
