"""Is a delivery Segment's? The signature of the webhook destinations, and the second factor of their batches.

``X-Signature`` is the lower-case hex of HMAC-SHA1 over the raw body; of a batch only the first event is signed
(https://segment.com/docs/connections/destinations/catalog/actions-webhook/). So a signature over a whole body
is proof of all of it, and one over a first event is proof of that event alone.
Bytes are compared as they came: a body that is decoded and written again has other number formats.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator

HEX = frozenset(b"0123456789abcdef")
MAX_FIRST = 512 * 1024
"""An event that is longer is not looked for at the head of a batch; Segment's own limit is 32 kB."""
TOLERANCE = 300
"""Seconds that a signed time may differ from ours."""
MAX_SIGNATURES = 8
_BLANKS = b" \t\r\n"
# strings are taken whole, so that brackets in them do not count
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)
_INNER = b'{"json":'


def first_element(raw: bytes) -> bytes | None:
    """The exact bytes of the first element of a JSON array; None when there is none, or no end to it."""
    start = len(raw) - len(raw.lstrip(b"\xef\xbb\xbf" + _BLANKS))
    if raw[start : start + 1] != b"[":
        return None
    start += 1
    depth = 0
    for token in _TOKEN.finditer(raw, start, min(len(raw), start + MAX_FIRST)):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth < 0:
                return raw[start : token.start()].strip(_BLANKS) or None
        elif mark == b"," and depth == 0:
            return raw[start : token.start()].strip(_BLANKS) or None
    return None


def weak_candidates(raw: bytes) -> Iterator[bytes]:
    """What Segment may have signed instead of the body: its first event, and the event wrapped in there."""
    first = first_element(raw)
    if first is not None:
        yield first
        if first.startswith(_INNER) and first.endswith(b"}"):
            yield first[len(_INNER) : -1]


def signed(body: bytes, header: str, secrets: Iterable[bytes]) -> str:
    """ "strong" (all of the body is proven), "weak" (its first event is) or "" (nothing is)."""
    given = header.strip().lower().encode("utf-8", "replace")
    if len(given) != 40 or not HEX.issuperset(given):
        return ""
    secrets = list(secrets)
    if _any_matches(body, given, secrets):
        return "strong"
    return "weak" if any(_any_matches(part, given, secrets) for part in weak_candidates(body)) else ""


def _any_matches(part: bytes, given: bytes, secrets: list[bytes]) -> bool:
    """Every secret is tried, so that the time taken does not tell which one is right."""
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(hmac.new(secret, part, hashlib.sha1).hexdigest().encode(), given)
    return found


def token_matches(given: str, tokens: Iterable[bytes]) -> bool:
    """Constant time for each token, on bytes."""
    value = given.encode("utf-8", "replace")
    found = False
    for token in tokens:
        found |= hmac.compare_digest(token, value)
    return found


def bearer(header: str) -> str:
    """The token of an Authorization header, with or without the word Bearer."""
    scheme, _, rest = header.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else header.strip()


def basic_user(header: str) -> str | None:
    """The user name of HTTP Basic authentication, or None."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[0]
    except (binascii.Error, ValueError):
        return None


def function_signature(body: bytes, timestamp: str, secret: bytes) -> str:
    """The base64 of HMAC-SHA256 over ``v1.<timestamp>.<body>``, which our Destination Function sends."""
    content = b"v1." + timestamp.encode("utf-8", "replace") + b"." + body
    return base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


def function_signed(body: bytes, timestamp: str, header: str, secrets: Iterable[bytes], now: float) -> bool:
    """Whether one of the ``v1,<base64>`` signatures is right and no older than five minutes."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > TOLERANCE:
        return False
    wanted = [function_signature(body, timestamp, secret).encode() for secret in secrets]
    found = False
    for one in header.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]:
        version, _, value = one.partition(",")
        if version == "v1":
            given = value.encode("utf-8", "replace")
            for right in wanted:
                found |= hmac.compare_digest(right, given)
    return found
