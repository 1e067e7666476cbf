"""What a connector's ``Reply`` may do in a browser, checked: much of it comes out of a stranger's query.

Whatever is wrong with one is a ValueError that holds no value of it.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from misoflow.config import LOOPBACK
from misoflow.installable import Cookie, Reply

from misoflow_webhooks.answers import Answer, Header

ORIGIN = re.compile(
    r"https://[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII
)
PLAIN = re.compile(r"[!-\[\]-~]+", re.ASCII)
"""Of an address: printable ASCII without a backslash, which browsers read as a slash."""
COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*", re.ASCII)
"""https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1"""
YEAR_SECONDS = 31_536_000
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)
HTML = b"text/html; charset=utf-8"


def checked(reply: Reply) -> Reply:
    """The reply, if a browser may get it."""
    if not isinstance(reply, Reply):
        raise ValueError("it is no Reply")
    if not 200 <= reply.status <= 599:
        raise ValueError("its status is none")
    if reply.location and not is_safe(reply.location):
        raise ValueError("its location is neither https nor a path")
    if not all(ORIGIN.fullmatch(one) for one in reply.frames):
        raise ValueError("its frames are no origins")
    if not all(COOKIE_NAME.fullmatch(one.name) and COOKIE_VALUE.fullmatch(one.value) for one in reply.cookies):
        raise ValueError("a cookie has a character that must not be in one")
    if not reply.tenant and (reply.grant is not None or reply.unless_installed is not None):
        raise ValueError("it does not say of which install it is")
    if reply.grant is not None and not all(isinstance(one, str) for pair in reply.grant.items() for one in pair):
        raise ValueError("its grant is not of texts")
    if len(reply.tenant) > 255 or not reply.tenant.isprintable():
        raise ValueError("its tenant is no name")
    return reply


def is_safe(location: str) -> bool:
    """Whether a browser may be sent there: https, this machine by http, or a path of ours."""
    if not PLAIN.fullmatch(location):
        return False
    if location.startswith("/"):
        return not location.startswith("//")
    parts = urlsplit(location)
    plain = parts.scheme == "http" and parts.hostname in LOOPBACK
    return bool(parts.hostname) and "@" not in parts.netloc and (parts.scheme == "https" or plain)


def security(address: str, frames: tuple[str, ...] = ()) -> list[Header]:
    """Headers of everything below /install; ``frames`` are the origins that may show it.

    Shopify asks for frame-ancestors by shop: https://shopify.dev/docs/apps/build/security/set-up-iframe-protection
    """
    headers = [
        (b"content-security-policy", (POLICY + (" ".join(frames) or "'none'")).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]
    if not frames:
        headers.append((b"x-frame-options", b"DENY"))
    if address.startswith("https://"):
        headers.append((b"strict-transport-security", b"max-age=%d" % YEAR_SECONDS))
    return headers


def set_cookie(cookie: Cookie, address: str) -> Header:
    """For ``address`` (of ``/install/<instance>``) and below; no script reads it, and it comes by navigation only."""
    secure = "; Secure" if address.startswith("https://") else ""
    path = urlsplit(address).path
    text = f"{cookie.name}={cookie.value}; Path={path}; Max-Age={cookie.seconds}; HttpOnly; SameSite=Lax{secure}"
    return b"set-cookie", text.encode("ascii")


def redirect(location: str, outcome: str, headers: list[Header]) -> Answer:
    """302, without a body."""
    where = (b"location", location.encode("ascii"))
    return Answer(302, b"", outcome, where, (b"content-length", b"0"), *headers, kind=b"")


def html(status: int, text: str, outcome: str, headers: list[Header]) -> Answer:
    """A page."""
    return Answer(status, text.encode(), outcome, *headers, kind=HTML)
