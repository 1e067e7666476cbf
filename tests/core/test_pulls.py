"""Streams of history that events ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from misoflow.connector import Event, Page, Slice, Stream
from misoflow.control import call
from misoflow.effects import Pull
from misoflow.store import Store, pulls, slices
from misoflow.vault import Vault

from tests.core.site import Site, item, site
from tests.core.toy import Toy

MORE = '[instances.shop]\nconnector = "tests.core.test_pulls:Shop"\n'


class Shop(Toy):
    """``catalog`` is polled, ``orders`` is pulled where it is missing; a run waits for the gate."""

    streams = {  # noqa: RUF012
        "catalog": Stream(timedelta(days=1), poll=True, background=True),
        "orders": Stream(timedelta(days=3650)),
    }
    runs: list[str] = []  # noqa: RUF012
    gate: asyncio.Event

    async def backfill(self, part: Slice) -> AsyncIterator[Page]:
        self.runs.append(part.stream)
        await self.gate.wait()
        yield Page([Event(f"{part.stream}-{len(self.runs)}", "like", {"p": "p"})], str(len(self.runs)))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Shop.runs, Shop.gate = [], asyncio.Event()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path, Vault(b"k" * 32, None))
    made.run_now(lambda tx: tx.instances.id(tx.db, "shop"))
    yield made
    made._db.close()


def test_the_first_that_asks_decides_when_and_who_asks_for_it_sooner(store: Store) -> None:
    store.run_now(pulls.ask, 1, Pull("catalog", after=10), 1000)
    store.run_now(pulls.ask, 1, Pull("catalog", after=10), 5000)
    assert store.run_now(pulls.due, 10_999) == []
    assert [one.stream for one in store.run_now(pulls.due, 11_000)] == ["catalog"]
    store.run_now(pulls.ask, 1, Pull("catalog", after=1), 6000)
    assert [one.stream for one in store.run_now(pulls.due, 7000)] == ["catalog"]


def test_who_asks_while_it_is_begun_is_not_lost(store: Store) -> None:
    store.run_now(pulls.ask, 1, Pull("catalog"), 1000)
    (due,) = store.run_now(pulls.due, 1000)
    store.run_now(pulls.ask, 1, Pull("catalog"), 2000)
    store.run_now(pulls.begun, due)
    (again,) = store.run_now(pulls.due, 2000)
    store.run_now(pulls.begun, again)
    assert store.run_now(pulls.due, 10**9) == []


async def rows(s: Site) -> int:
    return int(await s.engine.store.run(lambda tx: tx.one("SELECT count(*) FROM pulls")))


async def quiet(s: Site) -> None:
    """Until nobody wants a pull any more and none is under way."""
    for _ in range(600):
        if await rows(s) == 0 and not await s.engine.store.run(slices.open_jobs):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(Shop.runs)


async def test_a_stream_that_is_asked_for_often_is_pulled_once_and_the_event_is_done(tmp_path: Path) -> None:
    Shop.gate.set()
    async with site(tmp_path, MORE) as s:
        await s.send(*(item("pull", stream="catalog", after=0.3) for _ in range(5)), instance="shop")
        await s.until(lambda: s.counts("shop").get("delivered", 0) >= 5)
        await quiet(s)
        assert Shop.runs == ["catalog"]
        await s.send(item("pull", stream="catalog"), instance="shop")
        await s.until(lambda: Shop.runs == ["catalog"] * 2)
        await quiet(s)


async def test_it_is_pulled_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    Shop.gate.set()
    async with site(tmp_path, MORE) as s:
        await s.send(item("pull", stream="catalog", after=600), instance="shop")
        await s.settled(1, "shop")
        (row,) = await s.engine.store.run(lambda tx: list(tx.db.execute("SELECT due FROM pulls")))
        received = await s.engine.store.run(lambda tx: tx.one("SELECT max(received) FROM events"))
        assert 599_000 <= row[0] - received <= 660_000
        assert Shop.runs == []
        await s.engine.store.run(lambda tx: tx.db.execute("UPDATE pulls SET due=0"))
        await quiet(s)
        assert Shop.runs == ["catalog"]


async def test_asked_for_while_it_is_pulled_it_is_pulled_once_more(tmp_path: Path) -> None:
    async with site(tmp_path, MORE) as s:
        await s.send(item("pull", stream="catalog"), instance="shop")
        await s.until(lambda: Shop.runs == ["catalog"])
        await s.send(*(item("pull", stream="catalog") for _ in range(3)), instance="shop")
        await s.until(lambda: s.counts("shop").get("delivered") == 4)
        assert Shop.runs == ["catalog"]
        Shop.gate.set()
        await s.until(lambda: Shop.runs == ["catalog"] * 2)
        await quiet(s)
        assert Shop.runs == ["catalog"] * 2


async def test_of_a_stream_with_a_range_what_is_missing_is_pulled(tmp_path: Path) -> None:
    Shop.gate.set()
    async with site(tmp_path, MORE) as s:
        await s.send(item("pull", stream="orders"), instance="shop")
        await s.until(lambda: "orders" in Shop.runs)
        await quiet(s)


async def test_a_stream_that_there_is_not_is_said_and_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(tmp_path, MORE) as s:
        await s.send(item("pull", stream="nope"), instance="shop")
        await s.settled(1, "shop")
        await quiet(s)
        assert "has no stream 'nope'" in caplog.text


async def test_a_paused_instance_is_pulled_after_it_is_resumed(tmp_path: Path) -> None:
    Shop.gate.set()
    async with site(tmp_path, MORE) as s:
        await s.send(item("pull", stream="catalog", after=600), instance="shop")
        await s.settled(1, "shop")
        await call(s.settings, "pause", instance="shop")
        await s.engine.store.run(lambda tx: tx.db.execute("UPDATE pulls SET due=0"))
        await s.engine.backfills._asked()
        assert await rows(s) == 1
        assert await s.engine.store.run(slices.open_jobs) == []
        await call(s.settings, "resume", instance="shop")
        await quiet(s)
        assert Shop.runs == ["catalog"]
