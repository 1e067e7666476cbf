"""Erasing an install: nothing of it is left here or at Miso, and nobody else loses anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from misoflow.cli.app import app
from misoflow.connector import Event, Page, Request, Slice
from misoflow.control import ActionError, call
from misoflow.status import status
from misoflow.store import events, purge, reader
from misoflow.store.tx import Tx
from misoflow_sandbox.miso import MisoSandbox, served
from misoflow_webhooks.upkeep import Upkeep
from typer.testing import CliRunner

from tests.core.site import Site, item, site
from tests.core.toy import Toy

SHOP, OTHER = "web/acme-shop.example", "web/other-shop.example"
CANARY = "canary7"
"""In every id and text of the shop."""


async def serve(s: Site) -> None:
    """What the receiver's process does beside receiving."""
    upkeep = Upkeep(s.inbox, 7)
    while True:
        await upkeep.step()
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def shop(tmp_path: Path, more: str = "") -> AsyncIterator[Site]:
    async with site(tmp_path, more) as s:
        serving = asyncio.create_task(serve(s))
        try:
            yield s
        finally:
            serving.cancel()


def traces(name: str, tag: str) -> list[dict[str, Any]]:
    """Deliveries that leave something in every table: every kind of record, and what waits, dies or is skipped."""
    return [
        item("like", p=f"{tag}-p", u=f"{tag}-ann"),
        item("anonymous", a=f"{tag}-visitor"),
        item("anonymous", a=f"{tag}-browser", u=f"{tag}-bob"),
        item("once", key=f"{tag}-order", u=f"{tag}-buyer"),
        item("user", u=f"{tag}-ann", v=1, fields={"city": f"{tag}-town"}),
        item("product", p=f"{tag}-p", v=1, title=f"{tag} lamp"),
        item("product", p=f"{tag}-gone", v=1, removed=True),
        item("alias", key=f"{tag}-cart", a=f"{tag}-late"),
        item("late", key=f"{tag}-cart"),
        item("thin", ref=f"{tag}-thing"),
        item("skip", note=tag),
        item("reject", note=tag),
        item("bug", note=tag),
    ]


async def filled(s: Site) -> None:
    """Two installs of one template with something of everything, and a plain instance."""
    for name, tag in ((SHOP, CANARY), (OTHER, "kept8")):
        await s.send(*traces(name, tag), instance=name)
        state = s.engine.instances.get(name)
        assert state is not None
        await state.connector.state.put("token", f"{tag}-secret".encode(), expected=None)
        async with s.engine.budgets.call(f"admin/{name.partition('/')[2]}", per_hour=100):
            pass
        assert (await s.settled(14, name))["dead"] == 2
    await s.send(item("like", p="plain-p", u="plain-u"))
    await s.settled(1)


async def erased(s: Site, number: int = 1) -> None:
    await s.until(lambda: number in finished(s))


@contextlib.contextmanager
def looking(s: Site) -> Iterator[Tx]:
    tx = reader(s.settings.data, s.vault)
    assert tx is not None
    try:
        yield tx
    finally:
        tx.db.close()


def ask(s: Site, sql: str) -> list[Any]:
    with looking(s) as tx:
        return list(tx.db.execute(sql))


def finished(s: Site) -> list[int]:
    return [number for (number,) in ask(s, "SELECT id FROM purges WHERE finished IS NOT NULL")]


def at_miso(s: Site) -> str:
    return str((s.interactions(), s.products(), s.users()))


def on_disk(folder: Path, text: str) -> list[str]:
    """The files below a folder that hold these bytes."""
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def opened(s: Site) -> bytes:
    """Everything that is sealed in the store, opened."""
    found: list[bytes] = []
    columns = {
        "dead": ("raw", b"dead"),
        "raws": ("raw", b"dead"),
        "parts": ("body", b"part"),
        "batches": ("body", b"batch"),
        "keyed_parts": ("body", b"keyed"),
        "late": ("body", b"late"),
        "knowns": ("body", b"known"),
        "aliases": ("anonymous_id", b"alias"),
        "pages": ("body", b"page"),
        "kv": ("value", b"kv"),
        "rewrites": ("body", None),
    }
    with looking(s) as tx:
        for table, (column, context) in columns.items():
            for (value,) in tx.db.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                found.append(tx.open(value, context) if context else value)
        found += [s.vault.open(sealed, b"people") for (sealed,) in tx.db.execute("SELECT id FROM people")]
    found += [str((one.instance, one.request, one.events)).encode() for one in s.engine.inbox.read(0, 10**6, 10**9)]
    return b"\n".join(found)


