"""Event names that sites use, and what each becomes at Miso; a rule of the instance comes before.

Names are free-form in Mixpanel; the commonest come from Segment's e-commerce spec
(https://segment.com/docs/connections/spec/ecommerce/v2/) and Mixpanel's own templates
(https://docs.mixpanel.com/docs/data-structure/events-and-properties).
"""

from __future__ import annotations

from functools import lru_cache

from misoflow import values

PRESETS: dict[str, tuple[str, ...]] = {
    "product_detail_page_view": (
        *("product viewed", "viewed product", "product view", "view item", "item viewed", "item detail page"),
        *("product detail viewed", "product details viewed", "pdp viewed", "view content", "product page viewed"),
    ),
    "category_page_view": (
        *("product list viewed", "category viewed", "view item list", "collection viewed", "browse"),
        "listing viewed",
    ),
    "search": (
        *("products searched", "product searched", "search", "searched", "site search", "search results viewed"),
        "view search results",
    ),
    "impression": (
        *("product impression", "product list impression", "impression", "item shown", "recommendation shown"),
    ),
    "add_to_cart": ("product added", "add to cart", "added to cart", "item added to cart", "cart add"),
    "remove_from_cart": ("product removed", "remove from cart", "removed from cart"),
    "checkout": (
        *("order completed", "purchase", "purchased", "items purchased", "item purchased", "checkout completed"),
        *("transaction", "order placed", "payment completed", "product purchased"),
    ),
    "refund": ("order refunded", "refund", "refunded", "order cancelled", "order canceled"),
    "subscribe": ("product subscribed", "back in stock subscribed", "price alert created"),
    "read": ("article read", "article viewed", "content read", "story read"),
    "watch": ("video played", "video watched", "watch video", "video content completed"),
    "listen": ("song played", "played song", "track played", "episode played", "podcast played"),
    "add_to_collection": (
        *("product added to wishlist", "added to wishlist", "add to wishlist", "saved", "add to favorites"),
        *("playlist add", "added to collection"),
    ),
    "remove_from_collection": (
        *("product removed from wishlist", "removed from wishlist", "remove from favorites", "playlist remove"),
        "removed from collection",
    ),
    "like": ("liked", "like", "product liked", "liked product", "liked item", "liked song"),
    "dislike": ("disliked", "dislike", "thumbs down", "product disliked"),
    "share": ("product shared", "shared", "share item", "share"),
    "rate": ("product reviewed", "rated", "review submitted"),
    "bookmark": ("bookmarked", "bookmark", "article bookmarked"),
    "home_page_view": ("home viewed", "home page viewed", "homepage viewed"),
    "product_image_view": ("product image viewed", "image zoomed"),
    "custom": ("promotion viewed", "promotion clicked", "checkout started"),
}
CHECKOUT_STARTED = "checkout started"
IDENTITY = ("$identify", "$create_alias", "$merge")
HIDDEN = ("$hotshard_events", *IDENTITY)
"""Not events of the site, but needed from the export whatever else is asked for."""
_SYSTEM = ("$identify", "$create_alias", "$merge", "$hotshard_record", "$unsubscribe", "$message_suppressed")
_SYSTEM_PREFIXES = ("$session_", "$mp_", "$ae_", "$campaign_", "$journey_", "$hotshard_")


@lru_cache(maxsize=4096)
def key_of(name: str) -> str:
    """How names are compared: without case, blanks and punctuation, so ``ProductViewed`` is ``product viewed``."""
    return values.key_of(name[:256])


def is_system(name: str) -> bool:
    """Mixpanel's own bookkeeping, which is no interaction."""
    return name in _SYSTEM or name.startswith(_SYSTEM_PREFIXES)


TABLE: dict[str, str] = {key_of(name): kind for kind, names in PRESETS.items() for name in names}


def preset(name: str, presets: bool | tuple[str, ...], checkout_on: str) -> str | None:
    """The Miso type of a usual name, if the instance uses it."""
    key = key_of(name)
    kind = TABLE.get(key)
    if kind is None or presets is False:
        return None
    if checkout_on == "checkout_started":
        if key == key_of(CHECKOUT_STARTED):
            return "checkout"
        if kind == "checkout":
            return None
    return kind if presets is True or kind in presets else None
