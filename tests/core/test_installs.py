"""Installs of a template: from the click to the day after the app is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from misoflow import Halt, Installed, Problem, Reject, Request, Retry
from misoflow.cli.app import app
from misoflow.control import call
from misoflow.installer import Installer
from misoflow.standing import Standing, standing
from misoflow.status import dead_letters, status
from misoflow.store import installs
from typer.testing import CliRunner

from tests.core.site import Site, item, site
from tests.core.toyapp import ToyApp

MORE = '[instances.shop]\nconnector = "tests.core.toyapp:ToyApp"\n'
SHOP = "shop/a.example"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for told in (ToyApp.script, ToyApp.grants, ToyApp.left, ToyApp.pulled, ToyApp.history):
        told.clear()


@asynccontextmanager
async def shops(folder: Path) -> AsyncIterator[Site]:
    async with site(folder, more=MORE) as s:
        yield s


async def click(s: Site, name: str = SHOP, **grant: str) -> None:
    body = json.dumps({"code": "c0de", **grant}).encode()
    await s.inbox.append([(name, Request(body, channel="install", received_at=datetime.now(UTC)))])


def stands(s: Site, name: str = SHOP) -> Standing | None:
    return standing(s.settings, s.vault, name)


def state(s: Site, name: str = SHOP) -> str:
    found = stands(s, name)
    return "" if found is None else found.state


def seen(s: Site, topic: str, what: str, times: int = 1) -> bool:
    """Whether so many events of the topic are in that state."""
    return sum(one["topic"] == topic and one["state"] == what for one in s.last(200)) >= times


def now(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


async def test_a_click_installs_and_pulls_history_once(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live" and s.counts(SHOP).get("delivered", 0) >= 3)
        assert ToyApp.grants[0] == {"code": "c0de"}
        assert ToyApp.pulled.count("all") == 1
        assert [one["product_ids"] for one in s.interactions()] == [["h"]] * len(s.interactions())
        await click(s)  # the same code again: the same click
        await s.until(lambda: s.counts(SHOP).get("duplicates") == 1)
        assert len(ToyApp.grants) == 1
        found = stands(s)
        assert found is not None
        assert found.tenant == "a.example"
        assert {one.name: one.state for one in found.streams} == {"all": "done", "often": "done", "range": "done"}


async def test_what_comes_for_a_shop_that_is_not_installed_is_counted_and_skipped(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await s.send(item("like", p="p"), instance=SHOP)
        assert await s.settled(1, SHOP) == {"accepted": 1, "skipped": 1}
        assert s.last()[0]["reason"] == "the app is not installed any more"
        assert stands(s) is None


async def test_events_between_the_click_and_its_end_count(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        ToyApp.script.append(Retry("busy", 3600))
        await click(s)
        await s.send(item("like", p="p"), instance=SHOP)
        assert await s.settled(2, SHOP) == {"accepted": 2, "delivered": 2}
        assert state(s) == "connecting"


async def test_retry_comes_again_and_reject_asks_for_another_click(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        ToyApp.script += [Retry("busy", 0.05), ZeroDivisionError(), Reject("the code was used before")]
        await click(s)
        await s.until(lambda: state(s) == "failed")
        found = stands(s)
        assert found is not None
        assert (found.reason, found.fix) == ("the code was used before", "click Install again at the platform")
        assert len(ToyApp.grants) == 3
        await click(s, code="another")
        await s.until(lambda: state(s) == "live")


async def test_missing_rights_are_told_and_their_streams_left_out(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        problem = Problem("fail", "read_orders was not granted", "grant it")
        ToyApp.script.append(Installed(problems=(problem,), without=("all",)))
        await click(s)
        await s.until(lambda: "often" in ToyApp.pulled and state(s) == "degraded")
        found = stands(s)
        assert found is not None
        assert [(one.text, one.fix) for one in found.problems] == [("read_orders was not granted", "grant it")]
        assert {one.name: one.state for one in found.streams}["all"] == "off"
        assert "all" not in ToyApp.pulled


async def test_a_stream_with_an_interval_is_pulled_for_each_install(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await click(s, "shop/b.example", code="b")
        await s.until(lambda: ToyApp.pulled.count("often") >= 6)
        for name in (SHOP, "shop/b.example"):
            await s.until(lambda name=name: s.counts(name).get("delivered", 0) >= 3)


async def test_credentials_that_died_pause_and_a_click_goes_on(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        ToyApp.script.append(Halt("the token was revoked", "install the app again"))
        await s.engine.store.run(look_now)
        await s.until(lambda: state(s) == "degraded")
        before = s.counts(SHOP)["accepted"]
        await s.send(item("like", p="kept"), instance=SHOP)
        await s.until(lambda: s.counts(SHOP).get("pending") == 1)
        assert s.counts(SHOP)["accepted"] == before + 1
        await click(s, code="new")
        await s.until(lambda: state(s) == "live" and "pending" not in s.counts(SHOP))
        assert ["kept"] in [one["product_ids"] for one in s.interactions()]


async def test_uninstalling_stops_everything_but_what_is_about_the_install(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        await s.send(item("gone", at=now()), instance=SHOP)
        await s.until(lambda: state(s) == "uninstalled" and ToyApp.left == ["once"])
        assert await s.engine.instances.get(SHOP).connector.state.get("token") is None  # type: ignore[union-attr]
        many = len(ToyApp.pulled)
        await s.send(item("like", p="p"), instance=SHOP)
        await s.until(lambda: seen(s, "like", "skipped"))
        await s.send(item("gone", at=now()), instance=SHOP)
        await s.until(lambda: seen(s, "gone", "delivered", 2))
        assert len(ToyApp.pulled) <= many + 1
        assert not dead_letters(s.settings, s.vault)
        await click(s, code="back")
        await s.until(lambda: state(s) == "live" and len(ToyApp.pulled) > many + 1)


async def test_an_uninstall_older_than_the_install_changes_nothing(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        for what in ("gone", "erase"):
            await s.send(item(what, at=now(minutes=5)), instance=SHOP)
            await s.until(lambda what=what: seen(s, what, "delivered"))
        assert state(s) == "live"
        assert ToyApp.left == []


async def test_an_uninstall_passes_a_pause(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        await s.engine.actions.pause(SHOP)
        await s.send(item("like", p="p"), instance=SHOP)
        await s.send(item("gone", at=now()), instance=SHOP)
        await s.until(lambda: state(s) == "uninstalled")
        assert s.counts(SHOP)["pending"] == 1  # what waits for the pause still does


async def test_fetches_of_a_shop_that_left_are_given_up_and_counted(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        ToyApp.answers.append(Retry("later", 3600))
        await s.send(item("thin", ref="x"), instance=SHOP)
        await s.until(lambda: ("thing", "x") in ToyApp.fetched)
        await s.send(item("gone", at=now()), instance=SHOP)
        await s.until(lambda: state(s) == "uninstalled" and "pending" not in s.counts(SHOP))
        assert "the app is not installed any more" in {one["reason"] for one in s.last(20)}


async def test_a_restart_carries_on_with_an_install_that_was_broken_off(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        ToyApp.script.append(Retry("busy", 1))
        await click(s)
        await s.until(lambda: len(ToyApp.grants) == 1)
        await s.stop()
        await s.start()
        await s.until(lambda: state(s) == "live")
        assert ToyApp.grants == [{"code": "c0de"}] * 2


async def _never(*_: Any) -> None:
    await asyncio.Event().wait()


async def test_history_that_was_not_asked_for_before_the_end_is_after_the_next_start(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        s.engine.installer._pull = _never  # type: ignore[assignment]
        await click(s)
        await s.until(lambda: state(s) == "pulling")
        await s.stop()
        await s.start()
        await s.until(lambda: state(s) == "live", 10)
        assert ToyApp.pulled


async def test_a_click_whose_end_does_not_come_goes_on_after_the_next_start(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        await call(s.settings, "pause", instance=SHOP, reason="the credentials died")
        s.engine.actions.resume = _never  # type: ignore[assignment]
        await click(s, code="another")
        await s.until(lambda: len(ToyApp.grants) == 2)
        await s.stop()
        await s.start()
        await s.until(lambda: state(s) == "live", 10)


async def test_the_grant_is_nowhere_in_clear_and_is_forgotten(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await click(s, code="canary-code-7")
        await s.until(lambda: state(s) == "live")
        for path in s.settings.data.iterdir():
            assert b"canary-code-7" not in path.read_bytes() if path.is_file() else True
        one = await s.engine.store.run(installs.find, SHOP)
        assert one is not None
        assert one.grant == {}


async def test_an_instance_that_is_no_template_is_installed_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyApp, "template", False)
    async with shops(tmp_path) as s:
        await s.until(lambda: state(s, "shop") == "live")
        assert ToyApp.grants[0] == {}
        await s.send(item("like", p="plain"), instance="shop")
        await s.until(lambda: ["plain"] in [one["product_ids"] for one in s.interactions()])


@pytest.mark.parametrize("stream", ["all", "range"])
async def test_what_was_missing_for_a_while_is_pulled(tmp_path: Path, stream: str) -> None:
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        ToyApp.script.append(Installed(gaps=(stream,)))
        many = ToyApp.pulled.count(stream)
        await s.engine.store.run(look_now)
        await s.until(lambda: ToyApp.pulled.count(stream) > many)
        found = slices_of(s, stream)
        assert found[0][:2] == found[-1][:2]  # the whole range again


def slices_of(s: Site, stream: str) -> list[tuple[int, int]]:
    """(days long, day of its end) of each job of the stream."""
    jobs = [job for job in status(s.settings, s.vault)["instances"][SHOP]["history"] if job["stream"] == stream]
    return [((job["to"] - job["from"]) // 86_400_000, job["to"] // 86_400_000) for job in jobs]


def look_now(tx: Any) -> None:
    """As if a quarter of an hour had gone by."""
    tx.db.execute("UPDATE installs SET due=0")


async def test_history_does_not_wait_for_aliases_that_cannot_come_any_more(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        await s.send(item("alias", key="cart:1", a="by its cart"), instance="web")
        ToyApp.history.append(item("alias", key="cart:2", a="by its cart"))
        ToyApp.history.append(item("late", keys=["cart:1"], a="of its own"))  # another instance's alias
        ToyApp.history.append(item("late", keys=["cart:2"], a="of its own"))
        await click(s)
        await s.until(lambda: state(s) == "live" and "pending" not in s.counts(SHOP))
        found = [one["anonymous_id"] for one in s.interactions() if "anonymous_id" in one]
        assert sorted(found) == ["by its cart", "of its own"]


async def test_the_commands_show_the_installs(tmp_path: Path) -> None:
    async with shops(tmp_path) as s:
        problem = Problem("fail", "read_orders was not granted", "grant it")
        ToyApp.script.append(Installed(problems=(problem,), without=("all",)))
        await click(s)
        await s.until(lambda: state(s) == "degraded" and "often" in ToyApp.pulled)
        assert status(s.settings, s.vault)["instances"][SHOP]["reason"] == "read_orders was not granted"
        command = ["installs", "--config", str(tmp_path / "plugins.toml")]
        plain = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert "shop/a.example" in plain.output
        assert "read_orders was not granted; do: grant it" in plain.output
        told = await asyncio.to_thread(CliRunner().invoke, app, [*command, "shop", "--json"])
        line = json.loads(told.output.splitlines()[0])
        assert (line["instance"], line["state"]) == (SHOP, "degraded")
        assert line["problems"] == [{"level": "fail", "text": "read_orders was not granted", "fix": "grant it"}]
        none = await asyncio.to_thread(CliRunner().invoke, app, [*command, "sho"])
        assert none.output.strip() == "nobody has installed anything yet"


async def test_an_install_that_ended_long_ago_is_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("misoflow.store.purge.ask", lambda tx, name, before, now: asked.append(name))
    monkeypatch.setattr("misoflow.installer.FORGET_DAYS", 0)
    async with shops(tmp_path) as s:
        await click(s)
        await s.until(lambda: state(s) == "live")
        assert not asked
        await s.send(item("gone", at=now()), instance=SHOP)
        await s.until(lambda: bool(asked))
        assert set(asked) == {SHOP}
        assert isinstance(s.engine.installer, Installer)
