"""The query and app APIs: profiles, cohorts, event names and counts, the account, schemas, lookup tables.

https://developer.mixpanel.com/reference/query-api
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import orjson

from misoflow_sandbox.answers import Answer, answer
from misoflow_sandbox.mixpanel.events import Events
from misoflow_sandbox.mixpanel.people import COHORTS, Profile, cohorts, members, profiles, without_profile
from misoflow_sandbox.mixpanel.state import Call, Clock, Options, Refusal
from misoflow_sandbox.mixpanel.where import BadExpression, Expression
from misoflow_sandbox.mixpanel.world import MixpanelWorld

Params = Mapping[str, str]
SAMPLE = 2000
"""Rows of the first day with events that the property endpoints look at."""
DOMAINS = {"us": "mixpanel.com", "eu": "eu.mixpanel.com", "in": "in.mixpanel.com"}
NAMES_LIMIT, PROPERTIES_LIMIT = 255, 10
TABLE = "6f0e7b1c-52a9-4c0d-9f55-2d5a1c9b8e01"


class Queries:
    """Answers the calls of one world."""

    def __init__(self, world: MixpanelWorld, events: Events, options: Options, clock: Clock) -> None:
        self._world = world
        self._events = events
        self._options = options
        self._clock = clock
        self._sessions: dict[str, tuple[float, list[Profile]]] = {}

    def answer(self, segments: list[str], call: Call) -> Answer:
        """The answer of a call that was admitted. Raises Refusal."""
        routes: dict[tuple[str, ...], tuple[str, Callable[[Params], Any]]] = {
            ("query", "engage"): ("POST", self._engage),
            ("query", "cohorts", "list"): ("POST", self._cohorts),
            ("query", "events"): ("GET", self._counts),
            ("query", "events", "names"): ("GET", self._names),
            ("query", "events", "properties", "top"): ("GET", self._properties),
            ("query", "events", "properties", "values"): ("GET", self._values),
            ("app", "me"): ("GET", self._me),
            ("app", "projects", str(self._world.project_id), "schemas"): ("GET", self._schemas),
            ("app", "projects", str(self._world.project_id), "schemas", "event"): ("GET", self._schemas),
            ("lookup-tables",): ("GET", self._tables),
        }
        path = tuple(segments[1:] if segments[0] == "api" else segments)
        if path[:1] == ("2.0",):
            path = ("query", *path[1:])
        if path not in routes:
            raise Refusal(404, f"no such endpoint: {call.path}")
        method, handler = routes[path]
        if call.method != method:
            raise Refusal(405, "Method Not Allowed", {"Allow": method})
        found = handler(call.params)
        listed = found.get("results", []) if isinstance(found, dict) else found
        call.rows = len(listed)
        return answer(200, found)

    def _engage(self, params: Params) -> dict[str, Any]:
        """https://developer.mixpanel.com/reference/engage-query"""
        page = _whole(params, "page", 0)
        session = params.get("session_id")
        if page > 0 and session is None:
            raise Refusal(400, "session_id is required if page is above 0")
        now = self._clock.seconds()
        if session is None:
            session = secrets.token_hex(8)
            self._sessions[session] = (now, self._found(params))
        begun, found = self._sessions.get(session, (0.0, None))
        lasts = self._options.session_seconds
        if found is None or (lasts is not None and now - begun > lasts):
            raise Refusal(400, "request for page in uncached query for params")
        size = min(_whole(params, "page_size", self._options.page_size), self._options.largest_page)
        shown = found[page * size : (page + 1) * size]
        wanted = _texts(params, "output_properties")
        return {
            "page": page,
            "page_size": size,
            "results": [_shown(one, wanted) for one in shown],
            "session_id": session,
            "status": "ok",
            "total": len(found) if page == 0 else len(shown),
        }

    def _found(self, params: Params) -> list[Profile]:
        if "filter_by_cohort" in params and "behaviors" in params:
            raise Refusal(400, "filter_by_cohort and behaviors are mutually exclusive")
        found = profiles(self._world, params.get("data_group_id"))
        if "filter_by_cohort" in params:
            inside = set(members(self._world, _cohort(params["filter_by_cohort"])))
            everybody = params.get("include_all_users", "true").lower() != "false"
            bare = without_profile(self._world) if everybody else []
            found = [one for one in [*found, *bare] if str(one["$distinct_id"]) in inside]
        ids = _texts(params, "distinct_ids")
        if params.get("distinct_id") is not None:
            ids = [params["distinct_id"]]
        if ids is not None:
            found = [one for one in found if str(one["$distinct_id"]) in ids]
        if params.get("where"):
            try:
                where = Expression(params["where"])
            except BadExpression as error:
                raise Refusal(400, f"invalid where: {error}") from None
            found = [one for one in found if where(one["$properties"])]
        return found

    def _cohorts(self, params: Params) -> list[dict[str, Any]]:
        return cohorts(self._world)

    def _names(self, params: Params) -> list[str]:
        _one_of(params, "type", "general", "unique", "average")
        return self._events.names()[: _whole(params, "limit", NAMES_LIMIT)]

    def _counts(self, params: Params) -> dict[str, Any]:
        """Events per day, each counted once, as reports count them."""
        _one_of(params, "type", "general", "unique", "average")
        _one_of(params, "unit", "day")
        names = _texts(params, "event")
        if names is None:
            raise Refusal(400, "event is required")
        first, last = _day(params, "from_date"), _day(params, "to_date")
        most = self._options.history_days
        if most is not None and (self._world.today(self._clock.ms()) - first).days > most:
            raise Refusal(403, f"Date range exceeds {most} days into the past")
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        values: dict[str, dict[str, int]] = {name: {} for name in names}
        for day in days:
            visible = self._clock.ms() - self._world.visible_seconds * 1000
            seen = Counter(one.name for one in self._events.ledger(day) if one.processed_ms <= visible)
            for name in names:
                values[name][day.isoformat()] = seen[name]
        return {"data": {"series": [day.isoformat() for day in days], "values": values}, "legend_size": len(names)}

    def _sample(self, params: Params) -> Iterator[dict[str, Any]]:
        """Properties of some rows of an event."""
        name = params.get("event")
        if not name:
            raise Refusal(400, "event is required")
        left = SAMPLE
        for chunk in self._events.rows(self._world.start, self._clock.ms(), only={name}):
            for row in chunk[:left]:
                yield orjson.loads(row.line.replace(b"\\ud83d", b"?").replace(b"\\udc00", b"?"))["properties"]
            left -= min(left, len(chunk))
            if not left:
                return

    def _properties(self, params: Params) -> dict[str, dict[str, int]]:
        counts = Counter(name for properties in self._sample(params) for name in properties)
        return {name: {"count": n} for name, n in counts.most_common(_whole(params, "limit", PROPERTIES_LIMIT))}

    def _values(self, params: Params) -> list[str]:
        wanted = params.get("name")
        if not wanted:
            raise Refusal(400, "name is required")
        found = (properties.get(wanted) for properties in self._sample(params))
        counts = Counter(one if isinstance(one, str) else orjson.dumps(one).decode() for one in found if one)
        return [value for value, _ in counts.most_common(_whole(params, "limit", NAMES_LIMIT))]

    def _me(self, params: Params) -> dict[str, Any]:
        """https://developer.mixpanel.com/reference/service-accounts"""
        world = self._world
        project = {
            "name": "Shop",
            "organization_id": 1,
            "timezone": world.timezone,
            "domain": DOMAINS[world.region],
            "role": {"id": 2, "name": "analyst"},
        }
        account = {"user_id": 1, "user_email": f"{world.username}@serviceaccount.mixpanel.com"}
        return {"status": "ok", "results": {**account, "projects": {str(world.project_id): project}}}

    def _schemas(self, params: Params) -> dict[str, Any]:
        """https://developer.mixpanel.com/reference/list-all-schemas-for-project"""
        schema = {"properties": {"product_id": {"type": "string"}}, "metadata": {"com.mixpanel": {"hidden": False}}}
        names = [name for name in self._events.names() if not name.startswith("$")]
        return {"results": [{"entityType": "event", "name": name, "schemaJson": schema} for name in names]}

    def _tables(self, params: Params) -> dict[str, Any]:
        """https://developer.mixpanel.com/reference/list-lookup-tables"""
        return {"code": 200, "status": "OK", "results": [{"id": TABLE, "name": "Products"}]}


def _shown(one: Profile, wanted: list[str] | None) -> Profile:
    if wanted is None:
        return one
    return {**one, "$properties": {name: value for name, value in one["$properties"].items() if name in wanted}}


def _whole(params: Params, name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise Refusal(400, f"{name} must be a whole number")
    return int(text)


def _texts(params: Params, name: str) -> list[str] | None:
    text = params.get(name)
    if text is None:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list):
        raise Refusal(400, f"{name} must be a JSON array")
    return [str(one) for one in found]


def _one_of(params: Params, name: str, *allowed: str) -> None:
    if params.get(name) not in allowed:
        raise Refusal(400, f"{name} must be one of {', '.join(allowed)}")


def _day(params: Params, name: str) -> date:
    try:
        return date.fromisoformat(params.get(name, ""))
    except ValueError:
        raise Refusal(400, f"{name} is required, as yyyy-mm-dd") from None


def _cohort(text: str) -> int:
    try:
        found = orjson.loads(text)["id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        found = None
    if not isinstance(found, int) or found not in COHORTS:
        raise Refusal(400, "filter_by_cohort must be an object with the id of a cohort")
    return found
