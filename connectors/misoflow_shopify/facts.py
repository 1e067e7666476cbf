"""What is known of a shop: its domain, currency and time zone, and the scopes it granted. Kept in the state."""

from __future__ import annotations

from typing import Any

import msgspec
from misoflow import Reject
from msgspec import Struct

from misoflow_shopify import queries
from misoflow_shopify.admin import Admin
from misoflow_shopify.link import Link

SHOP = "shop"
SCOPES = "scopes"


class Facts(Struct, omit_defaults=True):
    """https://shopify.dev/docs/api/admin-graphql/latest/objects/Shop. ``domain`` is the one that shoppers see."""

    domain: str
    currency: str
    timezone: str = ""
    plan: str = ""
    changed_at: int = 0
    """When domain or currency were found to be others than before, in ms; 0 if they never were."""


async def read_facts(link: Link, admin: Admin) -> Facts:
    """Ask the shop, and remember. Reject if another shop answers."""
    node: dict[str, Any] = (await admin.query(queries.SHOP)).get("shop") or {}
    if str(node.get("myshopifyDomain") or "").lower() != await admin.shop():
        raise Reject("another shop answered than was asked")
    found = Facts(
        domain=node["primaryDomain"]["host"],
        currency=node["currencyCode"],
        timezone=node.get("ianaTimezone") or "",
        plan=(node.get("plan") or {}).get("publicDisplayName") or "",
    )
    known: Facts | None = await link.remembered(SHOP, Facts)
    if known is not None:
        same = (known.domain, known.currency) == (found.domain, found.currency)
        found = msgspec.structs.replace(found, changed_at=known.changed_at if same else link.there_ms())
    await link.remember(SHOP, found)
    return found


async def read_scopes(link: Link, admin: Admin) -> list[str]:
    """The scopes that are granted now: merchants take optional ones back, and Shopify grants others."""
    data = await admin.query(queries.SCOPES)
    nodes = (data.get("currentAppInstallation") or {}).get("accessScopes") or []
    found = sorted(str(one["handle"]) for one in nodes)
    await link.remember(SCOPES, found)
    return found
