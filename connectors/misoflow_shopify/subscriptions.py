"""Webhook subscriptions of one shop, where shopify.app.toml does not make them for all.

Shopify deletes one after eight failures in a row: https://shopify.dev/docs/apps/build/webhooks/troubleshooting-webhooks
"""

from __future__ import annotations

from misoflow import Problem

from misoflow_shopify import queries
from misoflow_shopify.admin import Admin, Json
from misoflow_shopify.scopes import CATALOG, CUSTOMERS, ORDERS, covers

TOPICS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("APP_UNINSTALLED", "APP_SCOPES_UPDATE", "SHOP_UPDATE", "BULK_OPERATIONS_FINISH"),
    CATALOG[:1]: (
        *("PRODUCTS_CREATE", "PRODUCTS_UPDATE", "PRODUCTS_DELETE"),
        *("COLLECTIONS_CREATE", "COLLECTIONS_UPDATE", "COLLECTIONS_DELETE"),
    ),
    CATALOG[1:2]: ("INVENTORY_LEVELS_UPDATE", "INVENTORY_LEVELS_CONNECT", "INVENTORY_LEVELS_DISCONNECT"),
    ORDERS: ("ORDERS_CREATE", "ORDERS_UPDATED", "ORDERS_CANCELLED", "ORDERS_EDITED", "ORDERS_PAID", "REFUNDS_CREATE"),
    CUSTOMERS: ("CUSTOMERS_CREATE", "CUSTOMERS_UPDATE", "CUSTOMERS_DELETE"),
}
"""By the scope that they need: https://shopify.dev/docs/api/webhooks/latest#list-of-topics"""
CARTS = ("CARTS_CREATE", "CARTS_UPDATE")


def wanted(granted: list[str], carts: bool) -> list[str]:
    """The topics that the scopes allow."""
    found = [topic for needs, topics in TOPICS.items() if covers(granted, needs) for topic in topics]
    return [*found, *CARTS] if carts and covers(granted, ORDERS) else found


async def made(admin: Admin, topics: list[str], uri: str) -> tuple[list[str], list[Problem]]:
    """Make what is missing and take away what points elsewhere; the topics that were made, and what went wrong."""
    there = await _existing(admin)
    for one in there:
        if one["uri"] != uri and one["topic"] in topics and _ours(one["uri"], uri):
            await admin.query(queries.UNSUBSCRIBE, {"id": one["id"]})
    known = {one["topic"] for one in there if one["uri"] == uri}
    created: list[str] = []
    refused: list[str] = []
    for topic in (topic for topic in topics if topic not in known):
        data = await admin.query(queries.SUBSCRIBE, {"topic": topic, "uri": uri})
        errors = (data.get("webhookSubscriptionCreate") or {}).get("userErrors") or []
        (refused if errors else created).append(topic)
    if not refused:
        return created, []
    text = f"Shopify refuses the webhooks {', '.join(refused).lower()}: what they tell comes hourly only"
    return created, [Problem("warn", text, "look at the app's scopes and at api_version")]


async def _existing(admin: Admin) -> list[Json]:
    found: list[Json] = []
    after = None
    while True:
        data = await admin.query(queries.SUBSCRIPTIONS, {"first": 100, "after": after})
        page = data["webhookSubscriptions"]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def _ours(uri: str, now: str) -> bool:
    """Whether it is an earlier address of the same instance: the address of misoflow was changed."""
    return "/hooks/" in uri and uri.partition("/hooks/")[2] == now.partition("/hooks/")[2]
