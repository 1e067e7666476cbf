"""Pages and screens: the home page by itself, others by the instance's page rules.

A page's name is never taken for a product id.
https://segment.com/docs/connections/spec/page/, https://segment.com/docs/connections/spec/screen/
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from misoflow import INTERACTIONS, CategoryPageView, HomePageView, Reject, Skip, privacy, values

from misoflow_segment.call import Call, mapping
from misoflow_segment.keys import Json
from misoflow_segment.orders import Outputs
from misoflow_segment.pagerules import Match


def page(call: Call) -> Outputs:
    """A page call."""
    title = call.properties.get("title")
    path = path_of(call)
    if call.plan.pages.is_home(path, name_of(call), title[: privacy.MAX_VALUE] if type(title) is str else ""):
        return [HomePageView(**call.common())]
    return _by_rule(call, path)


def screen(call: Call) -> Outputs:
    """A screen call."""
    return _by_rule(call, path_of(call), screen=name_of(call))


def _by_rule(call: Call, path: str, **extra: Any) -> Outputs:
    match = call.plan.pages.match(path, name_of(call))
    if match is None:
        return [Skip(f"no rule for this {call.name}")]
    made: Json = call.common(**extra)
    if match.rule.type == "category_page_view":
        return [CategoryPageView(category=_category(call, match), **made)]
    if match.rule.type != "home_page_view":
        product_id = _product_id(call, match)
        if product_id is not None:
            made["product_ids"] = [product_id]
        elif match.rule.type != "promo_page_view":
            raise Reject("no_product_id: the page rule found no usable product id", "$.properties")
    return [INTERACTIONS[match.rule.type](**made)]


def _product_id(call: Call, match: Match) -> str | None:
    if match.rule.id_property:
        return values.product_id_of(call.properties.get(match.rule.id_property))
    captured = match.captured.get("id")
    return values.product_id_of(unquote("/".join(captured))) if captured else None


def _category(call: Call, match: Match) -> list[str]:
    """From the path, else the call's own category, else its name."""
    captured = match.captured.get("category")
    if not captured:
        category = call.properties.get("category") or call.data.get("category")
        captured = [category] if type(category) is str and category else [name_of(call)]
    return [text for part in captured if (text := privacy.text_of(unquote(part), privacy.MAX_VALUE))]


def name_of(call: Call) -> str:
    """The page's or screen's name: at the top of the call, or among its properties."""
    for value in (call.data.get("name"), call.properties.get("name")):
        if type(value) is str and value.strip():
            return value.strip()[: privacy.MAX_VALUE]
    return ""


def path_of(call: Call) -> str:
    """The page's path, of its own or out of its URL; "" when the call has neither."""
    page = mapping(call.context.get("page"))
    for value in (call.properties.get("path"), call.properties.get("url"), page.get("path"), page.get("url")):
        if type(value) is str and value and len(value) <= privacy.MAX_URL:
            return call.plan.urls.read(value).path
    return ""
