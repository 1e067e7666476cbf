"""One webhook into its events. Most of them only say that something changed: the object is read again.

Webhooks come out of order, twice, late and cut short: a product's has no collections, no metafields and not all of its
variants. https://shopify.dev/docs/apps/build/webhooks#webhooks-offer-near-real-time-data
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from misoflow import Event, Reject, Request

from misoflow_shopify import rest
from misoflow_shopify.fields import Json, customer_id, id_of, mapping, moment_of, ms_of, order_state_id, time_of
from misoflow_shopify.signature import header, shop_of, topic_of

MOST_ID = 200


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified webhook."""

    shop: str
    id: str
    """The same for each attempt to deliver it."""
    at: str | None
    """When it was triggered, as its header says."""
    body: Json
    resource: str | None
    """Events name the object in a header."""

    def thin(self, topic: str, /, **data: str | None) -> list[Event]:
        """An event that only points at something."""
        return [Event(f"{topic}/{self.id}", topic, data)]


Split = Callable[[Delivery], list[Event]]


def events(request: Request) -> list[Event]:
    """The events of a webhook; a topic that is not asked for becomes one of the topic ``unknown``."""
    topic = topic_of(request)
    action = request.header("shopify-action").strip().lower()
    split = WEBHOOKS.get(topic) or EVENTS.get((topic, action)) or EVENTS.get((topic, ""))
    if split is None:
        return Delivery("", _id(request), None, {}, None).thin("unknown", topic=topic[:100])
    at = time_of(header(request, "triggered-at"))
    resource = id_of(request.header("shopify-resource-id"))
    return split(Delivery(shop_of(request), _id(request), at, _body(request), resource))


def _id(request: Request) -> str:
    """``Webhook-Id`` is the idempotency key; Event-Id is shared by topics that one action triggered.

    https://shopify.dev/docs/apps/build/webhooks/ignore-duplicates
    """
    named = header(request, "webhook-id")
    if 0 < len(named) <= MOST_ID and named.isprintable():
        return named
    return "content-" + hashlib.blake2b(topic_of(request).encode() + b"\0" + request.body, digest_size=16).hexdigest()


def _body(request: Request) -> Json:
    body = request.json()
    if type(body) is not dict:
        raise Reject("the webhook's body is no JSON object")
    return body


def _points_at(topic: str, name: str, *keys: str) -> Split:
    """A thin event with the id that stands under one of the keys (``a.b`` is nested), or in a header."""

    def split(delivery: Delivery) -> list[Event]:
        found = next((one for key in keys if (one := _nested(delivery.body, key)) is not None), delivery.resource)
        if found is None:
            raise Reject("the webhook names no object", f"$.{keys[0]}")
        return delivery.thin(topic, **({"shop": delivery.shop} if name == "id" else {}), **{name: found})

    return split


def _nested(body: Json, key: str) -> str | None:
    outer, _, inner = key.partition(".")
    return id_of(mapping(body.get(outer)).get(inner)) if inner else id_of(body.get(outer))


def _says(topic: str) -> Split:
    """A thin event that needs no more than its time."""
    return lambda delivery: delivery.thin(topic, at=delivery.at)


def _order(delivery: Delivery) -> list[Event]:
    """What was bought, once; and how it stands, whenever that changed."""
    data = rest.order(delivery.shop, delivery.body)
    return [
        Event(f"order/{data['id']}", "order", data),
        Event(order_state_id(data, delivery.id), "order_state", data),
    ]


def _customer(delivery: Delivery) -> list[Event]:
    """Webhooks of newer versions lack what a customer bought: such a one must not hide that it was read elsewhere.

    https://shopify.dev/changelog (customers/purchasing_summary)
    """
    data = rest.customer(delivery.shop, delivery.body)
    if data["updated_at"] is None:
        data["updated_at"] = delivery.at
    return [Event(customer_id(data, delivery.id), "customer", data)]


def _collection(delivery: Delivery) -> list[Event]:
    """Its handle at once; its members with the next reading of the catalogue."""
    found = delivery.thin("collection_touched", shop=delivery.shop, id=id_of(delivery.body.get("id")))
    moment = moment_of(delivery.body.get("updated_at")) or moment_of(delivery.at)
    if moment is None or id_of(delivery.body.get("id")) is None:
        return found
    data = {**rest.collection(delivery.shop, delivery.body), "read_at": ms_of(moment)}
    return (
        [Event(f"collection/{data['id']}@{data['read_at']}", "collection", data), *found] if data["handle"] else found
    )


def _cart(delivery: Delivery) -> list[Event]:
    data = rest.cart(delivery.shop, delivery.body)
    if data["at"] is None:
        data["at"] = delivery.at
    return [Event(f"cart/{delivery.id}", "cart", data)]


def _person(topic: str, *keys: str) -> Split:
    """A person's id, if the webhook has one: a compliance request may come with no more than an e-mail address."""

    def split(delivery: Delivery) -> list[Event]:
        found = next((one for key in keys if (one := _nested(delivery.body, key)) is not None), None)
        return delivery.thin(topic, customer=found, at=delivery.at)

    return split


_product = _points_at("product_touched", "id", "id", "product_listing.product_id")
_deleted = _points_at("product_deleted", "id", "id")
_level = _points_at("inventory_touched", "item", "inventory_item_id")
_order_touched = _points_at("order_touched", "order", "order_edit.order_id", "id")

# https://shopify.dev/docs/api/webhooks/latest?reference=toml
WEBHOOKS: dict[str, Split] = {
    **dict.fromkeys(("products/create", "products/update"), _product),
    **dict.fromkeys(("product_listings/add", "product_listings/update", "product_listings/remove"), _product),
    "products/delete": _deleted,
    **dict.fromkeys(("inventory_levels/update", "inventory_levels/connect", "inventory_levels/disconnect"), _level),
    **dict.fromkeys(("collections/create", "collections/update", "collections/delete"), _collection),
    **dict.fromkeys(("orders/create", "orders/updated", "orders/paid", "orders/cancelled"), _order),
    "orders/edited": _order_touched,
    "refunds/create": _points_at("refund_touched", "order", "order_id"),
    **dict.fromkeys(("customers/create", "customers/update"), _customer),
    "customers/delete": _person("customer_deleted", "id"),
    **dict.fromkeys(("carts/create", "carts/update"), _cart),
    "bulk_operations/finish": _says("bulk_finished"),
    "shop/update": _says("shop_touched"),
    "app/scopes_update": _says("scopes_touched"),
    "app/uninstalled": _says("uninstalled"),
    "shop/redact": _says("redact_shop"),
    "customers/redact": _person("redact_customer", "customer.id"),
    "customers/data_request": _person("data_request", "customer.id"),
}

# the next generation names an object, its body is what the app asked for: https://shopify.dev/docs/apps/build/events-webhooks
EVENTS: dict[tuple[str, str], Split] = {
    ("product", "delete"): _deleted,
    ("product", ""): _product,
    ("collection", ""): _collection,
    ("order", ""): _order_touched,
}
