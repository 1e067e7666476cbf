"""What Mixpanel's cohort sync sends to a webhook, and what it makes of the answers.

https://docs.mixpanel.com/docs/cohort-sync/webhooks
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import httpx
import orjson
from msgspec import Struct

Action = Literal["members", "add_members", "remove_members"]
Verdict = Literal["success", "failure", "retry", "paused"]
Member = Mapping[str, Any]

PAGE = 1000
WAITS = (2.0, 4.0, 8.0, 16.0, 30.0)
"""Five more tries within 60 seconds."""
SNAPSHOT_SECONDS = 3 * 86_400.0
PAUSING = (400, 401, 403, 404)
SEEN = {"mixpanel_distinct_id": "$distinct_id", "email": "$email", "phone_number": "$phone", "first_name": "$name"}
"""Property names that real syncs have been seen to send instead of the documented ones."""


class Cohort(Struct, frozen=True, kw_only=True):
    """The cohort of a sync. ``spelling`` seen: as real syncs differ from the documents."""

    project_id: str = "1234567"
    id: str = "1000"
    name: str = "Loyal customers"
    description: str = "Loyal customers of the shop"
    spelling: Literal["documented", "seen"] = "documented"


class CohortAnswer(NamedTuple):
    """What Mixpanel makes of an answer: ``paused`` until a human resumes the sync, ``retry`` by itself.

    ``status`` is 0 where there was no answer; ``message`` is what its UI would show.
    """

    status: int
    verdict: Verdict
    message: str


async def send_cohort(
    url: str,
    auth: tuple[str, str] | None,
    action: Action,
    members: Sequence[Member],
    *,
    cohort: Cohort | None = None,
    session_id: str = "session-1",
    page: int = 1,
    pages: int = 1,
    client: httpx.AsyncClient | None = None,
) -> CohortAnswer:
    """Send one call of a sync: ``page`` of ``pages``, counted from 1. Nothing is tried again."""
    body = payload(cohort or Cohort(), action, members, session_id, page, pages)
    basic = None if auth is None else httpx.BasicAuth(*auth)
    try:
        if client is not None:
            answer = await client.post(url, json=body, auth=basic or httpx.USE_CLIENT_DEFAULT)
        else:
            async with httpx.AsyncClient(timeout=30) as own:
                answer = await own.post(url, json=body, auth=basic or httpx.USE_CLIENT_DEFAULT)
    except httpx.TransportError as error:
        return CohortAnswer(0, "retry", type(error).__name__)
    return judged(answer.status_code, answer.content, action)


def payload(
    cohort: Cohort, action: Action, members: Sequence[Member], session_id: str, page: int, pages: int
) -> dict[str, Any]:
    """The body of one call."""
    parameters: dict[str, Any] = {
        "mixpanel_project_id": cohort.project_id,
        "mixpanel_cohort_name": cohort.name,
        "mixpanel_cohort_id": cohort.id,
        "mixpanel_cohort_description": cohort.description,
        "mixpanel_session_id": session_id,
    }
    if cohort.spelling == "documented":
        parameters |= {"page_info": {"total_pages": pages, "page_count": page}, "members": list(members)}
        return {"action": action, "parameters": parameters}
    listed = [{SEEN.get(name, name): value for name, value in one.items() if name != "last_name"} for one in members]
    parameters |= {"mixpanel_integration_id": "42", "members": listed}
    return {"action": action, "parameters": parameters, "members": listed}


def judged(status: int, body: bytes, action: Action) -> CohortAnswer:
    """What Mixpanel makes of an answer."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    said: dict[str, Any] = found if isinstance(found, dict) else {}
    error = said.get("error")
    message = str(error.get("message", "")) if isinstance(error, dict) else ""
    if status in PAUSING:
        return CohortAnswer(status, "paused", message)
    if status == 429 or status >= 500:
        return CohortAnswer(status, "retry", message)
    if status == 200 and said.get("action") == action and said.get("status") == "success":
        return CohortAnswer(status, "success", message)
    return CohortAnswer(status, "failure", message or "the answer is not of the documented form")


class CohortSync:
    """A recurring sync of one cohort to one webhook. ``paused`` after an answer that is not transient."""

    def __init__(
        self,
        url: str,
        auth: tuple[str, str] | None,
        cohort: Cohort | None = None,
        *,
        page_size: int = PAGE,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.paused = False
        self.answers: list[CohortAnswer] = []
        self._to = (url, auth)
        self._cohort = cohort or Cohort()
        self._page_size = page_size
        self._sleep = sleep
        self._client = client
        self._snapshot: dict[str, Member] | None = None
        self._at = 0.0

    async def run(self, members: Sequence[Member], now: float) -> bool:
        """One run at ``now`` (s), which Mixpanel does every 30 minutes; whether it succeeded.

        All members are sent when there is no snapshot of a success younger than three days, else what changed.
        """
        if self.paused:
            return False
        current = {str(one["mixpanel_distinct_id"]): one for one in members}
        held = self._snapshot
        if held is None or now - self._at > SNAPSHOT_SECONDS:
            done = await self._send("members", list(current.values()))
        else:
            added = [one for key, one in current.items() if key not in held]
            removed = [one for key, one in held.items() if key not in current]
            done = await self._send("add_members", added) and await self._send("remove_members", removed)
        if done:
            self._snapshot, self._at = current, now
        return done

    def resume(self) -> None:
        """What a human does after a pause."""
        self.paused = False

    async def _send(self, action: Action, members: Sequence[Member]) -> bool:
        """Send all pages, an empty one where there is nobody; whether each succeeded."""
        size, session = self._page_size, secrets.token_hex(8)
        pages = max(1, -(-len(members) // size))
        for page in range(1, pages + 1):
            some = members[(page - 1) * size : page * size]
            if not await self._send_page(action, some, session, page, pages):
                return False
        return True

    async def _send_page(self, action: Action, members: Sequence[Member], session: str, page: int, pages: int) -> bool:
        for wait in (*WAITS, None):
            answer = await send_cohort(
                *self._to,
                action,
                members,
                cohort=self._cohort,
                session_id=session,
                page=page,
                pages=pages,
                client=self._client,
            )
            self.answers.append(answer)
            if answer.verdict != "retry":
                self.paused = answer.verdict == "paused"
                return answer.verdict == "success"
            if wait is not None:
                await self._sleep(wait)
        return False


def member(user: str | int, **more: Any) -> dict[str, Any]:
    """A member as documented, with further properties."""
    name = str(user)
    return {
        "email": f"{name}@shop.example",
        "mixpanel_distinct_id": user,
        "first_name": "First",
        "last_name": name,
        "phone_number": "555-123-45678",
        **more,
    }
