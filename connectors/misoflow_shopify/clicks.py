"""What a visitor does in the storefront, as the pixel tells it.

Interactions name products that anybody can make up, so each counts only once the product is known to be the shop's.
https://shopify.dev/docs/api/web-pixels-api/standard-events
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from misoflow import (
    AddToCart,
    CategoryPageView,
    Click,
    Custom,
    Effect,
    Fetch,
    HomePageView,
    Impression,
    Interaction,
    ProductDetailPageView,
    Record,
    RemoveFromCart,
    Search,
    Skip,
    aliased,
    known,
    privacy,
)

from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import Json
from misoflow_shopify.identity import hash_of, links
from misoflow_shopify.visits import context_of, filters_of, handle_of, is_home, when

Outputs = list[Record | Effect]
FALLBACK_SECONDS = 1800
"""An order of which no webhook told by then is read."""
ELSEWHERE = "carts come from webhooks here (carts)"
NO_PRODUCT = "names no product"


class Visit(NamedTuple):
    """One event of the pixel, with what all its records have in common."""

    config: ShopifyConfig
    event: Json
    common: Json

    @property
    def data(self) -> Json:
        """The event's own data; empty where Shopify sent null."""
        return self.event["data"] or {}

    def products(self, items: list[Json]) -> Json:
        """The ids of what names a product: a variant grouped by its product, as Miso's own client names them."""
        named = [item for item in items if item["product"] is not None]
        groups = list(dict.fromkeys(item["product"] for item in named))
        if self.config.group_mode == "product":
            return {"product_ids": groups}
        variants = list(dict.fromkeys(item["variant"] for item in named if item["variant"] is not None))
        return {"product_ids": variants, "product_group_ids": groups} if variants else {"product_group_ids": groups}

    def about(self, record: Callable[..., Interaction], items: list[Json], **fields: object) -> Outputs:
        """The record of these products, once one of them is known to be the shop's."""
        first = next((item["product"] for item in items if item["product"] is not None), None)
        if first is None:
            return [Skip(NO_PRODUCT)]
        return [known(record(**self.products(items), **self.common | fields), Fetch("product", first))]


def visit_of(config: ShopifyConfig, event: Json, received: datetime | None) -> Visit | None:
    """The visit that an event tells of; None where it is too old to be true."""
    moment = when(event, received)
    if moment is None:
        return None
    tokens = event["data"] if type(event["data"]) is dict else {}
    custom = {
        "shop": event["shop"],
        "event_id": event["id"],
        "order_id": tokens.get("order"),
        "cart": hash_of(event["shop"], tokens.get("cart")),
    }
    common = {
        "user_id": event["customer"],
        "anonymous_id": event["client"],
        "timestamp": moment,
        "context": context_of(event, custom),
    }
    return Visit(config, event, common)


def page_viewed(visit: Visit) -> Outputs:
    """Only the shop's first page: the pages of products, collections and searches have events of their own."""
    if is_home(visit.event["page"]):
        return [HomePageView(**visit.common)]
    return [Skip("a page with an event of its own, or of no use to Miso")]


def product_viewed(visit: Visit) -> Outputs:
    return visit.about(ProductDetailPageView, [visit.data] if visit.data else [])


def added(visit: Visit) -> Outputs:
    if visit.config.carts == "webhooks":
        return [Skip(ELSEWHERE)]
    if not visit.data:
        return [Skip("Shopify could not tell the line of the cart")]
    if visit.config.group_mode == "variant" and visit.data["variant"] is None:
        return [Skip("the line of the cart names no variant")]
    return visit.about(AddToCart, [visit.data], quantities=[visit.data["quantity"] or 1])


def removed(visit: Visit) -> Outputs:
    if visit.config.carts == "webhooks":
        return [Skip(ELSEWHERE)]
    return visit.about(RemoveFromCart, [visit.data] if visit.data else [])


def collection_viewed(visit: Visit) -> Outputs:
    """By the collection's handle, which is not in the event: titles are translated, and so are most URLs."""
    collection, handle = visit.data.get("collection"), handle_of(visit.event["page"])
    if collection is not None:
        handle = aliased(f"collection:{collection}", default=handle or "")
    if handle is None:
        return [Skip("names no collection"), *_impression(visit)]
    return [CategoryPageView(category=[handle], **visit.common), *_impression(visit)]


def searched(visit: Visit) -> Outputs:
    keywords = privacy.text_of(unicodedata.normalize("NFC", visit.data.get("query") or "")) or ""
    filters = filters_of(visit.event["page"])
    if not keywords and not filters:
        return [Skip("a search for nothing, or for a person's address or number"), *_impression(visit)]
    search = {"keywords": keywords, "filters": filters} if filters else {"keywords": keywords}
    return [Search(search=search, **visit.common), *_impression(visit)]  # type: ignore[arg-type]


def _impression(visit: Visit) -> Outputs:
    """What a list showed, where the settings ask for it."""
    items = visit.data.get("items") or []
    if not visit.config.impressions or all(item["product"] is None for item in items):
        return []
    return visit.about(Impression, items)


def impression(visit: Visit) -> Outputs:
    """``miso:impression``, which a theme publishes."""
    return visit.about(Impression, visit.data.get("items") or [], miso_id=visit.data.get("miso_id"))


def click(visit: Visit) -> Outputs:
    """``miso:click``, which a theme publishes."""
    return visit.about(Click, visit.data.get("items") or [], miso_id=visit.data.get("miso_id"))


def identified(visit: Visit) -> Outputs:
    """Steps on the way to an order say whose cart and checkout it is; the purchase itself is told by its webhook."""
    found: Outputs = [*links(visit.event)]
    if visit.config.steps:
        found.append(Custom(custom_action_name=visit.event["name"], **visit.common))
    return found or [Skip("names neither a cart nor a checkout")]


def completed(visit: Visit) -> Outputs:
    """The order is read unless its webhook comes; the pixel's own figures are not believed."""
    order = visit.data.get("order")
    fallback: Outputs = [Fetch("order", order, after=FALLBACK_SECONDS, unless=f"order:{order}")] if order else []
    return [*identified(visit), *fallback]
