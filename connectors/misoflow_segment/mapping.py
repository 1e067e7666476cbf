"""The mapping table: what each Segment event becomes at Miso. ``docs/connectors/segment.md`` is made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from misoflow import (
    INTERACTIONS,
    AddToCollection,
    Bookmark,
    Click,
    Custom,
    Dislike,
    Interaction,
    Like,
    Listen,
    ProductDetailPageView,
    ProductImageView,
    Read,
    Reject,
    RemoveFromCart,
    RemoveFromCollection,
    Share,
    Skip,
    Subscribe,
    Unsubscribe,
    values,
)

from misoflow_segment import lists, orders, pages, users, video
from misoflow_segment.call import Call, mapping
from misoflow_segment.keys import Json
from misoflow_segment.names import Name, resolve
from misoflow_segment.orders import Outputs
from misoflow_segment.plan import Plan
from misoflow_segment.products import listed, required, single, some

Make = Callable[[Call], Outputs]


class Row(NamedTuple):
    """One line of the mapping table."""

    make: Make
    becomes: str
    """Miso's type or types, as the documentation shows them."""
    note: str = ""


def _of_product(cls: Callable[..., Interaction]) -> Make:
    """An interaction with the one product that the event is about."""

    def make(call: Call) -> Outputs:
        found = None if call.plan.has_groups else call.plan.product_id(call.properties)
        if found is not None:
            return [cls(product_ids=[found], **call.common())]
        return [cls(**required(call, single(call)), **call.common())]

    return make


def _of_products(cls: Callable[..., Interaction]) -> Make:
    """An interaction with all the products of the event."""

    def make(call: Call) -> Outputs:
        return [cls(**required(call, listed(call)), **call.common())]

    return make


def _if_product(cls: Callable[..., Interaction], *lasting: str) -> Make:
    """An interaction where a product is named, with a duration from one of ``lasting``; else one without a rule."""

    def make(call: Call) -> Outputs:
        products = some(call, single(call))
        if not products:
            return unmapped(call)
        if lasting and (seconds := values.first_number(call.properties, *lasting)) is not None:
            products["duration"] = seconds
        return [cls(**products, **call.common())]

    return make


def unmapped(call: Call) -> Outputs:
    """A track call without a rule."""
    policy = call.plan.config.unmapped
    if policy == "drop":
        return [Skip("no rule for this event (unmapped = drop)")]
    products = some(call, listed(call))
    if not products and policy == "custom_if_product":
        return [Skip("no rule for this event, and it names no product")]
    return [Custom(custom_action_name=call.action, **products, **call.common())]


_CUSTOM = "the event's name in snake case; products if there are any"
_IF_PRODUCT = "where a product is named; else as an event without a rule"
_PROGRESS = Row(video.progress, "nothing", "watch time is told when playback pauses or ends")
_AD = Row(video.advertisement, "nothing", "the asset is the ad")

