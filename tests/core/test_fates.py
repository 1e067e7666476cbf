"""What became of a delivery: one fate for each event, found again whoever brought it first; and deletes of users."""

from __future__ import annotations

import json
from pathlib import Path

from misoflow.connector import Fate
from misoflow.fates import fates
from misoflow.instances import Instances

from tests.core.site import Site, item, site


def of(s: Site, number: int, instance: str = "web") -> tuple[Fate, ...] | None:
    made = Instances(s.settings).get(instance)
    assert made is not None
    return fates(s.settings, s.vault, made, number)


def states(s: Site, number: int) -> list[str]:
    return [fate.state for fate in of(s, number) or ()]


async def test_each_event_has_its_fate_in_the_order_of_the_delivery(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        bad = item("like", p="p,1", u="u")
        await s.send(item("like", p="p", u="u"), bad, item("nothing"), item("product", p="p", v=1))
        assert set(states(s, 1)) <= {"pending", "delivered", "dead", "skipped"}
        await s.settled(4)
        found = of(s, 1)
        assert found is not None
        assert [fate.state for fate in found] == ["delivered", "dead", "skipped", "delivered"]
        assert found[1].reason == "must not contain a comma"
        assert found[1].path == "$.product_ids[0]"


async def test_a_repeat_has_the_fate_of_the_first(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        one = item("like", p="p", u="u")
        await s.send(one)
        await s.settled(1)
        await s.send(item("like", p="q", u="u"), one)
        await s.settled(2)
        assert states(s, 2) == ["delivered", "delivered"]


async def test_a_delivery_of_another_instance_or_of_no_one_is_unknown(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("like", p="p", u="u"))
        await s.settled(1)
        assert of(s, 1, "other") is None
        assert of(s, 2) is None
        assert of(s, 0) is None
        assert of(s, 10**18 - 1) is None


async def test_what_cannot_be_split_is_one_dead_event(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(body=b"no JSON")
        await s.settled(1)
        assert states(s, 1) == ["dead"]


async def test_before_the_store_has_used_it_everything_is_pending(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.stop()
        await s.send(item("like", p="p", u="u"), item("like", p="q", u="u"))
        assert states(s, 1) == ["pending", "pending"]
        await s.start()
        await s.settled(2)


async def test_a_user_is_deleted_and_the_interactions_stay(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("like", p="p", u="u"), item("profile", u="u", v=1))
        await s.settled(2)
        assert "u" in s.users()
        await s.send(item("profile", u="u", v=2, removed=True))
        await s.settled(3)
        assert "u" not in s.users()
        assert [one["user_id"] for one in s.interactions()] == ["u"]
        await s.send(item("profile", u="u", v=1, removed=True), item("profile", u="u", v=3))
        await s.settled(5)
        assert "u" in s.users()


async def test_a_delete_of_what_was_never_delivered_reaches_miso_once(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        for _ in range(2):
            await s.send(
                item("product", p="unknown", v=1, removed=True), item("profile", u="unknown", v=1, removed=True)
            )
        await s.settled(4)
        assert deletes(s) == ["/v1/products/_delete", "/v1/users/_delete"]


def deletes(s: Site) -> list[str]:
    wire = json.loads(s._ask("/_sandbox/wire"))
    return sorted(one["path"] for one in wire if one["path"].endswith("_delete"))
