"""Which products, orders, customers and collections a query asks for, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from misoflow_sandbox.shopify.connections import Connection, Keyed
from misoflow_sandbox.shopify.search import Search, read
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.things import Customer, Order, Product

Arguments = Mapping[str, Any]
NATURAL = ("ID", "CREATED_AT", "PROCESSED_AT", "ORDER_NUMBER")
"""Ids rise with the time of creation, so these are the order in which things lie."""


def products(shop: Shop, arguments: Arguments) -> Connection:
    search = read(arguments.get("query"), shop.spec.timezone)

    def found() -> Iterable[Product]:
        for one in shop.products.between(search.range("created_at"), search.range("updated_at")):
            if _is(search, one.id, status=one.status, product_type=one.product_type, vendor=one.vendor) and (
                search.values.get("tag") in (None, *one.tags)
            ):
                yield one

    return _ordered(found, arguments)


def orders(shop: Shop, arguments: Arguments, scopes: tuple[str, ...], customer: int | None = None) -> Connection:
    """Without ``read_all_orders`` those of the last 60 days only; nothing says so."""
    search = read(arguments.get("query"), shop.spec.timezone)
    low, high = search.range("created_at", "processed_at")

    def found() -> Iterable[Order]:
        created = (max(low, shop.seen_orders(scopes)), high)
        for one in shop.orders.between(created, search.range("updated_at")):
            mine = customer in (None, one.customer)
            if mine and _is(search, one.id, source_name=one.source, test=str(one.test).lower()):
                yield one

    return _ordered(found, arguments)


def customers(shop: Shop, arguments: Arguments) -> Connection:
    search = read(arguments.get("query"), shop.spec.timezone)

    def found() -> Iterable[Customer]:
        for one in shop.customers.between(search.range("created_at"), search.range("updated_at")):
            if _is(search, one.id):
                yield one

    return _ordered(found, arguments)


def collections(shop: Shop, arguments: Arguments) -> Connection:
    search = read(arguments.get("query"), shop.spec.timezone)
    low, high = search.range("updated_at")
    found = [one for one in list(shop.collections.values()) if low <= one.updated_at < high and _is(search, one.id)]
    return _ordered(lambda: found, arguments)


def _is(search: Search, id_: int, **values: str) -> bool:
    """Whether a thing is what the search asks for. A value may be a list, as in ``status:active,draft``."""
    if id_ < search.least_id or search.values.get("id", str(id_)) != str(id_):
        return False
    wanted = ((search.values.get(name), value) for name, value in values.items())
    return all(want is None or value.lower() in want.lower().split(",") for want, value in wanted)


def _ordered(found: Callable[[], Iterable[Any]], arguments: Arguments) -> Connection:
    name, descending = arguments.get("sortKey") or "ID", bool(arguments.get("reverse"))
    key = _KEYS.get(name)

    def items() -> Iterable[Keyed]:
        if key is None and not descending:
            return (([one.id], one) for one in found())
        keyed = [([*(key(one) if key else ()), one.id], one) for one in found()]
        return sorted(keyed, key=lambda one: one[0], reverse=descending)

    return Connection(items, descending)


_KEYS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "UPDATED_AT": lambda one: (one.updated_at,),
    "TITLE": lambda one: (one.title,),
    "PUBLISHED_AT": lambda one: (one.published_at or 0,),
}
