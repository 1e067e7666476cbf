"""What the app asks of a shop, and what is left out where a shop grants less.

https://shopify.dev/docs/api/usage/access-scopes
"""

from __future__ import annotations

from collections.abc import Iterable

from misoflow import Problem

from misoflow_shopify.config import ShopifyConfig

CATALOG = ("read_products", "read_inventory", "read_publications")
ORDERS = ("read_orders",)
CUSTOMERS = ("read_customers",)
PIXEL = ("write_pixels", "read_customer_events")
ALL_ORDERS = "read_all_orders"
"""Orders older than 60 days: https://shopify.dev/docs/api/usage/access-scopes#orders-permissions"""
DAYS_OF_ORDERS = 60
STREAMS = {"catalog": CATALOG, "orders": ORDERS, "customers": CUSTOMERS}
LACKING = {
    CATALOG: "the catalogue",
    ORDERS: "orders and refunds",
    CUSTOMERS: "customers",
    PIXEL: "the storefront's clicks",
}


def required(config: ShopifyConfig) -> tuple[str, ...]:
    """Scopes without which something is left out."""
    return (*CATALOG, *ORDERS, *(CUSTOMERS if config.users else ()), *PIXEL)


def covers(granted: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether all of ``wanted`` is granted; to write a thing implies to read it."""
    from shopify.api_access import ApiAccess, ApiAccessError  # type: ignore[import-untyped]

    try:
        return bool(ApiAccess(list(granted)).covers(ApiAccess(list(wanted))))
    except ApiAccessError:  # a scope that is named in a new way
        return set(wanted) <= set(granted)


def problems(config: ShopifyConfig, granted: Iterable[str], where: str) -> list[Problem]:
    """What is missing, and what does not work for it. ``where`` a merchant grants it."""
    have = list(granted)
    found = []
    for group, what in LACKING.items():
        lacking = [one for one in group if one in required(config) and not covers(have, [one])]
        if lacking:
            text = f"the shop did not grant {', '.join(lacking)}: {what} cannot be read"
            found.append(Problem("fail", text, f"approve what the app asks for: open {where}"))
    if not covers(have, [ALL_ORDERS]):
        text = f"Shopify shows the orders of the last {DAYS_OF_ORDERS} days only (history_limited)"
        fix = f"if you need them, request {ALL_ORDERS} in the Dev Dashboard, then open {where}"
        found.append(Problem("warn", text, fix))
    return found


def without(granted: Iterable[str]) -> tuple[str, ...]:
    """The streams that cannot be pulled."""
    have = list(granted)
    closed = [stream for stream, needs in STREAMS.items() if not covers(have, needs)]
    return (*closed, "changes") if len(closed) == len(STREAMS) else tuple(closed)
