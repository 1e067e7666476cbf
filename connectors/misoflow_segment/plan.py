"""The settings, prepared once: what is looked up for every event is a set, a table or a function here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from misoflow import privacy, values

from misoflow_segment.config import SegmentConfig
from misoflow_segment.keys import CONTEXT, PROPERTIES, TRAITS, Json
from misoflow_segment.pagerules import PageTable
from misoflow_segment.paths import Getter, compile_path, compile_template, first_keys
from misoflow_segment.suppressed import ids_in

CAMPAIGN = ("name", "source", "medium", "term", "content")
# https://segment.com/docs/connections/spec/common/#context: utm_campaign is the campaign's name
CAMPAIGN_OF_UTM = {"campaign": "name"} | {key: key for key in CAMPAIGN if key != "name"}


class Page(NamedTuple):
    """What is used of the page on which something happened."""

    shown: Json
    """Miso's ``page``; empty when there is no URL to show. Not to be changed."""
    campaign: Json
    """Miso's ``campaign`` out of the URL's utm parameters. Not to be changed."""
    miso_id: str


class Plan:
    """What the mapping needs of one instance's settings. Holds no state of events."""

    def __init__(self, config: SegmentConfig) -> None:
        self.config = config
        paths = config.product_id_path
        wanted = [*PROPERTIES, *first_keys([*paths, *config.product_group_id_path], config.product_id_template)]
        self.keys = values.Keys([*wanted, *config.properties], CONTEXT | frozenset(config.properties))
        self.traits = values.Keys([*TRAITS, *config.traits])
        self.urls = privacy.Urls(config.url_query_keys)
        self.page = lru_cache(maxsize=8192)(self.unusual_page)
        self.pages = PageTable(config)
        self.sentinels = frozenset(text.strip().lower() for text in config.sentinel_ids) | {""}
        self._longest_sentinel = max(map(len, self.sentinels))
        self.required_consent = config.required_consent
        self.pairs = config.link == "always"
        self._any_id = _getters(paths, config.product_id_template)
        # on an order the top-level id is the order's, not a product's
        self._order_id = _getters([path for path in paths if values.key_of(path) != "id"], config.product_id_template)
        self._group_id = [compile_path(path) for path in config.product_group_id_path]
        self.has_groups = bool(self._group_id)
        self.suppressed = ids_in(config.suppress_file) if config.suppress_file else frozenset()
        self._lowercase = config.product_id_lowercase

    def unusual_page(self, url: str, referrer: str, title: str) -> Page:
        """A page by its URL, referrer and title; ``page`` is the same and remembers."""
        here = self.urls.read(url)
        shown: Json = {}
        if here.clean:
            shown["url"] = here.clean
            if referrer and (clean := self.urls.read(referrer).clean):
                shown["referrer"] = clean
            if name := privacy.text_of(title):
                shown["title"] = name
        named = [(CAMPAIGN_OF_UTM.get(key), privacy.text_of(value, privacy.MAX_VALUE)) for key, value in here.utm]
        return Page(shown, {key: text for key, text in named if key and text}, here.miso_id)

    def clean_id(self, value: Any) -> str | None:
        """A user or anonymous id as text; None for blanks, sentinels, and what is neither text nor number."""
        kind = type(value)
        if kind is str:
            text = value.strip() if value.isprintable() else privacy.plain(value)
            if len(text) > self._longest_sentinel:
                return text
        elif kind is int and abs(value) < 10**privacy.MAX_VALUE:
            text = str(value)
        elif kind is float and value.is_integer():
            text = str(int(value))
        else:
            return None
        return None if text.lower() in self.sentinels else text

    def user_id(self, value: Any) -> str | None:
        text = self.clean_id(value)
        if text is not None and text[0] == "_":
            return self.config.underscore_prefix + text
        return text

    def anonymous_id(self, value: Any) -> str | None:
        """As ``clean_id``; a mail address makes nobody anonymous and is none."""
        text = self.clean_id(value)
        return None if text is None or privacy.has_mail(text) else text

    def is_suppressed(self, data: Any) -> bool:
        """Whether the call is of a user on the instance's list, or makes one known by another id."""
        return type(data) is dict and any(
            self.clean_id(data.get(key)) in self.suppressed for key in ("userId", "previousId")
        )

    def product_id(self, item: Json) -> str | None:
        """The id of a product that the object describes, or None."""
        return self._first(self._any_id, item)

    def order_product_id(self, properties: Json) -> str | None:
        """The id of the one product named beside an order's own properties, or None."""
        return self._first(self._order_id, properties)

    def group_id(self, item: Json) -> str | None:
        return self._first(self._group_id, item) if self._group_id else None

    def _first(self, getters: list[Getter], item: Json) -> str | None:
        for get in getters:
            value = get(item)
            if value is not None:
                found = values.product_id_of(value)
                if found is not None:
                    return found.lower() if self._lowercase else found
        return None

    def items(self, properties: Json) -> list[Json]:
        """``products`` as a list of objects: one object stands for a list, a text is parsed once, the rest skipped."""
        value = properties.get("products")
        if type(value) is str:
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return []
        if type(value) is dict:
            value = [value]
        if type(value) is not list:
            return []
        return [self.canonical(item) for item in value if type(item) is dict]

    def canonical(self, item: Json) -> Json:
        renames, _ = self.keys.plan(item)
        return values.renamed(item, renames) if renames else item


def _getters(paths: Iterable[str], template: str) -> list[Getter]:
    if template:
        return [compile_template(template)]
    return [compile_path(path) for path in paths]
