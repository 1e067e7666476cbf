"""User profiles: https://developer.mixpanel.com/reference/engage-query, each as one part of a Miso user.

Increments by ``$last_seen``, and all of them once a week, as updates from servers need not move it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from misoflow import Effect, Event, Page, Reject, Retry, Skip, Slice, User, merge, privacy, values

from misoflow_mixpanel.client import Forbidden, NotInPlan
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.identity import DEVICE, is_user_id, safe_id, usable
from misoflow_mixpanel.pull import Project

if TYPE_CHECKING:
    from misoflow_mixpanel.connector import Mixpanel

log = logging.getLogger("misoflow.mixpanel")

SOURCE = "profile"
FULL = timedelta(days=7)
LARGE_PAGE = 5000
"""Not documented, but it saves most of the 60 calls an hour where it is heeded."""
UNEXPECTED = "Mixpanel's list of profiles is not what its documentation says"
OVERLAP = timedelta(hours=2)
OLDEST = 150
FIELDS = {"$city": "city", "$region": "state", "$country_code": "country"}
TIMES = {"$created": "created_at", "$last_seen": "updated_at"}


class Sweep(msgspec.Struct):
    """A list of profiles that is under way: how far it is read, and of when it is (ms)."""

    now: int
    whole: bool
    session: str = ""
    large: bool = True
    """Whether ``page_size`` is sent; pages are counted in it."""
    page: int = 0
    """The next one."""
    total: int = 0
    read: int = 0


class Cursor(msgspec.Struct, omit_defaults=True):
    """How far the profiles are: times of the last whole list and of the last run, in ms; 0: there was none."""

    full: int = 0
    since: int = 0
    sweep: Sweep | None = None

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


async def pull(connector: Mixpanel, part: Slice) -> AsyncIterator[Page]:
    """All profiles, or those seen since the last run. Each page moves the cursor: a run is taken up where it broke."""
    saved = await connector.state.get("project")
    project = msgspec.json.decode(saved, type=Project) if saved else Project()
    done = msgspec.json.decode(part.cursor, type=Cursor) if part.cursor else Cursor()
    try:
        async for page in _Run(connector, project, done).pages(int(part.end.timestamp() * 1000)):
            yield page
    except NotInPlan as error:
        log.warning("no profiles: %s; change the plan, or set profiles = false", error.reason)
        yield Page([], part.cursor)
    except Forbidden as error:
        # this API alone is closed to the account, and events go on
        raise Reject(f"{error.reason}; {error.fix}, or set profiles = false") from None


class _Run:
    """One run: a list from its first page on, or the rest of one that broke off."""

    def __init__(self, connector: Mixpanel, project: Project, done: Cursor) -> None:
        self._client = connector.client
        self._config = connector.config
        self._done = done
        self._mode = project.mode or connector.config.time_mode
        self._known = {"mode": self._mode, "merge": project.merge} if project.merge else {"mode": self._mode}

    async def pages(self, now: int) -> AsyncIterator[Page]:
        full, since = self._done.full, self._done.since
        sweep, rows = await self._rest() or await self._first(Sweep(now, now - full >= FULL.total_seconds() * 1000))
        while True:
            sweep.page += 1
            sweep.read += len(rows)
            found = [self._event(row, sweep.now) for row in rows]
            if sweep.read >= sweep.total:
                yield Page(found, Cursor(sweep.now if sweep.whole else full, sweep.now).text())
                return
            if not rows:
                raise Retry(f"Mixpanel's list of profiles ended after {sweep.read} of {sweep.total}")
            yield Page(found, Cursor(full, since, sweep).text())
            rows = _rows(await self._ask(sweep))

    async def _rest(self) -> tuple[Sweep, list[Any]] | None:
        """The next page of a list that broke off; None when there is none, or Mixpanel has forgotten it."""
        sweep = self._done.sweep
        if sweep is None:
            return None
        try:
            rows = _rows(await self._ask(sweep))
        except NotInPlan:
            raise
        except Reject:
            return None
        return (sweep, rows) if rows else None

    async def _first(self, sweep: Sweep) -> tuple[Sweep, list[Any]]:
        """The first page, which alone says for sure how many there are; a large one where Mixpanel gives it."""
        try:
            answer = await self._ask(sweep)
        except NotInPlan:
            raise
        except (Reject, Retry) as error:
            if isinstance(error, Retry) and not error.outcome_unknown:
                raise
            sweep.large = False
            answer = await self._ask(sweep)
        if not isinstance(answer, dict) or not isinstance(answer.get("total"), int):
            raise Retry(UNEXPECTED)
        sweep.total, sweep.session = answer["total"], str(answer.get("session_id") or "")
        return sweep, _rows(answer)

    async def _ask(self, sweep: Sweep) -> Any:
        form = {"include_all_users": "false", "output_properties": json.dumps(_wanted(self._config))}
        if not sweep.whole:
            form["where"] = f'properties["$last_seen"] >= "{self._last_seen()}"'
        if sweep.large:
            form["page_size"] = str(LARGE_PAGE)
        if sweep.page:
            form |= {"page": str(sweep.page), "session_id": sweep.session}
        return await self._client.query("/api/query/engage", form)

    def _last_seen(self) -> str:
        """When the last run was, in the project's clock, and a little earlier."""
        moment = datetime.fromtimestamp(self._done.since / 1000, UTC) - OVERLAP
        if self._mode == "project":
            moment = moment.astimezone(self._config.zone_on(moment.replace(tzinfo=None)))
        return f"{moment:%Y-%m-%dT%H:%M:%S}"

    def _event(self, row: Any, run: int) -> Event:
        """A profile as of this run: one that is what it was two runs ago may have been another in between."""
        row = row if isinstance(row, dict) else {}
        data = {"id": str(row.get("$distinct_id") or ""), "properties": row.get("$properties") or {}}
        key = hashlib.blake2b(msgspec.json.encode(data, order="deterministic"), digest_size=16).hexdigest()
        return Event(f"profile:{run}:{key}", "profile", {**data, **self._known})