async def test_an_install_leaves_no_trace_and_the_others_lose_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await filled(s)
        before = [line for line in s.interactions() if CANARY not in str(line)]
        products = {key: one for key, one in s.products().items() if CANARY not in key}
        others = s.counts(OTHER), s.counts()
        total = s.counts(SHOP)["accepted"]
        assert CANARY in at_miso(s)
        assert CANARY.encode() in opened(s)
        assert on_disk(tmp_path, "acme-shop.example")
        done = await call(s.settings, "erase.install", instance=SHOP)
        assert done == {"erasing": SHOP, "erasure": 1}
        await erased(s)
        assert CANARY not in at_miso(s)
        assert s.interactions() == before
        assert s.products() == products
        assert on_disk(tmp_path, "acme-shop") == [] == on_disk(tmp_path, CANARY)
        assert CANARY.encode() not in opened(s)
        assert b"acme-shop" not in opened(s)
        assert b"kept8-late" in opened(s)
        assert (s.counts(OTHER), s.counts()) == others
        counts = s.counts("erased#1")
        assert (counts["accepted"], counts["erased"]) == (total, 2)
        assert not {"dead", "pending"} & counts.keys()
        audit = ask(s, "SELECT products, users, visitors, name, finished > 0 FROM purges")
        assert audit == [(1, 4, 3, None, 1)]


async def test_ten_times_is_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await filled(s)
        total = s.counts(SHOP)["accepted"]
        for number in range(1, 11):
            await s.engine.store.run(purge.ask, SHOP, 1, 1)
            await erased(s, number)
        assert s.counts("erased#1")["accepted"] == total
        assert await s.engine.store.run(purge.erased) == [("erased#1", True)] * 10
        assert CANARY not in at_miso(s)
        assert on_disk(tmp_path, "acme-shop") == []


async def test_asked_ten_times_at_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await filled(s)
        total = s.counts(SHOP)["accepted"]
        await s.engine.store.run(lambda tx: [purge.ask(tx, SHOP, 1, 1) for _ in range(10)])
        await s.until(lambda: len(finished(s)) == 10)
        assert s.counts("erased#1")["accepted"] == total
        assert on_disk(tmp_path, "acme-shop") == []


async def test_who_installs_again_meanwhile_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.store.late.SETTLE_MS", 100)
    async with shop(tmp_path) as s:
        await filled(s)
        before = len(s.interactions())
        s.sandbox.options.task_delay = 1.0
        await call(s.settings, "erase.install", instance=SHOP)
        again = [item("once", key=f"{CANARY}-order", u=f"{CANARY}-buyer"), item("like", p="new", u=f"{CANARY}-ann")]
        await s.send(*again, item("late", key=f"{CANARY}-cart", a="default"), instance=SHOP)
        await s.until(lambda: s.counts(SHOP).get("pending"))
        assert len(s.interactions()) <= before, "what is new waits until what was before is gone"
        await erased(s)
        assert await s.settled(3, SHOP) == {"accepted": 3, "delivered": 3}
        mine = [line for line in s.interactions() if CANARY in str(line) or line.get("anonymous_id") == "default"]
        assert len(mine) == 3, "its ids are not taken for forgotten ones, and an old alias binds nothing"
        assert len(ask(s, "SELECT 1 FROM people")) >= 2


async def test_what_is_read_meanwhile_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page and a fetch that were under way when the install was erased bring nothing back."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def backfill(self: Toy, part: Slice) -> AsyncIterator[Page]:
        yield Page([Event(f"{CANARY}-1", "like", {"p": f"{CANARY}-old", "u": f"{CANARY}-old"})], "1")
        asked.set()
        await go.wait()
        yield Page([Event(f"{CANARY}-2", "like", {"p": f"{CANARY}-old", "u": f"{CANARY}-old"})], "2")

    async def fetch(self: Toy, kind: str, ref: str) -> list[Event]:
        await go.wait()
        return [Event(f"{CANARY}-{ref}", "like", {"p": f"{CANARY}-fetched"})]

    monkeypatch.setattr(Toy, "streams", {"events": timedelta(days=1)})
    monkeypatch.setattr(Toy, "backfill", backfill)
    monkeypatch.setattr(Toy, "fetch", fetch)
    async with shop(tmp_path) as s:
        await s.send(item("thin", ref="x"), instance=SHOP)
        await s.until(lambda: s.counts(SHOP).get("pending"))
        await call(s.settings, "backfill.start", instance=SHOP)
        await asked.wait()
        await s.until(lambda: CANARY in at_miso(s))
        await call(s.settings, "erase.install", instance=SHOP)
        go.set()
        await erased(s)
        await asyncio.sleep(0.5)
        assert CANARY not in at_miso(s)
        assert CANARY.encode() not in opened(s)
        assert ask(s, "SELECT * FROM jobs") == []


