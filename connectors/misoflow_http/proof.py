"""Who sent it: one of Miso's two ways to give a key, or one of the usual ways to prove a webhook."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Iterable

from misoflow import Request, Unauthorized, check_hmac, check_standard_webhook
from pydantic import SecretStr

from misoflow_http.config import BODY, TIMESTAMP, HttpConfig

KEY_HEADER = "x-api-key"
KEY_FIELD = "api_key"
MOST_DIGITS = 12


def key_of(request: Request) -> str:
    """The key as Miso takes it: https://docs.miso.ai/api-reference (header or query)."""
    return request.header(KEY_HEADER) or request.query.get(KEY_FIELD, "")


def is_one_of(given: str, secrets: Iterable[SecretStr]) -> bool:
    """Constant time for each secret, on bytes."""
    value = given.encode("utf-8", "replace")
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(secret.get_secret_value().encode(), value)
    return found


def check_sender(config: HttpConfig, request: Request) -> None:
    """Unauthorized unless the delivery of any JSON is proven as ``auth`` says."""
    match config.auth:
        case "hmac":
            _check_hmac(config, request)
        case "standard-webhooks":
            check_standard_webhook(
                request.body,
                webhook_id=request.header("webhook-id"),
                timestamp=request.header("webhook-timestamp"),
                signature=request.header("webhook-signature"),
                secret=config.secret,
                tolerance=config.tolerance,
            )
        case "bearer":
            scheme, _, token = request.header("authorization").strip().partition(" ")
            if scheme.lower() != "bearer" or not is_one_of(token.strip(), config.secret):
                raise Unauthorized("the Authorization header does not hold the instance's token")
        case "basic":
            _check_basic(config, request.header("authorization"))


def _check_hmac(config: HttpConfig, request: Request) -> None:
    given = request.header(config.signature_header).strip()
    if not given.startswith(config.signature_prefix):
        raise Unauthorized(f"{config.signature_header} does not begin with signature_prefix")
    stamp = request.header(config.timestamp_header).strip() if config.timestamp_header else ""
    if config.timestamp_header:
        _check_time(stamp, config.tolerance)
    check_hmac(
        signed_content(config.signed_content, request.body, stamp),
        given.removeprefix(config.signature_prefix),
        config.secret,
        digest=config.digest,
        encoding=config.encoding,
    )


def signed_content(template: str, body: bytes, stamp: str) -> bytes:
    """The bytes that an HMAC is over; what the body itself holds is never taken for a part of the template."""
    return body.join(part.replace(TIMESTAMP, stamp).encode() for part in template.split(BODY))


def _check_time(stamp: str, tolerance: int) -> None:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= MOST_DIGITS):
        raise Unauthorized("the signed time is missing or malformed")
    if abs(time.time() - int(stamp)) > tolerance:
        raise Unauthorized("the delivery is too old or from the future")


def _check_basic(config: HttpConfig, header: str) -> None:
    scheme, _, rest = header.strip().partition(" ")
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unauthorized("the Authorization header is malformed") from None
    right = is_one_of(user, [SecretStr(config.username)]) & is_one_of(password, config.secret)
    if scheme.lower() != "basic" or not right:
        raise Unauthorized("the user name or password is wrong")
