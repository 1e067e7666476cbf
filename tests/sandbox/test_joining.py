"""Whose interactions a delete by user id reaches."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from misoflow_sandbox.miso import MisoSandbox

TIME = "2026-11-01T00:00:00.000Z"


def like(**who: str) -> dict[str, Any]:
    return {"type": "like", "product_ids": ["p"], "timestamp": TIME, **who}


def left(client: httpx.Client) -> list[dict[str, Any]]:
    lines = client.get("/_sandbox/records?kind=interactions").text.splitlines()
    return [{key: one[key] for key in ("user_id", "anonymous_id") if key in one} for one in map(json.loads, lines)]


@pytest.mark.parametrize("join", [True, False])
def test_a_delete_reaches_the_anonymous_ids_that_came_with_the_user(
    client: httpx.Client, sandbox: MisoSandbox, join: bool
) -> None:
    sandbox.options.join = join
    others = [like(anonymous_id="b"), like(user_id="w", anonymous_id="a"), like(user_id="a")]
    mine = [like(anonymous_id="a"), like(user_id="u", anonymous_id="a"), like(user_id="u"), like(anonymous_id="a")]
    client.post("/v1/interactions", json={"data": [*mine, *others]}).raise_for_status()
    answer = client.request("DELETE", "/v1/interactions", json={"user_ids": ["u", "nobody"]})
    assert (answer.status_code, answer.json()) == (200, {"message": "success"})
    kept = [{"anonymous_id": "b"}, {"user_id": "w", "anonymous_id": "a"}, {"user_id": "a"}]
    assert left(client) == ([] if join else [{"anonymous_id": "a"}] * 2) + kept
    assert client.get("/_sandbox/state").json()["interactions"] == len(left(client))


def test_a_profile_that_is_deleted_joins_nobody_any_more(client: httpx.Client) -> None:
    client.post("/v1/interactions", json={"data": [like(user_id="u", anonymous_id="a")]}).raise_for_status()
    client.request("DELETE", "/v1/interactions", json={"user_ids": ["u"]})
    client.post("/v1/interactions", json={"data": [like(anonymous_id="a"), like(user_id="u")]}).raise_for_status()
    client.request("DELETE", "/v1/interactions", json={"user_ids": ["u"]})
    assert left(client) == [{"anonymous_id": "a"}]
