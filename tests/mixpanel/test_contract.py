"""Mixpanel under the authors' kit: history by export, profiles, and the webhook of cohort syncs."""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from misoflow.testing import ConnectorContract
from misoflow_mixpanel import Mixpanel
from misoflow_mixpanel.rows import TOPICS

LINES = (Path(__file__).parent / "export.jsonl").read_text().splitlines()
PROJECT = {"project_id": 4242, "username": "reader", "secret": "a-secret-of-the-tests"}
USER, PASSWORD, NEW_PASSWORD = "miso", "a-password-of-the-tests", "a-new-password-of-the-tests"
SINCE = re.compile(r">= (\d+)$")


def row_of(line: str) -> dict[str, Any]:
    """The line as an object; {} where it is none."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


def exported(query: httpx.QueryParams) -> list[str]:
    """The lines that Mixpanel would give for a query of an export: by day, name and time of processing."""
    names = json.loads(query["event"]) if "event" in query else None
    since = SINCE.search(query.get("where", ""))
    found = []
    for line in LINES:
        row = row_of(line)
        properties = row.get("properties", {})
        processed = properties.get("mp_processing_time_ms", 0)
        day = datetime.fromtimestamp(processed / 1000, UTC).date() if row else date.fromisoformat(query["from_date"])
        if not query["from_date"] <= day.isoformat() <= query["to_date"]:
            continue
        if names is not None and row.get("event") not in names:
            continue
        if since is None or processed >= int(since[1]):
            found.append(line)
    return found


class TestEvents(ConnectorContract):
    """Events of a project by raw export, and the tail of it."""

    connector = Mixpanel
    config = {**PROJECT, "profiles": False, "time_mode": "utc"}
    channels = ("history",)
    topics = tuple(topic for topic in TOPICS if topic not in ("profile", "cohort"))
    history = {"identity": 2, "events": len(LINES), "tail": len(LINES)}
    period = (date(2026, 9, 1), date(2026, 9, 3))

    def upstream(self, request: httpx.Request) -> httpx.Response:
        """https://developer.mixpanel.com/reference/raw-event-export"""
        assert request.url.path == "/api/2.0/export"
        body = "".join(f"{line}\n" for line in exported(request.url.params))
        return httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(body.encode()))


class TestProfiles(ConnectorContract):
    """All profiles in three pages, and the next run, in which nobody is new; see test_cassettes.py."""

    connector = Mixpanel
    config = {**PROJECT, "project_id": 1, "region": "eu", "profile_attributes": ["Plan"]}
    channels = ("history",)
    topics = ("profile",)
    samples = "samples_profiles"
    history = {"profiles": 13}
    period = (date(2026, 9, 30), date(2026, 10, 1))
    cassette = "cassettes/engage.yaml"

    @pytest.mark.xfail(
        reason="a 403 closes this API alone, so the slice is rejected and events go on; and a first page that is lost "
        "is asked for once more, in the size that Mixpanel documents"
    )
    def test_failures_are_classified(self, failure: str) -> None:
        super().test_failures_are_classified(failure)


class TestCohorts(ConnectorContract):
    """The webhook of cohort syncs, which proves its sender by Basic auth."""

    connector = Mixpanel
    config = {**PROJECT, "cohorts": {"user": USER, "passwords": [PASSWORD]}}
    channels = ("deliveries",)
    topics = ("cohort",)
    samples = "samples_cohorts"
    signature_headers = ("authorization",)
    signs_body = False
    rotated = {"cohorts": {"user": USER, "passwords": [NEW_PASSWORD, PASSWORD]}}

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
