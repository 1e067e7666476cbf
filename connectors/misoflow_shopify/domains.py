"""Names of shops, their addresses, and the public key under which a shop's pixel sends.

A shop's name comes from strangers (a header, a query), so it is matched whole before anything is done with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache

from misoflow_shopify.config import ShopifyConfig

SHOP = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com", re.ASCII)
MOST = 255
MAC_CHARACTERS = 26
"""130 bits."""


def is_shop(name: str) -> bool:
    """Whether it is the permanent domain of a shop, in lower case: https://shopify.dev/docs/apps/build/authentication-authorization"""
    return len(name) <= MOST and SHOP.fullmatch(name) is not None


def base_url(config: ShopifyConfig, shop: str) -> str:
    """Where the shop's admin is reached, without a slash at the end."""
    if config.api_url is None:
        return f"https://{shop}"
    return config.api_url.rstrip("/").replace("{shop}", shop)


def pixel_key(config: ShopifyConfig, shop: str) -> str:
    """The public key of a shop: its name and a code that only we can make, so that nothing need be looked up.

    It is of the newest secret: while two are set both are good, and ``install`` gives the pixel the new one meanwhile.
    """
    name = base64.b32encode(shop.encode()).decode().rstrip("=").lower()
    return f"pk-{name}-{_mac(config.client_secret[0].get_secret_value(), shop)}"


def shop_of_key(config: ShopifyConfig, key: str) -> str | None:
    """The shop of a public key made with any of our secrets, else None."""
    shop = shop_named(key)
    if shop is None:
        return None
    code = key.lower().rpartition("-")[2].encode()
    ours = [_mac(secret.get_secret_value(), shop).encode() for secret in config.client_secret]
    good = [hmac.compare_digest(one, code) for one in ours]
    return shop if any(good) else None


@lru_cache(maxsize=4096)
def shop_named(key: str) -> str | None:
    """The shop that a public key names, whoever made it; None where it is no key. Every event of a pixel has one."""
    kind, _, rest = key.lower().partition("-")
    name, _, code = rest.partition("-")
    if kind != "pk" or not name or not code:
        return None
    try:
        shop = base64.b32decode(name.upper() + "=" * (-len(name) % 8)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return shop if is_shop(shop) else None


def _mac(secret: str, shop: str) -> str:
    digest = hmac.digest(secret.encode(), b"misoflow pixel\0" + shop.encode(), hashlib.sha256)
    return base64.b32encode(digest).decode().lower()[:MAC_CHARACTERS]
