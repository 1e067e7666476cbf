"""When objects are fetched: after a while, once for all that ask meanwhile, and once more for who asks too late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from misoflow.connector import Event
from misoflow.effects import Fetch
from misoflow.errors import Reject
from misoflow.store import Store, fetches
from misoflow.store.fetches import Due
from misoflow.vault import Vault

from tests.core.site import item, site
from tests.core.toy import Toy

SHOP = Due("shop/a", "product", "7", 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path, Vault(b"k" * 32, None))
    made.run_now(lambda tx: tx.instances.id(tx.db, "shop/a"))
    yield made
    made._db.close()


def ask(store: Store, at: int, *, after: float = 0, event: int = 1, ref: str = "7") -> None:
    fetch = Fetch("product", ref, after=after)

    def step(tx: Any) -> None:
        fetches.ask(tx, 1, fetch, at)
        fetches.wait(tx, 1, event, fetch)

    store.run_now(step)


def due(store: Store, now: int) -> list[str]:
    return [one.ref for some in store.run_now(fetches.due_fetches, now, 4) for one in some]


def test_the_first_that_asks_decides_when(store: Store) -> None:
    ask(store, 1000, after=10)
    ask(store, 9000, after=10, event=2)
    assert due(store, 10_999) == []
    assert due(store, 11_000) == ["7"]


def test_who_asks_for_it_sooner_gets_it_sooner_but_not_past_a_back_off(store: Store) -> None:
    ask(store, 1000, after=10)
    ask(store, 2000, event=2)
    assert due(store, 2000) == ["7"]
    store.run_now(fetches.begin_fetch, SHOP)
    store.run_now(fetches.later_fetch, SHOP, 60_000)
    ask(store, 3000, event=3)
    assert due(store, 59_999) == []
    store.run_now(fetches.begin_fetch, SHOP)
    assert store.run_now(fetches.waiting_for, SHOP) == [1, 2, 3]


def test_who_asks_while_it_is_under_way_is_served_by_another_call(store: Store) -> None:
    ask(store, 1000)
    assert store.run_now(fetches.begin_fetch, SHOP)
    ask(store, 2000, after=10, event=2)
    ask(store, 2500, after=20, event=3)
    assert store.run_now(fetches.waiting_for, SHOP) == [1]
    store.run_now(fetches.finish_fetch, "shop/a", "product", "7", 3000)
    assert due(store, 11_999) == []
    assert due(store, 12_000) == ["7"]
    store.run_now(fetches.begin_fetch, SHOP)
    store.run_now(fetches.finish_fetch, "shop/a", "product", "7", 13_000)
    assert due(store, 10**9) == []
    assert not store.run_now(fetches.begin_fetch, SHOP), "nobody wants it any more"


def test_a_few_of_each_instance_are_due(store: Store) -> None:
    for n in range(9):
        ask(store, n, ref=str(n))
    assert due(store, 100) == ["0", "1", "2", "3"]


class Gate:
    """``Toy.fetch`` that stops in the middle of each call until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.began: list[str] = []
        self.n = 0

        async def fetch(connector: Toy, kind: str, ref: str) -> list[Event]:
            self.began.append(ref)
            await self.open.wait()
            if ref == "gone":
                raise Reject("no such thing")
            self.n += 1
            return [Event(f"{ref}@{self.n}", "like", {"p": f"read-{self.n}"})]

        monkeypatch.setattr(Toy, "fetch", fetch)


async def test_an_object_that_changed_while_it_was_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with site(tmp_path) as s:
        await s.send(item("thin", ref="7"), item("thin", ref="7"))
        await s.until(lambda: gate.began == ["7"])
        await s.send(item("thin", ref="7"))
        await s.until(lambda: len(s.last(9)) == 3)
        gate.open.set()
        assert await s.settled(5) == {"accepted": 5, "delivered": 5}
        assert gate.began == ["7", "7"]
        assert sorted(one["product_ids"][0] for one in s.interactions()) == ["read-1", "read-2"]


async def test_a_failed_call_fails_only_who_it_was_made_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with site(tmp_path) as s:
        await s.send(item("thin", ref="gone"))
        await s.until(lambda: gate.began == ["gone"])
        gate.open.set()
        await s.until(lambda: s.counts().get("dead") == 1)
        gate.open.clear()
        await s.send(item("thin", ref="gone"))
        await s.until(lambda: len(gate.began) == 2)
        await s.send(item("thin", ref="gone", after=600))
        await s.until(lambda: len(s.last(9)) == 3)
        gate.open.set()
        await s.until(lambda: s.counts() == {"accepted": 3, "dead": 2, "pending": 1})


async def test_a_hot_instance_leaves_room_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with site(tmp_path) as s:
        await s.send(*(item("thin", ref=f"hot-{n}") for n in range(30)))
        await s.until(lambda: len(gate.began) == 4)
        await s.send(item("thin", ref="cold"), instance="other")
        await s.until(lambda: "cold" in gate.began)
        assert len(gate.began) == 5
        gate.open.set()
        await s.settled(60)


async def test_a_call_that_was_broken_off_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with site(tmp_path) as s:
        await s.send(item("thin", ref="7"))
        await s.until(lambda: gate.began == ["7"])
        await s.stop()
        gate.open.set()
        await s.start()
        assert await s.settled(2) == {"accepted": 2, "delivered": 2}
        assert gate.began == ["7", "7"]
