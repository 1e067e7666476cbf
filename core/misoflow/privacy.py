"""What may leave: URLs without what identifies a person, texts without mail addresses, addresses cut short.

Miso asks for no personal data, so everything here is an allow-list: what is not known to be harmless stays.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

MAIL = re.compile(r"[^\s@<>()\[\],;:\"'/?&=#]{1,64}(?:@|%(?:25)*40)[^\s@<>()\[\],;:\"'/?&=#]{1,255}", re.IGNORECASE)
MAX_URL = 2048
MAX_TEXT = 512
MAX_VALUE = 256
MAX_LIST = 20
MAX_CONTEXT = 6000
LARGEST = 2**63
UTM = "utm_"
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])


def without_mail(text: str) -> str:
    """The text with everything that looks like a mail address cut out, however often it was percent-encoded."""
    if "@" not in text and "40" not in text:
        return text
    return MAIL.sub("", text).strip()


def has_mail(text: str) -> bool:
    return ("@" in text or "40" in text) and MAIL.search(text) is not None


def plain(text: str) -> str:
    """Without control characters and blanks at the ends."""
    return text.strip() if text.isprintable() else text.translate(_CONTROLS).strip()


def text_of(value: Any, limit: int = MAX_TEXT) -> str | None:
    """A harmless text of at most ``limit`` characters, or None."""
    return _text(value[: limit * 2], limit) if type(value) is str and value else None


@lru_cache(maxsize=4096)
def _text(value: str, limit: int) -> str | None:
    return without_mail(plain(value))[:limit] or None


class Url(NamedTuple):
    """What is used of one URL."""

    clean: str
    """Fit to leave; "" when nothing is."""
    path: str
    utm: tuple[tuple[str, str], ...]
    miso_id: str


class Urls:
    """Cleans URLs; those of a site repeat, so results are remembered."""

    def __init__(self, kept: tuple[str, ...]) -> None:
        self._kept = frozenset(key.lower() for key in kept)
        self.read = lru_cache(maxsize=4096)(self._read)

    def _read(self, url: str) -> Url:
        """Cut user-info, fragment, query parameters outside the allow-list and whatever looks like a mail address."""
        if len(url) > MAX_URL or "\\" in url:
            return Url("", "", (), "")
        address, _, query = plain(url).partition("#")[0].partition("?")
        scheme, mark, rest = address.partition("://")
        if mark:
            host, slash, path = rest.partition("/")
            host = host.rpartition("@")[2]
        else:
            scheme, host, slash, path = "", "", "/" * address.startswith("/"), address.removeprefix("/")
        path = slash + "/".join(
            "" if has_mail(part) or has_mail(unquote_plus(part)) else part for part in path.split("/")
        )
        pairs = [self._pair(part) for part in query.split("&") if part] if query else []
        kept = [pair for pair in pairs if pair is not None]
        utm = tuple((key[len(UTM) :], unquote_plus(value)) for key, value in kept if key.startswith(UTM))
        miso_id = next((unquote_plus(value) for key, value in kept if key == "miso_id"), "")
        clean = f"{scheme}{mark}{host}{path}"
        if kept:
            clean += "?" + "&".join(f"{key}={value}" for key, value in kept)
        usable = (mark and host and scheme.lower() in ("http", "https")) or (not mark and slash)
        return Url(clean if usable else "", path or "/", utm, miso_id)

    def _pair(self, part: str) -> tuple[str, str] | None:
        key, _, value = part.partition("=")
        key = key.lower()
        if not (key.startswith(UTM) or key in self._kept):
            return None
        return None if has_mail(value) or has_mail(unquote_plus(value)) else (key, value)


@lru_cache(maxsize=4096)
def truncated_ip(text: str) -> str:
    """The network (/24) of a public IPv4 address, written as an address; "" for everything else."""
    first = text.partition(",")[0].strip()
    try:
        address = ipaddress.IPv4Address(first)
    except ValueError:
        return ""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return ""
    return first.rpartition(".")[0] + ".0"


def scalar(value: Any) -> Any:
    """The value as custom_context may hold it (a scalar, or a list of numbers or texts), or None."""
    kind = type(value)
    if kind is str:
        return text_of(value, MAX_VALUE)
    if kind is bool or kind is float:
        return value
    if kind is int:
        return value if -LARGEST < value < LARGEST else str(value)[:MAX_VALUE]
    if kind is list:
        return _flat_list(value[:MAX_LIST])
    return None


def _flat_list(values: list[Any]) -> list[Any] | None:
    cleaned = [scalar(value) for value in values if not isinstance(value, list | dict | bool)]
    kept = [value for value in cleaned if value is not None]
    if not kept:
        return None
    return (
        kept
        if all(isinstance(value, str) for value in kept) or not any(isinstance(value, str) for value in kept)
        else [str(value) for value in kept]
    )


def bounded(context: dict[str, Any]) -> dict[str, Any]:
    """At most about 6,000 characters of custom_context; what comes later is left out."""
    kept: dict[str, Any] = {}
    size = 0
    for key, value in context.items():
        size += len(key) + len(str(value))
        if size > MAX_CONTEXT:
            break
        kept[key] = value
    return kept
