"""Every field of the schema: how it is read. Both single queries and bulk operations go by this table.

https://shopify.dev/docs/api/admin-graphql/2026-10
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import GraphQLError
from msgspec import Struct

from misoflow_sandbox.shopify import listing
from misoflow_sandbox.shopify.catalog import DAY_MS
from misoflow_sandbox.shopify.connections import Connection, numbered
from misoflow_sandbox.shopify.history import line_total, total
from misoflow_sandbox.shopify.shop import Pixel, Shop, Subscription
from misoflow_sandbox.shopify.state import SUPPORTED, App, iso
from misoflow_sandbox.shopify.things import (
    Collection,
    Customer,
    Line,
    Metafield,
    Order,
    Product,
    Refund,
    RefundLine,
    Variant,
)
from misoflow_sandbox.shopify.world import cents


class Asked(Struct):
    """Who asks: the app with a token of a shop. ``operations`` are the shop's bulk operations."""

    shop: Shop
    app: App
    scopes: tuple[str, ...]
    version: str
    operations: Any


class VariantOf(NamedTuple):
    product: Product
    variant: Variant


class LineOf(NamedTuple):
    order: Order
    line: Line


class RefundOf(NamedTuple):
    order: Order
    refund: Refund


class RefundLineOf(NamedTuple):
    order: Order
    refund: Refund
    number: int

    @property
    def line(self) -> RefundLine:
        return self.refund.lines[self.number]


class ItemOf(NamedTuple):
    """The inventory item of a variant."""

    product: Product
    variant: Variant


class MetafieldOf(NamedTuple):
    product: Product
    metafield: Metafield


class Address(NamedTuple):
    customer: Customer


class Media(NamedTuple):
    url: str
    id: int


Field = Callable[[Asked, Any, Mapping[str, Any]], Any]
Fields = dict[str, Field]

NEEDED = {
    **{f"QueryRoot.{one}": "read_orders" for one in ("order", "orders", "ordersCount")},
    **{f"QueryRoot.{one}": "read_customers" for one in ("customer", "customers", "customersCount")},
    **{f"QueryRoot.{one}": "read_products" for one in ("product", "products", "productVariant", "productsCount")},
    **{f"QueryRoot.{one}": "read_products" for one in ("collection", "collections")},
    "QueryRoot.inventoryItem": "read_inventory",
    "QueryRoot.publications": "read_publications",
    "QueryRoot.shopLocales": "read_locales",
    "QueryRoot.webPixel": "read_pixels",
    "Order.customer": "read_customers",
    "Customer.orders": "read_orders",
    "Product.publishedOnPublication": "read_publications",
    **{f"Mutation.webPixel{one}": "write_pixels" for one in ("Create", "Update", "Delete")},
}
"""The scope that a field needs: https://shopify.dev/docs/api/usage/access-scopes"""


def may(asked: Asked, scope: str) -> bool:
    """Whether the token has a scope; writing implies reading."""
    return scope in asked.scopes or scope.replace("read_", "write_") in asked.scopes


def refuse_without_scope(asked: Asked, type_: str, field: str) -> None:
    """Raises GraphQLError with ACCESS_DENIED."""
    scope = NEEDED.get(f"{type_}.{field}")
    if scope and not may(asked, scope):
        extensions = {
            "code": "ACCESS_DENIED",
            "documentation": "https://shopify.dev/api/usage/access-scopes",
            "requiredAccess": f"`{scope}` access scope.",
        }
        text = f"Access denied for {field} field. Required access: `{scope}` access scope."
        raise GraphQLError(text, extensions=extensions)


def gid(kind: str, id_: int | str) -> str:
    return f"gid://shopify/{kind}/{id_}"


def number_of(id_: str, kind: str) -> int:
    """The number in a global id. Raises GraphQLError."""
    found = re.fullmatch(rf"gid://shopify/{kind}/(\d+)", id_)
    if not found:
        raise GraphQLError(f"Invalid global id '{id_}'", extensions={"code": "RESOURCE_NOT_FOUND"})
    return int(found[1])


def amount(asked: Asked, hundredths: int) -> dict[str, Any]:
    """A MoneyV2: without needless zeros, but at least one decimal."""
    whole, part = divmod(abs(hundredths), 100)
    decimals = f"{part:02d}".rstrip("0") or "0"
    text = f"{'-' if hundredths < 0 else ''}{whole}.{decimals}"
    return {"amount": text, "currencyCode": asked.shop.spec.currency}