async def test_a_shared_product_and_user_stay_for_the_other(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        for name, v in ((SHOP, 2), ("other", 1)):
            await s.send(
                item("product", p="both", v=v, title=f"by {name}"),
                item("user", u="both", v=v, fields={"city": f"by {name}"}),
                instance=name,
            )
            await s.settled(2, name)
        assert s.products()["both"]["title"] == f"by {SHOP}"
        await call(s.settings, "erase.install", instance=SHOP)
        await erased(s)
        await s.until(lambda: s.users().get("both", {}).get("city") == "by other")
        assert s.products()["both"]["title"] == "by other"


async def test_from_the_click_to_the_platforms_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for the erasure is erased with the rest, and so is what comes too late."""
    more = '[instances.shop]\nconnector = "tests.core.toyapp:ToyApp"\n'
    name = "shop/acme-shop.example"
    async with shop(tmp_path, more) as s:
        body = json.dumps({"code": f"{CANARY}-code"}).encode()
        await s.inbox.append([(name, Request(body, channel="install", received_at=datetime.now(UTC)))])
        await s.send(*traces(name, CANARY)[:8], instance=name)
        await s.until(lambda: s.counts(name).get("delivered", 0) >= 8)
        moment = datetime.now(UTC).isoformat()
        # in one delivery, so that all three are translated before anybody knows that the install has ended
        await s.send(item("gone", at=moment), item("erase", at=moment), item("like", p=CANARY), instance=name)
        await erased(s)
        assert CANARY not in at_miso(s)
        assert s.counts(name) == {"accepted": 1, "skipped": 1}, "what came after the request is skipped"
        await s.send(item("like", p=CANARY), instance=name)
        await s.until(lambda: s.counts(name).get("skipped") == 2)
        assert CANARY not in at_miso(s)
        deliveries = [one for one in s.engine.inbox.read(0, 1000, 10**9) if one.instance == name]
        assert len(deliveries) == 1, "what came before the request, and the request, are blanked"
        monkeypatch.setattr("misoflow.purging.LATE_SECONDS", 0)
        await erased(s, 2)
        assert on_disk(tmp_path, "acme-shop") == []
        assert CANARY.encode() not in opened(s)
        assert s.counts("erased#1")["skipped"] >= 1


async def test_many_people_go_in_many_deletes_and_others_pass_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for what in (
        "purge_people.AT_ONCE",
        "purge_rows.EVENTS_AT_ONCE",
        "leaving.PARTS_AT_ONCE",
        "leaving.RECORDS_AT_ONCE",
    ):
        monkeypatch.setattr(f"misoflow.store.{what}", 2)
    async with shop(tmp_path) as s:
        for n in range(5):
            people = [item("like", p="p", u=f'{CANARY} "{n}"\n2'), item("anonymous", a=f"{CANARY}-{n}")]
            await s.send(*people, item("product", p=f"{CANARY}-{n}", v=1), instance=SHOP)
            await s.send(item("product", p=f"kept-{n}", v=1), item("like", p="p", u=f"{n}"), instance=OTHER)
        await s.settled(15, SHOP)
        await s.settled(10, OTHER)
        await call(s.settings, "erase.install", instance=SHOP)
        await erased(s)
        deletes = [one for one in s.sandbox.held.wire if one.method == "DELETE"]
        assert [one.records for one in deletes] == [2] * 5
        assert CANARY not in at_miso(s)
        assert sorted(s.products()) == [f"kept-{n}" for n in range(5)]
        assert [one["user_id"] for one in s.interactions()] == [f"{n}" for n in range(5)]
        assert s.counts("erased#1") == {"accepted": 15, "delivered": 15}


async def test_without_the_links_of_profiles_visitors_would_stay(tmp_path: Path) -> None:
    """The one thing that is inferred of Miso: a delete by user id reaches the anonymous ids that came with it."""
    async with shop(tmp_path) as s:
        s.sandbox.options.join = False
        await filled(s)
        await call(s.settings, "erase.install", instance=SHOP)
        await erased(s)
        left = [one for one in s.interactions() if CANARY in str(one)]
        assert {one["anonymous_id"] for one in left} == {f"{CANARY}-visitor", f"{CANARY}-late"}


async def test_what_is_not_sent_yet_never_is(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        s.sandbox.faults.add(b'[{"match": {"path": "/v1/"}, "times": -1, "action": {"status": 503}}]')
        await s.send(item("like", p="first", u="u"), instance=OTHER)
        await s.until(lambda: s.sandbox.held.wire)
        for tag, name in ((CANARY, SHOP), ("kept8", OTHER)):
            await s.send(item("like", p=tag, u=tag), item("two", p=tag, name=tag), instance=name)
            await s.send(item("product", p=tag, v=1), instance=name)
        await s.send(item("late", key="x", a=CANARY), instance=SHOP)
        await s.until(lambda: s.engine.intake.offset == s.engine.inbox.last())
        s.sandbox.options.store_wire = True
        await call(s.settings, "erase.install", instance=SHOP)
        await s.until(lambda: ask(s, "SELECT step FROM purges") == [("people",)])
        s.sandbox.faults.rules.clear()
        await call(s.settings, "resume", miso="default")
        await erased(s)
        assert (await s.settled(4, OTHER))["delivered"] == 4
        assert CANARY not in at_miso(s)
        uploads = [body for body in s.sandbox.held.bodies.values() if b'"like"' in body or b'"title"' in body]
        assert uploads
        assert not any(CANARY.encode() in body for body in uploads)
        assert s.counts("erased#1") == {"accepted": 4, "erased": 4}


async def test_only_installs_that_are_there_can_be_erased(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await s.send(item("skip"))
        await s.settled(1)
        for name, why in (("web", "no install"), ("web/nobody", "nothing is known")):
            with pytest.raises(ActionError, match=why):
                await call(s.settings, "erase.install", instance=name)


KILLED_AT = [
    "purge.asked",
    *(
        f"purge.{step}"
        for step in ("unsent", "records", "people", "people:2", "sent", "gone", "rows", "rows:2", "name")
    ),
    *(f"purge.after_{step}" for step in purge.ORDER[:-1]),
    "send.before",
    "send.after",
]


@pytest.mark.parametrize("point", KILLED_AT)
async def test_a_kill_at_any_step(tmp_path: Path, point: str) -> None:
    """The worker ends by kill -9 in the middle of the erasure, and the next one brings it to its end."""
    sandbox = MisoSandbox("key")
    with served(sandbox) as url:
        s = Site(tmp_path, sandbox, url)
        s.configure()
        await s.open()
        serving = asyncio.create_task(serve(s))
        await filled(s)
        others = s.counts(OTHER)
        await s.stop()
        command = [sys.executable, "-m", "misoflow", "work", "--config", str(tmp_path / "plugins.toml")]
        env = {**os.environ, "MISOFLOW_CRASH_AT": point}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            await asyncio.to_thread(worker.stdout.readline)
            with contextlib.suppress(ActionError, ConnectionError):
                await call(s.settings, "erase.install", instance=SHOP)
            try:
                assert await asyncio.to_thread(worker.wait, 30) == -signal.SIGKILL
            finally:
                worker.kill()
        await s.start()
        with contextlib.suppress(ActionError):  # it was not asked for yet, if it died in asking
            await call(s.settings, "erase.install", instance=SHOP)
        await erased(s)
        assert CANARY not in at_miso(s)
        assert "kept8" in at_miso(s)
        assert on_disk(tmp_path, "acme-shop") == []
        assert CANARY.encode() not in opened(s)
        assert s.counts(OTHER) == others
        assert (await call(s.settings, "recount"))["wrong"] == []
        await s.stop()
        serving.cancel()
        await s.inbox.close()


async def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        await s.send(item("like", p=CANARY), instance=SHOP)
        await s.settled(1, SHOP)
        config = ["--config", str(tmp_path / "plugins.toml"), "--yes"]
        done = await asyncio.to_thread(CliRunner().invoke, app, ["erase", SHOP, *config])
        assert (done.exit_code, done.output) == (
            0,
            f"{SHOP} is being erased; `misoflow status` names it erased#1\n",
        )
        await erased(s)
        assert status(s.settings, s.vault)["instances"]["erased#1"]["state"] == "erased"
        refused = await asyncio.to_thread(CliRunner().invoke, app, ["erase", "web", *config])
        assert refused.exit_code == 2


async def test_a_key_of_once_is_free_again_even_when_its_event_is_long_forgotten(tmp_path: Path) -> None:
    async with shop(tmp_path) as s:
        order = {"key": f"{CANARY}-order", "u": "buyer"}
        for name in (SHOP, OTHER):
            await s.send(item("once", **order), instance=name)
            await s.settled(1, name)
        rows = [(row, 2**62) for (row,) in ask(s, "SELECT id FROM instances")]
        await s.engine.store.run(events.prune, batches_before=0, dead_before=0, seen_before=rows, limit=100)
        assert ask(s, "SELECT count(*) FROM events") == [(0,)]
        await call(s.settings, "erase.install", instance=SHOP)
        await erased(s)
        for name, number, state in ((SHOP, 1, "delivered"), (OTHER, 2, "skipped")):
            await s.send(item("once", **order), instance=name)
            assert (await s.settled(number, name))[state] == 1