# https://segment.com/docs/connections/spec/ecommerce/v2/
TRACKS: dict[str, Row] = {
    "Products Searched": Row(
        lists.searched, "search, impression", "query and filters; the impression where products were found"
    ),
    "Product List Viewed": Row(
        lists.list_viewed, "category_page_view, impression", "each where the event has a category, products"
    ),
    "Product List Filtered": Row(
        lists.list_filtered, "search, impression", "filters without words; `list_filtered` makes it a category view"
    ),
    "Promotion Viewed": Row(lists.promotion_viewed, "custom promotion_viewed", "a banner, no page"),
    "Promotion Clicked": Row(lists.promotion_clicked, "promo_page_view"),
    "Product Clicked": Row(_of_product(Click), "click", "Product Viewed follows it as the detail view"),
    "Product Viewed": Row(_of_product(ProductDetailPageView), "product_detail_page_view"),
    "Product Added": Row(orders.added, "add_to_cart", "with quantities"),
    "Product Removed": Row(_of_product(RemoveFromCart), "remove_from_cart"),
    "Cart Viewed": Row(orders.custom, "custom cart_viewed", "products if there are any"),
    "Checkout Started": Row(
        orders.started, "custom checkout_started", '`checkout_on = "started"` makes it the checkout'
    ),
    "Checkout Step Viewed": Row(orders.custom, "custom checkout_step_viewed", "products if there are any"),
    "Checkout Step Completed": Row(orders.custom, "custom checkout_step_completed", "products if there are any"),
    "Payment Info Entered": Row(orders.custom, "custom payment_info_entered", "products if there are any"),
    "Order Updated": Row(orders.custom, "custom order_updated", "products if there are any"),
    "Order Completed": Row(orders.completed, "checkout", "quantities and revenue; once for each order_id"),
    "Order Refunded": Row(orders.refunded, "refund", "without products: custom order_refunded"),
    "Order Cancelled": Row(
        orders.cancelled, "refund", "without products, or by `order_cancelled`: custom order_cancelled"
    ),
    "Coupon Entered": Row(orders.custom, "custom coupon_entered", "products if there are any"),
    "Coupon Applied": Row(orders.custom, "custom coupon_applied", "products if there are any"),
    "Coupon Denied": Row(orders.custom, "custom coupon_denied", "products if there are any"),
    "Coupon Removed": Row(orders.custom, "custom coupon_removed", "products if there are any"),
    "Product Added to Wishlist": Row(_of_product(AddToCollection), "add_to_collection"),
    "Product Removed from Wishlist": Row(_of_product(RemoveFromCollection), "remove_from_collection"),
    "Wishlist Product Added to Cart": Row(orders.added, "add_to_cart", "with quantities"),
    "Product Shared": Row(_of_product(Share), "share", "recipient and message stay here"),
    "Cart Shared": Row(_of_products(Share), "share", "recipient and message stay here"),
    "Product Reviewed": Row(orders.reviewed, "rate", "a rating off the scale, or in words: custom product_reviewed"),
    # https://segment.com/docs/connections/spec/video/
    "Video Playback Started": _PROGRESS,
    "Video Playback Paused": Row(video.paused, "watch", "duration is the position, at most the length"),
    "Video Playback Interrupted": _PROGRESS,
    "Video Playback Buffer Started": _PROGRESS,
    "Video Playback Buffer Completed": _PROGRESS,
    "Video Playback Seek Started": _PROGRESS,
    "Video Playback Seek Completed": _PROGRESS,
    "Video Playback Resumed": _PROGRESS,
    "Video Playback Completed": Row(
        video.playback_ended, "watch", "once a session and asset; `video_complete` adds complete"
    ),
    "Video Playback Exited": Row(video.playback_ended, "watch", "once a session and asset"),
    "Video Content Started": _PROGRESS,
    "Video Content Playing": _PROGRESS,
    "Video Content Completed": Row(
        video.content_completed, "watch", "once a session and asset; `video_complete` adds complete"
    ),
    "Video Ad Started": _AD,
    "Video Ad Playing": _AD,
    "Video Ad Completed": _AD,
    # beyond the spec
    "Content Read": Row(_if_product(Read, "duration", "seconds"), "read", _IF_PRODUCT),
    "Audio Played": Row(_if_product(Listen, "duration", "seconds", "position"), "listen", _IF_PRODUCT),
    "Item Bookmarked": Row(_if_product(Bookmark), "bookmark", _IF_PRODUCT),
    "Item Liked": Row(_if_product(Like), "like", _IF_PRODUCT),
    "Item Disliked": Row(_if_product(Dislike), "dislike", _IF_PRODUCT),
    "Product Image Viewed": Row(_if_product(ProductImageView), "product_image_view", _IF_PRODUCT),
    "Product Subscribed": Row(_if_product(Subscribe), "subscribe", _IF_PRODUCT),
    "Product Unsubscribed": Row(_if_product(Unsubscribe), "unsubscribe", _IF_PRODUCT),
    "track": Row(unmapped, "custom", f"by `unmapped`; {_CUSTOM}"),
}

