"""The mapping table: what each topic becomes at Miso. ``docs/connectors/shopify.md`` is made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from misoflow import Effect, Event, Fetch, Pull, Record, Skip

from misoflow_shopify import carts, catalogue, clicks, orders, people
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import Json

Outputs = Iterable[Record | Effect]
Make = Callable[[ShopifyConfig, Json, datetime | None], Outputs]
Seen = Callable[[clicks.Visit], Outputs]
FETCH_SECONDS = 10
"""A burst of webhooks about one product is one reading of it, this long after the first."""
ORDER_SECONDS = 5
CATALOG_SECONDS = 600


class Row(NamedTuple):
    """One line of the mapping table."""

    make: Make
    source: str
    becomes: str
    note: str = ""


def _fetch(kind: str, key: str, seconds: float) -> Make:
    return lambda config, data, received: [Fetch(kind, data[key], after=seconds)]


def _only(make: Callable[[Json], Outputs]) -> Make:
    return lambda config, data, received: make(data)


def _with(make: Callable[[ShopifyConfig, Json], Outputs]) -> Make:
    return lambda config, data, received: make(config, data)


def _when(make: Callable[[Json, datetime | None], Outputs]) -> Make:
    return lambda config, data, received: make(data, received)


def _skip(why: str) -> Make:
    return lambda config, data, received: [Skip(why)]


def _seen(make: Seen) -> Make:
    def made(config: ShopifyConfig, data: Json, received: datetime | None) -> Outputs:
        visit = clicks.visit_of(config, data, received)
        return [Skip("older than a day")] if visit is None else make(visit)

    return made


_READ = "read again from the Admin API"

OBJECTS: dict[str, Row] = {
    "product": Row(_with(catalogue.product), "a product as read", "product", "a record for each variant"),
    "collection": Row(_only(catalogue.collection), "a collection", "nothing", "its handle, for category pages"),
    "catalog_end": Row(
        _only(catalogue.catalog_end), "the whole catalogue was read", "remove_product", "what it lacked"
    ),
    "order": Row(_with(orders.order), "an order, first seen", "checkout, subscribe", "once an order"),
    "order_state": Row(
        _with(orders.order_state), "an order, changed", "refund, checkout", "each unit, each new line once"
    ),
    "customer": Row(_with(people.customer), "customers/create, customers/update", "user", "no name, no address"),
    "cart": Row(carts.cart, "carts/create, carts/update", "nothing", 'with `carts = "webhooks"`: compared'),
    "cart_changed": Row(_only(carts.cart_changed), "a cart, compared", "add_to_cart, remove_from_cart"),
}
THIN: dict[str, Row] = {
    "product_touched": Row(
        _fetch("product", "id", FETCH_SECONDS), "products/create, products/update", "product", _READ
    ),
    "product_deleted": Row(_fetch("product", "id", FETCH_SECONDS), "products/delete", "remove_product", _READ),
    "inventory_touched": Row(
        _fetch("inventory_item", "item", FETCH_SECONDS), "inventory_levels/*", "product", "its availability"
    ),
    "order_touched": Row(_fetch("order", "order", ORDER_SECONDS), "orders/edited", "checkout, refund", _READ),
    "refund_touched": Row(_fetch("order", "order", ORDER_SECONDS), "refunds/create", "refund", _READ),
    "collection_touched": Row(
        lambda config, data, received: [Pull("catalog", after=CATALOG_SECONDS)],
        *("collections/*", "product", "the catalogue is read, ten minutes later"),
    ),
    "shop_touched": Row(
        lambda config, data, received: [Fetch("shop", "shop", after=FETCH_SECONDS)],
        *("shop/update", "nothing", _READ),
    ),
    "shop_changed": Row(
        lambda config, data, received: [Pull("catalog")],
        *("the shop's domain or currency changed", "product", "the catalogue is read"),
    ),
    "scopes_touched": Row(
        lambda config, data, received: [Fetch("scopes", "scopes")],
        *("app/scopes_update", "nothing", "what may be read is looked up"),
    ),
    "bulk_finished": Row(
        _skip("whether a bulk operation is done is asked for"), "bulk_operations/finish", "nothing", "it is asked for"
    ),
    "customer_deleted": Row(_only(people.forgotten), "customers/delete", "forget_user"),
    "redact_customer": Row(_only(people.forgotten), "customers/redact", "forget_user"),
    "data_request": Row(_only(people.requested), "customers/data_request", "a dead letter", "for a person to answer"),
    "uninstalled": Row(_when(people.uninstalled), "app/uninstalled", "nothing", "the install ends"),
    "redact_shop": Row(_when(people.redact_shop), "shop/redact", "everything is deleted", "here and at Miso"),
    "unknown": Row(_skip("a topic that nothing is made of"), "any other topic", "nothing"),
}
PIXEL: dict[str, Row] = {
    "pixel_page_viewed": Row(_seen(clicks.page_viewed), "page_viewed", "home_page_view", "of the root only"),
    "pixel_product_viewed": Row(_seen(clicks.product_viewed), "product_viewed", "product_detail_page_view"),
    "pixel_collection_viewed": Row(
        _seen(clicks.collection_viewed), "collection_viewed", "category_page_view", "impression, with `impressions`"
    ),
    "pixel_search_submitted": Row(
        _seen(clicks.searched), "search_submitted", "search", "with filters; impression, with `impressions`"
    ),
    "pixel_cart_viewed": Row(
        _seen(clicks.identified), "cart_viewed", "nothing", "whose cart it is; custom, with `steps`"
    ),
    "pixel_product_added_to_cart": Row(_seen(clicks.added), "product_added_to_cart", "add_to_cart"),
    "pixel_product_removed_from_cart": Row(_seen(clicks.removed), "product_removed_from_cart", "remove_from_cart"),
    "pixel_checkout_started": Row(
        _seen(clicks.identified), "checkout_started", "nothing", "whose checkout it is; custom, with `steps`"
    ),
    "pixel_checkout_step": Row(
        _seen(clicks.identified),
        "checkout_contact_info_submitted, checkout_address_info_submitted, checkout_shipping_info_submitted, "
        "payment_info_submitted",
        *("nothing", "whose checkout it is; custom, with `steps`"),
    ),
    "pixel_checkout_completed": Row(
        _seen(clicks.completed),
        "checkout_completed",
        "nothing",
        "whose order it is; the order is read if no webhook comes; custom, with `steps`",
    ),
    "pixel_miso_impression": Row(_seen(clicks.impression), "miso:impression", "impression", "published by the theme"),
    "pixel_miso_click": Row(_seen(clicks.click), "miso:click", "click", "published by the theme"),
}
ROWS = {**OBJECTS, **THIN, **PIXEL}


def translated(config: ShopifyConfig, event: Event) -> Outputs:
    """The records and effects of one event."""
    return ROWS[event.topic].make(config, event.data, event.received_at)
