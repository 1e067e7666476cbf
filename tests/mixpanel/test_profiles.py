"""User profiles: all of them, what changed since, what is left out, and lists that do not come whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from misoflow import Event
from misoflow.control import call
from misoflow_mixpanel import Mixpanel
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.pull import Project
from misoflow_sandbox.faults import Match
from misoflow_sandbox.mixpanel import Action, MixpanelSandbox, MixpanelWorld, Options, Rule
from misoflow_sandbox.serving import served

from tests.core.site import site
from tests.mixpanel.kit import Mix, audited, long_after

ENGAGE = "/api/query/engage"
SETTINGS = """
[instances.mix]
connector = "mixpanel"
project_id = {world.project_id}
username = "{world.username}"
secret = "{world.secret}"
api_url = "{url}"
profile_attributes = ["Plan", "Lifetime Value", "Newsletter", "Sizes"]
{more}
"""
WORLD = MixpanelWorld(days=10, events_per_day=20, users=60)
USERS = 60 - 6 + 1
"""Every tenth has no profile, and one has a number for an id; the visitor's is left out."""


@contextlib.asynccontextmanager
async def people(tmp_path: Path, more: str = "", world: MixpanelWorld = WORLD, **options: Any) -> AsyncIterator[Mix]:
    sandbox = MixpanelSandbox(world, Options(now=long_after(world) / 1000, limits="off", **{"page_size": 10} | options))
    sandbox.options.largest_page = sandbox.options.page_size
    with served(sandbox, date_header=False) as url:
        async with site(tmp_path, more=SETTINGS.format(world=world, url=url, more=more)) as made:
            yield Mix(made, sandbox)


def pages(m: Mix) -> list[str]:
    return [call.params.get("page", "0") for call in m.calls(ENGAGE)]


async def test_all_profiles_become_users_and_nothing_personal_leaves(tmp_path: Path) -> None:
    async with people(tmp_path) as m:
        rows = await m.start(streams=["profiles"])
        audited(rows)
        assert rows[0]["read"] == USERS + 1
        counts = m.site.counts("mix")
        assert (counts["delivered"], counts["skipped"]) == (USERS, 1)
        users = m.site.users()
        assert len(users) == USERS
        custom = users["user-2"].pop("custom_attributes")
        assert float(custom.pop("Lifetime Value")) == 3
        assert custom == {"Plan": "team", "Newsletter": True, "Sizes": ["M", "L"]}
        assert users["user-2"] == {
            "user_id": "user-2",
            "created_at": users["user-2"]["created_at"],
            "updated_at": users["user-2"]["updated_at"],
            "city": "Berlin",
            "state": "Land Berlin",
            "country": "DE",
            "gender": "female",
            "age": 22,
        }
        assert "created_at" not in users["4711"], "the year 53895 is no date"
        assert users["user-2"]["created_at"].endswith("T11:20:47.000Z")
        text = json.dumps(users)
        assert not [word for word in ("@", "First", "Neil") if word in text]
        call = m.calls(ENGAGE)[0]
        assert call.params["include_all_users"] == "false"
        assert "data_group_id" not in call.params, "groups are no users"
        assert "$email" not in json.dumps(users)


async def test_an_attribute_keeps_one_type(tmp_path: Path) -> None:
    """Three profiles say "unknown" where the others have a number; which comes first is left to chance."""
    async with people(tmp_path) as m:
        audited(await m.start(streams=["profiles"]))
        held = {user: record.get("custom_attributes", {}) for user, record in m.site.users().items()}
        values = {user: custom["Lifetime Value"] for user, custom in held.items() if "Lifetime Value" in custom}
        assert len({type(value) for value in values.values()} - {int, float}) <= 1
        assert len({isinstance(value, str) for value in values.values()}) == 1
        assert float(values["user-4"]) == 6
        assert values.get("user-3", "unknown") == "unknown"