def _rows(answer: Any) -> list[Any]:
    rows = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise Retry(UNEXPECTED)
    return rows


def _wanted(config: MixpanelConfig) -> list[str]:
    own = [config.user_id_property] if config.user_id_property else []
    return [*FIELDS, *TIMES, "gender", "Gender", "age", *config.profile_attributes, *own]


def translated(config: MixpanelConfig, event: Event) -> list[Effect]:
    """The profile as one part of its user; other sources of the same user keep theirs."""
    properties = event.data["properties"]
    if not isinstance(properties, dict):
        raise Reject("the profile has no properties", "$.properties")
    user = usable(properties.get(config.user_id_property)) if config.user_id_property else ""
    named = bool(user)
    user = user or usable(event.data["id"])
    if (why := visitor(event.data.get("merge", config.id_merge), user, named=named)) is not None:
        return [why]
    user = safe_id(user, config.hash_ids, config.id_salt.get_secret_value())
    version = int(event.received_at.timestamp() * 1000) if event.received_at is not None else 0
    return [
        merge(
            user,
            SOURCE,
            User(user_id=user, **_fields(config, properties, event.data.get("mode", config.time_mode))),
            version=version,
        )
    ]


def visitor(merge_system: str, user: str, *, named: bool) -> Skip | None:
    """Why an id is no user's; ``named``: it comes from the property with users' ids. None: it is a user's."""
    if not user or user.startswith(DEVICE):
        return Skip("a visitor without a user id")
    if not named and merge_system == "original" and not is_user_id(user):
        return Skip("the id is a device's; set user_id_property to the property with the user's id")
    return None


def _fields(config: MixpanelConfig, properties: dict[str, Any], mode: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if (text := privacy.text_of(properties.get(name), 256)) is not None:
            fields[field] = text
    for name, field in TIMES.items():
        if (moment := _moment(properties.get(name), config, mode)) is not None:
            fields[field] = moment
    if (gender := privacy.text_of(properties.get("gender") or properties.get("Gender"), 64)) is not None:
        fields["gender"] = gender
    age = values.number_of(properties.get("age"))
    if age is not None and 0 < age <= OLDEST:
        fields["age"] = int(age)
    custom = {
        name: kept for name in config.profile_attributes if (kept := privacy.scalar(properties.get(name))) is not None
    }
    if custom:
        fields["custom_attributes"] = custom
    return fields


def _moment(value: Any, config: MixpanelConfig, mode: str) -> str | None:
    """``2026-01-31T12:00:00``, in the project's clock; what is no date is left out."""
    try:
        naive = datetime.fromisoformat(value) if type(value) is str else None
        if naive is None or not 2000 <= naive.year <= 2200:
            return None
        if naive.tzinfo is None:
            naive = naive.replace(tzinfo=config.zone_on(naive) if mode == "project" else UTC)
        return f"{naive.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
    except (ValueError, OverflowError):
        return None
