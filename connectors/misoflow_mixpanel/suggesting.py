"""``misoflow suggest-mapping``: event names in Mixpanel are free, so a sample says what they may be at Miso."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from misoflow import INTERACTIONS, Halt, Reject, Suggestion, values

from misoflow_mixpanel.client import NotInPlan, TooLate
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.mapping import CATEGORY, DURATION, ITEMS, KEYWORDS, NEED_PRODUCTS, QUANTITY, RATING, REVENUE
from misoflow_mixpanel.names import is_system, key_of, preset
from misoflow_mixpanel.reading import parsed
from misoflow_mixpanel.rows import unwrapped

if TYPE_CHECKING:
    from misoflow_mixpanel.connector import Mixpanel

DAYS = 7
PER_DAY = 1000
MOST_VALUES = 1000
MOST_SHOWN = 8
NAMES = 500
LEAST_SHARE = 0.5
"""A property that fewer of the events have is not proposed."""
GUESSES: tuple[tuple[str, str, str], ...] = (
    # all words of the second and one of the third
    ("remove_from_cart", "cart", "remove removed delete deleted"),
    ("add_to_cart", "cart", "add added"),
    ("checkout", "", "purchase purchased ordered bought paid"),
    ("checkout", "order", "placed completed complete confirmed success created"),
    ("checkout", "payment", "completed complete success succeeded"),
    ("search", "", "search searched searches"),
    ("remove_from_collection", "wishlist", "remove removed"),
    ("add_to_collection", "", "wishlist wishlisted favorite favorited favourite"),
    ("category_page_view", "category", "view viewed open opened"),
    ("category_page_view", "list", "view viewed"),
    ("impression", "", "impression impressions"),
    ("product_detail_page_view", "", "pdp"),
    ("product_detail_page_view", "product", "view viewed open opened seen detail details page"),
    ("product_detail_page_view", "item", "view viewed open opened seen detail details page"),
    ("read", "article", "read view viewed open opened"),
    ("read", "post", "read view viewed open opened"),
    ("watch", "video", "play played start started watch watched complete completed"),
    ("watch", "movie", "play played start started watch watched"),
    ("listen", "", "listen listened"),
    ("listen", "song", "play played"),
    ("listen", "track", "play played"),
    ("listen", "podcast", "play played"),
    ("like", "", "like liked"),
    ("dislike", "", "dislike disliked"),
    ("share", "", "share shared"),
    ("rate", "", "rate rated review reviewed"),
)
"""What words in an event's name hint at; looked at where no preset knows the name."""
ID_ENDS = ("id", "sku", "slug", "handle", "code")
ID_SUBJECTS = (
    *("product", "item", "sku", "variant", "article", "post", "content", "video", "movie", "song", "track"),
    *("episode", "podcast", "course", "lesson", "recipe", "book"),
)


class Seen:
    """One property of one event name: how many events have it, and which values."""

    def __init__(self) -> None:
        self.count = 0
        self.values: set[str] = set()
        self.kinds: Counter[str] = Counter()

    def add(self, value: Any) -> None:
        self.count += 1
        self.kinds[type(value).__name__] += 1
        if len(self.values) < MOST_VALUES:
            self.values.add(str(value)[:256])


class Sample:
    """The events of one name. Properties inside of lists of objects stand as ``(list, property)``."""

    def __init__(self) -> None:
        self.count = 0
        self.properties: dict[tuple[str, ...], Seen] = defaultdict(Seen)

    def add(self, properties: dict[str, Any]) -> None:
        self.count += 1
        distinct = properties.get("distinct_id")
        for path, value in _paths(properties):
            # Segment writes the user's id into "id"
            if value not in (None, "", []) and not (path == ("id",) and value == distinct):
                self.properties[path].add(value)

    def share(self, path: tuple[str, ...]) -> float:
        return self.properties[path].count / self.count if path in self.properties and self.count else 0.0

    def best(self, wanted: Iterable[str], inside: str = "") -> tuple[str, ...] | None:
        """The commonest property whose name is one of these, in any spelling; the earlier one of equals."""
        keys = [key_of(name) for name in wanted]
        found = [
            path
            for path in self.properties
            if (path[0] == inside if inside else len(path) == 1) and key_of(path[-1]) in keys
        ]
        found = [path for path in found if self.share(path) >= LEAST_SHARE]
        return max(found, key=lambda path: (round(self.share(path), 1), -keys.index(key_of(path[-1]))), default=None)


