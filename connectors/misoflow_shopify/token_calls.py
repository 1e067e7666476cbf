"""Shopify's token endpoint: the four grants that are used, and what its refusals mean.

https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from misoflow import Halt, Reject, Retry
from msgspec import Struct

from misoflow_shopify.domains import base_url
from misoflow_shopify.link import Link

EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    "requested_token_type": "urn:shopify:params:oauth:token-type:offline-access-token",
    "expiring": "1",
}
"""https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/token-exchange"""
RETRIED = (408, 425, 429, 430)
CLOSED = (402, 423)
ROTATE = "check client_id and client_secret in plugins.toml against the app's settings in the Dev Dashboard"


class Refused(Exception):
    """The endpoint said no; ``code`` is one of OAuth's, such as invalid_grant."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Minted(Struct):
    """What a grant brings: times are seconds from now."""

    access_token: str
    scope: str = ""
    expires_in: float | None = None
    refresh_token: str | None = None
    refresh_token_expires_in: float | None = None
    secret: str = ""
    """Ours: the mark of the client secret that it was made with."""


LONGEST_WAIT = 3600.0
"""More than that is a mistake, or nothing that a delivery can wait for."""


class _Refusal(Struct):
    error: str = ""


def mark(secret: str) -> str:
    """A short text by which a secret or a code is recognised, and that tells nothing of it."""
    return hashlib.sha256(b"misoflow mark\0" + secret.encode()).hexdigest()[:16]


async def ask(link: Link, shop: str, form: dict[str, str]) -> Minted:
    """One grant, with the newest client secret that Shopify takes. Raises Refused, Retry, Halt, Reject."""
    refused = Refused("invalid_client")
    for secret in link.config.client_secret:
        plain = secret.get_secret_value()
        body = {"client_id": link.config.client_id, "client_secret": plain, **form}
        try:
            minted = await _post(link, shop, body)
        except Refused as error:
            if error.code != "invalid_client":
                raise
            refused = error
        else:
            minted.secret = mark(plain)
            return minted
    raise refused


async def _post(link: Link, shop: str, body: dict[str, str]) -> Minted:
    answer = await link.http.post(
        f"{base_url(link.config, shop)}/admin/oauth/access_token",
        content=msgspec.json.encode(body),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        classify=False,
    )
    if answer.status == 200:
        return _minted(answer.body)
    if answer.status in RETRIED or answer.status >= 500:
        raise Retry(f"Shopify's token endpoint answered {answer.status}", _asked(answer.headers))
    if answer.status in CLOSED:
        raise Halt("Shopify has frozen or locked the shop", "the shop's owner settles that with Shopify")
    if answer.status in (400, 401, 403):
        raise Refused(_code(answer.body, answer.status))
    raise Reject(f"Shopify's token endpoint answered {answer.status}")


def _asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that Shopify asks to wait."""
    text = headers.get("retry-after", "")
    return min(float(text), LONGEST_WAIT) if text.isascii() and text.isdigit() else None


def _minted(body: bytes) -> Minted:
    try:
        return msgspec.json.decode(body, type=Minted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Retry("the answer of Shopify's token endpoint is none", outcome_unknown=True) from None


def _code(body: bytes, status: int) -> str:
    try:
        code = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = ""
    return code or ("invalid_client" if status == 401 else "invalid_request")
