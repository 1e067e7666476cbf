"""User profiles: https://developer.mixpanel.com/reference/engage-query, each as one part of a Miso user.

Increments by ``$last_seen``, and all of them once a week, as updates from servers need not move it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from misoflow import Effect, Event, Page, Reject, Retry, Skip, Slice, User, merge, privacy, values

from misoflow_mixpanel.client import NotInPlan
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.identity import DEVICE, is_user_id, safe_id, usable
from misoflow_mixpanel.names import key_of

if TYPE_CHECKING:
    from misoflow_mixpanel.connector import Mixpanel

SOURCE = "profile"
FULL = timedelta(days=7)
OVERLAP = timedelta(hours=2)
OLDEST = 150
FIELDS = {"$city": "city", "$region": "state", "$country_code": "country"}
TIMES = {"$created": "created_at", "$last_seen": "updated_at"}
# by their keys in any spelling; none of these leaves, whatever profile_attributes says
PERSONAL = frozenset(
    (
        *("email", "phone", "name", "firstname", "lastname", "username", "avatar", "birthday", "street", "address"),
        *("postalcode", "zip", "ip", "iosdevices", "androiddevices", "transactions"),
    )
)


class Cursor(msgspec.Struct):
    """How far the profiles are: times of the last whole sweep and of the last run, in ms."""

    full: int
    since: int


async def pull(connector: Mixpanel, part: Slice) -> AsyncIterator[Page]:
    """All profiles, or those seen since the last run; the end of the list moves the cursor."""
    if not connector.config.profiles:
        yield Page([], part.cursor)
        return
    before = msgspec.json.decode(part.cursor, type=Cursor) if part.cursor else None
    now = int(part.end.timestamp() * 1000)
    whole = before is None or now - before.full >= FULL.total_seconds() * 1000
    form = {"include_all_users": "false", "output_properties": json.dumps(_wanted(connector.config))}
    if before is not None and not whole:
        since = datetime.fromtimestamp(before.since / 1000, UTC) - OVERLAP
        form["where"] = f'properties["$last_seen"] >= "{since:%Y-%m-%dT%H:%M:%S}"'
    try:
        async for page in _sweep(connector, form, part.cursor):
            yield page
    except NotInPlan:
        # 402: events go on, and `check` says why profiles do not come
        yield Page([], part.cursor)
        return
    cursor = Cursor(now if whole or before is None else before.full, now)
    yield Page([], msgspec.json.encode(cursor).decode())


async def _sweep(connector: Mixpanel, form: dict[str, str], cursor: str | None) -> AsyncIterator[Page]:
    """Every page of one query. ``total`` is sure on the first page only."""
    read, total, page, session = 0, 0, 0, ""
    while True:
        paging = {"page": str(page), "session_id": session} if page else {}
        answer = await connector.client.query("/api/query/engage", {**form, **paging})
        rows = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or (page == 0 and not isinstance(answer.get("total"), int)):
            raise Retry("Mixpanel's list of profiles is not what its documentation says")
        if page == 0:
            total, session = answer["total"], str(answer.get("session_id") or "")
        read += len(rows)
        found = [event for row in rows if (event := _event(row)) is not None]
        if found:
            yield Page(found, cursor)
        if read >= total:
            return
        if not rows:
            raise Retry(f"Mixpanel's list of profiles ended after {read} of {total}")
        page += 1


def _wanted(config: MixpanelConfig) -> list[str]:
    own = [config.user_id_property] if config.user_id_property else []
    return [*FIELDS, *TIMES, "gender", "Gender", "age", *config.profile_attributes, *own]


def _event(row: Any) -> Event | None:
    """A profile, by what it holds: one that has not changed is the same event."""
    if not isinstance(row, dict) or not row.get("$distinct_id"):
        return None
    data = {"id": str(row["$distinct_id"]), "properties": row.get("$properties") or {}}
    key = hashlib.blake2b(msgspec.json.encode(data, order="deterministic"), digest_size=16).hexdigest()
    return Event(f"profile:{key}", "profile", data)


def translated(config: MixpanelConfig, event: Event) -> list[Effect]:
    """The profile as one part of its user; other sources of the same user keep theirs."""
    properties = event.data["properties"]
    if not isinstance(properties, dict):
        raise Reject("the profile has no properties", "$.properties")
    user = usable(properties.get(config.user_id_property)) if config.user_id_property else ""
    named = bool(user)
    user = user or usable(event.data["id"])
    if (why := visitor(config, user, named=named)) is not None:
        return [why]
    user = safe_id(user, config.hash_ids, config.id_salt.get_secret_value())
    version = int(event.received_at.timestamp() * 1000) if event.received_at is not None else 0
    return [merge(user, SOURCE, User(user_id=user, **_fields(config, properties)), version=version)]


def visitor(config: MixpanelConfig, user: str, *, named: bool) -> Skip | None:
    """Why an id is no user's; ``named``: it comes from the property with users' ids. None: it is a user's."""
    if not user or user.startswith(DEVICE):
        return Skip("a visitor without a user id")
    if not named and config.id_merge == "original" and not is_user_id(user):
        return Skip("the id is a device's; set user_id_property to the property with the user's id")
    return None


def _fields(config: MixpanelConfig, properties: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if (text := privacy.text_of(properties.get(name), 256)) is not None:
            fields[field] = text
    for name, field in TIMES.items():
        if (moment := _moment(properties.get(name), config)) is not None:
            fields[field] = moment
    if (gender := privacy.text_of(properties.get("gender") or properties.get("Gender"), 64)) is not None:
        fields["gender"] = gender
    age = values.number_of(properties.get("age"))
    if age is not None and 0 < age <= OLDEST:
        fields["age"] = int(age)
    custom = {
        name: kept
        for name in config.profile_attributes
        if key_of(name) not in PERSONAL and (kept := privacy.scalar(properties.get(name))) is not None
    }
    if custom:
        fields["custom_attributes"] = custom
    return fields


def _moment(value: Any, config: MixpanelConfig) -> str | None:
    """``2026-01-31T12:00:00``, in the project's clock; what is no date is left out."""
    try:
        naive = datetime.fromisoformat(value) if type(value) is str else None
        if naive is None or not 2000 <= naive.year <= 2200:
            return None
        if naive.tzinfo is None:
            naive = naive.replace(tzinfo=config.zone_on(naive) if config.time_mode == "project" else UTC)
        return f"{naive.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
    except (ValueError, OverflowError):
        return None
