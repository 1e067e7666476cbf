"""Fields of products, variants, stock, metafields and collections.

https://shopify.dev/docs/api/admin-graphql/2026-10/objects/Product
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from misoflow_sandbox.shopify.asking import (
    Asked,
    Field,
    Fields,
    ItemOf,
    Media,
    MetafieldOf,
    VariantOf,
    always,
    amount,
    at,
    gid,
    ids,
    image,
    own,
)
from misoflow_sandbox.shopify.connections import Connection, numbered
from misoflow_sandbox.shopify.state import iso
from misoflow_sandbox.shopify.things import (
    Product,
    Variant,
)
from misoflow_sandbox.shopify.world import cents


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

MEDIA: Fields = {
    "id": lambda asked, thing, arguments: gid("MediaImage", thing.id),
    "alt": always(None),
    "mediaContentType": always("IMAGE"),
    "image": lambda asked, thing, arguments: image(thing.url),
    "preview": lambda asked, thing, arguments: {"image": image(thing.url)},
}
