"""Lists that sources share, and complete lists whose absent members are emptied."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.core.site import Site, item, site

TAGS = "custom_attributes.tags"


def tagged(user: str, tag: str, v: int = 1, **more: Any) -> dict[str, Any]:
    fields = {"custom_attributes": {"tags": [tag]}}
    return item("user", u=user, source=f"tag:{tag}", v=v, fields=fields, unite=[TAGS], **{"listing": "", **more})


def untagged(user: str, tag: str, v: int) -> dict[str, Any]:
    return item("user", u=user, source=f"tag:{tag}", v=v, gone=[TAGS], unite=[TAGS], listing="")


def page(tag: str, run: str, number: int, pages: int, *users: str, v: int = 1) -> list[dict[str, Any]]:
    end = item("list", source=f"tag:{tag}", run=run, page=number, pages=pages)
    return [*(tagged(user, tag, v, listing=run) for user in users), end]


def held(s: Site) -> dict[str, list[str]]:
    """The tags of each user that has some, as Miso holds them."""
    found = {user: record.get("custom_attributes", {}).get("tags") for user, record in s.users().items()}
    return {user: tags for user, tags in found.items() if tags}


async def test_sources_share_a_list_beside_fields_of_their_own(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(tagged("ann", "vip"), item("user", u="ann", v=1, fields={"city": "Oslo"}), tagged("ann", "new"))
        await s.settled(3)
        assert held(s) == {"ann": ["new", "vip"]}
        await s.send(untagged("ann", "vip", 2))
        await s.settled(4)
        assert held(s) == {"ann": ["new"]}
        assert s.users()["ann"]["city"] == "Oslo"
        await s.send(untagged("ann", "new", 2))
        await s.settled(5)
        assert held(s) == {}
        assert s.users()["ann"]["city"] == "Oslo"


async def test_clearing_what_is_not_there_makes_no_record(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(untagged("nobody", "vip", 1))
        assert (await s.settled(1))["skipped"] == 1
        assert s.users() == {}


async def test_only_a_whole_list_empties_what_it_does_not_name(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(tagged("old", "vip"), tagged("both", "vip"), tagged("old", "other"))
        await s.settled(3)
        await s.send(*page("vip", "r1", 2, 2, "new"))
        await s.settled(5)
        await s.engine.maintenance.step()
        await s.engine.maintenance.step()
        assert await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM keyed WHERE dirty=1")) == 0
        assert held(s)["old"] == ["other", "vip"], "one page of two says nothing about who is absent"
        await s.send(*page("vip", "r1", 1, 2, "both"))
        await s.settled(7)
        await s.until(lambda: held(s) == {"old": ["other"], "both": ["vip"], "new": ["vip"]})
        await s.send(*page("vip", "r2", 1, 1))
        await s.until(lambda: held(s) == {"old": ["other"]})


async def test_a_newer_list_wins_over_one_that_is_under_way(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(*page("vip", "old", 1, 2, "a1"), *page("vip", "new", 1, 2, "b1"))
        await s.send(*page("vip", "old", 2, 2, "a2"), *page("vip", "new", 2, 2, "b2"))
        await s.settled(8)
        await s.until(lambda: held(s) == {"b1": ["vip"], "b2": ["vip"]})
        assert s.counts()["skipped"] == 1, "a2 came after the newer list had begun"


async def test_one_more_that_comes_while_a_list_is_under_way_stays(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(tagged("before", "vip"), *page("vip", "r", 1, 2, "a"), tagged("meanwhile", "vip"))
        await s.send(*page("vip", "r", 2, 2, "b"))
        await s.until(lambda: set(held(s)) == {"a", "b", "meanwhile"})


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_the_order_of_the_pages_the_end_is_the_newest_list(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    async with site(tmp_path) as s:
        sent = 0
        for run in range(4):
            users = dice.sample([f"u{n}" for n in range(40)], 15)
            pages = [page("vip", f"r{run}", n + 1, 3, *users[n * 5 : n * 5 + 5], v=run) for n in range(3)]
            dice.shuffle(pages)
            if run % 2 == 0:
                pages.pop()  # this one never comes whole
            for events in pages:
                await s.send(*events)
                sent += len(events)
        await s.settled(sent)
        await s.until(lambda: held(s) == {user: ["vip"] for user in users})
        assert len(s.users()) > 15


async def test_a_long_list_is_emptied_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.store.listings.AT_ONCE", 3)
    async with site(tmp_path) as s:
        users = [f"u{n:02}" for n in range(11)]
        await s.send(*page("vip", "r1", 1, 1, *users))
        await s.settled(12)
        await s.send(*page("vip", "r2", 1, 1, users[4]))
        await s.until(lambda: held(s) == {users[4]: ["vip"]})
