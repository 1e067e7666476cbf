"""The small query endpoints, request by request, as cassettes hold them.

They are made against the stand-in, never against a project; ``MISOFLOW_RECORD=1`` before pytest makes them anew.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import vcr
import yaml
from misoflow import Slice
from misoflow.budget import Unmetered
from misoflow.http import Http
from misoflow_mixpanel import Mixpanel
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.profiles import Cursor
from misoflow_mixpanel.suggesting import _names
from misoflow_sandbox.mixpanel import MixpanelWorld, Options, served_mixpanel

RECORD = bool(os.environ.get("MISOFLOW_RECORD"))
FOLDER = Path(__file__).parent / "cassettes"
NAMES = ("engage", "engage_since", "cohorts_list", "events_names")
HOST = "https://eu.mixpanel.com"
WORLD = MixpanelWorld(days=3, users=12, events_per_day=20, region="eu")
END = datetime(2026, 10, 1, tzinfo=UTC)
SCRUBBED = "1"


def _request(request: Any) -> Any:
    """As it would go to Mixpanel, without what belongs to an account."""
    request.uri = re.sub(r"^http://127\.0\.0\.1:\d+", HOST, request.uri)
    return request


def _response(response: Any) -> Any:
    body = json.loads(response["body"]["string"])
    for one in body if isinstance(body, list) else []:
        if isinstance(one, dict) and "project_id" in one:
            one["project_id"] = int(SCRUBBED)
    response["body"]["string"] = json.dumps(body).encode()
    response["headers"] = {"content-type": ["application/json"], "date": response["headers"]["date"]}
    return response


RECORDER = vcr.VCR(
    cassette_library_dir=str(FOLDER),
    record_mode="all" if RECORD else "none",
    match_on=("method", "scheme", "host", "path", "query", "body"),
    filter_headers=["authorization", "host", "user-agent"],
    filter_query_parameters=[("project_id", SCRUBBED)],
    before_record_request=_request,
    before_record_response=_response,
)


class NoState:
    async def get(self, name: str) -> bytes | None:
        return None

    async def put(self, name: str, value: bytes | None, *, expected: bytes | None) -> bool:
        return True


@contextlib.asynccontextmanager
async def replayed(name: str) -> AsyncIterator[Mixpanel]:
    """A connector whose calls are answered by a cassette, every one of which has to be played."""
    async with contextlib.AsyncExitStack() as stack:
        url = ""
        if RECORD:
            (FOLDER / f"{name}.yaml").unlink(missing_ok=True)
            options = Options(limits="off", page_size=5, largest_page=5)
            url = (await stack.enter_async_context(served_mixpanel(WORLD, options))).url
        settings = {"project_id": WORLD.project_id, "username": WORLD.username, "secret": WORLD.secret}
        config = MixpanelConfig.model_validate(
            {**settings, "region": "eu", "api_url": url, "profile_attributes": ["Plan"]}
        )
        connector = Mixpanel(config)
        connector.http, connector.budget, connector.state = Http(), Unmetered(), NoState()
        stack.push_async_callback(connector.http.close)
        tape = stack.enter_context(RECORDER.use_cassette(f"{name}.yaml"))
        yield connector
        assert RECORD or tape.all_played


async def profiles(connector: Mixpanel, cursor: str | None) -> tuple[list[str], str | None]:
    part = Slice("profiles", END - timedelta(days=1), END, cursor)
    found = [page async for page in connector.backfill(part)]
    return [event.data["id"] for page in found for event in page.events], found[-1].cursor


async def test_all_profiles() -> None:
    async with replayed("engage") as connector:
        ids, cursor = await profiles(connector, None)
        assert (await profiles(connector, cursor))[0] == [], "nobody came since"
    assert len(ids) == 13
    assert {"user-0", "4711"} <= set(ids)
    now = int(END.timestamp() * 1000)
    assert json.loads(cursor or "") == {"full": now, "since": now}


async def test_profiles_seen_since() -> None:
    then = int((END - timedelta(days=1)).timestamp() * 1000)
    async with replayed("engage_since") as connector:
        ids, cursor = await profiles(
            connector, Cursor(then, int(datetime(2026, 9, 3, tzinfo=UTC).timestamp() * 1000)).text()
        )
    assert 0 < len(ids) < 13
    assert json.loads(cursor or "")["full"] == then


async def test_the_list_of_cohorts() -> None:
    async with replayed("cohorts_list") as connector:
        found = await connector.client.query("/api/query/cohorts/list", {})
    assert [one["name"] for one in found] == ["Loyal customers", "Newsletter readers", "Nobody"]


async def test_the_names_of_events() -> None:
    async with replayed("events_names") as connector:
        assert "Order Completed" in await _names(connector)


async def test_a_request_that_the_cassette_does_not_hold_is_no_request() -> None:
    if RECORD:
        return
    with pytest.raises(Exception, match=r"(?s)engage"):
        async with replayed("cohorts_list") as connector:
            await asyncio.wait_for(connector.client.query("/api/query/engage", {}), 5)


def recorded() -> Iterator[tuple[str, str, Any]]:
    """(cassette, its text, one exchange)."""
    for name in NAMES:
        text = (FOLDER / f"{name}.yaml").read_text()
        for exchange in yaml.safe_load(text)["interactions"]:
            yield name, text, exchange


def test_the_requests_are_as_documented() -> None:
    calls = {name: [] for name in NAMES}  # type: dict[str, list[Any]]
    for name, _, exchange in recorded():
        calls[name].append(exchange["request"])
    pages = [parse_qs(call["body"]) for call in calls["engage"]]
    assert [page.get("page") for page in pages] == [None, ["1"], ["2"], None]
    assert ["where" in page for page in pages] == [False, False, False, True]
    assert "session_id" not in pages[0] | pages[3]
    assert len({page["session_id"][0] for page in pages[1:3]}) == 1
    since = parse_qs(calls["engage_since"][0]["body"])["where"]
    assert since == ['properties["$last_seen"] >= "2026-09-02T22:00:00"']
    assert {call["method"] for call in calls["cohorts_list"]} == {"POST"}
    assert {call["method"] for call in calls["events_names"]} == {"GET"}
    for call in (one for many in calls.values() for one in many):
        assert call["headers"]["x-mixpanel-integration-id"] == ["miso"]


SECRETS = (
    WORLD.secret,
    WORLD.username,
    WORLD.project_secret,
    str(WORLD.project_id),
    base64.b64encode(f"{WORLD.username}:{WORLD.secret}".encode()).decode(),
)
PERSONAL = re.compile(
    r"authorization|\bbasic |\bbearer |cookie|set-cookie|[\w.+-]+@[\w-]+\.\w+|127\.0\.0\.1|localhost"
    r"|\$email|\$phone|\$name|\$first_name|\$last_name|\$avatar|\b\+?\d{3}[ -]\d{3}[ -]\d{4}\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", [path.name for path in sorted(FOLDER.iterdir())])
def test_a_cassette_holds_no_secret_and_nobodys_data(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not [secret for secret in SECRETS if secret in text]
    assert PERSONAL.findall(text) == []
    for exchange in yaml.safe_load(text)["interactions"]:
        assert exchange["request"]["uri"].startswith(HOST)
        assert re.findall(r"project_id=(\d+)", exchange["request"]["uri"]) == [SCRUBBED]


def test_every_cassette_is_used() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(NAMES)
