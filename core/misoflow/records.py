"""Miso's records: 29 interaction types, products, users, and what removes them.

Generated from Miso's OpenAPI document, version 1.1.4, by tools/generate_records.py: do not edit.
A record is a struct: ``AddToCart(product_ids=["p1"], quantities=[2], user_id="u", timestamp=…)``. A field left
out or None is not sent. Times are aware datetimes or RFC 3339 texts with a zone. An unknown field is a
TypeError at once; everything else is checked when the record is encoded (``misoflow.encode``).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from msgspec import Meta, Struct

if TYPE_CHECKING:
    DateTime = datetime | str
    DateOrTime = datetime | str
else:
    DateTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")]
    DateOrTime = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?\Z")]
Uri = Annotated[str, Meta(min_length=1, max_length=65536, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z_a-z~]+\Z")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\Z")]
Number = int | float
Scalar = bool | int | float | str
Flat = dict[str, Scalar]
# one member of a union may be a list and one an object, so nested values are told apart in misoflow.encode
CustomValue = Scalar | list[Any] | dict[str, Any]


class Record_(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What every record has in common: nothing but how it is written."""


class Campaign(TypedDict, total=False):
    """An open object."""

    name: str
    source: str
    medium: str
    term: str
    content: str


class PageContext(TypedDict, total=False):
    """An open object. Required: url."""

    url: str
    referrer: str
    title: str


class Context(TypedDict, total=False):
    """An open object."""

    campaign: Campaign
    truncated_ip: str
    locale: str
    region: str
    page: PageContext
    user_agent: str
    custom_context: dict[str, CustomValue]


class SearchInformation(TypedDict, total=False):
    """An open object."""

    keywords: str
    filters: dict[str, list[str]]


class LocationInformation(TypedDict, total=False):
    """An open object. Required: lat, lon."""

    lat: Number
    lon: Number


class ChildrenObject(TypedDict, total=False):
    """An open object. Required: id."""

    id: str
    url: str
    title: str
    description: str
    html: str
    headers: list[str]
    custom_attributes: dict[str, CustomValue]


class ProductDetailPageView(Record_, kw_only=True, tag_field="type", tag="product_detail_page_view"):
    """Miso's interaction ``product_detail_page_view``."""

    duration: Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Search(Record_, kw_only=True, tag_field="type", tag="search"):
    """Miso's interaction ``search``."""

    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None
    search: SearchInformation | None = None


class AddToCart(Record_, kw_only=True, tag_field="type", tag="add_to_cart"):
    """Miso's interaction ``add_to_cart``."""

    quantities: list[Number] | Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class RemoveFromCart(Record_, kw_only=True, tag_field="type", tag="remove_from_cart"):
    """Miso's interaction ``remove_from_cart``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Checkout(Record_, kw_only=True, tag_field="type", tag="checkout"):
    """Miso's interaction ``checkout``."""

    revenue: Number | None = None
    quantities: list[Number] | Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Refund(Record_, kw_only=True, tag_field="type", tag="refund"):
    """Miso's interaction ``refund``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Subscribe(Record_, kw_only=True, tag_field="type", tag="subscribe"):
    """Miso's interaction ``subscribe``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Unsubscribe(Record_, kw_only=True, tag_field="type", tag="unsubscribe"):
    """Miso's interaction ``unsubscribe``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class AddToCollection(Record_, kw_only=True, tag_field="type", tag="add_to_collection"):
    """Miso's interaction ``add_to_collection``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class RemoveFromCollection(Record_, kw_only=True, tag_field="type", tag="remove_from_collection"):
    """Miso's interaction ``remove_from_collection``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Read(Record_, kw_only=True, tag_field="type", tag="read"):
    """Miso's interaction ``read``."""

    duration: Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Watch(Record_, kw_only=True, tag_field="type", tag="watch"):
    """Miso's interaction ``watch``."""

    duration: Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Listen(Record_, kw_only=True, tag_field="type", tag="listen"):
    """Miso's interaction ``listen``."""

    duration: Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Like(Record_, kw_only=True, tag_field="type", tag="like"):
    """Miso's interaction ``like``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Dislike(Record_, kw_only=True, tag_field="type", tag="dislike"):
    """Miso's interaction ``dislike``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Share(Record_, kw_only=True, tag_field="type", tag="share"):
    """Miso's interaction ``share``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Rate(Record_, kw_only=True, tag_field="type", tag="rate"):
    """Miso's interaction ``rate``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None
    rating: Number | None = None


class Bookmark(Record_, kw_only=True, tag_field="type", tag="bookmark"):
    """Miso's interaction ``bookmark``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Complete(Record_, kw_only=True, tag_field="type", tag="complete"):
    """Miso's interaction ``complete``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Feedback(Record_, kw_only=True, tag_field="type", tag="feedback"):
    """Miso's interaction ``feedback``."""

    question_id: Annotated[str, Meta(max_length=512)] | None = None
    result_type: str | None = None
    value: str | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Impression(Record_, kw_only=True, tag_field="type", tag="impression"):
    """Miso's interaction ``impression``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class ViewableImpression(Record_, kw_only=True, tag_field="type", tag="viewable_impression"):
    """Miso's interaction ``viewable_impression``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Click(Record_, kw_only=True, tag_field="type", tag="click"):
    """Miso's interaction ``click``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Submit(Record_, kw_only=True, tag_field="type", tag="submit"):
    """Miso's interaction ``submit``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class HomePageView(Record_, kw_only=True, tag_field="type", tag="home_page_view"):
    """Miso's interaction ``home_page_view``."""

    duration: Number | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class CategoryPageView(Record_, kw_only=True, tag_field="type", tag="category_page_view"):
    """Miso's interaction ``category_page_view``."""

    duration: Number | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None
    category: list[str] | None = None