CALLS: dict[str, Row] = {
    "page": Row(pages.page, "home_page_view", "the home page; others by `pages`, else nothing"),
    "screen": Row(pages.screen, "nothing", "by `pages`"),
    "identify": Row(users.identify, "user, custom identify_link", "allow-listed traits; the link once a pair"),
    "group": Row(users.group, "user", "group_id"),
    "alias": Row(users.alias, "custom identify_link", "once a pair"),
    "delete": Row(users.delete, "forget_user", "the user and all interactions are deleted; signed webhooks only"),
}
MALFORMED = "malformed"
TOPICS = (*TRACKS, *CALLS, MALFORMED)

ADVICE = "the payload is not a Segment event; set Data to the whole event in the destination's mapping"
_SIGNS = ("userId", "anonymousId", "messageId", "event", "type")


def classify(data: Any) -> str:
    """The topic of a decoded call; Reject when it is none."""
    if type(data) is not dict:
        raise Reject("an event must be a JSON object")
    kind = data.get("type")
    if kind == "track":
        return name_of(data).topic
    if type(kind) is str and kind:
        kind = kind if kind in CALLS else kind.strip().lower()
    elif kind is not None and kind != "":
        raise Reject("the event's type is not a text", "$.type")
    elif "event" in data:
        kind = "track"
    elif not any(sign in data for sign in _SIGNS):
        raise Reject(ADVICE)
    else:
        raise Reject("the event has no type; set Data to the whole event in the destination's mapping", "$.type")
    if kind == "track":
        return name_of(data).topic
    if kind not in CALLS:
        raise Reject("the event's type is none of track, page, screen, identify, group, alias and delete", "$.type")
    return kind


def name_of(data: Json) -> Name:
    """The resolved name of a track call; Reject when there is none."""
    event = data.get("event")
    name = resolve(event) if type(event) is str else None
    if name is None:
        raise Reject("the track call has no event name", "$.event")
    return name


def missing_consent(plan: Plan, data: Json) -> str | None:
    """The first required category that a call with consent preferences does not grant."""
    consent = mapping(mapping(data.get("context")).get("consent"))
    if not consent:
        return None
    granted = mapping(consent.get("categoryPreferences"))
    return next((name for name in plan.required_consent if granted.get(name) is not True), None)


Rules = Callable[[str, Mapping[str, Any]], list[dict[str, Any]] | None]


def translated(plan: Plan, rules: Rules, topic: str, data: Any, received: datetime | None) -> Outputs:
    """The records and effects of one call: the instance's own rules first, then the table."""
    if type(data) is not dict:
        raise Reject("an event must be a JSON object")
    if topic in CALLS:
        row = CALLS[topic]
        call = Call.of(plan, data, topic, "", received)
    else:
        name = name_of(data)
        row = TRACKS[name.topic]
        call = Call.of(plan, data, name.shown, name.action, received)
    if topic != "delete":
        if plan.required_consent and (category := missing_consent(plan, data)) is not None:
            return [Skip(f"no consent to {category}")]
        made = rules(call.name, data)
        if made is not None:
            return by_rules(call, made)
    return row.make(call)


def by_rules(call: Call, made: Iterable[dict[str, Any]]) -> Outputs:
    """The records of the matching rule, completed with what every record has."""
    records: Outputs = []
    for fields in made:
        own = {key: values.tidied(key, value) for key, value in fields.items()}
        kind = own.pop("type")
        if kind not in INTERACTIONS:
            raise Reject("the rule makes no interaction that Miso knows", "$.type")
        if kind in NEED_PRODUCTS and not (own.get("product_ids") or own.get("product_group_ids")):
            raise Reject("no_product_id: the rule's product_ids found no usable id", "$.product_ids")
        common = call.common()
        own_context = own.pop("context", None)
        if type(own_context) is dict:
            custom = common["context"]["custom_context"] | mapping(own_context.get("custom_context"))
            own["context"] = {**common["context"], **own_context, "custom_context": custom}
        record = INTERACTIONS[kind](**{**common, **own})
        records.append(orders.once_an_order(call, record) if kind == "checkout" else record)
    return records or [Skip("a rule of this instance drops it")]


NEED_PRODUCTS = frozenset(kind for kind, cls in INTERACTIONS.items() if "product_ids" in cls.__struct_fields__) - {
    "custom",
    "promo_page_view",
    "submit",
}
