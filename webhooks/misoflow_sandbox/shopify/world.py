"""The shops that the stand-in plays, and how their things are computed from a seed.

https://shopify.dev/docs/api/admin-graphql
"""

from __future__ import annotations

from msgspec import Struct

SCOPES = (
    *("read_products", "read_inventory", "read_publications", "read_orders", "read_customers"),
    *("write_pixels", "read_customer_events"),
)
RATES = {"basic": 100, "advanced": 200, "plus": 1000, "enterprise": 2000}
"""Points a second by plan: https://shopify.dev/docs/api/usage/limits#rate-limits"""
DECIMALS = {"JPY": 0, "VND": 0, "KRW": 0, "CLP": 0}


class ShopSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shop at the start. The same settings give the same shop.

    ``traps``: some products, orders and customers are of the awkward kinds (drafts, unlisted, null fields, custom
    lines, deleted variants, test orders, guests …). ``withheld``: scopes that this merchant does not grant.
    ``most_variants``: the first product has so many, up to 2,048.
    """

    domain: str = "demo-shop.myshopify.com"
    name: str = "Demo Shop"
    seed: int = 1
    currency: str = "USD"
    timezone: str = "America/New_York"
    primary_domain: str | None = None
    country: str = "US"
    locale: str = "en"
    plan: str = "basic"
    products: int = 40
    variants: int = 3
    most_variants: int = 0
    collections: int = 6
    customers: int = 30
    orders: int = 60
    history_days: int = 120
    traps: bool = True
    withheld: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Of the storefront."""
        return self.primary_domain or f"www.{self.domain.partition('.')[0]}.example"


class ShopifyWorld(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shops of a stand-in. ``start``: ms at which its clock begins; None: the time when it is made."""

    shops: tuple[ShopSpec, ...] = (ShopSpec(),)
    start: int | None = None


def mixed(seed: int, number: int, salt: int = 0) -> int:
    """A number below 2^32 that looks random and is always the same."""
    found = (number * 0x9E3779B1 + seed * 0x85EBCA6B + salt * 0xC2B2AE35) & 0xFFFFFFFF
    found = ((found ^ found >> 15) * 0x2C1B3C6D) & 0xFFFFFFFF
    return found ^ found >> 13


def spread(start: int, end: int, count: int, number: int) -> int:
    """When the number-th of so many things was created: evenly from start to end, on whole seconds."""
    return (start + (end - start) * number // max(1, count)) // 1000 * 1000


def money(cents: int, currency: str) -> str:
    """Decimal text of an amount in hundredths; whole where the currency has no decimals."""
    if DECIMALS.get(currency) == 0:
        return str(cents // 100)
    return f"{cents // 100}.{cents % 100:02d}"


def cents(text: str) -> int:
    """The inverse of ``money``: hundredths."""
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def pair(n: int, count: int) -> tuple[int, int]:
    """The n-th pair of a size and a colour, of so many."""
    return divmod(n, max(1, min(64, int(count**0.5))))
