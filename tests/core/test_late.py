"""Texts that an alias names late: identities and categories, under several keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from misoflow.clock import now_ms
from misoflow.control import call
from misoflow.status import dead_letters
from misoflow.store import late

from tests.core.site import Site, item, site


def who(s: Site) -> list[str]:
    return [one["anonymous_id"] for one in s.interactions()]


async def waits(s: Site, n: int) -> None:
    """Until n events are in the store and wait there."""
    await s.until(lambda: [one["state"] for one in s.last(99)].count("pending") == n)


async def test_any_of_several_keys_lets_the_record_go(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("late", keys=["cart", "checkout", "order"], a="default"))
        await waits(s, 1)
        await s.send(item("alias", key="order", a="by the order"))
        await s.settled(2)
        assert who(s) == ["by the order"]


@pytest.mark.parametrize("order", [("cart", "order"), ("order", "cart")])
async def test_of_several_that_are_bound_the_first_listed_counts(tmp_path: Path, order: tuple[str, str]) -> None:
    async with site(tmp_path) as s:
        await s.send(*(item("alias", key=key, a=f"by the {key}") for key in order))
        await s.settled(2)
        await s.send(item("late", keys=["cart", "checkout", "order"], a="default"))
        await s.settled(3)
        assert who(s) == ["by the cart"]


async def test_the_default_and_no_identity_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.store.late.SETTLE_MS", 100)
    async with site(tmp_path) as s:
        await s.send(item("late", keys=["a", "b"], a="default"), item("late", keys=["c", "d"]))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "dead": 1}
        assert who(s) == ["default"]
        (letter,) = dead_letters(s.settings, s.vault)
        assert "identity" in letter.reason


async def test_a_category_is_named_late_or_the_event_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("misoflow.store.late.SETTLE_MS", 100)
    async with site(tmp_path) as s:
        await s.send(item("alias", key="collection:1", a="summer"))
        await s.send(item("category", key="collection:1"), item("category", key="collection:2", c="all"))
        await s.send(item("category", key="collection:3"))
        assert await s.settled(4) == {"accepted": 4, "delivered": 3, "skipped": 1}
        assert [one["category"] for one in s.interactions()] == [["summer"], ["all"]]
        assert s.last()[0]["reason"] == "names a category that the instance does not know"
        left = await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM late_keys"))
        assert left == 0


async def test_two_late_texts_of_a_record_wait_for_each_other(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("category", key="collection:1", who=["cart"]))
        await waits(s, 1)
        await s.send(item("alias", key="cart", a="ann"))
        await s.until(lambda: s.counts() == {"accepted": 2, "delivered": 1, "pending": 1})
        await s.send(item("alias", key="collection:1", a="summer"))
        await s.settled(3)
        assert [(one["anonymous_id"], one["category"]) for one in s.interactions()] == [("ann", ["summer"])]


async def test_what_counts_is_decided_when_the_record_goes(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("category", key="collection:1", who=["cart", "checkout", "order"]))
        await waits(s, 1)
        for key in ("order", "cart", "checkout"):
            await s.send(item("alias", key=key, a=f"by the {key}"))
        await s.send(item("alias", key="collection:1", a="summer"))
        await s.settled(5)
        assert who(s) == ["by the cart"]


async def test_an_alias_lets_go_of_a_record_in_a_chunk_with_others(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("late", key="cart"))
        await waits(s, 1)
        await s.send(item("like", p="before"), item("alias", key="cart", a="ann"), item("like", p="after"))
        assert await s.settled(4) == {"accepted": 4, "delivered": 4}
        assert len(s.interactions()) == 3


async def test_who_is_named_late_is_forgotten_with_the_user(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("late", key="cart", u="ann"))
        await waits(s, 1)
        await s.send(item("alias", key="cart", a="ann-anonymous"))
        await s.settled(2)
        await call(s.settings, "forget", users=["ann"])
        known = await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM tombstones"))
        assert known == 2, "the user, and the anonymous id that came late"


async def test_an_event_is_of_whom_its_alias_names(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("late", key="cart", a="default"), item("late", key="named", a="default"))
        await s.send(item("alias", key="cart", a="ann-1"), item("anonymous", a="ann-1", u="ann"))
        await s.send(item("alias", key="named", a="ann-1"))
        await s.settled(5)
        await call(s.settings, "forget", users=["ann"])
        scrubbed = await s.engine.store.run(lambda tx: list(tx.db.execute("SELECT who FROM events WHERE who IS NULL")))
        assert len(scrubbed) == 2, "the aliases are nobody's"
        who = s.vault.keyed_hash(b"a:ann-1")
        assert await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM events WHERE who=?", (who,))) == 2


async def test_what_waits_for_an_alias_is_erased_with_its_user(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("late", key="cart", u="ann"))
        await waits(s, 1)
        await call(s.settings, "forget", users=["ann"])
        assert s.counts() == {"accepted": 1, "erased": 1}
        for table in ("late", "late_keys"):
            assert await s.engine.store.run(lambda tx, t=table: tx.one(f"SELECT count(*) FROM {t}")) == 0


async def test_an_alias_is_known_for_30_days_after_it_was_last_bound(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("alias", key="old", a="x"), item("alias", key="again", a="y"))
        await s.settled(2)
        await s.engine.store.run(lambda tx: tx.db.execute("UPDATE aliases SET created=created-31*86400000"))
        await s.send(item("alias", key="again", a="y"))
        await s.settled(3)
        await s.engine.maintenance.prune()
        assert await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM aliases")) == 1
        await s.send(item("late", keys=["old", "again"]))
        await s.settled(4)
        assert who(s) == ["y"]
        assert await s.engine.store.run(late.due, now_ms() + late.SETTLE_MS) == []


async def test_the_winner_of_once_takes_other_keys_with_it(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("once", key="order:1", also=["line:1:a", "line:1:b"], p="whole"))
        await s.send(item("once", key="line:1:a", p="a"), item("once", key="line:1:c", p="c"))
        await s.send(item("once", key="order:1", also=["line:1:d"], p="late"), item("once", key="line:1:d", p="d"))
        assert await s.settled(5) == {"accepted": 5, "delivered": 3, "skipped": 2}
        assert sorted(one["product_ids"][0] for one in s.interactions()) == ["c", "d", "whole"]


async def test_a_dead_winner_of_once_lets_go_of_all_its_keys(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        fault = b'[{"match": {"path": "/v1/interactions"}, "times": -1, "action": {"reject_marker": "p-poison"}}]'
        s.sandbox.faults.add(fault)
        await s.send(item("once", key="order:1", also=["line:1:a"], p="p-poison"))
        assert await s.settled(1) == {"accepted": 1, "dead": 1}
        await s.send(item("once", key="line:1:a", p="a"))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "dead": 1}


async def test_an_event_that_was_skipped_lets_go_of_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.store.late.SETTLE_MS", 100)
    async with site(tmp_path) as s:
        await s.send(item("category", key="collection:1", once="view"))
        assert await s.settled(1) == {"accepted": 1, "skipped": 1}
        await s.send(item("once", key="view"))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "skipped": 1}