def _paths(properties: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in properties.items():
        if "." in name or "[" in name or "]" in name:
            continue  # no rule can name it
        yield (name,), value
        if type(value) is list and value and type(value[0]) is dict:
            for inner, item in value[0].items():
                if not {".", "[", "]"} & set(inner):
                    yield (name, inner), item


async def suggestions(connector: Mixpanel) -> list[Suggestion]:
    """A proposal for each event name of the last days, and for those that were not among them."""
    samples = await _samples(connector)
    found = [_suggestion(connector.config, name, sample) for name, sample in samples.items()]
    for name in await _names(connector):
        if name not in samples and not is_system(name):
            found.append(_suggestion(connector.config, name, Sample()))
    return found


async def _samples(connector: Mixpanel) -> dict[str, Sample]:
    samples: dict[str, Sample] = defaultdict(Sample)
    today = datetime.now(UTC).date()
    for back in range(1, DAYS + 1):
        day = today - timedelta(days=back)
        try:
            async with connector.client.export(day, day, limit=PER_DAY) as (reader, chunks):
                lines = [line async for chunk in chunks for line in reader.feed(chunk)]
                lines += reader.last()
        except TooLate:
            continue
        for line in lines:
            row = parsed(line)
            if row is None or type(row.get("event")) is not str:
                continue
            name, properties = unwrapped(row)
            if not is_system(name):
                samples[name].add(properties)
    return samples


async def _names(connector: Mixpanel) -> list[str]:
    """https://developer.mixpanel.com/reference/list-recent-events; [] where the plan has no query API."""
    try:
        found = await connector.client.query("/api/query/events/names", type="general", limit=str(NAMES))
    except (NotInPlan, Halt, Reject):
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _suggestion(config: MixpanelConfig, name: str, sample: Sample) -> Suggestion:
    usual = preset(name, True, config.checkout_on)
    kind = usual or _guess(name)
    notes = [
        "a usual name" if usual else "a guess by its words: look twice" if kind else "nothing is known by its name"
    ]
    if not kind:
        return Suggestion(name, sample.count, notes=(*notes, *_shown(sample)))
    known = INTERACTIONS[kind].__struct_fields__
    fields: dict[str, Any] = {}
    if "product_ids" in known:
        fields, why = _products(config, sample, counted="quantities" in known)
        notes.append(why)
    fields |= _others(sample, kind, known)
    missing = (kind in NEED_PRODUCTS and "product_ids" not in fields) or (kind == "search" and "search" not in fields)
    if missing:
        notes += [f"{kind} needs what no property gives", *_shown(sample)]
    return Suggestion(name, sample.count, kind, fields, tuple(notes), sure=not missing and sample.count > 0)


def _guess(name: str) -> str:
    words = set(values.snake(name).split("_"))
    for kind, needed, one_of in GUESSES:
        if set(needed.split()) <= words and words & set(one_of.split()):
            return kind
    return ""


def _products(config: MixpanelConfig, sample: Sample, *, counted: bool) -> tuple[dict[str, Any], str]:
    """The fields that name products, and how sure that is."""
    listed = sample.best(ITEMS)
    path = _id(config, sample, listed[0]) if listed else None
    path = path or _id(config, sample, "")
    if path is None:
        return {}, "no property looks like a product's id"
    seen = sample.properties[path]
    why = f"product id {'[].'.join(path)}: in {100 * sample.share(path):.0f} % of them, {len(seen.values)} different"
    fields: dict[str, Any] = {"product_ids": [_read(path)]}
    quantity = sample.best(QUANTITY, path[0] if len(path) > 1 else "")
    if counted and quantity is not None:
        fields["quantities"] = _read(quantity)
    return fields, why


def _id(config: MixpanelConfig, sample: Sample, inside: str) -> tuple[str, ...] | None:
    """The best product id: one of the configured names, else what looks like one and tells products apart."""
    known = sample.best(config.product_id_path, inside)
    if known is not None:
        return known
    likely = [
        path
        for path in sample.properties
        if (path[0] == inside and len(path) > 1 if inside else len(path) == 1)
        and _looks_like_an_id(path[-1])
        and sample.share(path) >= LEAST_SHARE
    ]
    return max(
        likely, key=lambda path: (round(sample.share(path), 1), len(sample.properties[path].values)), default=None
    )


def _looks_like_an_id(name: str) -> bool:
    key = key_of(name)
    return key.endswith(ID_ENDS) and any(subject in key for subject in ID_SUBJECTS)


def _others(sample: Sample, kind: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The type's other fields."""
    fields: dict[str, Any] = {}
    if kind == "checkout" and (path := sample.best(REVENUE)):
        fields["revenue"] = _read(path)
    if kind == "search" and (path := sample.best(KEYWORDS)):
        fields["search"] = {"keywords": _read(path)}
    if (
        "category" in known
        and (path := sample.best(CATEGORY))
        and set(sample.properties[path].kinds) <= {"str", "list"}
    ):
        fields["category"] = {"@arrayPath": [_read(path)]}
    if "rating" in known and (path := sample.best(RATING)):
        fields["rating"] = _read(path)
    if "duration" in known and (path := sample.best(DURATION)):
        fields["duration"] = _read(path)
    return fields


def _read(path: tuple[str, ...]) -> Any:
    """How a rule reads it; of a list of objects from each."""
    if len(path) == 1:
        return f"$.properties.{path[0]}"
    return {"@arrayPath": [f"$.properties.{path[0]}", f"$.{path[1]}"]}


def _shown(sample: Sample) -> list[str]:
    """The commonest properties of an event that a person has to decide on; never a value."""
    own = [path for path in sample.properties if len(path) == 1 and not path[0].startswith(("$", "mp_", "utm_"))]
    own = [path for path in own if path[0] not in ("time", "distinct_id")]
    best = sorted(own, key=lambda path: -sample.properties[path].count)[:MOST_SHOWN]
    texts = [f"{path[0]} {100 * sample.share(path):.0f} %" for path in best]
    return [f"properties: {', '.join(texts)}"] if texts else []
