"""Bodies of webhooks as neutral objects, by allow-list: names, addresses, notes and whatever else comes stay out.

The same shapes are made of Admin GraphQL's objects, so an order is the same however it came.
https://shopify.dev/docs/api/webhooks/latest
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from misoflow import Reject

from misoflow_shopify.fields import (
    Json,
    count_of,
    decimal_of,
    hashed,
    id_of,
    listing,
    mapping,
    money_of,
    text_of,
    time_of,
    token_of,
)

ANONYMOUS = "_miso_anon"
"""The attribute of a cart by which a theme says who its visitor is at Miso."""
PLANS = ("selling_plan_allocation", "selling_plan", "selling_plan_id")


def required_id(body: Json, key: str, what: str) -> str:
    """Reject where the body has no such id: nothing can be made of it."""
    found = id_of(body.get(key))
    if found is None:
        raise Reject(f"the {what} has no usable id", f"$.{key}")
    return found


def shop_money(body: Json, key: str) -> str | None:
    """An amount in the shop's currency: ``<key>_set.shop_money``, else ``<key>``, which is in it on orders."""
    amount = mapping(mapping(body.get(f"{key}_set")).get("shop_money")).get("amount")
    return money_of(amount) or money_of(body.get(key))


def order(shop: str, body: Json) -> Json:
    """https://shopify.dev/docs/api/admin-rest/latest/resources/order#resource-object"""
    refunds = [found for item in listing(body.get("refunds")) if (found := refund(item)) is not None]
    lines = [found for item in listing(body.get("line_items")) if (found := line(item)) is not None]
    return {
        "shop": shop,
        "id": required_id(body, "id", "order"),
        "created_at": time_of(body.get("created_at")),
        "processed_at": time_of(body.get("processed_at")),
        "updated_at": time_of(body.get("updated_at")),
        "test": body.get("test") is True,
        "cancelled_at": time_of(body.get("cancelled_at")),
        "source": text_of(body.get("source_name")),
        "currency": text_of(body.get("currency"), 3),
        "total": shop_money(body, "total_price"),
        "customer": id_of(mapping(body.get("customer")).get("id")),
        "cart_token": token_of(body.get("cart_token")),
        "checkout_token": token_of(body.get("checkout_token")),
        "anonymous": attribute(body.get("note_attributes"), ANONYMOUS),
        "locale": text_of(body.get("customer_locale"), 20),
        "lines": sorted(lines, key=lambda item: int(item["id"])),
        "refunds": sorted(refunds, key=lambda item: (item["created_at"] or "", int(item["id"]))),
    }


def line(body: Json) -> Json | None:
    """A line of an order; one without an id is none."""
    line_id = id_of(body.get("id"))
    if line_id is None:
        return None
    return {
        "id": line_id,
        "variant": id_of(body.get("variant_id")),
        "product": id_of(body.get("product_id")),
        "quantity": count_of(body.get("quantity")) or 0,
        "total": line_total(body),
        "gift_card": body.get("gift_card") is True,
        "plan": any(body.get(key) for key in PLANS),
    }


def line_total(body: Json) -> str | None:
    """What the line costs after all its discounts, as ``discountedTotalSet`` of GraphQL says it."""
    price, quantity = decimal_of(shop_money(body, "price")), count_of(body.get("quantity"))
    if price is None or quantity is None:
        return None
    discounts = [decimal_of(shop_money(one, "amount")) for one in listing(body.get("discount_allocations"))]
    return str(price * quantity - sum((one for one in discounts if one is not None), Decimal(0)))


def refund(body: Json) -> Json | None:
    """A refund with the units that it takes back; one of money alone has none.

    https://shopify.dev/docs/api/admin-rest/latest/resources/refund
    """
    refund_id = id_of(body.get("id"))
    if refund_id is None:
        return None
    lines = [
        {"line": line_id, "quantity": count_of(item.get("quantity")) or 0}
        for item in listing(body.get("refund_line_items"))
        if (line_id := id_of(item.get("line_item_id"))) is not None
    ]
    return {"id": refund_id, "created_at": time_of(body.get("created_at")), "lines": lines}


def attribute(pairs: Any, name: str) -> str | None:
    """The value of one of an order's ``note_attributes``."""
    values = (item.get("value") for item in listing(pairs) if item.get("name") == name)
    return next((text for value in values if (text := text_of(value)) is not None), None)


def customer(shop: str, body: Json) -> Json:
    """https://shopify.dev/docs/api/admin-rest/latest/resources/customer#resource-object"""
    address = mapping(body.get("default_address"))
    return {
        "shop": shop,
        "id": required_id(body, "id", "customer"),
        "created_at": time_of(body.get("created_at")),
        "updated_at": time_of(body.get("updated_at")),
        "country": text_of(address.get("country_code"), 10),
        "state": text_of(address.get("province_code"), 10),
        "orders_count": count_of(body.get("orders_count")),
        "amount_spent": money_of(body.get("total_spent")),
    }


def collection(shop: str, body: Json) -> Json:
    """The handle of a collection, by which its page and its products are joined."""
    return {
        "shop": shop,
        "id": required_id(body, "id", "collection"),
        "handle": text_of(body.get("handle")),
        "title": text_of(body.get("title")),
        "read_at": None,
    }


def cart(shop: str, body: Json) -> Json:
    """What is in a cart; its token is hashed, because it opens the cart.

    https://shopify.dev/docs/api/webhooks/latest?reference=toml#list-of-topics-carts/update
    """
    token = token_of(body.get("token")) or token_of(body.get("id"))
    if token is None:
        raise Reject("the cart has no token", "$.token")
    lines = [
        {"variant": variant, "product": id_of(item.get("product_id")), "quantity": quantity}
        for item in listing(body.get("line_items"))
        if (variant := id_of(item.get("variant_id"))) and (quantity := count_of(item.get("quantity")))
    ]
    return {"shop": shop, "cart": hashed(shop, token), "at": time_of(body.get("updated_at")), "lines": lines}
