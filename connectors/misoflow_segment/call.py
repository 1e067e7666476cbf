"""One call (track, page, …) on its way through the mapping, with what all its records have in common."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

from misoflow import Reject, privacy, values
from msgspec import Struct

from misoflow_segment.keys import PERSONAL, Json
from misoflow_segment.plan import CAMPAIGN, Page, Plan
from misoflow_segment.times import timestamp_of

FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,63}")
"""What the name of a property looks like; an object that is keyed by addresses or numbers has others."""
NOWHERE = Page({}, {}, "")
USUAL_PAGE = 1024
"""Characters. Longer pages (or devices) are not remembered, so that what is stays small."""
FEW = 12
"""So many values of custom_context cannot be too much."""
EMPTY: Json = {}


def mapping(value: Any) -> Json:
    """The value if it is an object, else an empty one: null, lists and texts count as nothing."""
    return value if type(value) is dict else EMPTY


class Call(Struct):
    """A decoded call; nothing of ``data`` is changed."""

    plan: Plan
    data: Json
    name: str
    """The event's name as sent; "page" and the like for other calls."""
    action: str
    """The name in snake case; "" for other calls than track."""
    received: datetime | None
    context: Json
    properties: Json
    """With canonical keys."""
    keep: tuple[str, ...]
    """Those of the properties that go into custom_context."""

    @classmethod
    def of(cls, plan: Plan, data: Json, name: str, action: str, received: datetime | None) -> Self:
        properties = mapping(data.get("properties"))
        renames, keep = plan.keys.plan(properties)
        if renames:
            properties = values.renamed(properties, renames)
        return cls(plan, data, name, action, received, mapping(data.get("context")), properties, keep)

    def who(self) -> tuple[str | None, str | None]:
        """(user id, anonymous id); at least one. Reject when nobody can be named: Miso would invent a person."""
        data, plan = self.data, self.plan
        user, anonymous = data.get("userId"), data.get("anonymousId")
        user = None if user is None else plan.clean_id(user)
        anonymous = None if anonymous is None else plan.anonymous_id(anonymous)
        if user is not None and user[0] == "_":
            user = plan.config.underscore_prefix + user
        if user is None and anonymous is None:
            raise Reject("no_identity: neither userId nor anonymousId names anybody", "$.userId")
        if user is not None and not plan.pairs:
            anonymous = None
        return user, anonymous

    def common(self, **extra: Any) -> Json:
        """The fields of every interaction; ``extra`` goes into custom_context where it is not None."""
        user, anonymous = self.who()
        page = self._page()
        return {
            "user_id": user,
            "anonymous_id": anonymous,
            "timestamp": timestamp_of(self.data, self.received),
            "miso_id": self._miso_id(page.miso_id),
            "context": self._context(page, extra),
        }

    def _context(self, page: Page, extra: Json) -> Json:
        get = self.context.get
        context = _device_of(get("locale", ""), get("userAgent", ""), get("ip", "")).copy()
        campaign = get("campaign")
        campaign = page.campaign if campaign is None else _campaign(campaign, page.campaign)
        if campaign:
            context["campaign"] = campaign
        if page.shown:
            context["page"] = page.shown
        context["custom_context"] = self._custom(extra)
        return context

    def _page(self) -> Page:
        """The page it happened on. A page call's own properties come before the context's."""
        page = mapping(self.context.get("page"))
        if not self.action and self.name == "page":
            page = {**page, **{key: value for key, value in self.properties.items() if value is not None}}
        url, referrer, title = page.get("url"), page.get("referrer", ""), page.get("title", "")
        if type(url) is type(referrer) is type(title) is str and len(url) + len(referrer) + len(title) <= USUAL_PAGE:
            return self.plan.page(url, referrer, title) if url else NOWHERE
        if type(url) is not str or not url or len(url) > privacy.MAX_URL:
            return NOWHERE
        return self.plan.unusual_page(url, _str(referrer), _str(title))

    def _custom(self, extra: Json) -> Json:
        custom: Json = {"segment_event": self.name}
        properties = self.properties
        for key in self.keep:
            value = properties[key]
            if type(value) is str:
                if (text := privacy.text_of(value, privacy.MAX_VALUE)) is not None:
                    custom[key] = text
            elif type(value) is dict:
                if key in self.plan.config.properties:  # of its own accord only identifiers leave, and these are none
                    _flatten(custom, key, value)
            elif (kept := privacy.scalar(value)) is not None:
                custom[key] = kept
        for key, value in extra.items():
            if (kept := privacy.scalar(value)) is not None:
                custom[key] = kept
        return privacy.bounded(custom) if len(custom) > FEW else custom

    def _miso_id(self, of_page: str) -> str | None:
        """The UUID under which Miso answered the search or recommendation that led to this event."""
        context = self.context
        found = self.properties.get("miso_id") or context.get("miso_id") or context.get("misoId")
        if not found and (chosen := self.data.get("integrations")) and type(chosen) is dict:
            ours = mapping(chosen.get("Miso"))
            found = ours.get("miso_id") or ours.get("misoId")
        found = found or of_page
        return found if found and type(found) is str and values.UUID.match(found) else None

    def product_id(self) -> str:
        """The product that the event is about; Reject when it names none."""
        found = self.plan.product_id(self.properties)
        if found is None:
            raise Reject("no_product_id: the event names no usable product", "$.properties.product_id")
        return found

    def groups(self, items: list[Json]) -> Json:
        """``product_group_ids`` of these products, if the instance says where they stand."""
        found = dict.fromkeys(group for item in items if (group := self.plan.group_id(item)) is not None)
        return {"product_group_ids": list(found)} if found else {}


