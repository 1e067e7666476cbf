"""GraphQL nodes to the neutral shapes that ``translate`` knows; the webhooks' payloads become the same.

Ids are decimal texts, money is decimal text, what is absent is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from misoflow import Event

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import customer_id, order_state_id

Json = dict[str, Any]
ANONYMOUS = "_miso_anon"
"""The cart attribute in which a theme tells who it is."""


def id_of(gid: Any) -> str:
    """``gid://shopify/Product/1?x=y`` as ``1``; "" for what is no id. https://shopify.dev/docs/api/usage/gids"""
    text = str(gid or "").rpartition("/")[2].partition("?")[0]
    return text if text.isascii() and text.isdigit() else ""


def gid(kind: str, number: str) -> str:
    """The other way round."""
    return f"gid://shopify/{kind}/{number}"


def ms_of(time: str) -> int:
    """An RFC 3339 time as ms since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def utc(moment: datetime) -> str:
    """As Shopify's search takes it: https://shopify.dev/docs/api/usage/search-syntax"""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def product(
    node: Json,
    variants: Iterable[Json],
    collections: Iterable[Json],
    metafields: Iterable[Json],
    *,
    shop: str,
    domain: str | None,
    read_at: int,
    config: ShopifyConfig,
) -> Event:
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/Product. ``read_at``: ms."""
    number = id_of(node["id"])
    wanted = set(config.metafields)
    fields = [one for one in metafields if f"{one.get('namespace')}.{one.get('key')}" in wanted]
    published_at = node.get("publishedAt")
    data = {
        "shop": shop,
        "id": number,
        "read_at": read_at,
        "gone": False,
        "title": node.get("title"),
        "html": node.get("descriptionHtml"),
        "vendor": node.get("vendor"),
        "product_type": node.get("productType"),
        "handle": node.get("handle"),
        "status": node.get("status"),
        "published": published_at is not None and ms_of(published_at) <= read_at,
        "published_at": published_at,
        "created_at": node.get("createdAt"),
        "updated_at": node.get("updatedAt"),
        "tags": list(node.get("tags") or ()),
        "url": node.get("onlineStoreUrl"),
        "domain": domain,
        "image": _at(node, "featuredMedia", "preview", "image", "url"),
        "category": _at(node, "category", "fullName"),
        "gift_card": node.get("isGiftCard") is True,
        "collections": sorted(({**_collection(one)} for one in collections), key=_by_id),
        "metafields": sorted((_metafield(one) for one in fields), key=lambda one: (one["namespace"], one["key"])),
        "variants": sorted((_variant(one) for one in variants), key=_by_id),
    }
    return Event(f"product/{number}@{read_at}", "product", data)


def gone_product(number: str, shop: str, read_at: int) -> Event:
    """A product that Shopify does not have any more."""
    data = {"shop": shop, "id": number, "read_at": read_at, "gone": True}
    return Event(f"product/{number}@{read_at}", "product", data)


def _variant(node: Json) -> Json:
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/ProductVariant"""
    return {
        "id": id_of(node["id"]),
        "title": node.get("title"),
        "sku": node.get("sku"),
        "barcode": node.get("barcode"),
        "price": node.get("price"),
        "compare_at_price": node.get("compareAtPrice"),
        "available": node.get("availableForSale"),
        "image": _at(node, "image", "url"),
        "created_at": node.get("createdAt"),
        "updated_at": node.get("updatedAt"),
        "cost": _at(node, "inventoryItem", "unitCost", "amount"),
        "inventory_item": id_of(_at(node, "inventoryItem", "id")) or None,
        "options": [{"name": one.get("name"), "value": one.get("value")} for one in node.get("selectedOptions") or ()],
    }


def _collection(node: Json) -> Json:
    return {"id": id_of(node["id"]), "handle": node.get("handle"), "title": node.get("title")}


def _metafield(node: Json) -> Json:
    return {name: node.get(name) for name in ("namespace", "key", "type", "value")}


def collection(node: Json, *, shop: str, read_at: int) -> Event:
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/Collection"""
    data = {"shop": shop, **_collection(node), "read_at": read_at}
    return Event(f"collection/{data['id']}@{read_at}", "collection", data)


def order(node: Json, lines: Iterable[Json], refunds: Iterable[tuple[Json, list[Json]]], *, shop: str) -> list[Event]:
    """The order and its state. ``refunds``: each with its lines. https://shopify.dev/docs/api/admin-graphql/latest/objects/Order"""
    number = id_of(node["id"])
    data = {
        "shop": shop,
        "id": number,
        "created_at": node.get("createdAt"),
        "processed_at": node.get("processedAt"),
        "updated_at": node.get("updatedAt"),
        "test": node.get("test") is True,
        "cancelled_at": node.get("cancelledAt"),
        "source": node.get("sourceName"),
        "currency": _at(node, "totalPriceSet", "shopMoney", "currencyCode"),
        "total": _at(node, "totalPriceSet", "shopMoney", "amount"),
        "customer": id_of(_at(node, "customer", "id")) or None,
        "cart_token": node.get("cartToken"),
        "checkout_token": node.get("checkoutToken"),
        "anonymous": _attribute(node.get("customAttributes") or (), ANONYMOUS),
        "locale": node.get("customerLocale"),
        "lines": sorted((_line(one) for one in lines), key=_by_id),
        "refunds": sorted(
            (_refund(one, lines) for one, lines in refunds), key=lambda one: (one["created_at"] or "", int(one["id"]))
        ),
    }
    return [
        Event(f"order/{number}", "order", data),
        Event(order_state_id(data), "order_state", data),
    ]


def _line(node: Json) -> Json:
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/LineItem"""
    return {
        "id": id_of(node["id"]),
        "variant": id_of(_at(node, "variant", "id")) or None,
        "product": id_of(_at(node, "product", "id")) or None,
        "quantity": node.get("quantity"),
        "total": _at(node, "discountedTotalSet", "shopMoney", "amount"),
        "gift_card": node.get("isGiftCard") is True,
        "plan": node.get("sellingPlan") is not None,
    }


def _refund(node: Json, lines: list[Json]) -> Json:
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/Refund"""
    found = [{"line": id_of(_at(one, "lineItem", "id")), "quantity": one.get("quantity")} for one in lines]
    return {
        "id": id_of(node["id"]),
        "created_at": node.get("createdAt"),
        "lines": sorted((one for one in found if one["line"]), key=lambda one: int(str(one["line"]))),
    }


def customer(node: Json, *, shop: str) -> Event:
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/Customer"""
    number = id_of(node["id"])
    orders = node.get("numberOfOrders")
    data = {
        "shop": shop,
        "id": number,
        "created_at": node.get("createdAt"),
        "updated_at": node.get("updatedAt"),
        "country": _at(node, "defaultAddress", "countryCodeV2"),
        "state": _at(node, "defaultAddress", "provinceCode"),
        "orders_count": int(orders) if orders is not None else None,  # an UnsignedInt64 comes as text
        "amount_spent": _at(node, "amountSpent", "amount"),
    }
    return Event(customer_id(data), "customer", data)


def _attribute(pairs: Iterable[Json], key: str) -> str | None:
    return next((one.get("value") for one in pairs if one.get("key") == key), None)


def _at(node: Any, *path: str) -> Any:
    """What stands there, None where anything on the way is null."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _by_id(one: Json) -> int:
    return int(one["id"])