def bag(asked: Asked, hundredths: int) -> dict[str, Any]:
    found = amount(asked, hundredths)
    return {"shopMoney": found, "presentmentMoney": found}


def protected(asked: Asked, value: Any) -> Any:
    """Level 2 of protected customer data is null without the approval, and no error says so.
    https://shopify.dev/docs/apps/launch/protected-customer-data"""
    return value if asked.app.protected else None


def at(name: str) -> Field:
    """A time of the thing itself."""

    def field(asked: Asked, thing: Any, arguments: Mapping[str, Any]) -> str | None:
        value = getattr(thing, name)
        return None if value is None else iso(value)

    return field


def own(name: str) -> Field:
    """An attribute as it is."""
    return lambda asked, thing, arguments: getattr(thing, name)


def always(value: Any) -> Field:
    return lambda asked, thing, arguments: value


def image(url: str | None) -> dict[str, Any] | None:
    return None if url is None else {"url": url, "altText": None, "width": 800, "height": 800, "id": None}


def ids(kind: str) -> Fields:
    """The two ids of a thing."""
    return {
        "id": lambda asked, thing, arguments: gid(kind, thing.id),
        "legacyResourceId": lambda asked, thing, arguments: str(thing.id),
    }


def plain(html: str | None) -> str:
    text = re.sub(r"<[^>]*>", " ", html or "").replace("&amp;", "&")
    return " ".join(text.split())


def metafields(asked: Asked, thing: Product, arguments: Mapping[str, Any]) -> Connection:
    space, keys = arguments.get("namespace"), arguments.get("keys")
    found = [one for one in thing.metafields if space in (None, one.namespace)]
    if keys is not None:
        found = [one for one in found if f"{one.namespace}.{one.key}" in keys or one.key in keys]
    return numbered([MetafieldOf(thing, one) for one in found])


def media(thing: Product) -> Media | None:
    return None if thing.image is None else Media(thing.image, thing.id)


def of_product(asked: Asked, id_: int | None) -> Product | None:
    return None if id_ is None else asked.shop.products.get(id_)


def of_variant(asked: Asked, id_: int | None) -> VariantOf | None:
    found = None if id_ is None else asked.shop.variant(id_)
    return None if found is None else VariantOf(*found)


def seen(asked: Asked, order: Order | None) -> Order | None:
    """An order, if this app sees it."""
    return order if order and order.created_at >= asked.shop.seen_orders(asked.scopes) else None


PRODUCT: Fields = {
    **ids("Product"),
    "category": lambda asked, thing, arguments: (
        None
        if thing.category is None
        else {
            "fullName": thing.category,
            "name": thing.category.rpartition(" > ")[2],
            "id": gid("TaxonomyCategory", "aa"),
        }
    ),
    "collections": lambda asked, thing, arguments: Connection(
        lambda: [([one.id], one) for one in asked.shop.collections_of(thing)]
    ),
    "createdAt": at("created_at"),
    "updatedAt": at("updated_at"),
    "publishedAt": at("published_at"),
    "description": lambda asked, thing, arguments: plain(thing.body_html),
    "descriptionHtml": lambda asked, thing, arguments: thing.body_html or "",
    "featuredMedia": lambda asked, thing, arguments: media(thing),
    "media": lambda asked, thing, arguments: numbered([one for one in [media(thing)] if one]),
    "handle": own("handle"),
    "hasOnlyDefaultVariant": lambda asked, thing, arguments: thing.options == ["Title"],
    "isGiftCard": own("gift_card"),
    "metafield": lambda asked, thing, arguments: next(
        (
            MetafieldOf(thing, one)
            for one in thing.metafields
            if one.key == arguments["key"] and one.namespace == (arguments.get("namespace") or one.namespace)
        ),
        None,
    ),
    "metafields": metafields,
    "onlineStorePreviewUrl": lambda asked, thing, arguments: f"https://{asked.shop.domain}/products/{thing.handle}",
    "onlineStoreUrl": lambda asked, thing, arguments: asked.shop.url(thing),
    "options": lambda asked, thing, arguments: [
        {
            "id": gid("ProductOption", thing.id + n),
            "name": name,
            "position": n + 1,
            "values": list(dict.fromkeys(one.options[n] for one in thing.variants)),
        }
        for n, name in enumerate(thing.options)
    ],
    "productType": own("product_type"),
    "publishedOnCurrentPublication": own("published"),
    "publishedOnPublication": lambda asked, thing, arguments: (
        thing.published and arguments["publicationId"] == gid("Publication", 1)
    ),
    "status": own("status"),
    "tags": own("tags"),
    "templateSuffix": always(None),
    "title": own("title"),
    "totalInventory": lambda asked, thing, arguments: sum(one.quantity for one in thing.variants),
    "tracksInventory": lambda asked, thing, arguments: any(one.tracked for one in thing.variants),
    "variants": lambda asked, thing, arguments: numbered([VariantOf(thing, one) for one in thing.variants]),
    "variantsCount": lambda asked, thing, arguments: {"count": len(thing.variants), "precision": "EXACT"},
    "vendor": own("vendor"),
}


