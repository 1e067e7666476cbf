"""A Mixpanel event as Miso interactions. ``docs/connectors/mixpanel.md`` is made from these tables.

Properties: https://docs.mixpanel.com/docs/data-structure/property-reference/default-properties
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from misoflow import INTERACTIONS, Effect, Event, Record, Reject, Skip, once, privacy, values

from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.identity import Who, safe_id, who
from misoflow_mixpanel.names import is_system, preset
from misoflow_mixpanel.times import true_ms, written

Json = dict[str, Any]
Outputs = list[Record | Effect]

ITEMS = ("products", "items", "cart items", "line items", "$products", "contents")
QUANTITY = ("quantity", "qty")
REVENUE = ("total", "revenue", "value", "total charge", "amount", "$amount")
KEYWORDS = ("query", "search query", "search term", "keyword", "keywords", "search keyword", "q")
CATEGORY = ("category", "item category", "categories", "list name", "collection", "product category")
RATING = ("rating", "stars", "score")
DURATION = ("$duration", "duration", "seconds", "seconds played", "watch time")
ORDER = ("order id", "transaction id", "checkout id")
KEPT = (
    *("order_id", "cart_id", "checkout_id", "list_id", "coupon", "currency", "position", "promotion_id"),
    *("wishlist_id", "review_id", "experiment_id", "variation_id", "store_id", "affiliation"),
)
"""Properties that may go into custom_context as they are; the rest stays here."""
CONTEXT = {
    "mp_country_code": "country",
    "$region": "region",
    "$city": "city",
    "$browser": "browser",
    "$os": "os",
    "$device": "device",
    "mp_lib": "library",
    "$app_version_string": "app_version",
}
UTM = {"source": "utm_source", "medium": "utm_medium", "name": "utm_campaign", "term": "utm_term"} | {
    "content": "utm_content"
}
NEED_PRODUCTS = frozenset(kind for kind, cls in INTERACTIONS.items() if "product_ids" in cls.__struct_fields__) - {
    *("custom", "promo_page_view", "submit"),
}
LONGEST = 86_400
BEST_RATING = 5
# https://segment.com/docs/connections/destinations/catalog/mixpanel/: one for each product beside the order itself
SEGMENT_EXTRA = "productpurchased"


class Field(NamedTuple):
    """How one field of a Miso record is read from an event."""

    types: str
    properties: tuple[str, ...]
    read: Callable[[Any], Any]


class Shape(NamedTuple):
    """What is to be read of events with the same properties; there are few such sets, and many events of each."""

    renames: dict[str, str]
    kept: tuple[str, ...]
    context: tuple[tuple[str, str], ...]
    """(property, key in custom_context) of those of CONTEXT that are there."""
    campaign: tuple[tuple[str, str], ...]
    """(property, key in context.campaign)."""


class Mapping:
    """The tables, prepared for one instance's settings."""

    def __init__(self, config: MixpanelConfig) -> None:
        self._config = config
        wanted = (*ITEMS, *QUANTITY, *REVENUE, *KEYWORDS, *CATEGORY, *RATING, *DURATION, *ORDER, "filters", "miso_id")
        self._keep = frozenset((*KEPT, *config.properties))
        self._keys = values.Keys([*wanted, *config.product_id_path, *self._keep], self._keep)
        self._urls = privacy.Urls(config.url_query_keys)
        self._salt = config.id_salt.get_secret_value()
        self._needs_template = config.product_id_template != "{}"
        self._known_shape = lru_cache(maxsize=1024)(self._shape)

    def records(self, event: Event, rules: Any) -> Outputs:
        """What the event becomes: the instance's rules first, then the usual names, then ``unmapped``."""
        data = event.data
        name, properties = data["event"], data["properties"]
        if is_system(name):
            return [Skip("Mixpanel's own bookkeeping")]
        made = rules.apply(name, data) if len(rules) else None
        if made is not None:
            return self._by_rules(event, made)
        kind = preset(name, self._config.presets, self._config.checkout_on) or self._unmapped(name)
        if kind is None:
            return [Skip("unmapped: no rule and no preset knows this event name")]
        if _from_segment(properties) and values.key_of(name) == SEGMENT_EXTRA:
            return [Skip("Segment sends this beside Order Completed, which is the checkout")]
        call = self._call(event)
        return [call] if isinstance(call, Skip) else self._preset(kind, name, call)

    def _unmapped(self, name: str) -> str | None:
        if self._config.unmapped == "error":
            raise Reject("unmapped: no rule and no preset knows this event name", "$.event")
        return "custom" if self._config.unmapped == "custom" else None

    def _call(self, event: Event) -> _Call | Skip:
        data = event.data
        properties = data["properties"]
        config = self._config
        person = who(properties, data.get("merge", "simplified"), data.get("user"))
        if person == (None, None):
            return Skip("no_identity: neither a user nor a device is named")
        now = int(event.received_at.timestamp() * 1000) if event.received_at is not None else 2**50
        moment = true_ms(properties, data.get("mode", "utc"), config.zone_on, now)
        keys = tuple(properties)
        shape = self._known_shape(keys) if len(keys) <= values.WIDE else self._shape(keys)
        canonical = values.renamed(properties, shape.renames) if shape.renames else properties
        context = self._context(data["event"], properties, canonical, shape)
        return _Call(self._safe(person), written(moment), canonical, context)

    def _shape(self, keys: tuple[str, ...]) -> Shape:
        present = frozenset(keys)
        renames, kept = self._keys.plan(dict.fromkeys(keys))
        context = tuple((key, shown) for key, shown in CONTEXT.items() if key in present)
        return Shape(renames, kept, context, tuple((utm, key) for key, utm in UTM.items() if utm in present))

    def _safe(self, person: Who) -> Who:
        """A person's id is hashed where it would name them; a visitor's too."""
        hashing, salt = self._config.hash_ids, self._salt
        user = None if person.user is None else safe_id(person.user, hashing, salt)
        if person.anonymous is None:
            return Who(user, None)
        return Who(user, safe_id(person.anonymous, "auto" if hashing == "always" else hashing, salt))

    def _preset(self, kind: str, name: str, call: _Call) -> Outputs:
        fields = self._fields(kind, name, call)
        if isinstance(fields, Skip):
            return [fields]
        return [self._made(kind, call, fields)]

    def _made(self, kind: str, call: _Call, fields: Json) -> Record | Effect:
        miso_id = call.properties.get("miso_id")
        common = {
            "user_id": call.who.user,
            "anonymous_id": call.who.anonymous,
            "timestamp": call.timestamp,
            "miso_id": miso_id if type(miso_id) is str and values.UUID.match(miso_id) else None,
            "context": call.context,
        }
        record = INTERACTIONS[kind](**{**common, **fields})
        if kind == "checkout" and self._config.once_per_order:
            order = _text(_first(call.properties, ORDER))
            if order:
                return once(f"checkout:{order}", record)
        return record

    def _fields(self, kind: str, name: str, call: _Call) -> Json | Skip:
        """The fields of the type, beside what every interaction has."""
        properties = call.properties
        fields: Json = {}
        known = INTERACTIONS[kind].__struct_fields__
        if "product_ids" in known:
            items = self.items(properties)
            fields = self._products(items, properties, counted="quantities" in known)
            if not fields and kind in NEED_PRODUCTS:
                return Skip("no_product_id: the event names no usable product")
            if kind == "checkout" and (revenue := _revenue(properties, items)) is not None:
                fields["revenue"] = revenue
        if kind == "search":
            keywords = _text(_first(properties, KEYWORDS))
            if keywords is None:
                return Skip("the search has no keywords")
            fields["search"] = {"keywords": keywords, **_filters(properties.get("filters"))}
        if "category" in known and (category := _category(_first(properties, CATEGORY))):
            fields["category"] = category
        if "rating" in known:
            rating = values.number_of(_first(properties, RATING))
            if rating is None or not 0 <= rating <= self._config.rating_scale:
                return Skip("the rating is none, or off the scale")
            fields["rating"] = rating * BEST_RATING / self._config.rating_scale
        if "duration" in known and (duration := self._duration(properties)) is not None:
            fields["duration"] = duration
        if kind == "custom":
            fields["custom_action_name"] = values.snake(privacy.without_contacts(name)) or "event"
        return fields

    def items(self, properties: Json) -> list[Json]:
        """The objects in the list of products; else the properties themselves."""
        listed = _first(properties, ITEMS)
        if type(listed) is str and listed[:1] in "[{":
            listed = _parsed(listed)
        if type(listed) is dict:
            listed = [listed]
        if type(listed) is list and listed:
            return [one if type(one) is dict else {"product_id": one} for one in listed]
        if _from_segment(properties):
            # Segment writes the user's id into "id"
            properties = {key: value for key, value in properties.items() if key != "id"}
        ids = _first(properties, self._config.product_id_path)
        if type(ids) is list:
            return [one if type(one) is dict else {"product_id": one} for one in ids]
        return [properties]

    def _products(self, items: list[Json], properties: Json, *, counted: bool) -> Json:
        """Ids and, if ``counted``, quantities; ``properties`` is the one item whose keys are canonical already."""
        counts: dict[str, int | float] = {}
        for item in items:
            found = self._id_in(item) if item is properties else self.product_id(item)
            if found is None:
                continue
            quantity = values.number_of(_first(item, QUANTITY))
            counts[found] = counts.get(found, 0) + (quantity if quantity is not None and quantity > 0 else 1)
        if not counts:
            return {}
        return {"product_ids": list(counts)} | ({"quantities": list(counts.values())} if counted else {})

    def product_id(self, item: Json) -> str | None:
        """The item's id as Miso knows it; None when there is none that Miso takes."""
        return self._id_in(self._keys.canonical(item))

    def _id_in(self, item: Json) -> str | None:
        for path in self._config.product_id_path:
            found = values.product_id_of(item.get(path))
            if found is not None:
                return self._config.product_id_template.replace("{}", found) if self._needs_template else found
        return None

    def _duration(self, properties: Json) -> int | float | None:
        seconds = values.number_of(_first(properties, DURATION))
        if seconds is None:
            return None
        seconds = seconds / 1000 if self._config.duration_unit == "ms" else seconds
        return seconds if 0 <= seconds <= LONGEST else None

    def _context(self, name: str, properties: Json, canonical: Json, shape: Shape) -> Json:
        """Page, campaign, locale, and what may be kept of the rest; there is no user agent, and none is invented."""
        context: Json = {}
        url = properties.get("$current_url")
        page = self._urls.read(url) if type(url) is str else None
        if page is not None and page.clean:
            context["page"] = {"url": page.clean}
            referrer = properties.get("$referrer")
            if type(referrer) is str and referrer != "$direct" and (clean := self._urls.read(referrer).clean):
                context["page"]["referrer"] = clean
            if title := privacy.text_of(properties.get("current_page_title")):
                context["page"]["title"] = title
        if shape.campaign:
            campaign = {
                key: text for utm, key in shape.campaign if (text := privacy.text_of(_one(properties[utm]), 256))
            }
            if campaign:
                context["campaign"] = campaign
        if locale := privacy.text_of(properties.get("$locale"), 64):
            context["locale"] = locale
        custom: Json = {"mixpanel_event": privacy.without_contacts(name[:256])}
        for key, shown in shape.context:
            if (text := privacy.scalar(properties[key])) is not None:
                custom[shown] = text
        for key in shape.kept:
            if (text := privacy.scalar(canonical[key])) is not None:
                custom[key] = text
        context["custom_context"] = privacy.bounded(custom) if shape.kept else custom
        return context

    def _by_rules(self, event: Event, made: list[Json]) -> Outputs:
        """The records of the matching rule, completed with what every record has."""
        if not made:
            return [Skip("a rule of this instance drops it")]
        call = self._call(event)
        if isinstance(call, Skip):
            return [call]
        records: Outputs = []
        for fields in made:
            own = {key: values.tidied(key, value) for key, value in fields.items()}
            kind = own.pop("type")
            if kind in NEED_PRODUCTS and not (own.get("product_ids") or own.get("product_group_ids")):
                records.append(Skip("no_product_id: the rule's product_ids found no usable id"))
                continue
            if "quantities" in INTERACTIONS[kind].__struct_fields__:
                own["quantities"] = values.fitted_quantities(own.get("quantities"), len(own.get("product_ids") or ()))
            records.append(self._made(kind, call, own))
        return records


