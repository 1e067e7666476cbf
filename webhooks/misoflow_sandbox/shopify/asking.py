"""Who asks, what is behind an id, and the small readers that the tables of fields are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import GraphQLError
from msgspec import Struct

from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import App, iso
from misoflow_sandbox.shopify.things import Customer, Line, Metafield, Order, Product, Refund, RefundLine, Variant


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
    **{f"QueryRoot.{one}": "read_orders" for one in ("order", "orders", "ordersCount", "refund")},
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
