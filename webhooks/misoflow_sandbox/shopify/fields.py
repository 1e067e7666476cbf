"""Every type of the schema, and how its fields are read: both single queries and bulk operations go by this table.

https://shopify.dev/docs/api/admin-graphql/2026-10
"""

from __future__ import annotations

from misoflow_sandbox.shopify.asking import (
    Address,
    Fields,
    ItemOf,
    LineOf,
    Media,
    MetafieldOf,
    RefundLineOf,
    RefundOf,
    VariantOf,
    always,
    at,
    gid,
    ids,
    own,
)
from misoflow_sandbox.shopify.catalog import DAY_MS
from misoflow_sandbox.shopify.catalog_fields import COLLECTION, ITEM, MEDIA, METAFIELD, PRODUCT, VARIANT
from misoflow_sandbox.shopify.order_fields import ADDRESS, CUSTOMER, LINE, ORDER, REFUND, REFUND_LINE
from misoflow_sandbox.shopify.shop import Pixel, Shop, Subscription
from misoflow_sandbox.shopify.state import SUPPORTED, iso
from misoflow_sandbox.shopify.things import (
    Collection,
    Customer,
    Order,
    Product,
)

SHOP: Fields = {
    "contactEmail": lambda asked, thing, arguments: f"owner.canary@{thing.host}",
    "createdAt": lambda asked, thing, arguments: iso(thing.clock.now() - 900 * DAY_MS),
    "currencyCode": lambda asked, thing, arguments: thing.spec.currency,
    "email": lambda asked, thing, arguments: f"owner.canary@{thing.host}",
    "ianaTimezone": lambda asked, thing, arguments: thing.spec.timezone,
    "id": lambda asked, thing, arguments: gid("Shop", thing.id),
    "myshopifyDomain": own("domain"),
    "name": lambda asked, thing, arguments: thing.spec.name,
    "plan": lambda asked, thing, arguments: {
        "partnerDevelopment": False,
        "publicDisplayName": thing.spec.plan.title(),
        "shopifyPlus": thing.spec.plan in ("plus", "enterprise"),
    },
    "primaryDomain": lambda asked, thing, arguments: {
        "host": thing.host,
        "id": gid("Domain", thing.id),
        "sslEnabled": True,
        "url": f"https://{thing.host}",
    },
    "shopOwnerName": always("Olga Canaryowner"),
    "timezoneAbbreviation": always("UTC"),
    "url": lambda asked, thing, arguments: f"https://{thing.host}",
}

PIXEL: Fields = {"id": lambda asked, thing, arguments: gid("WebPixel", thing.id), "settings": own("settings")}

SUBSCRIPTION: Fields = {
    **ids("WebhookSubscription"),
    "apiVersion": lambda asked, thing, arguments: {
        "handle": thing.api_version,
        "displayName": thing.api_version,
        "supported": thing.api_version in SUPPORTED,
    },
    "createdAt": at("created_at"),
    "updatedAt": at("created_at"),
    "filter": own("filter"),
    "format": always("JSON"),
    "includeFields": own("include_fields"),
    "metafieldNamespaces": always([]),
    "topic": lambda asked, thing, arguments: thing.topic.upper().replace("/", "_"),
    "uri": own("uri"),
}

TYPES: dict[type, str] = {
    Shop: "Shop",
    Product: "Product",
    VariantOf: "ProductVariant",
    ItemOf: "InventoryItem",
    MetafieldOf: "Metafield",
    Collection: "Collection",
    Customer: "Customer",
    Address: "MailingAddress",
    Order: "Order",
    LineOf: "LineItem",
    RefundOf: "Refund",
    RefundLineOf: "RefundLineItem",
    Media: "MediaImage",
    Pixel: "WebPixel",
    Subscription: "WebhookSubscription",
}
"""Of what is behind an interface."""

FIELDS: dict[str, Fields] = {
    "Shop": SHOP,
    "Product": PRODUCT,
    "ProductVariant": VARIANT,
    "InventoryItem": ITEM,
    "Metafield": METAFIELD,
    "Collection": COLLECTION,
    "Customer": CUSTOMER,
    "MailingAddress": ADDRESS,
    "Order": ORDER,
    "LineItem": LINE,
    "Refund": REFUND,
    "RefundLineItem": REFUND_LINE,
    "MediaImage": MEDIA,
    "WebPixel": PIXEL,
    "WebhookSubscription": SUBSCRIPTION,
}
