"""What Mixpanel's cohort sync sends, and what it makes of answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from misoflow_sandbox.mixpanel.cohort import Cohort, CohortSync, member, send_cohort


class Hook:
    """A webhook that answers as told, or else as documented."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        assert request.headers["authorization"] == "Basic bWlzbzpob29r"
        told = self.answers.pop(0) if self.answers else 200
        if told == "down":
            raise httpx.ConnectError("down")
        if told == "failure":
            error = {"message": "no such cohort", "code": 422}
            return httpx.Response(200, json={"action": body["action"], "status": "failure", "error": error})
        if told == "other":
            return httpx.Response(200, json={"action": "ping", "status": "success"})
        return httpx.Response(int(told), json={"action": body["action"], "status": "success"})


AUTH = ("miso", "hook")


@pytest.mark.parametrize(
    ("told", "verdict"),
    [(200, "success"), ("failure", "failure"), ("other", "failure"), (204, "failure"), ("down", "retry")]
    + [(status, "retry") for status in (429, 500, 503)]
    + [(status, "paused") for status in (400, 401, 403, 404)],
)
async def test_what_mixpanel_makes_of_an_answer(told: int | str, verdict: str) -> None:
    hook = Hook(told)
    answer = await send_cohort("http://hook", AUTH, "members", [member("u1")], client=hook.client)
    assert answer.verdict == verdict
    assert answer.message == "no such cohort" or told != "failure"


async def test_the_two_spellings_of_a_cohort_call() -> None:
    hook = Hook()
    for spelling in ("documented", "seen"):
        cohort = Cohort(spelling=spelling)
        await send_cohort(
            "http://hook", AUTH, "add_members", [member(7)], cohort=cohort, page=2, pages=3, client=hook.client
        )
    documented, seen = hook.bodies
    parameters = documented["parameters"]
    assert documented.keys() == {"action", "parameters"}
    assert parameters["page_info"] == {"total_pages": 3, "page_count": 2}
    assert parameters["members"][0]["mixpanel_distinct_id"] == 7
    assert "page_info" not in seen["parameters"]
    assert seen["members"] == seen["parameters"]["members"]
    assert seen["members"][0].keys() == {"$distinct_id", "$email", "$phone", "$name"}


async def test_a_sync_sends_all_then_what_changed() -> None:
    hook = Hook()
    sync = CohortSync("http://hook", AUTH, page_size=2, client=hook.client)
    people = {name: member(name) for name in "abcdef"}
    assert await sync.run([people[name] for name in "abcde"], now=0)
    assert await sync.run([people[name] for name in "aceef"], now=1800)
    assert await sync.run([people[name] for name in "aceef"], now=3600)
    assert await sync.run([people["a"]], now=3600 + 4 * 86_400)
    said = [
        (body["action"], "".join(one["mixpanel_distinct_id"] for one in body["parameters"]["members"]))
        for body in hook.bodies
    ]
    assert said == [
        *(("members", "ab"), ("members", "cd"), ("members", "e")),
        *(("add_members", "f"), ("remove_members", "bd")),
        *(("add_members", ""), ("remove_members", "")),
        ("members", "a"),
    ]
    sessions = [body["parameters"]["mixpanel_session_id"] for body in hook.bodies]
    assert len(set(sessions[:3])) == 1
    assert len(set(sessions)) == 6


async def test_a_sync_tries_again_then_waits_and_pauses() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    hook = Hook(503, "down", 200, *[429] * 6, 404)
    sync = CohortSync("http://hook", AUTH, sleep=sleep, client=hook.client)
    assert await sync.run([member("a")], now=0)
    assert not await sync.run([member("b")], now=1800)
    assert sum(waits[2:]) == 60
    assert not await sync.run([member("b")], now=3600)
    assert sync.paused
    assert hook.bodies[-1]["action"] == "add_members", "the difference to the last success again"
    n = len(hook.bodies)
    assert not await sync.run([member("b")], now=5400)
    assert len(hook.bodies) == n
    sync.resume()
    assert await sync.run([member("b")], now=7200)
