"""What a shop holds. Times are ms since 1970, money is decimal text in the shop's currency, ids are numbers."""

from __future__ import annotations

from msgspec import Struct, field


class Metafield(Struct, kw_only=True):
    """``defined``: a definition fixes its type. https://shopify.dev/docs/apps/build/custom-data/metafields"""

    namespace: str
    key: str
    type: str
    value: str
    defined: bool = True


class Variant(Struct, kw_only=True):
    """``quantity`` counts only if ``tracked``; ``oversell`` is the inventory policy *continue*."""

    id: int
    title: str
    sku: str | None
    barcode: str | None
    price: str
    compare_at_price: str | None
    options: list[str]
    quantity: int
    tracked: bool = True
    oversell: bool = False
    image: str | None = None
    cost: str | None = None
    created_at: int
    updated_at: int

    @property
    def inventory_item(self) -> int:
        return self.id + ITEM_OFFSET

    @property
    def available(self) -> bool:
        """https://shopify.dev/docs/api/admin-graphql/latest/objects/ProductVariant#field-availableForSale"""
        return not self.tracked or self.oversell or self.quantity > 0


class Product(Struct, kw_only=True):
    """``published`` means on the Online Store; ``collections`` are the manual ones that it was put into."""

    id: int
    title: str
    body_html: str | None
    vendor: str
    product_type: str
    handle: str
    status: str
    published_at: int | None
    created_at: int
    updated_at: int
    tags: list[str]
    image: str | None
    category: str | None
    gift_card: bool = False
    options: list[str]
    metafields: list[Metafield] = field(default_factory=list)
    collections: list[int] = field(default_factory=list)
    variants: list[Variant]

    @property
    def published(self) -> bool:
        return self.published_at is not None


class Collection(Struct, kw_only=True):
    """``tag``: a smart collection of the products with that tag; None: a manual one."""

    id: int
    handle: str
    title: str
    tag: str | None
    updated_at: int


class Customer(Struct, kw_only=True):
    """Name, e-mail, telephone and street are there to be found where they must not be."""

    id: int
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    street: str | None
    city: str | None
    province: str | None
    country: str | None
    created_at: int
    updated_at: int
    orders_count: int = 0
    amount_spent: str = "0.00"


class Line(Struct, kw_only=True):
    """``variant`` and ``product`` are None for a custom line and once the product is deleted."""

    id: int
    variant: int | None
    product: int | None
    title: str
    variant_title: str | None
    sku: str | None
    quantity: int
    price: str
    discount: str = "0.00"
    gift_card: bool = False
    plan: str | None = None
    """Name of the selling plan."""


class RefundLine(Struct, kw_only=True):
    line: int
    quantity: int


class Refund(Struct, kw_only=True):
    """Without lines: money only."""

    id: int
    created_at: int
    lines: list[RefundLine]
    amount: str
    note: str | None = None


class Order(Struct, kw_only=True):
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/Order"""

    id: int
    number: int
    created_at: int
    processed_at: int
    updated_at: int
    cancelled_at: int | None = None
    test: bool = False
    source: str = "web"
    customer: int | None
    email: str | None
    cart_token: str | None
    checkout_token: str | None
    attributes: list[tuple[str, str]] = field(default_factory=list)
    locale: str | None = "en"
    landing_site: str | None = None
    shipping: str = "0.00"
    lines: list[Line]
    refunds: list[Refund] = field(default_factory=list)

    def left(self, line: Line) -> int:
        """Units of a line that were neither refunded nor removed."""
        gone = sum(one.quantity for refund in self.refunds for one in refund.lines if one.line == line.id)
        return line.quantity - gone


ITEM_OFFSET = 4_000_000_000_000
"""An inventory item's id is its variant's plus this, so that either is found from the other."""
