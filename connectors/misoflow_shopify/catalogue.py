"""Products: a record for each variant (or for each product), as one group that is replaced whole.

https://shopify.dev/docs/api/admin-graphql/latest/objects/Product
"""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import quote

from misoflow import Absent, Alias, Effect, Group, Product, Record, Reject, Skip, privacy

from misoflow_shopify import attributes
from misoflow_shopify.attributes import DEFAULT, label
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.fields import Json, amount_of, decimal_of, moment_of

Outputs = list[Record | Effect]
HIDDEN = re.compile(r"<(script|style|template|noscript)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"<[^>]*>")
SAFE = "%/:?#@!$&'()*+,;=~-._"
"""What a URL may hold besides letters and digits; everything else is percent-encoded."""
PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def product(config: ShopifyConfig, data: Json) -> Outputs:
    """All records of a product; none while it is not on sale in the online store, which removes what there was.

    UNLISTED is sold to who has its link, and must not be recommended: https://shopify.dev/changelog/new-unlisted-product-status
    """
    name = f"product/{data['id']}"
    if data["gone"] is True or not _is_on_sale(data):
        return [Group(name, data["read_at"], ())]
    variants = {variant["id"]: variant for variant in data["variants"]}
    if config.group_mode == "product":
        return [Group(name, data["read_at"], (_whole(config, data, list(variants.values())),))]
    shared = _shared(config, data)
    records = tuple(_variant(config, data, variant, shared) for variant in variants.values())
    return [Group(name, data["read_at"], records)]


def _is_on_sale(data: Json) -> bool:
    """Reject where it is not said: nothing is removed for want of a scope."""
    if type(data["status"]) is not str or type(data["published"]) is not bool:
        raise Reject("the product does not say whether it is on sale", "$.published")
    return data["status"] == "ACTIVE" and data["published"]


def collection(data: Json) -> Outputs:
    """By its handle a collection is known to products and to the pages of categories; the pixel knows its id only."""
    if data["handle"] is None:
        return [Skip("the collection has no handle")]
    return [Alias(f"collection:{data['id']}", data["handle"])]


def catalog_end(data: Json) -> Outputs:
    """A full reading of the catalogue is done: what it did not hold is gone."""
    return [Absent("product/", data["version"])]


def _variant(config: ShopifyConfig, data: Json, variant: Json, shared: Json) -> Product:
    sizes, others = attributes.options(variant["options"])
    title = [label(data["title"]), None if variant["title"] == DEFAULT else label(variant["title"])]
    price, original = prices(variant)
    own = {"sku": label(variant["sku"]), "barcode": label(variant["barcode"])}
    return Product(
        product_id=variant["id"],
        title=" - ".join(part for part in title if part) or None,
        created_at=variant["created_at"] or data["created_at"],
        updated_at=_latest(data["updated_at"], variant["updated_at"]),
        url=_url(data, variant["id"]),
        cover_image=absolute(variant["image"] or data["image"]),
        sale_price=price,
        original_price=original,
        margin=_margin(variant),
        availability=_availability([variant]),
        custom_attributes=_custom(config, data, own | others),
        **sizes,
        **shared,
    )


def _whole(config: ShopifyConfig, data: Json, variants: list[Json]) -> Product:
    """A product as one record: the price of its cheapest variant that can be bought, what all its variants offer."""
    cheapest = min(variants, key=_cheapness, default=None)
    price, original = prices(cheapest) if cheapest else (None, None)
    offered: dict[str, list[str]] = {}
    for variant in variants:
        sizes, others = attributes.options(variant["options"])
        for key, value in {**{f"option_{field}": one for field, one in sizes.items()}, **others}.items():
            if value not in offered.setdefault(key, []):
                offered[key].append(value)
    skus = [sku for variant in variants if (sku := label(variant["sku"])) is not None]
    images = [data["image"], *(variant["image"] for variant in variants)]
    return Product(
        product_id=data["id"],
        title=label(data["title"]),
        created_at=data["created_at"],
        updated_at=_latest(data["updated_at"], *(variant["updated_at"] for variant in variants)),
        url=_url(data, None),
        cover_image=next((image for one in images if (image := absolute(one))), None),
        sale_price=price,
        original_price=original,
        margin=_margin(cheapest) if cheapest else None,
        availability=_availability(variants),
        custom_attributes=_custom(config, data, {"skus": skus[: attributes.MOST_ITEMS] or None} | offered),
        **_shared(config, data),
    )


def _shared(config: ShopifyConfig, data: Json) -> Json:
    """What all variants of a product have in common."""
    return {
        "product_group_id": data["id"],
        "description": plain_text(data["html"]),
        "html": data["html"] or None,
        "published_at": data["published_at"],
        "categories": _categories(data) or None,
        "collections": [one["title"] for one in data["collections"] if one["title"]] or None,
        "tags": _texts(data["tags"], "tags") or None,
        "brand": label(data["vendor"]),
        "language": config.language,
    }


def _categories(data: Json) -> list[list[str]]:
    """The taxonomy's path, each collection by its handle (as category_page_view names it), the type."""
    parts = [part.strip() for part in (data["category"] or "").split(" > ") if part.strip()]
    found = [parts, *([one["handle"]] for one in data["collections"] if one["handle"])]
    return [one for one in [*found, [data["product_type"]] if data["product_type"] else []] if one]


def _custom(config: ShopifyConfig, data: Json, own: Json) -> Json:
    found = {
        "handle": label(data["handle"]),
        "product_type": label(data["product_type"]),
        "gift_card": data["gift_card"] is True,
        **own,
        **attributes.metafields(config.metafields, data["metafields"]),
    }
    kept = [(key, value) for key, value in found.items() if value is not None]
    return dict(kept[: attributes.MOST_ATTRIBUTES])


def prices(variant: Json) -> tuple[int | float | None, int | float | None]:
    """(sale price, original price): a compare-at price counts only above the price; "", "0.00" and null are none.

    https://help.shopify.com/manual/products/details/product-pricing/sale-pricing
    """
    price, compared = amount_of(variant["price"]), amount_of(variant["compare_at_price"])
    original = compared if price is not None and compared is not None and compared > price else price
    return price, original


def _margin(variant: Json) -> int | float | None:
    """What is left of the price after the cost of the item; less than nothing is no margin."""
    price, cost = decimal_of(variant["price"]), decimal_of(variant["cost"])
    return None if price is None or cost is None else amount_of(str(price - cost))


def _cheapness(variant: Json) -> tuple[bool, float]:
    price = amount_of(variant["price"])
    return variant["available"] is not True, float("inf") if price is None else float(price)


def _availability(variants: list[Json]) -> Any:
    """Absent where Shopify did not say: nothing is guessed."""
    said = [variant["available"] for variant in variants if type(variant["available"]) is bool]
    if not said:
        return None
    return "IN_STOCK" if any(said) else "OUT_OF_STOCK"


def _url(data: Json, variant: str | None) -> str | None:
    """The page of the product in the online store, with the variant chosen."""
    page = data["url"]
    if not page and data["domain"] and data["handle"]:
        page = f"https://{data['domain']}/products/{quote(data['handle'], safe='')}"
    if page and variant is not None:
        page += ("&" if "?" in page else "?") + f"variant={variant}"
    return absolute(page)


def absolute(url: Any) -> str | None:
    """An https or http URL in ASCII; one without a scheme (``//cdn…``) gets https."""
    if type(url) is not str or not url:
        return None
    whole = f"https:{url}" if url.startswith("//") else url
    if not whole.startswith(("https://", "http://")):
        return None
    return PERCENT.sub("%25", quote(whole, safe=SAFE))


def plain_text(markup: Any) -> str | None:
    """The text of HTML: tags are taken out, entities read, blanks collapsed."""
    if type(markup) is not str:
        return None
    bare = html.unescape(TAG.sub(" ", HIDDEN.sub(" ", markup)))
    return privacy.plain(" ".join(bare.split())) or None


def _latest(*times: str | None) -> str | None:
    known = [(moment, time) for time in times if (moment := moment_of(time)) is not None]
    return max(known)[1] if known else None


def _texts(value: Any, name: str) -> list[str]:
    if type(value) is not list:
        raise Reject(f"the {name} are no list", f"$.{name}")
    return [text for one in value if (text := privacy.text_of(one, attributes.MOST_TEXT)) is not None]