def variant(read: Callable[[Variant], Any]) -> Field:
    """A field of a variant itself."""
    return lambda asked, thing, arguments: read(thing.variant)


VARIANT: Fields = {
    "id": variant(lambda one: gid("ProductVariant", one.id)),
    "legacyResourceId": variant(lambda one: str(one.id)),
    "availableForSale": variant(lambda one: one.available),
    "barcode": variant(lambda one: one.barcode),
    "compareAtPrice": variant(lambda one: one.compare_at_price),
    "createdAt": variant(lambda one: iso(one.created_at)),
    "updatedAt": variant(lambda one: iso(one.updated_at)),
    "displayName": lambda asked, thing, arguments: f"{thing.product.title} - {thing.variant.title}",
    "image": variant(lambda one: image(one.image)),
    "inventoryItem": lambda asked, thing, arguments: ItemOf(*thing),
    "inventoryPolicy": variant(lambda one: "CONTINUE" if one.oversell else "DENY"),
    "inventoryQuantity": variant(lambda one: one.quantity),
    "media": lambda asked, thing, arguments: numbered(
        [] if thing.variant.image is None else [Media(thing.variant.image, thing.variant.id)]
    ),
    "metafields": always(numbered([])),
    "position": lambda asked, thing, arguments: thing.product.variants.index(thing.variant) + 1,
    "price": variant(lambda one: one.price),
    "product": lambda asked, thing, arguments: thing.product,
    "selectedOptions": lambda asked, thing, arguments: [
        {"name": name, "value": value}
        for name, value in zip(thing.product.options, thing.variant.options, strict=False)
    ],
    "sku": variant(lambda one: one.sku),
    "title": variant(lambda one: one.title),
}

ITEM: Fields = {
    "id": variant(lambda one: gid("InventoryItem", one.inventory_item)),
    "legacyResourceId": variant(lambda one: str(one.inventory_item)),
    "createdAt": variant(lambda one: iso(one.created_at)),
    "updatedAt": variant(lambda one: iso(one.updated_at)),
    "sku": variant(lambda one: one.sku),
    "tracked": variant(lambda one: one.tracked),
    "unitCost": lambda asked, thing, arguments: (
        None if thing.variant.cost is None else amount(asked, cents(thing.variant.cost))
    ),
    "variant": lambda asked, thing, arguments: VariantOf(*thing),
    "variants": lambda asked, thing, arguments: numbered([VariantOf(*thing)]),
}

METAFIELD: Fields = {
    "id": lambda asked, thing, arguments: gid("Metafield", _metafield_id(thing)),
    "definition": lambda asked, thing, arguments: (
        {
            "id": gid("MetafieldDefinition", 1),
            "key": thing.metafield.key,
            "name": thing.metafield.key,
            "namespace": thing.metafield.namespace,
            "type": {"name": thing.metafield.type},
        }
        if thing.metafield.defined
        else None
    ),
    "jsonValue": lambda asked, thing, arguments: thing.metafield.value,
    "key": lambda asked, thing, arguments: thing.metafield.key,
    "namespace": lambda asked, thing, arguments: thing.metafield.namespace,
    "type": lambda asked, thing, arguments: thing.metafield.type,
    "value": lambda asked, thing, arguments: thing.metafield.value,
}


def _metafield_id(thing: MetafieldOf) -> int:
    return thing.product.id * 100 + thing.product.metafields.index(thing.metafield)


