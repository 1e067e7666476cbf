"""The Mixpanel stand-in's profiles, cohorts, event names and counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import httpx
import pytest
from misoflow_sandbox.mixpanel import MixpanelSandbox, MixpanelWorld, Options, served_mixpanel
from misoflow_sandbox.mixpanel.people import GROUP

WORLD = MixpanelWorld(days=10)
DAY = {"from_date": "2026-09-01", "to_date": "2026-09-01"}
PROJECT = {"project_id": "1234567"}


@pytest.fixture
async def mixpanel() -> AsyncIterator[MixpanelSandbox]:
    async with served_mixpanel(WORLD, Options(limits="off")) as found:
        yield found


@pytest.fixture
async def client(mixpanel: MixpanelSandbox) -> AsyncIterator[httpx.AsyncClient]:
    auth = (WORLD.username, WORLD.secret)
    async with httpx.AsyncClient(base_url=mixpanel.url, auth=auth, params=PROJECT, timeout=10) as found:
        yield found


async def test_profiles_come_in_pages(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    mixpanel.change(page_size=200)
    first = (await client.post("/api/query/engage", data={})).json()
    assert (first["page"], first["page_size"], first["status"], len(first["results"])) == (0, 200, "ok", 200)
    ids = [str(one["$distinct_id"]) for one in first["results"]]
    for page in (1, 2, 3):
        form = {"page": str(page), "session_id": first["session_id"]}
        ids += [
            str(one["$distinct_id"]) for one in (await client.post("/api/query/engage", data=form)).json()["results"]
        ]
    assert len(ids) == len(set(ids)) == first["total"] == 452
    assert {"4711", "user-0"} <= set(ids)
    assert (await client.post("/api/query/engage", data={"page": "1"})).status_code == 400
    assert (await client.post("/api/query/engage", data={"page": "1", "session_id": "gone"})).status_code == 400
    big = (await client.post("/api/query/engage", data={"page_size": "5000"})).json()
    assert big["page_size"] == 1000
    mixpanel.change(session_seconds=10, now=mixpanel.clock.seconds() + 11)
    form = {"page": "1", "session_id": first["session_id"]}
    assert (await client.post("/api/query/engage", data=form)).status_code == 400
    assert mixpanel.calls[-1].params == {**PROJECT, **form}


async def test_which_profiles(client: httpx.AsyncClient) -> None:
    async def engage(**form: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.post("/api/query/engage", data=form)).json()["results"]
        return found

    newest = await engage(where='properties["$last_seen"] >= "2026-09-09"', output_properties='["Plan"]')
    assert 0 < len(newest) < 100
    assert {name for one in newest for name in one["$properties"]} == {"Plan"}
    everybody = await engage(filter_by_cohort='{"id":1000}')
    known = await engage(filter_by_cohort='{"id":1000}', include_all_users="false")
    assert len(everybody) == 167 > len(known)
    cohorts = (await client.post("/api/query/cohorts/list")).json()
    assert {one["id"]: one["count"] for one in cohorts} == {1000: 167, 1001: 72, 1002: 0}
    assert [one["$distinct_id"] for one in await engage(distinct_ids='["user-4", "user-9"]')] == ["user-4"]
    assert len(await engage(data_group_id=GROUP)) == 5
    both = await client.post("/api/query/engage", data={"filter_by_cohort": '{"id":1000}', "behaviors": "1"})
    assert both.status_code == 400


async def test_names_counts_and_properties(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    names = (await client.get("/api/query/events/names", params={"type": "general"})).json()
    assert names[0] == "Product Viewed"
    asked = {"event": '["Product Viewed","Product Added"]', "type": "general", "unit": "day", **DAY}
    counts = (await client.get("/api/query/events", params=asked)).json()
    held = [one.name for one in mixpanel.events.ledger(date(2026, 9, 1))]
    assert counts["data"]["values"] == {
        name: {"2026-09-01": held.count(name)} for name in ("Product Viewed", "Product Added")
    }
    top = (
        await client.get("/api/query/events/properties/top", params={"event": "Order Completed", "limit": "99"})
    ).json()
    assert top["products"] == top["total"]
    values = await client.get(
        "/api/query/events/properties/values", params={"event": "Product Viewed", "name": "price"}
    )
    assert len(values.json()) > 10
    mixpanel.change(history_days=3)
    assert (await client.get("/api/query/events", params=asked)).status_code == 403
    schemas = (await client.get("/api/app/projects/1234567/schemas")).json()["results"]
    assert "Order Completed" in {one["name"] for one in schemas}
    assert (await client.get("/lookup-tables")).json()["code"] == 200
    assert (await client.get("/api/query/engage")).status_code == 405


async def test_me_shows_projects_and_their_region(client: httpx.AsyncClient) -> None:
    projects = (await client.get("/api/app/me")).json()["results"]["projects"]
    assert projects["1234567"]["domain"] == "mixpanel.com"
    assert projects["1234567"]["timezone"] == "UTC"
