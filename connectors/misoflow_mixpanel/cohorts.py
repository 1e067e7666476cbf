"""Cohort syncs: https://docs.mixpanel.com/docs/cohort-sync/webhooks.

Each cohort is one source of its members' records, with its name as the one item of the custom attribute; the
engine unites the cohorts of a user, and their profile, before the record is sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import msgspec
from misoflow import Effect, Event, Listing, Reject, Request, Route, Skip, Unauthorized, User, merge, privacy

from misoflow_mixpanel.config import Cohorts, MixpanelConfig
from misoflow_mixpanel.identity import safe_id, usable
from misoflow_mixpanel.profiles import visitor

PATH = "cohorts"
ROUTE = Route(PATH, max_body=10 * 1024 * 1024)
TOPIC = "cohort"
ALERT = "custom_alert_triggered"
ACTIONS = ("members", "add_members", "remove_members")
IDS = ("mixpanel_distinct_id", "$distinct_id", "distinct_id")
"""Documented, and seen in real syncs."""
MAX_HEADER = 4096
UNUSABLE = 422
"""Mixpanel shows the message; the answer itself stays a 200, because a 400 would stop the sync for good."""


class Doorkeeper:
    """Basic auth with any of the webhook's passwords; made once, so that nothing can go wrong at the door."""

    def __init__(self, config: Cohorts | None) -> None:
        self._expected = [] if config is None else [_basic(config, n).encode() for n in range(len(config.passwords))]

    def check(self, header: str) -> None:
        """Raises Unauthorized. All passwords are compared, each in constant time."""
        scheme, _, token = header.strip()[:MAX_HEADER].partition(" ")
        given = token.strip().encode("utf-8", "replace")
        found = False
        for expected in self._expected:
            found |= hmac.compare_digest(given, expected)
        if not found or scheme.lower() != "basic":
            raise Unauthorized("the cohort webhook's user name or password is wrong")


def _basic(config: Cohorts, number: int) -> str:
    pair = f"{config.user}:{config.passwords[number].get_secret_value()}"
    return base64.b64encode(pair.encode()).decode()


def events(config: MixpanelConfig, request: Request) -> Iterator[Event]:
    """One event for each member, then one for the page of a complete list. Reject: it is no call of a sync."""
    body = request.json()
    if isinstance(body, dict) and body.get("event_type") == ALERT:
        yield Event(f"alert:{_digest(request.body)}", TOPIC, {"alert": True})
        return
    call = _Call(config, body, request)
    for index, member in enumerate(call.members):
        user, named = _id_of(config, member)
        key = f"{call.key}/{user}" if user else f"{call.key}/{call.page}/{index}"
        data = {"action": call.action, "cohort": call.cohort, "run": call.run}
        data |= {"user": user, "named": named, "index": index}
        yield Event(f"cohort:{_digest(key.encode())}", TOPIC, data)
    if call.action == "members":
        key = f"{call.key}/page {call.page} of {call.pages}"
        data = {"cohort": call.cohort, "run": call.run, "page": call.page, "pages": call.pages}
        yield Event(f"cohort:{_digest(key.encode())}", TOPIC, data)


class _Call:
    """One call of a sync, read tolerantly. Reject when it is none, or belongs to another project."""

    def __init__(self, config: MixpanelConfig, body: Any, request: Request) -> None:
        parameters = body.get("parameters") if isinstance(body, dict) else None
        if not isinstance(parameters, dict):
            raise Reject("the delivery is no call of a Mixpanel cohort sync", "$.parameters")
        self.action = body.get("action")
        if self.action not in ACTIONS:
            raise Reject("the cohort sync asks for an unknown action", "$.action")
        project = parameters.get("mixpanel_project_id")
        if str(project or config.project_id) != str(config.project_id):
            raise Reject(
                f"the cohort is of another project than {config.project_id}", "$.parameters.mixpanel_project_id"
            )
        members = parameters.get("members", body.get("members"))
        if not isinstance(members, list):
            raise Reject("the cohort sync has no list of members", "$.parameters.members")
        self.members: list[Any] = members
        cohort = str(parameters.get("mixpanel_cohort_id") or "")
        name = privacy.text_of(str(parameters.get("mixpanel_cohort_name") or ""), 256) or cohort
        if not name:
            raise Reject("the cohort sync names no cohort", "$.parameters.mixpanel_cohort_id")
        self.cohort = {"id": cohort or name, "name": name}
        self.page, self.pages = _paging(parameters.get("page_info"))
        # without a session each call is a sync of its own, told apart by when it came
        received = request.received_at.isoformat() if request.received_at is not None else ""
        self.run = str(parameters.get("mixpanel_session_id") or f"{received}/{_digest(request.body)}")
        self.key = f"{self.action}/{self.cohort['id']}/{self.run}"


