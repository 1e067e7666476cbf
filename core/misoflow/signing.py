"""Checking signatures of deliveries, in constant time and on bytes; whatever is malformed is Unauthorized.

Standard Webhooks 1.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import SecretStr

from misoflow.errors import Unauthorized

Secret = SecretStr | str
Digest = Literal["sha1", "sha256", "sha512"]
Encoding = Literal["hex", "base64"]
MOST_HEADER = 4096
MOST_SECRETS = 8
MOST_SIGNATURES = 8
TOLERANCE_SECONDS = 300


def secrets_of(secret: Secret | Sequence[Secret]) -> list[bytes]:
    """One secret or several (rotation) as bytes, empty ones left out; at most eight."""
    many = [secret] if isinstance(secret, str | SecretStr) else list(secret)
    plain = [one.get_secret_value() if isinstance(one, SecretStr) else one for one in many]
    return [one.encode() for one in plain if one][:MOST_SECRETS]


def sign_hmac(
    body: bytes, secret: Secret | Sequence[Secret], *, digest: Digest = "sha256", encoding: Encoding = "hex"
) -> str:
    """The signature that ``check_hmac`` accepts, by the first of several secrets; for samples and tests."""
    return _text(hmac.digest(secrets_of(secret)[0], body, digest), encoding)


def check_hmac(
    body: bytes,
    given: str | Sequence[str],
    secret: Secret | Sequence[Secret],
    *,
    digest: Digest = "sha256",
    encoding: Encoding = "hex",
) -> None:
    """Raise Unauthorized unless ``given`` is the HMAC of ``body`` under one of the secrets.

    Of several signatures (a platform sends one for each secret while one is rolled) one has to match; at most eight
    are looked at. Hex is compared without regard to case; base64 exactly as written.
    """
    many = [given] if isinstance(given, str) else list(given)[:MOST_SIGNATURES]
    many = [one for one in many if one and len(one) <= MOST_HEADER and one.isascii()]
    if not many:
        raise Unauthorized("the signature is missing or malformed")
    wanted = [(one.strip().lower() if encoding == "hex" else one.strip()).encode() for one in many]
    found = False
    for key in secrets_of(secret):
        right = _text(hmac.digest(key, body, digest), encoding).encode()
        for one in wanted:
            found |= hmac.compare_digest(right, one)
    if not found:
        raise Unauthorized("the signature does not match")


def _text(raw: bytes, encoding: Encoding) -> str:
    return raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()


def check_standard_webhook(
    body: bytes,
    *,
    webhook_id: str,
    timestamp: str,
    signature: str,
    secret: Secret | Sequence[Secret],
    tolerance: int = TOLERANCE_SECONDS,
    now: float | None = None,
) -> None:
    """Raise Unauthorized unless the delivery is signed as Standard Webhooks 1.0 says.

    Secrets: ``whsec_…`` (or plain text) for ``v1``, ``whpk_…`` for ed25519 ``v1a``. ``now`` is in seconds.
    """
    if not webhook_id or len(webhook_id) > MOST_HEADER or not (timestamp.isascii() and timestamp.isdigit()):
        raise Unauthorized("the webhook headers are missing or malformed")
    if len(timestamp) > 12 or abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise Unauthorized("the delivery is too old or from the future")
    try:
        content = f"{webhook_id}.{timestamp}.".encode() + body
    except UnicodeEncodeError:
        raise Unauthorized("the webhook headers are malformed") from None
    if len(signature) > MOST_HEADER or not signature.isascii():
        raise Unauthorized("the signature is malformed")
    found = False
    for one in signature.split()[:MOST_SIGNATURES]:
        version, _, value = one.partition(",")
        for key in secrets_of(secret):
            found |= _matches(version, value, content, key)
    if not found:
        raise Unauthorized("the signature does not match")


def _matches(version: str, value: str, content: bytes, key: bytes) -> bool:
    public = key.startswith(b"whpk_")
    try:
        if version == "v1" and not public:
            wanted = base64.b64encode(hmac.digest(_key(key), content, hashlib.sha256))
            return hmac.compare_digest(wanted, value.encode())
        if version == "v1a" and public:
            given = base64.b64decode(value, validate=True)
            Ed25519PublicKey.from_public_bytes(base64.b64decode(key[5:])).verify(given, content)
            return True
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return False


def _key(secret: bytes) -> bytes:
    """``whsec_`` keys are base64; any other text is the key itself."""
    return base64.b64decode(secret[6:]) if secret.startswith(b"whsec_") else secret
