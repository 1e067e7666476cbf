"""Searches, product lists and promotions.

https://segment.com/docs/connections/spec/ecommerce/v2/#browsing-overview
"""

from __future__ import annotations

from typing import Any

from misoflow import CategoryPageView, Custom, Impression, PromoPageView, Reject, Search, privacy, values

from misoflow_segment.call import Call
from misoflow_segment.keys import Json
from misoflow_segment.orders import Outputs
from misoflow_segment.products import agreed_miso_id, single, some

QUERY_KEYS = ("text", "query", "keyword", "keywords", "q", "term")
MAX_FILTERS = 50
MAX_KEYWORDS = 512


def searched(call: Call) -> Outputs:
    """Products Searched, and the impression of what it found."""
    keywords = query_of(call.properties.get("query"))
    filters = filters_of(call.properties.get("filters"))
    if keywords is None and not filters:
        raise Reject("the search has neither a query nor filters", "$.properties.query")
    return _with_impression(call, [_search(call, keywords or "", filters)])


def list_viewed(call: Call) -> Outputs:
    """Product List Viewed: the category's page, and the impression of its products."""
    category = category_of(call.properties.get("category"))
    views: Outputs = [CategoryPageView(category=category, **_common(call))] if category else []
    made = _with_impression(call, views)
    if not made:
        raise Reject("the list has neither a category nor usable products", "$.properties")
    return made


def list_filtered(call: Call) -> Outputs:
    """Product List Filtered: a search without words, by filters."""
    category = category_of(call.properties.get("category"))
    if call.plan.config.list_filtered == "category_page_view":
        return list_viewed(call)
    filters = filters_of(call.properties.get("filters"))
    if category:
        filters.setdefault("category", [category[-1]])
    searches: Outputs = [_search(call, "", filters)] if filters else []
    made = _with_impression(call, searches)
    if not made:
        raise Reject("the list has neither filters, a category nor usable products", "$.properties.filters")
    return made


def _search(call: Call, keywords: str, filters: dict[str, list[str]]) -> Search:
    common = _common(call)
    if filters:
        return Search(search={"keywords": keywords, "filters": filters}, **common)
    return Search(search={"keywords": keywords}, **common)


def promotion_viewed(call: Call) -> Outputs:
    """Promotion Viewed: a banner was seen, which is no page view."""
    return [Custom(custom_action_name="promotion_viewed", **some(call, _promoted(call)), **_promotion(call))]


def promotion_clicked(call: Call) -> Outputs:
    """Promotion Clicked."""
    return [PromoPageView(**some(call, _promoted(call)), **_promotion(call))]


def _promoted(call: Call) -> list[Json]:
    """The products on a banner; its own ``id`` is the promotion's."""
    if "id" in call.properties:
        bare = {key: value for key, value in call.properties.items() if key != "id"}
        return [bare] if call.plan.product_id(bare) is not None else call.plan.items(bare)
    return single(call)


def _promotion(call: Call) -> Json:
    properties = call.properties
    extra = {"promotion_id": properties.get("promotion_id", properties.get("id"))}
    return call.common(**extra, promotion_name=properties.get("promotion_name", properties.get("name")))


def _common(call: Call) -> Json:
    common = call.common()
    if common["miso_id"] is None and "products" in call.properties:
        common["miso_id"] = agreed_miso_id(call.plan.items(call.properties))
    return common


def _with_impression(call: Call, records: Outputs) -> Outputs:
    shown = some(call, call.plan.items(call.properties)) if "products" in call.properties else None
    return [*records, Impression(**shown, **_common(call))] if shown else records


def query_of(value: Any) -> str | None:
    """The words searched for, from a text, a number or an object with one of the usual keys; None if absent."""
    if type(value) is dict:
        value = next((value[key] for key in QUERY_KEYS if value.get(key) not in (None, "")), None)
    if type(value) is int or type(value) is float:
        value = str(value)
    return privacy.text_of(value, MAX_KEYWORDS)


def category_of(value: Any) -> list[str]:
    """Broad to narrow, from ``Games > Board``, ``games/board`` or a list."""
    if type(value) is str:
        parts = value.split(" > ") if " > " in value else value.split("/")
    elif type(value) is list:
        parts = [part for part in value if type(part) is str]
    else:
        return []
    return [text for part in parts[:20] if (text := privacy.text_of(part.strip(), privacy.MAX_VALUE))]


def filters_of(value: Any) -> dict[str, list[str]]:
    """``{field: [values]}``, from Segment's list of {type, value} (some libraries say attribute) or an object.

    A field whose name is personal (``first_name``) is not one of a catalogue's.
    """
    found: dict[str, list[str]] = {}
    if type(value) is dict:
        pairs = [(key, item) for key, many in value.items() for item in (many if type(many) is list else [many])]
    elif type(value) is list:
        entries = [entry for entry in value if type(entry) is dict]
        pairs = [(entry.get("type") or entry.get("attribute"), entry.get("value")) for entry in entries]
    else:
        return found
    for field, item in pairs[:MAX_FILTERS]:
        name, text = privacy.text_of(field, privacy.MAX_VALUE), _filter_text(item)
        if name and text and not values.is_personal(name):
            many = found.setdefault(name, [])
            if text not in many:
                many.append(text)
    return found


def _filter_text(value: Any) -> str | None:
    if type(value) is bool:
        return "true" if value else "false"
    return privacy.text_of(str(value) if type(value) in (int, float) else value, privacy.MAX_VALUE)
