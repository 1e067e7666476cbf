"""Is a webhook Shopify's? The signature is over the raw body; headers are not signed.

https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook-to-ensure-its-coming-from-shopify
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from misoflow import Reject, Request, Unauthorized

from misoflow_shopify.domains import is_shop
from misoflow_shopify.fields import mapping

SIGNATURES = ("x-shopify-hmac-sha256", "shopify-hmac-sha256")
"""Of webhooks, and of the next generation that is called Events."""
HASH_BYTES = 32
LONGEST = 128
DESTRUCTIVE = ("app/uninstalled", "shop/redact", "customers/redact", "customers/data_request")


def header(request: Request, name: str) -> str:
    """``x-shopify-<name>``, or ``shopify-<name>`` of Events; "" where there is neither."""
    return (request.header(f"x-shopify-{name}") or request.header(f"shopify-{name}")).strip()


def topic_of(request: Request) -> str:
    """Such as ``products/update``; "" where there is none."""
    return header(request, "topic").lower()


def shop_of(request: Request) -> str:
    """The shop that a delivery says it is of, in lower case; "" where that is none."""
    shop = header(request, "shop-domain").lower()
    return shop if is_shop(shop) else ""


def check(request: Request, secrets: Iterable[bytes], shop: str | None) -> None:
    """Raise Unauthorized unless the body is signed with one of the secrets and the headers fit it.

    After a rotation Shopify signs with the oldest secret that is not revoked, for up to an hour, so both are tried.
    ``shop`` is the only one whose deliveries are taken, where there is one.
    """
    _signed(request.body, next((found for name in SIGNATURES if (found := request.header(name))), ""), secrets)
    named = shop_of(request)
    if not named:
        raise Unauthorized("the delivery names no shop")
    if shop is not None and named != shop:
        raise Unauthorized("the delivery is of another shop")
    if topic_of(request) in DESTRUCTIVE and _shop_in(request) != named:
        raise Unauthorized("the delivery deletes, and its body is not of the shop that its headers name")


def _signed(body: bytes, given: str, secrets: Iterable[bytes]) -> None:
    digest = _decoded(given)
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(hmac.digest(secret, body, hashlib.sha256), digest)
    if not found:
        raise Unauthorized("the signature does not match; set client_secret to the app's client secret")


def _decoded(given: str) -> bytes:
    """The 32 bytes of a signature header; Unauthorized for whatever is none."""
    if not given or len(given) > LONGEST or not given.isascii():
        raise Unauthorized("the signature is missing or malformed")
    try:
        raw = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != HASH_BYTES:
        raise Unauthorized("the signature is malformed")
    return raw


def _shop_in(request: Request) -> str:
    """The shop that the signed body names: a compliance topic's ``shop_domain``, a Shop's ``myshopify_domain``."""
    try:
        body = mapping(request.json())
    except Reject:
        return ""
    names = [body.get(key) for key in ("shop_domain", "myshopify_domain", "domain")]
    return next((name.strip().lower() for name in names if type(name) is str and name.strip()), "")
