"""The profiles, groups and cohorts of a world: https://developer.mixpanel.com/reference/engage-query."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from misoflow_sandbox.mixpanel.templates import USER, VISITOR
from misoflow_sandbox.mixpanel.world import MixpanelWorld

Profile = dict[str, Any]

COHORTS = {1000: ("Loyal customers", 3), 1001: ("Newsletter readers", 7), 1002: ("Nobody", 0)}
"""Id -> (name, every so many users belong to it; 0: none)."""
GROUP = "1234567890123456789"
"""A ``data_group_id``, which has 19 digits."""


def profiles(world: MixpanelWorld, group: str | None = None) -> list[Profile]:
    """One profile for every user but each tenth, an anonymous one, and one with a number for an id; or the groups."""
    if group is not None:
        return [_group(n) for n in range(5)] if group == GROUP else []
    found = [_profile(world, n) for n in range(world.users) if n % 10 != 9]
    odd: list[Profile] = [
        {"$distinct_id": "$device:" + VISITOR % 1, "$properties": {"$last_seen": _text(world, 1), "Plan": "none"}},
        {"$distinct_id": 4711, "$properties": {"$created": "15/08/53895", "$last_seen": _text(world, 2)}},
    ]
    return found + odd


def without_profile(world: MixpanelWorld) -> list[Profile]:
    """The users that never got a profile."""
    return [{"$distinct_id": USER % n, "$properties": {}} for n in range(9, world.users, 10)]


def members(world: MixpanelWorld, cohort: int) -> list[str]:
    """The distinct ids of a cohort. Raises KeyError."""
    every = COHORTS[cohort][1]
    return [USER % n for n in range(0, world.users, every)] if every else []


def cohorts(world: MixpanelWorld) -> list[dict[str, Any]]:
    """https://developer.mixpanel.com/reference/cohorts-list"""
    return [
        {
            "id": cohort,
            "name": name,
            "count": len(members(world, cohort)),
            "description": f"{name} of the shop",
            "created": "2026-03-19 23:49:51",
            "is_visible": 1,
            "project_id": world.project_id,
        }
        for cohort, (name, _) in COHORTS.items()
    ]


def _profile(world: MixpanelWorld, number: int) -> Profile:
    properties = {
        "$created": _text(world, -number % 400 - 400),
        "$last_seen": _text(world, number % world.days),
        "$email": f"user{number}@shop.example",
        "$first_name": f"First{number}",
        "$last_name": "O\u2028Neil" if number % 50 == 7 else "Last",
        "$city": "Berlin",
        "$region": "Land Berlin",
        "$country_code": "DE",
        "gender": ("female", "male")[number % 2],
        "age": 20 + number % 60,
        "Plan": ("free", "pro", "team")[number % 3],
        "Lifetime Value": number * 1.5,
        "Newsletter": number % 2 == 0,
        "Sizes": ["M", "L"],
    }
    if number % 40 == 3:
        properties["Lifetime Value"] = "unknown"
    return {"$distinct_id": USER % number, "$properties": properties}


def _group(number: int) -> Profile:
    return {"$distinct_id": f"company-{number}", "$properties": {"$name": f"Company {number}", "Seats": number}}


def _text(world: MixpanelWorld, days: int) -> str:
    """A time without a zone, ``days`` after the first day."""
    return (
        datetime(world.start.year, world.start.month, world.start.day, 11, 20, 47) + timedelta(days=days)
    ).isoformat()