class _Call(msgspec.Struct):
    """One event on its way: who, when, its properties with canonical keys, and where."""

    who: Who
    timestamp: str
    properties: Json
    context: Json


def _first(properties: Json, names: tuple[str, ...]) -> Any:
    """The first of these properties that is there."""
    for name in names:
        value = properties.get(name)
        if value is not None and value != "":
            return value
    return None


def _one(value: Any) -> Any:
    return value[0] if type(value) is list and value else value


def _text(value: Any) -> str | None:
    return privacy.text_of(str(value) if type(value) is int else _one(value))


def _parsed(text: str) -> Any:
    """A list written as JSON text; None when Mixpanel cut it off, as it does beyond 255 characters."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _from_segment(properties: Json) -> bool:
    return properties.get("$source") == "segment" or str(properties.get("mp_lib", "")).startswith("Segment")


def _revenue(properties: Json, items: list[Json]) -> int | float | None:
    """The order's sum with shipping and tax, as Miso wants it; else that of its products."""
    for name in REVENUE:
        found = values.money_of(properties.get(name))
        if found is not None:
            return found
    total = 0.0
    for item in items:
        price, quantity = values.money_of(item.get("price")), values.number_of(_first(item, QUANTITY))
        if price is None:
            return None
        total += price * (1 if quantity is None else quantity)
    return round(total, 2) if items else None


def _category(value: Any) -> list[str] | None:
    many = value if type(value) is list else str(value).split(" > ") if value else []
    texts = [text for one in many if (text := privacy.text_of(one))]
    return texts or None


def _filters(value: Any) -> Json:
    """{"filters": {name: [texts]}} from an object or a list of {type, value}; {} when there are none.

    A filter whose name is personal (``first_name``) is not one of a catalogue's.
    """
    pairs = value.items() if type(value) is dict else _pairs(value)
    found: dict[str, list[str]] = {}
    for name, item in pairs:
        texts = [
            text for one in (item if type(item) is list else [item]) if (text := privacy.text_of(str(one))) is not None
        ]
        if texts and type(name) is str and item is not None and not values.is_personal(name):
            found.setdefault(name, []).extend(texts)
    return {"filters": found} if found else {}


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    if type(value) is not list:
        return []
    return [(one.get("type"), one.get("value")) for one in value if type(one) is dict]