class PromoPageView(Record_, kw_only=True, tag_field="type", tag="promo_page_view"):
    """Miso's interaction ``promo_page_view``."""

    duration: Number | None = None
    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class ProductImageView(Record_, kw_only=True, tag_field="type", tag="product_image_view"):
    """Miso's interaction ``product_image_view``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None


class Custom(Record_, kw_only=True, tag_field="type", tag="custom"):
    """Miso's interaction ``custom``."""

    product_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    product_group_ids: list[Annotated[str, Meta(max_length=512)]] | None = None
    user_id: Annotated[str, Meta(max_length=512)] | None = None
    anonymous_id: Annotated[str, Meta(max_length=1024)] | None = None
    timestamp: DateTime | None = None
    miso_id: Uuid | None = None
    context: Context | None = None
    custom_action_name: str


class Product(Record_, kw_only=True):
    """Miso's product record."""

    product_id: Annotated[str, Meta(min_length=1, max_length=512)]
    product_group_id: str | None = None
    parent_id: str | None = None
    related_ids: list[str] | None = None
    type: str | None = None
    title: str | None = None
    description: str | None = None
    short_description: str | None = None
    language: Annotated[str, Meta(min_length=2)] | None = None
    created_at: DateOrTime | None = None
    published_at: DateOrTime | None = None
    updated_at: DateOrTime | None = None
    categories: list[list[str]] | None = None
    tags: list[str] | None = None
    url: Uri | None = None
    cover_image: Uri | None = None
    original_price: Number | None = None
    sale_price: Number | None = None
    margin: Number | None = None
    size: str | None = None
    color: str | None = None
    material: str | None = None
    condition: Literal["NEW", "USED", "REFURBISHED"] | None = None
    brand: str | None = None
    authors: list[str] | None = None
    publishers: list[str] | None = None
    collections: list[str] | None = None
    availability: Literal["IN_STOCK", "OUT_OF_STOCK", "PRE_ORDER"] | None = None
    location: list[LocationInformation] | LocationInformation | None = None
    rating: Number | None = None
    html: str | None = None
    subtitle: str | None = None
    headers: list[str] | None = None
    paragraphs: list[str] | None = None
    anchors: list[str] | None = None
    children: list[ChildrenObject] | None = None
    enable_question_answering: bool | None = None
    custom_attributes: dict[str, CustomValue] | None = None


class User(Record_, kw_only=True):
    """Miso's user record."""

    user_id: Annotated[str, Meta(min_length=1, max_length=512)]
    created_at: DateOrTime | None = None
    updated_at: DateOrTime | None = None
    name: str | None = None
    profile_image: Uri | None = None
    age: int | None = None
    gender: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    group_id: str | None = None
    description: str | None = None
    custom_attributes: dict[str, CustomValue] | None = None


class ForgetUser(Record_, kw_only=True):
    """Delete a user and the user's interactions at Miso, and erase what is unsent here."""

    user_id: Annotated[str, Meta(min_length=1, max_length=512)]


class RemoveProduct(Record_, kw_only=True):
    """Take this source's part of a product away; Miso's record goes with the last part."""

    product_id: Annotated[str, Meta(min_length=1, max_length=512)]


class RemoveUser(Record_, kw_only=True):
    """Take this source's part of a user's record away; Miso's record goes with the last part, interactions stay."""

    user_id: Annotated[str, Meta(min_length=1, max_length=512)]


Interaction = (
    ProductDetailPageView
    | Search
    | AddToCart
    | RemoveFromCart
    | Checkout
    | Refund
    | Subscribe
    | Unsubscribe
    | AddToCollection
    | RemoveFromCollection
    | Read
    | Watch
    | Listen
    | Like
    | Dislike
    | Share
    | Rate
    | Bookmark
    | Complete
    | Feedback
    | Impression
    | ViewableImpression
    | Click
    | Submit
    | HomePageView
    | CategoryPageView
    | PromoPageView
    | ProductImageView
    | Custom
)
Record = Interaction | Product | User | ForgetUser | RemoveProduct | RemoveUser

INTERACTIONS: dict[str, type[Interaction]] = {
    "product_detail_page_view": ProductDetailPageView,
    "search": Search,
    "add_to_cart": AddToCart,
    "remove_from_cart": RemoveFromCart,
    "checkout": Checkout,
    "refund": Refund,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "add_to_collection": AddToCollection,
    "remove_from_collection": RemoveFromCollection,
    "read": Read,
    "watch": Watch,
    "listen": Listen,
    "like": Like,
    "dislike": Dislike,
    "share": Share,
    "rate": Rate,
    "bookmark": Bookmark,
    "complete": Complete,
    "feedback": Feedback,
    "impression": Impression,
    "viewable_impression": ViewableImpression,
    "click": Click,
    "submit": Submit,
    "home_page_view": HomePageView,
    "category_page_view": CategoryPageView,
    "promo_page_view": PromoPageView,
    "product_image_view": ProductImageView,
    "custom": Custom,
}
"""Miso's type → its class."""

Kind = Literal["interaction", "product", "user", "forget_user", "remove_product", "remove_user"]
_KINDS: dict[type, Kind] = {
    Product: "product",
    User: "user",
    ForgetUser: "forget_user",
    RemoveProduct: "remove_product",
    RemoveUser: "remove_user",
}


def kind(record: Record) -> Kind:
    """Which of Miso's kinds of record this is."""
    return _KINDS.get(type(record), "interaction")
