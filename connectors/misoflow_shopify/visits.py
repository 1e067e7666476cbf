"""When and where something happened in the storefront: the event's clock, and the context of its records."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from misoflow import privacy

from misoflow_shopify.fields import Json, mapping, moment_of, text_of

AHEAD = timedelta(minutes=5)
"""A clock that is further ahead than this is wrong."""
OLDEST = timedelta(hours=24)
CAMPAIGN = {"campaign": "name", "source": "source", "medium": "medium", "term": "term", "content": "content"}
URLS = privacy.Urls(("q", "variant"))
PRIVATE = re.compile(
    r"(?:https?://[^/]+)?(?:/(?!(?:products|collections|pages|blogs)/)[\w-]+)?"  # a language's, or a shop's number
    r"/(?:account|apps|cart|checkouts|gift_cards|orders|wallets|\w*authentication)(?=[/?]|$)",
    re.IGNORECASE,
)
"""Pages of one visitor: what follows in the path opens a checkout or an order, and the title may name a person."""
HOME = re.compile(r"/(?:[a-z]{2,3}(?:-[a-z0-9]{2,4}){0,2}/?)?", re.IGNORECASE)
"""The root, or a language's and market's: https://shopify.dev/docs/storefronts/themes/markets/localization"""
COLLECTION = re.compile(r"/collections/([^/]+)/?", re.IGNORECASE)
NO_HANDLES = ("vendors", "types")
"""Pages of all products of a vendor or type, under the path of collections."""
FILTER = "filter."
MOST_FILTERS = 20


def when(event: Json, received: datetime | None) -> datetime | None:
    """The time of a pixel's event, or that of its arrival where the visitor's clock is wrong; None if it is too old.

    Where consent is asked for, Shopify replays what came before it with its own time, minutes later and not days.
    """
    own = moment_of(event.get("at"))
    if own is None or (received is not None and own - received > AHEAD):
        return received
    return None if received is not None and received - own > OLDEST else own


def path_of(page: Any) -> str:
    """The path of the page's URL; "" where it has none."""
    url = text_of(mapping(page).get("url"), privacy.MAX_URL)
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return parts.path or "/" if parts.scheme in ("http", "https") and parts.netloc else ""


def is_home(page: Any) -> bool:
    """Whether it is the shop's first page, in whatever language."""
    return HOME.fullmatch(path_of(page)) is not None


def handle_of(page: Any) -> str | None:
    """The handle in the URL of a collection's page without a language: with one it is translated."""
    found = COLLECTION.fullmatch(path_of(page))
    handle = unquote(found[1]).lower() if found else ""
    return None if handle in NO_HANDLES else privacy.text_of(handle, privacy.MAX_VALUE)


def filters_of(page: Any) -> dict[str, list[str]]:
    """The storefront's filters of a list: ``filter.v.option.color=Red`` is ``{"v.option.color": ["Red"]}``.

    https://shopify.dev/docs/storefronts/themes/navigation-search/filtering/storefront-filtering/support-storefront-filtering
    """
    url = text_of(mapping(page).get("url"), privacy.MAX_URL) or ""
    found: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(url.partition("#")[0].partition("?")[2], max_num_fields=100)
    except ValueError:
        return found
    for key, value in pairs:
        name = privacy.text_of(key.removeprefix(FILTER), privacy.MAX_VALUE) if key.startswith(FILTER) else None
        text = privacy.text_of(value, privacy.MAX_VALUE)
        if name and text and len(found) < MOST_FILTERS and text not in found.setdefault(name, []):
            found[name].append(text)
    return {name: texts for name, texts in found.items() if texts}


def context_of(event: Json, custom: Json) -> Json:
    """Miso's context of a pixel's event."""
    page = mapping(event.get("page"))
    url = URLS.read(text_of(page.get("url"), privacy.MAX_URL) or "")
    context: Json = {"custom_context": {key: value for key, value in custom.items() if value is not None}}
    for name, limit, key in (("locale", 20, "locale"), ("user_agent", privacy.MAX_TEXT, "agent")):
        if (text := privacy.text_of(event.get(key), limit)) is not None:
            context[name] = text
    if path_of(page) and (clean := _shown(url.clean)):
        context["page"] = {"url": clean, **_around(page)}
    campaign = {
        CAMPAIGN[key]: text for key, value in url.utm if key in CAMPAIGN and (text := privacy.text_of(value, 256))
    }
    if campaign:
        context["campaign"] = campaign
    return context


def _around(page: Json) -> Json:
    """Referrer and title; a visitor's own pages have no title."""
    found: Json = {}
    referrer = _shown(URLS.read(text_of(page.get("referrer"), privacy.MAX_URL) or "").clean)
    if referrer:
        found["referrer"] = referrer
    title = privacy.text_of(page.get("title"))
    if title and not PRIVATE.match(text_of(page.get("url"), privacy.MAX_URL) or ""):
        found["title"] = title
    return found


def _shown(url: str) -> str:
    """The URL without what opens a checkout, an order or an account; the pixel has cut it already."""
    found = PRIVATE.match(url)
    if found is None:
        return url
    return url[: found.end()] + ("/:token" if url[found.end() :].strip("/") else "")
