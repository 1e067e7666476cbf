"""What the shop session of session.json must have become at Miso, whichever SDK played it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.harness.world import World

SESSION: list[dict[str, Any]] = json.loads((Path(__file__).parent / "session.json").read_text())
SECRET = "shopper@shop.example"

# type, product ids, and the fields that only this type has
INTERACTIONS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("home_page_view", [], {}),
    ("search", [], {"search": {"keywords": "red shirt"}}),
    ("category_page_view", [], {"category": ["Clothes", "Shirts"]}),
    ("impression", ["shirt-1", "shirt-2"], {}),
    ("product_detail_page_view", ["shirt-1"], {}),
    ("add_to_cart", ["shirt-1"], {"quantities": [2]}),
    ("checkout", ["shirt-1", "shirt-2"], {"quantities": [2, 1], "revenue": 59.85}),
]
SKIPPED = 3
"""The page that is none of Miso's, the event that names no product, and the alias, which says what identify said."""


def instance(name: str, **settings: Any) -> str:
    """TOML of a Segment instance whose write key is ``key-NAME``."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join([f"\n[instances.{name}]", 'connector = "segment"', f'write_key = "key-{name}"', *lines, ""])


def settled(world: World, name: str, accepted: int, seconds: float = 60) -> dict[str, int]:
    """The counts of an instance once it has taken ``accepted`` events and none of them is pending."""
    deadline = time.monotonic() + seconds
    while True:
        counts: dict[str, int] = world.status()["instances"][name]
        done = counts["accepted"] >= accepted and counts["pending"] == 0
        if done or time.monotonic() > deadline:
            return counts
        time.sleep(0.1)


def of_user(world: World, user: str, anonymous: str) -> list[dict[str, Any]]:
    """The interactions that Miso holds of this visitor."""
    lines = world.get("/_sandbox/records?kind=interactions").splitlines()
    records = [json.loads(line) for line in lines]
    return [one for one in records if one.get("user_id") == user or one.get("anonymous_id") == anonymous]


def check(world: World, name: str, user: str, anonymous: str) -> None:
    """Every expected record arrived once, nothing else did, and misoflow's own counts add up."""
    counts = settled(world, name, len(SESSION))
    assert counts["accepted"] == len(SESSION)
    assert counts["dead"] == counts["pending"] == counts["suppressed"] == counts["erased"] == 0
    assert counts["skipped"] == SKIPPED
    assert counts["delivered"] == len(SESSION) - SKIPPED
    _check_interactions(of_user(world, user, anonymous), user, anonymous)
    users = [json.loads(line) for line in world.get("/_sandbox/records?kind=users").splitlines()]
    mine = [one for one in users if one["user_id"] == user]
    assert len(mine) == 1
    assert mine[0]["age"] == 31
    assert mine[0]["group_id"] == "club-1"
    assert mine[0]["custom_attributes"]["plan"] == "gold"
    assert SECRET not in json.dumps(mine)


def _check_interactions(found: list[dict[str, Any]], user: str, anonymous: str) -> None:
    links = [one for one in found if one["type"] == "custom"]
    rest = [one for one in found if one["type"] != "custom"]
    assert sorted(one["type"] for one in rest) == sorted(kind for kind, _, _ in INTERACTIONS)
    for kind, product_ids, fields in INTERACTIONS:
        one = next(one for one in rest if one["type"] == kind)
        assert one.get("product_ids", []) == product_ids
        assert {key: one.get(key) for key in fields} == fields
        assert one["anonymous_id"] == anonymous
        assert one["timestamp"].endswith("Z")
    assert all((one["user_id"], one["anonymous_id"]) == (user, anonymous) for one in links)
    assert all(one["custom_action_name"] == "identify_link" for one in links)
    assert SECRET not in json.dumps(found)