COLLECTION: Fields = {
    **ids("Collection"),
    "handle": own("handle"),
    "title": own("title"),
    "updatedAt": at("updated_at"),
    "products": lambda asked, thing, arguments: Connection(
        lambda: (([one.id], one) for one in asked.shop.members(thing))
    ),
    "productsCount": lambda asked, thing, arguments: {
        "count": sum(1 for _ in asked.shop.members(thing)),
        "precision": "EXACT",
    },
    "ruleSet": lambda asked, thing, arguments: None if thing.tag is None else {"appliedDisjunctively": False},
}

CUSTOMER: Fields = {
    **ids("Customer"),
    "amountSpent": lambda asked, thing, arguments: amount(asked, cents(thing.amount_spent)),
    "createdAt": at("created_at"),
    "updatedAt": at("updated_at"),
    "defaultAddress": lambda asked, thing, arguments: None if thing.country is None else Address(thing),
    "displayName": lambda asked, thing, arguments: protected(asked, f"{thing.first_name} {thing.last_name}") or "",
    "email": lambda asked, thing, arguments: protected(asked, thing.email),
    "firstName": lambda asked, thing, arguments: protected(asked, thing.first_name),
    "lastName": lambda asked, thing, arguments: protected(asked, thing.last_name),
    "phone": lambda asked, thing, arguments: protected(asked, thing.phone),
    "locale": lambda asked, thing, arguments: asked.shop.spec.locale,
    "note": always(None),
    "numberOfOrders": lambda asked, thing, arguments: str(thing.orders_count),
    "orders": lambda asked, thing, arguments: listing.orders(asked.shop, arguments, asked.scopes, thing.id),
    "tags": always([]),
}

ADDRESS: Fields = {
    "id": lambda asked, thing, arguments: gid("MailingAddress", thing.customer.id + 1),
    "countryCodeV2": lambda asked, thing, arguments: thing.customer.country,
    "provinceCode": lambda asked, thing, arguments: thing.customer.province,
    "zip": lambda asked, thing, arguments: protected(asked, "10001"),
    "address1": lambda asked, thing, arguments: protected(asked, thing.customer.street),
    "city": lambda asked, thing, arguments: thing.customer.city,
    "firstName": lambda asked, thing, arguments: protected(asked, thing.customer.first_name),
    "lastName": lambda asked, thing, arguments: protected(asked, thing.customer.last_name),
    "phone": lambda asked, thing, arguments: protected(asked, thing.customer.phone),
}


def refunded(order: Order) -> int:
    return sum(cents(one.amount) for one in order.refunds)


def _state(order: Order) -> str:
    if not order.refunds:
        return "PAID"
    return "REFUNDED" if order.cancelled_at else "PARTIALLY_REFUNDED"


def _order_address(asked: Asked, thing: Order, arguments: Mapping[str, Any]) -> Address | None:
    person = asked.shop.customer_of(thing)
    return None if person is None or person.country is None else Address(person)


ORDER: Fields = {
    **ids("Order"),
    "cancelReason": lambda asked, thing, arguments: "CUSTOMER" if thing.cancelled_at else None,
    "cancelledAt": at("cancelled_at"),
    "cartToken": own("cart_token"),
    "clientIp": lambda asked, thing, arguments: protected(asked, "203.0.113.77"),
    "createdAt": at("created_at"),
    "processedAt": at("processed_at"),
    "updatedAt": at("updated_at"),
    "currencyCode": lambda asked, thing, arguments: asked.shop.spec.currency,
    "presentmentCurrencyCode": lambda asked, thing, arguments: asked.shop.spec.currency,
    "currentTotalPriceSet": lambda asked, thing, arguments: bag(asked, total(thing) - refunded(thing)),
    "customAttributes": lambda asked, thing, arguments: [
        {"key": name, "value": value} for name, value in thing.attributes
    ],
    "customer": lambda asked, thing, arguments: asked.shop.customer_of(thing),
    "customerLocale": own("locale"),
    "displayFinancialStatus": lambda asked, thing, arguments: _state(thing),
    "edited": lambda asked, thing, arguments: False,
    "email": lambda asked, thing, arguments: protected(asked, thing.email),
    "phone": always(None),
    "lineItems": lambda asked, thing, arguments: numbered([LineOf(thing, one) for one in thing.lines]),
    "name": lambda asked, thing, arguments: f"#{thing.number}",
    "note": always(None),
    "originalTotalPriceSet": lambda asked, thing, arguments: bag(asked, total(thing)),
    "refunds": lambda asked, thing, arguments: [
        RefundOf(thing, one) for one in thing.refunds[: arguments.get("first") or None]
    ],
    "shippingAddress": _order_address,
    "sourceName": own("source"),
    "subtotalLineItemsQuantity": lambda asked, thing, arguments: sum(one.quantity for one in thing.lines),
    "subtotalPriceSet": lambda asked, thing, arguments: bag(asked, sum(line_total(one) for one in thing.lines)),
    "tags": always([]),
    "test": own("test"),
    "totalPriceSet": lambda asked, thing, arguments: bag(asked, total(thing)),
    "totalRefundedSet": lambda asked, thing, arguments: bag(asked, refunded(thing)),
    "totalShippingPriceSet": lambda asked, thing, arguments: bag(asked, cents(thing.shipping)),
}

