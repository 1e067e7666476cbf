"""The fields at the top of a query.

https://shopify.dev/docs/api/admin-graphql/2026-10/queries
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphql import GraphQLError

from misoflow_sandbox.shopify import listing
from misoflow_sandbox.shopify.asking import Asked, Fields, ItemOf, RefundOf, gid, number_of, refuse_without_scope
from misoflow_sandbox.shopify.catalog_fields import of_product, of_variant
from misoflow_sandbox.shopify.connections import Connection, numbered
from misoflow_sandbox.shopify.fields import FIELDS
from misoflow_sandbox.shopify.history import order_of_refund
from misoflow_sandbox.shopify.order_fields import seen
from misoflow_sandbox.shopify.shop import Pixel, Subscription

Arguments = Mapping[str, Any]
LOCALES = {"en": "English", "de": "German", "fr": "French", "ja": "Japanese"}


def _by_id(kind: str, get: Callable[[Asked, int], Any]) -> Callable[[Asked, Any, Arguments], Any]:
    return lambda asked, thing, arguments: get(asked, number_of(arguments["id"], kind))


def _item(asked: Asked, id_: int) -> ItemOf | None:
    found = asked.shop.item(id_)
    return None if found is None else ItemOf(*found)


def _refund(asked: Asked, id_: int) -> RefundOf | None:
    order = seen(asked, asked.shop.orders.get(order_of_refund(id_)))
    found = [one for one in order.refunds if one.id == id_] if order else []
    return RefundOf(order, found[0]) if order and found else None


def _pixel(asked: Asked, thing: Any, arguments: Arguments) -> Pixel:
    found = asked.shop.pixel
    if found is None or arguments.get("id") not in (None, gid("WebPixel", found.id)):
        raise GraphQLError("No web pixel was found for this app.", extensions={"code": "RESOURCE_NOT_FOUND"})
    return found


def _subscriptions(asked: Asked, thing: Any, arguments: Arguments) -> Connection:
    topics, uri = arguments.get("topics"), arguments.get("uri")
    found = [
        one
        for one in asked.shop.subscriptions.values()
        if (not topics or one.topic.upper().replace("/", "_") in topics) and uri in (None, one.uri)
    ]
    return Connection(lambda: [([one.id], one) for one in found])


def _subscription(asked: Asked, id_: int) -> Subscription | None:
    return asked.shop.subscriptions.get(id_)


def _count(name: str) -> Callable[[Asked, Any, Arguments], Any]:
    def count(asked: Asked, thing: Any, arguments: Arguments) -> dict[str, Any]:
        whole = sum(1 for _ in FIELDS["QueryRoot"][name](asked, None, {"query": arguments.get("query")}))
        limit = arguments.get("limit")
        if limit is not None and whole > limit:
            return {"count": limit, "precision": "AT_LEAST"}
        return {"count": whole, "precision": "EXACT"}

    return count


def _node(asked: Asked, thing: Any, arguments: Arguments) -> Any:
    kind = arguments["id"].removeprefix("gid://shopify/").partition("/")[0]
    name = NODES.get(kind)
    if name is None:
        raise GraphQLError(f"Invalid global id '{arguments['id']}'", extensions={"code": "RESOURCE_NOT_FOUND"})
    refuse_without_scope(asked, "QueryRoot", name)
    return FIELDS["QueryRoot"][name](asked, None, arguments)


NODES = {
    "Product": "product",
    "ProductVariant": "productVariant",
    "InventoryItem": "inventoryItem",
    "Order": "order",
    "Customer": "customer",
    "Refund": "refund",
    "Collection": "collection",
    "BulkOperation": "bulkOperation",
    "WebPixel": "webPixel",
    "WebhookSubscription": "webhookSubscription",
}
"""Kind of a global id -> the field that reads it."""

QUERIES: Fields = {
    "bulkOperation": _by_id("BulkOperation", lambda asked, id_: asked.operations.get(id_)),
    "bulkOperations": lambda asked, thing, arguments: asked.operations.listed(arguments),
    "collection": _by_id("Collection", lambda asked, id_: asked.shop.collections.get(id_)),
    "collections": lambda asked, thing, arguments: listing.collections(asked.shop, arguments),
    "currentAppInstallation": lambda asked, thing, arguments: {
        "id": gid("AppInstallation", asked.shop.id),
        "app": {"id": gid("App", 1), "title": "misoflow", "handle": "misoflow"},
        "accessScopes": [{"handle": one, "description": one.replace("_", " ")} for one in asked.scopes],
        "launchUrl": asked.app.app_url or "https://app.example",
        "uninstallUrl": None,
    },
    "customer": _by_id("Customer", lambda asked, id_: asked.shop.customers.get(id_)),
    "customers": lambda asked, thing, arguments: listing.customers(asked.shop, arguments),
    "customersCount": _count("customers"),
    "inventoryItem": _by_id("InventoryItem", _item),
    "node": _node,
    "nodes": lambda asked, thing, arguments: [_node(asked, None, {"id": one}) for one in arguments["ids"]],
    "order": _by_id("Order", lambda asked, id_: seen(asked, asked.shop.orders.get(id_))),
    "orders": lambda asked, thing, arguments: listing.orders(asked.shop, arguments, asked.scopes),
    "ordersCount": _count("orders"),
    "product": _by_id("Product", of_product),
    "products": lambda asked, thing, arguments: listing.products(asked.shop, arguments),
    "productsCount": _count("products"),
    "productVariant": _by_id("ProductVariant", of_variant),
    "publications": lambda asked, thing, arguments: numbered(
        [{"id": gid("Publication", 1), "name": "Online Store", "autoPublish": True}]
    ),
    "refund": _by_id("Refund", _refund),
    "shop": lambda asked, thing, arguments: asked.shop,
    "shopLocales": lambda asked, thing, arguments: [
        {
            "locale": asked.shop.spec.locale,
            "name": LOCALES.get(asked.shop.spec.locale, asked.shop.spec.locale),
            "primary": True,
            "published": True,
        }
    ],
    "webPixel": _pixel,
    "webhookSubscription": _by_id("WebhookSubscription", _subscription),
    "webhookSubscriptions": _subscriptions,
}

FIELDS["QueryRoot"] = QUERIES