def _str(value: Any) -> str:
    """The value if it is a text of a sensible length, else ""."""
    return value if type(value) is str and len(value) <= privacy.MAX_URL else ""


def _device_of(locale: Any, agent: Any, address: Any) -> Json:
    """As ``_device``, of whatever stands there."""
    if type(locale) is type(agent) is type(address) is str and len(locale) + len(agent) + len(address) <= USUAL_PAGE:
        return _device(locale, agent, address)
    return _device.__wrapped__(_str(locale), _str(agent), _str(address))


@lru_cache(maxsize=4096)
def _device(locale: str, agent: str, address: str) -> Json:
    """What Miso's context takes of a device; devices come back, so it is remembered. Not to be changed."""
    found = {
        "locale": privacy.text_of(locale, 64),
        "user_agent": privacy.text_of(agent),
        "truncated_ip": privacy.truncated_ip(address),
    }
    return {key: value for key, value in found.items() if value}


def _campaign(campaign: Any, of_page: Json) -> Json:
    """The campaign's texts; what it lacks comes from the page's URL."""
    if type(campaign) is not dict:
        return of_page
    try:
        own = _texts_of_campaign(tuple(campaign.items()))
    except TypeError:  # a list or an object in it, which cannot be remembered
        own = _texts_of_campaign(tuple((key, value) for key, value in campaign.items() if type(value) is str))
    return {**of_page, **own} if of_page else own


@lru_cache(maxsize=512)
def _texts_of_campaign(items: tuple[tuple[str, Any], ...]) -> Json:
    """A campaign sends many visitors, so it is remembered. Not to be changed."""
    given = dict(items)
    return {key: text for key in CAMPAIGN if (text := privacy.text_of(given.get(key), 256))}


def _flatten(custom: Json, key: str, value: Json) -> None:
    """One level of an object, as ``key_inner``; what is nested deeper, personal or no name of a field is left out."""
    for inner, item in list(value.items())[:20]:
        if not FIELD.fullmatch(inner) or values.key_of(inner) in PERSONAL or values.is_personal(inner):
            continue
        if (kept := privacy.scalar(item)) is not None:
            custom[f"{key}_{inner}"] = kept