LINE: Fields = {
    "id": lambda asked, thing, arguments: gid("LineItem", thing.line.id),
    "currentQuantity": lambda asked, thing, arguments: thing.order.left(thing.line),
    "refundableQuantity": lambda asked, thing, arguments: thing.order.left(thing.line),
    "customAttributes": always([]),
    "discountedTotalSet": lambda asked, thing, arguments: bag(asked, line_total(thing.line)),
    "isGiftCard": lambda asked, thing, arguments: thing.line.gift_card,
    "name": lambda asked, thing, arguments: thing.line.title,
    "originalTotalSet": lambda asked, thing, arguments: bag(asked, cents(thing.line.price) * thing.line.quantity),
    "originalUnitPriceSet": lambda asked, thing, arguments: bag(asked, cents(thing.line.price)),
    "product": lambda asked, thing, arguments: of_product(asked, thing.line.product),
    "quantity": lambda asked, thing, arguments: thing.line.quantity,
    "sellingPlan": lambda asked, thing, arguments: (
        None if thing.line.plan is None else {"name": thing.line.plan, "sellingPlanId": gid("SellingPlan", 1)}
    ),
    "sku": lambda asked, thing, arguments: thing.line.sku,
    "title": lambda asked, thing, arguments: thing.line.title,
    "totalDiscountSet": lambda asked, thing, arguments: bag(asked, cents(thing.line.discount)),
    "variant": lambda asked, thing, arguments: of_variant(asked, thing.line.variant),
    "variantTitle": lambda asked, thing, arguments: thing.line.variant_title,
    "vendor": always(None),
}

REFUND: Fields = {
    "id": lambda asked, thing, arguments: gid("Refund", thing.refund.id),
    "legacyResourceId": lambda asked, thing, arguments: str(thing.refund.id),
    "createdAt": lambda asked, thing, arguments: iso(thing.refund.created_at),
    "updatedAt": lambda asked, thing, arguments: iso(thing.refund.created_at),
    "note": lambda asked, thing, arguments: thing.refund.note,
    "order": lambda asked, thing, arguments: thing.order,
    "refundLineItems": lambda asked, thing, arguments: numbered(
        [RefundLineOf(thing.order, thing.refund, n) for n in range(len(thing.refund.lines))]
    ),
    "totalRefundedSet": lambda asked, thing, arguments: bag(asked, cents(thing.refund.amount)),
}

REFUND_LINE: Fields = {
    "id": lambda asked, thing, arguments: gid("RefundLineItem", thing.refund.id * 10 + thing.number),
    "lineItem": lambda asked, thing, arguments: LineOf(thing.order, _line_of(thing)),
    "quantity": lambda asked, thing, arguments: thing.line.quantity,
    "subtotalSet": lambda asked, thing, arguments: bag(
        asked, line_total(_line_of(thing)) // _line_of(thing).quantity * thing.line.quantity
    ),
}


def _line_of(thing: RefundLineOf) -> Line:
    return next(one for one in thing.order.lines if one.id == thing.line.line)


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

MEDIA: Fields = {
    "id": lambda asked, thing, arguments: gid("MediaImage", thing.id),
    "alt": always(None),
    "mediaContentType": always("IMAGE"),
    "image": lambda asked, thing, arguments: image(thing.url),
    "preview": lambda asked, thing, arguments: {"image": image(thing.url)},
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