async def test_then_only_what_was_seen_since_and_all_once_a_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with people(tmp_path, page_size=1000) as m:
        backfills = m.site.engine.backfills
        start = datetime(2026, 9, 4, 12, tzinfo=UTC).timestamp() * 1000
        reads = []
        for days in (0, 1, 6.9, 7.1, 8):
            monkeypatch.setattr(backfills, "now", lambda days=days: int(start + days * 86_400_000))
            rows = await m.start(streams=["profiles"])
            audited(rows)
            reads.append(rows[-1]["read"])
        where = [call.params.get("where") for call in m.calls(ENGAGE)]
        seen = 'properties["$last_seen"] >= "2026-09-{}"'
        assert where == [None, seen.format("04T10:00:00"), seen.format("05T10:00:00"), None, seen.format("11T12:24:00")]
        assert reads[0] == reads[3] == USERS + 1
        assert 0 < reads[1] < USERS
        assert m.site.counts("mix")["accepted"] == sum(reads)
        uploads = await m.site.engine.store.run(lambda tx: tx.one("SELECT sum(n) FROM batches WHERE kind='users'"))
        assert uploads == USERS, "what has not changed is not sent again"


async def test_a_profile_that_changes_back_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with people(tmp_path, page_size=1000) as m:
        plan = "gold"

        def found(world: MixpanelWorld, group: str | None = None) -> list[dict[str, Any]]:
            return [{"$distinct_id": "ann", "$properties": {"Plan": plan, "$last_seen": "2030-01-01T00:00:00"}}]

        monkeypatch.setattr("misoflow_sandbox.mixpanel.query.profiles", found)
        for plan in ("gold", "free", "gold"):
            audited(await m.start(streams=["profiles"]))
            await m.site.until(lambda plan=plan: m.site.users()["ann"]["custom_attributes"] == {"Plan": plan})


@pytest.mark.parametrize(
    "fault", [Action(status=503), Action(status=429, headers={"Retry-After": "0"}), Action(ends="cut")]
)
async def test_a_run_that_broke_off_goes_on_at_its_page(tmp_path: Path, fault: Action) -> None:
    async with people(tmp_path) as m:
        m.fault(Rule(fault, Match(path=ENGAGE), after=3, times=1))
        audited(await m.start(streams=["profiles"]))
        assert pages(m) == ["0", "1", "2", "3", "3", "4", "5"]
        assert m.site.counts("mix")["accepted"] == USERS + 1
        assert len(m.site.users()) == USERS


async def test_a_list_that_mixpanel_has_forgotten_is_begun_anew(tmp_path: Path) -> None:
    async with people(tmp_path) as m:
        m.fault(Rule(Action(status=503), Match(path=ENGAGE), after=3, times=1))
        gone = Action(status=400, body={"error": "request for page in uncached query for params"})
        m.fault(Rule(gone, Match(path=ENGAGE), after=3, times=1))
        audited(await m.start(streams=["profiles"]))
        assert pages(m) == ["0", "1", "2", "3", "3", "0", "1", "2", "3", "4", "5"]
        assert len(m.site.users()) == USERS


async def test_a_list_shorter_than_its_total_is_not_taken_for_whole(tmp_path: Path) -> None:
    async with people(tmp_path) as m:
        empty = Action(status=200, body={"page": 3, "page_size": 10, "results": [], "status": "ok", "total": 55})
        m.fault(Rule(empty, Match(path=ENGAGE), after=3, times=2))
        rows = await m.start(streams=["profiles"])
        audited(rows)
        assert rows[0]["attempts"] == 2
        assert pages(m) == ["0", "1", "2", "3", "3", "0", "1", "2", "3", "4", "5"]
        m.fault(Rule(empty, Match(path=ENGAGE), times=-1))
        rows = await m.start(streams=["profiles"])
        assert rows[-1]["state"] == "failed", "it is reported, not forgotten"
        assert "ended after" in rows[-1]["error"]


