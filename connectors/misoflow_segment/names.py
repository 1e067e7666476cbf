"""Event names: one key for every spelling, looked up exactly in a table of the names that Segment documents.

``Product Viewed``, ``product_viewed``, ``productViewed``, ``Viewed Product`` and ``VIEWED-PRODUCT`` are one
name. Nothing is matched by prefix or pattern: ``Viewed Product Category`` is another event than
``Viewed Product``. https://segment.com/docs/connections/spec/ecommerce/v2/
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from misoflow import privacy, values

MAX_NAME = 256


class Name(NamedTuple):
    """One event name as sent, resolved."""

    topic: str
    """The name of its row in the mapping table, or "track"."""
    shown: str
    """As sent, trimmed, cut to 256 characters, mail addresses taken out."""
    action: str
    """In snake case, as Miso's custom_action_name; of the documented name where the event has one."""


# (object, action), then names that are not made of the two; V1 names and Miso's own list included
SPEC: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "Products Searched": (("Products", "Searched"), ("Product Searched", "Hit Search", "Site Searched")),
    "Product List Viewed": (
        ("Product List", "Viewed"),
        ("Viewed Product Category", "Product Category Viewed"),
    ),
    "Product List Filtered": (("Product List", "Filtered"), ()),
    "Promotion Viewed": (("Promotion", "Viewed"), ()),
    "Promotion Clicked": (("Promotion", "Clicked"), ()),
    "Product Clicked": (("Product", "Clicked"), ()),
    "Product Viewed": (("Product", "Viewed"), ()),
    "Product Added": (("Product", "Added"), ("Product Added to Cart", "Added Product to Cart", "Add Product")),
    "Product Removed": (
        ("Product", "Removed"),
        ("Remove Product", "Product Removed from Cart", "Removed Product from Cart"),
    ),
    "Cart Viewed": (("Cart", "Viewed"), ()),
    "Checkout Started": (("Checkout", "Started"), ("Order Started", "Started Order")),
    "Checkout Step Viewed": (("Checkout Step", "Viewed"), ()),
    "Checkout Step Completed": (("Checkout Step", "Completed"), ()),
    "Payment Info Entered": (("Payment Info", "Entered"), ()),
    "Order Updated": (("Order", "Updated"), ()),
    "Order Completed": (("Order", "Completed"), ("Checkout Completed", "Completed Checkout")),
    "Order Refunded": (("Order", "Refunded"), ()),
    "Order Cancelled": (("Order", "Cancelled"), ("Order Canceled", "Canceled Order")),
    "Coupon Entered": (("Coupon", "Entered"), ()),
    "Coupon Applied": (("Coupon", "Applied"), ()),
    "Coupon Denied": (("Coupon", "Denied"), ()),
    "Coupon Removed": (("Coupon", "Removed"), ()),
    "Product Added to Wishlist": (("Product", "Added to Wishlist"), ("Added Product to Wishlist",)),
    "Product Removed from Wishlist": (("Product", "Removed from Wishlist"), ("Removed Product from Wishlist",)),
    "Wishlist Product Added to Cart": (
        ("Wishlist Product", "Added to Cart"),
        ("Product Added to Cart from Wishlist", "Added Wishlist Product to Cart"),
    ),
    "Product Shared": (("Product", "Shared"), ()),
    "Cart Shared": (("Cart", "Shared"), ()),
    "Product Reviewed": (("Product", "Reviewed"), ()),
}
"""The 28 events of Segment's e-commerce spec, version 2."""

PLAYBACK = (
    "Started",
    "Paused",
    "Interrupted",
    "Buffer Started",
    "Buffer Completed",
    "Seek Started",
    "Seek Completed",
    "Resumed",
    "Completed",
    "Exited",
)
# https://segment.com/docs/connections/spec/video/
VIDEO: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    **{f"Video Playback {action}": (("Video Playback", action), ()) for action in PLAYBACK},
    **{f"Video Content {action}": (("Video Content", action), ()) for action in ("Started", "Playing", "Completed")},
    **{f"Video Ad {action}": (("Video Ad", action), ()) for action in ("Started", "Playing", "Completed")},
}

_MEDIA = ("Song", "Episode", "Podcast", "Audio")
_TEXTS = ("Article", "Content", "Post", "Story", "Recipe", "Book")
_THINGS = (*_MEDIA, *_TEXTS, "Product", "Item", "Track", "Album", "Video", "Movie", "Show", "Course", "Playlist")


def _pairs(objects: tuple[str, ...], actions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{thing} {action}" for thing in objects for action in actions)


# rows beyond the spec, for events with a product id; each name also as action + object
BEYOND: dict[str, tuple[str, ...]] = {
    "Content Read": _pairs(("Article", "Content"), ("Viewed", "Read")),
    "Audio Played": _pairs(_MEDIA, ("Played", "Completed")),
    "Item Bookmarked": _pairs(_THINGS, ("Bookmarked",)),
    "Item Liked": _pairs(_THINGS, ("Liked",)),
    "Item Disliked": _pairs(_THINGS, ("Disliked",)),
    "Product Image Viewed": _pairs(("Product Image", "Item Image"), ("Viewed", "Clicked", "Zoomed")),
    "Product Subscribed": ("Product Subscribed", "Subscription Created", "Back in Stock Requested"),
    "Product Unsubscribed": ("Product Unsubscribed", "Unsubscribed"),
}


def spellings(topic: str) -> tuple[str, ...]:
    """Every name that leads to the topic's row, before case, blanks and punctuation are taken away."""
    if topic in BEYOND:
        names = BEYOND[topic]
        turned = tuple(" ".join([name.rpartition(" ")[2], name.rpartition(" ")[0]]) for name in names if " " in name)
        return tuple(dict.fromkeys((*names, *turned)))
    (thing, action), others = (SPEC | VIDEO)[topic]
    return tuple(dict.fromkeys((f"{thing} {action}", f"{action} {thing}", *others)))


def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for topic in (*SPEC, *VIDEO, *BEYOND):
        for name in spellings(topic):
            table.setdefault(values.key_of(name), topic)
    return table


TABLE = _table()
"""Key of a name -> topic."""


@lru_cache(maxsize=2048)
def resolve(event: str) -> Name | None:
    """The name's topic and its forms; None when it holds no letter or digit."""
    event = event[:MAX_NAME].strip()
    key = values.key_of(event)
    if not key:
        return None
    shown = privacy.without_contacts(event)
    topic = TABLE.get(key, "track")
    return Name(topic, shown, values.snake(topic if topic in SPEC or topic in VIDEO else shown) or "event")