def _paging(info: Any) -> tuple[int, int]:
    """(page from 1, pages). Syncs without ``page_info`` have been seen: they are one page."""
    page, pages = (info.get("page_count"), info.get("total_pages")) if isinstance(info, dict) else (None, None)
    if type(page) is int and type(pages) is int and 1 <= page <= pages:
        return page, pages
    if page is None and pages is None:
        return 1, 1
    raise Reject("the cohort sync's page is none of its pages", "$.parameters.page_info")


def _id_of(config: MixpanelConfig, member: Any) -> tuple[str, bool]:
    """The member's id and whether it is from ``user_id_property``; "": none. Nothing else of a member is kept."""
    if not isinstance(member, dict):
        return "", False
    own = usable(member.get(config.user_id_property)) if config.user_id_property else ""
    return own or next((found for name in IDS if (found := usable(member.get(name)))), ""), bool(own)


def _digest(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def translated(config: MixpanelConfig, event: Event) -> list[Effect]:
    """A member's place in (or out of) one cohort, or the end of one page of a list."""
    data = event.data
    if "alert" in data:
        return [Skip("an alert carries sums only")]
    cohort = data["cohort"]
    source = f"cohort:{cohort['id']}"
    if "page" in data:
        return [Listing(source, data["run"], data["page"], data["pages"])]
    if not data["user"]:
        raise Reject("the member has no usable id", f"$.parameters.members[{data['index']}]")
    if (why := visitor(config.id_merge, data["user"], named=data["named"])) is not None:
        return [why]
    assert config.cohorts is not None
    user = safe_id(data["user"], config.hash_ids, config.id_salt.get_secret_value())
    attribute = config.cohorts.attribute
    field = f"custom_attributes.{attribute}"
    version = int(event.received_at.timestamp() * 1000) if event.received_at is not None else 0
    if data["action"] == "remove_members":
        return [merge(user, source, User(user_id=user), version=version, remove=(field,), unite=(field,), listing="")]
    label = cohort["id"] if config.cohorts.identify_by == "id" else cohort["name"]
    part = User(user_id=user, custom_attributes={attribute: [label]})
    listing = data["run"] if data["action"] == "members" else ""
    return [merge(user, source, part, version=version, unite=(field,), listing=listing)]


def answer(config: MixpanelConfig, request: Request) -> dict[str, Any]:
    """What Mixpanel wants to read. A call that cannot be used is a failure whose message it shows to people."""
    try:
        body = request.json()
        if isinstance(body, dict) and body.get("event_type") == ALERT:
            return {"status": "success"}
        return {"action": _Call(config, body, request).action, "status": "success"}
    except Reject as error:
        action = _action(request)
        return {"action": action, "status": "failure", "error": {"message": error.reason, "code": UNUSABLE}}


def _action(request: Request) -> str:
    """The action to be echoed, as far as it can be read."""
    try:
        return str(request.json()["action"])[:64]
    except (Reject, LookupError, TypeError):
        return ""


def sample(config: MixpanelConfig) -> Request:
    """A call with the webhook's own credentials. LookupError where cohorts are not taken."""
    if config.cohorts is None:
        raise LookupError(TOPIC)
    body = {
        "action": "add_members",
        "parameters": {
            "mixpanel_project_id": str(config.project_id),
            "mixpanel_cohort_name": "Loyal customers",
            "mixpanel_cohort_id": "1000",
            "mixpanel_cohort_description": "",
            "mixpanel_session_id": "sample",
            "page_info": {"total_pages": 1, "page_count": 1},
            "members": [{"mixpanel_distinct_id": "user-1"}],
        },
    }
    headers = {"content-type": "application/json", "authorization": f"Basic {_basic(config.cohorts, 0)}"}
    return Request(msgspec.json.encode(body), headers, ROUTE.channel, PATH)