async def test_a_larger_page_is_not_insisted_on(tmp_path: Path) -> None:
    async with people(tmp_path) as m:
        m.fault(Rule(Action(status=400, body={"error": "page_size is too large"}), Match(path=ENGAGE), times=1))
        audited(await m.start(streams=["profiles"]))
        sizes = [call.params.get("page_size") for call in m.calls(ENGAGE)]
        assert sizes == ["5000", *[None] * 6]
        assert len(m.site.users()) == USERS


async def test_without_the_plan_or_the_role_events_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with people(tmp_path) as m:
        m.sandbox.change(no_plan=["query"])
        rows = await m.pull()
        audited(rows)
        assert m.site.counts("mix")["delivered"] > 50
        assert m.site.users() == {}
        assert any("no profiles" in record.getMessage() for record in caplog.records)
        m.sandbox.change(no_plan=[], forbidden=["query"])
        (row,) = await m.start(streams=["profiles"])
        assert row["state"] == "failed"
        assert "role" in row["error"]
        assert not m.site.engine.intake.is_paused("mix")


async def test_who_was_forgotten_does_not_come_back_with_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with people(tmp_path) as m:
        monkeypatch.setattr("misoflow.actions.now_ms", lambda: long_after(m.world))
        await call(m.site.settings, "forget", users=["user-2"])
        await m.start(streams=["profiles"])
        assert "user-2" not in m.site.users()
        counts = m.site.counts("mix")
        assert (counts["suppressed"], counts["delivered"]) == (1, USERS - 1)


def translated(data: dict[str, Any], **settings: Any) -> Any:
    connector = Mixpanel(MixpanelConfig(project_id=1, secret="s", **settings))  # type: ignore[arg-type]
    (made,) = connector.translate(Event("e", "profile", data, datetime(2026, 11, 1, tzinfo=UTC)))
    return made


def test_whose_profile_it_is() -> None:
    device = "0b4c1a52-9f5e-4b7d-8a66-2f1d3c4b5a69"
    assert "visitor" in translated({"id": "$device:x", "properties": {}}).reason
    assert "visitor" in translated({"id": "", "properties": {}}).reason
    assert translated({"id": device, "properties": {}}).part.user_id == device
    assert "device" in translated({"id": device, "properties": {}, "merge": "original"}).reason
    assert "device" in translated({"id": device, "properties": {}}, id_merge="original").reason
    named = {"id": device, "properties": {"User ID": 7}, "merge": "original"}
    assert translated(named, user_id_property="User ID").part.user_id == "7"
    assert translated({"id": "a@b.example", "properties": {}}).part.user_id != "a@b.example"


def test_its_times_are_read_in_the_projects_clock() -> None:
    data = {"id": "ann", "properties": {"$created": "2026-07-01T12:00:00"}}
    assert translated(data).part.created_at == "2026-07-01T12:00:00.000Z"
    wall = translated({**data, "mode": "project"}, timezone="America/Los_Angeles").part.created_at
    assert wall == "2026-07-01T19:00:00.000Z"


async def test_what_is_known_of_the_project_goes_with_its_profiles(tmp_path: Path) -> None:
    import msgspec

    async with people(tmp_path, more='timezone = "America/Los_Angeles"', page_size=1000) as m:
        instance = m.site.engine.instances.get("mix")
        assert instance is not None
        project = Project(mode="project", merge="original", zone="America/Los_Angeles")
        await instance.connector.state.put("project", msgspec.json.encode(project), expected=None)
        audited(await m.start(streams=["profiles"]))
        assert m.site.users()["user-2"]["created_at"].endswith("T18:20:47.000Z")
        audited(await m.start(streams=["profiles"]))
        text = m.calls(ENGAGE)[-1].params["where"].split('"')[3]
        since = datetime.fromisoformat(text + "-08:00")
        now = datetime.now(UTC)
        assert 1.9 * 3600 < (now - since).total_seconds() < 3.2 * 3600, "two hours ago by the project's clock"
