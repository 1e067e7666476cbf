"""Interactions that nobody vouches for: sent only for products that the instance has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from misoflow.connector import Event
from misoflow.control import call
from misoflow.errors import Reject, Retry
from misoflow.status import dead_letters

from tests.core.site import Site, item, site
from tests.core.toy import Toy

STRANGE = "names a product that the instance does not have"


def catalogue(ref: str, version: int = 5, **records: str) -> dict[str, Any]:
    return item("group", g=f"product/{ref}", v=version, records=records, family=ref)


def reasons(s: Site, n: int = 20) -> list[str]:
    return [row["reason"] for row in s.last(n) if row["state"] == "skipped"]


async def test_a_known_product_is_sent_without_a_fetch(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(catalogue("1", a="t"), item("product", p="latest", v=1))
        await s.send(
            item("known", ps=["nope", "a"], ref="1"),
            item("known", ps=["latest"], ref="2"),
            item("known", gs=["1"], ref="1"),
            item("known", ref="names nothing"),
        )
        assert await s.settled(6) == {"accepted": 6, "delivered": 6}
        assert Toy.fetched == []
        assert len(s.interactions()) == 4


async def test_an_unknown_product_is_fetched_and_the_interactions_wait_for_it(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [Retry("busy", 0.05), [catalogue("7", new="t")]]
        await s.send(*(item("known", ps=["new"], ref="7") for _ in range(5)), item("known", gs=["7"], ref="7"))
        assert await s.settled(7) == {"accepted": 7, "delivered": 7}
        assert Toy.fetched == [("thing", "7")] * 2
        assert len(s.interactions()) == 6


async def test_what_is_not_known_after_the_fetch_is_skipped_with_a_reason(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [[catalogue("7", other="t")], [catalogue("8")], Reject("no such product")]
        await s.send(item("known", ps=["forged"], ref="7"))
        await s.settled(2)
        await s.send(item("known", gs=["8"], ref="8"), item("known", gs=["other"], ref="8"))
        await s.settled(5)
        await s.send(item("known", ps=["x"], ref="9"))
        assert await s.settled(6) == {"accepted": 6, "delivered": 1, "skipped": 5}
        assert reasons(s).count(STRANGE) == 4
        assert dead_letters(s.settings, s.vault) == []
        assert s.interactions() == []


async def test_a_product_that_is_gone_is_not_known(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(catalogue("1", a="t"), catalogue("1", version=6))
        Toy.answers[:] = [[], []]
        await s.send(item("known", ps=["a"], ref="1"))
        await s.send(item("known", gs=["1"], ref="1"))
        counts = await s.settled(4)
        assert counts == {"accepted": 4, "delivered": 2, "skipped": 2}


async def test_a_product_of_another_instance_is_not_known(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(catalogue("1", a="t"), instance="other")
        await s.settled(1, "other")
        Toy.answers[:] = [[]]
        await s.send(item("known", ps=["a"], ref="1"))
        assert await s.settled(1) == {"accepted": 1, "skipped": 1}


async def test_a_known_record_may_wait_for_its_identity_too(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [[catalogue("7", new="t")]]
        await s.send(item("known", ps=["new"], ref="7", key="cart"))
        await s.until(lambda: s.counts().get("delivered") == 1)
        assert s.counts() == {"accepted": 2, "delivered": 1, "pending": 1}
        await s.send(item("alias", key="cart", a="ann"))
        await s.settled(3)
        assert [one["anonymous_id"] for one in s.interactions()] == ["ann"]


async def test_what_waits_to_be_known_is_erased_with_its_user(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [Retry("busy", 600)]
        await s.send(item("known", ps=["new"], ref="7", u="ann"))
        await s.until(lambda: Toy.fetched != [])
        await call(s.settings, "forget", users=["ann"])
        assert s.counts() == {"accepted": 1, "erased": 1}
        assert await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM knowns")) == 0


async def test_waiting_outlives_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [Retry("busy", 600)]
        await s.send(item("known", ps=["new"], ref="7"))
        await s.until(lambda: Toy.fetched != [])
        await s.stop()
        await s.start()
        assert s.counts() == {"accepted": 1, "pending": 1}
        await s.engine.store.run(lambda tx: tx.db.execute("UPDATE fetches SET due=0"))
        Toy.answers[:] = [[catalogue("7", new="t")]]
        assert await s.settled(2) == {"accepted": 2, "delivered": 2}


async def test_an_event_is_skipped_only_if_nothing_of_it_was_sent(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [[] for _ in range(3)]
        strange = [item("known", ps=["x"], ref="1"), item("known", ps=["y"], ref="2")]
        await s.send(item("several", of=strange))
        await s.send(item("several", of=[strange[0], item("like", p="p")]))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "skipped": 1}
        assert [one["product_ids"] for one in s.interactions()] == [["p"]]


async def test_who_comes_while_the_product_is_read_waits_for_another_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = asyncio.Event(), asyncio.Event()
    answers = [[], [catalogue("7", new="t")]]

    async def fetch(connector: Toy, kind: str, ref: str) -> list[Event]:
        reading.set()
        await go_on.wait()
        return [Event(one["id"], one["do"], one) for one in answers.pop(0)]

    monkeypatch.setattr(Toy, "fetch", fetch)
    async with site(tmp_path) as s:
        await s.send(item("known", ps=["new"], ref="7"))
        await reading.wait()
        await s.send(item("known", ps=["new"], ref="7"))
        await s.until(lambda: len(s.last(9)) == 2)
        go_on.set()
        assert await s.settled(3) == {"accepted": 3, "delivered": 2, "skipped": 1}
        assert len(s.interactions()) == 1
