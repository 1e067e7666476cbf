"""Signatures that Shopify makes: of queries, of ID tokens, of links to files.

https://shopify.dev/docs/apps/build/authentication-authorization
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

LIFE_SECONDS = 60
"""Of an ID token."""


def query_hmac(values: Mapping[str, str], secret: str) -> str:
    """Of a query without its hmac: hexadecimal."""
    parts = [
        f"{name.replace('%', '%25').replace('&', '%26').replace('=', '%3D')}="
        f"{value.replace('%', '%25').replace('&', '%26')}"
        for name, value in sorted(values.items())
    ]
    return hmac.new(secret.encode(), "&".join(parts).encode(), hashlib.sha256).hexdigest()


def signed(url: str, values: Mapping[str, str], secret: str) -> str:
    """A URL with these values and their hmac."""
    query = urlencode({**values, "hmac": query_hmac(values, secret)})
    return f"{url}{'&' if '?' in url else '?'}{query}"


def host_value(shop: str) -> str:
    """The ``host`` parameter: the admin's address of the shop, in base64."""
    admin = f"admin.shopify.com/store/{shop.partition('.')[0]}"
    return base64.urlsafe_b64encode(admin.encode()).decode().rstrip("=")


def id_token(shop: str, client_id: str, secret: str, now: int, **claims: Any) -> str:
    """A session token for the app in the admin. ``now``: seconds. ``claims`` replace the usual ones."""
    usual = {
        "iss": f"https://{shop}/admin",
        "dest": f"https://{shop}",
        "aud": client_id,
        "sub": "42",
        "exp": now + LIFE_SECONDS,
        "nbf": now,
        "iat": now,
        "jti": f"{now:x}-{shop}",
        "sid": hashlib.sha256(shop.encode()).hexdigest(),
    }
    parts = [_part({"alg": "HS256", "typ": "JWT"}), _part({**usual, **claims})]
    return ".".join([*parts, _mac(".".join(parts), secret)])


def claims_of(token: str, client_id: str, secrets: list[str], now: int) -> dict[str, Any] | None:
    """What an ID token says, if it is ours and of now (seconds)."""
    head, _, mac = token.rpartition(".")
    if not any(equal(_mac(head, secret), mac) for secret in secrets):
        return None
    try:
        claims = json.loads(_decoded(head.partition(".")[2]))
    except (ValueError, binascii.Error):
        return None
    good = isinstance(claims, dict) and claims.get("aud") == client_id and claims.get("nbf", 0) <= now + 10
    return claims if good and now - 10 < claims.get("exp", 0) else None


def equal(one: str, other: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def link_mac(name: str, until: int, secret: str) -> str:
    """Of a link to a file that works until then."""
    return hmac.new(secret.encode(), f"{name}/{until}".encode(), hashlib.sha256).hexdigest()[:32]


def _mac(text: str, secret: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode().rstrip("=")


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
