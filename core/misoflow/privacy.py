"""What may leave: URLs without what identifies a person, texts without contacts, addresses cut short.

Miso asks for no personal data, so everything here is an allow-list: what is not known to be harmless stays.
Inside a text only what has a form of its own can be told: mail addresses, telephone numbers as people write them,
full IP addresses. A name cannot, nor a telephone number without any sign between its digits.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

MAIL = re.compile(r"[^\s@<>()\[\],;:\"'/?&=#]{1,64}(?:@|%(?:25)*40)[^\s@<>()\[\],;:\"'/?&=#]{1,255}", re.IGNORECASE)
_GAP = r"[\s().\-/\u2010-\u2013]{1,3}"
PHONE = re.compile(
    rf"""(?<![\w+.,/#-])(?:
        \+[1-9](?:(?:{_GAP})?\d){{6,14}}                        # +49 (0)30 123456
      | 00[1-9]\d{{0,2}}{_GAP}\d(?:(?:{_GAP})?\d){{6,11}}      # 0049 30 123456
      | \((?!(?:19|20)\d\d\))\d{{2,5}}\)(?:(?:{_GAP})?\d){{6,9}} # (202) 555-0100; a year in brackets is none
      | (?:1{_GAP})?[2-9]\d\d{_GAP}[2-9]\d\d{_GAP}\d{{4}}      # 202-555-0100
      | (?!\d\d([./-])\d\d\1(?:19|20)\d\d)                  # a date is none
        (?=\d(?:\D{{0,3}}\d){{8}})0[1-9]\d{{0,3}}(?:{_GAP}\d{{2,8}}){{1,4}}  # 030/1234567, 01 23 45 67 89
    )(?!\w|[.,:/-]\d)""",
    re.VERBOSE,
)
"""Groups of digits as telephone numbers have them. Prices, dates, ranges and product numbers have others."""
_SEVEN_DIGITS = re.compile(r"\d(?:\D*\d){6}")
_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
IPV4 = re.compile(rf"(?<![\w./+-])(?:{_BYTE}\.){{3}}(?!0(?!\d)){_BYTE}(?![\w-]|\.\d)")
"""One that ends in 0 is cut short already."""
IPV6 = re.compile(r"(?<![\w.])[0-9a-f:]{2,39}(?![\w:])", re.IGNORECASE)
MAX_URL = 2048
MAX_TEXT = 512
MAX_VALUE = 256
MAX_LIST = 20
MAX_CONTEXT = 6000
LARGEST = 2**63
UTM = "utm_"
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])


def without_contacts(text: str) -> str:
    """The text without what looks like a mail address (however often percent-encoded), a phone number or an IP."""
    if "@" in text or "40" in text:
        text = MAIL.sub("", text)
    if text.count(":") > 1:
        text = IPV6.sub(_unless_ipv6, text)
    if text.count(".") > 2:
        text = IPV4.sub("", text)
    if _SEVEN_DIGITS.search(text):
        text = PHONE.sub("", text)
    return text.strip()


def _unless_ipv6(found: re.Match[str]) -> str:
    """Times and ``a::b`` have colons too."""
    text = found[0]
    if not any(map(str.isdigit, text)):
        return text
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return text
    return ""


def has_contact(text: str) -> bool:
    """Whether ``without_contacts`` would cut something."""
    return without_contacts(text) != text.strip()


def cleaned(value: Any) -> Any:
    """The value with all its texts ``without_contacts``, however deep they stand; a list loses those left empty."""
    if type(value) is str:
        return without_contacts(value)
    if type(value) is list:
        return [kept for item in value if (kept := cleaned(item)) != ""]
    return {key: cleaned(item) for key, item in value.items()} if type(value) is dict else value


def has_mail(text: str) -> bool:
    """Whether something in it looks like a mail address, percent-encoded ones included."""
    return ("@" in text or "40" in text) and MAIL.search(text) is not None


def plain(text: str) -> str:
    """Without control characters and blanks at the ends."""
    return text.strip() if text.isprintable() else text.translate(_CONTROLS).strip()


def text_of(value: Any, limit: int = MAX_TEXT) -> str | None:
    """A harmless text of at most ``limit`` characters, or None."""
    return _text(value[: limit * 2], limit) if type(value) is str and value else None


@lru_cache(maxsize=4096)
def _text(value: str, limit: int) -> str | None:
    return without_contacts(plain(value))[:limit] or None


class Url(NamedTuple):
    """What is used of one URL."""

    clean: str
    """Fit to leave; "" when nothing is."""
    path: str
    utm: tuple[tuple[str, str], ...]
    miso_id: str


class Urls:
    """Cleans URLs: ``read(url)`` gives the ``Url``. Those of a site repeat, so results are remembered.

    ``kept`` names the query parameters that stay beside ``utm_…``.
    """

    def __init__(self, kept: tuple[str, ...]) -> None:
        self._kept = frozenset(key.lower() for key in kept)
        self.read = lru_cache(maxsize=4096)(self._read)

    def _read(self, url: str) -> Url:
        """Cut user-info, fragment, query parameters outside the allow-list and what tells how to reach a person."""
        if len(url) > MAX_URL or "\\" in url:
            return Url("", "", (), "")
        address, _, query = plain(url).partition("#")[0].partition("?")
        scheme, mark, rest = address.partition("://")
        if mark:
            host, slash, path = rest.partition("/")
            host = host.rpartition("@")[2]
        else:
            scheme, host, slash, path = "", "", "/" * address.startswith("/"), address.removeprefix("/")
        path = slash + "/".join("" if _is_contact(part) else part for part in path.split("/"))
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
        return None if has_contact(value) or has_contact(unquote_plus(value)) else (key, value)


def _is_contact(part: str) -> bool:
    """Whether this segment of a path is a person's: of other numbers there, most are products'."""
    text = unquote(part)
    return has_mail(part) or has_mail(text) or (text[:1] == "+" and has_contact(text))


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
