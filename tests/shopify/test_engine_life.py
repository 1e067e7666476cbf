"""What the table of failures promises of installs and tokens, through receiver, engine and both stand-ins."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from misoflow_sandbox.shopify import HookRule, Options, variants_on_sale
from misoflow_shopify.tokens import OfflineTokens

from tests.shopify.running import DOMAIN, SHOP, Running, quick, running

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def renewals(s: Running) -> int:
    return sum(call.path.endswith("/access_token") for call in list(s.shopify.calls))


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


async def test_05_a_crash_between_the_answer_and_its_saving_costs_no_reconnection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as s:
        await s.live()
        s.shopify.shop().tokens.expire_access()
        reached = asyncio.Event()

        async def dies(*_: Any) -> Any:
            reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as crash:
            crash.setattr(OfflineTokens, "_put", dies)
            await s.look()
            await s.until(reached.is_set)
            many = renewals(s)
            await s.stop()
        await s.start()
        saved = await s.connector().tokens.stored()
        assert saved is not None
        assert saved.access_token not in _good(s)
        await s.connector().link.remember("renewing", None)  # the dead process's claim ends by itself after 90 s
        await s.look()
        await s.until(lambda: renewals(s) > many and not _due(s))
        assert s.state() == "live"
        now = await s.connector().tokens.stored()
        assert now is not None
        assert now.access_token in _good(s)
        assert now.refresh_token != saved.refresh_token
        await s.done(lambda: s.shopify.merchant().create_product("After the crash"))
        await s.quiet()
        assert "After the crash" in str(s.products())


def _good(s: Running) -> list[str]:
    tokens = s.shopify.shop().tokens
    return [token for token in tokens.access if tokens.good(token)]


def _due(s: Running) -> bool:
    found = s.stands()
    return found is None or bool(found.reason)


async def test_06_a_dead_grant_pauses_the_shop_keeps_what_comes_and_a_click_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        s.shopify.shop().tokens.revoke()
        await s.look()
        await s.until(lambda: s.state() == "degraded")
        (told, *_) = s.stands().problems  # type: ignore[union-attr]
        assert told.text == "the shop has to be connected again"
        assert f"/install/shop/connect?shop={DOMAIN}" in told.fix
        many = renewals(s)
        await s.done(lambda: s.shopify.merchant().create_customer())
        await asyncio.to_thread(s.shopify.settle)
        assert s.shopify.hooks.deliveries[-1].statuses == [200]
        await s.until(lambda: s.counts(SHOP).get("pending") == 1)
        for _ in range(3):
            await s.look()
            await asyncio.sleep(0.4)
        assert renewals(s) == many  # no storm: what is dead is not tried
        users = len(s.users())
        await s.click()
        await s.until(lambda: s.state() == "live")
        await s.quiet()
        assert len(s.users()) == users + 1
        assert s.dead() == []


async def test_07_a_token_revoked_amid_a_bulk_operation_costs_no_second_operation(tmp_path: Path) -> None:
    async with running(tmp_path, options=Options(throttle=False, speed=0, bulk_seconds=60)) as s:
        await s.click()
        operations = s.shopify.operations[DOMAIN].all
        await s.until(lambda: len(operations) == 3)
        await s.until(lambda: s.calls("Operation") > 3)  # they are waited for
        s.shopify.shop().tokens.revoke()
        await s.until(lambda: s.state() == "degraded")
        await s.click()
        await s.until(lambda: s.state() == "pulling")
        s.shopify.options.bulk_seconds = 0  # of those that begin from now on
        s.shopify.clock.advance(61)
        await s.until(lambda: s.state() == "live")
        await s.quiet()
        queries = [one.query for one in operations.values()]
        assert len(queries) == len(set(queries))
        assert {one.status for one in operations.values()} == {"COMPLETED"}
        assert set(s.products()) == variants_on_sale(s.shopify.shop())


async def test_08_what_is_told_of_an_install_before_this_one_ends_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        held = len(s.products())
        s.shopify.hooks.rules.append(HookRule(topic="app/uninstalled", delay=60.0))
        await s.done(lambda: s.shopify.installs.uninstall(DOMAIN))
        before = s.stands().asked  # type: ignore[union-attr]
        await s.connect()  # again, before anybody heard that the app was gone
        await s.until(lambda: s.stands().asked > before and s.state() == "live")  # type: ignore[union-attr]
        await s.quiet()
        for seconds in (61.0, 49 * 3600):  # of app/uninstalled, of shop/redact
            s.shopify.clock.advance(seconds)
            await s.quiet()
        ended = ("app/uninstalled", "shop/redact")
        assert [one.state for one in s.shopify.hooks.deliveries if one.topic in ended] == ["delivered"] * 2
        assert s.state() == "live"
        assert s.state() == "live"
        assert len(s.products()) == held


async def test_22_whom_nobody_knows_is_answered_like_everybody(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        never = {"shop_domain": "never.myshopify.com", "customer": {"id": 1}}
        for topic in ("customers/redact", "customers/data_request", "shop/redact"):
            assert await s.hook(topic, never, topic, shop_domain="never.myshopify.com", triggered_at=at()) == 200
        unknown = {"shop_domain": DOMAIN, "customer": {"id": 1}}
        assert await s.hook("customers/redact", unknown, "unknown") == 200
        await s.until(lambda: not s.dead())  # the request for data is one until the shop is erased
        await s.quiet()
        assert s.state() == "live"


async def test_19_webhooks_of_another_version_count_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, options=Options(throttle=False)) as s:
        await s.live()
        s.shopify.options.api_version = "2027-01"
        with caplog.at_level(logging.WARNING, "misoflow.shopify"):
            for _ in range(3):
                await s.done(lambda: s.shopify.merchant().create_customer())
            await s.quiet()
        assert len(s.users()) == len(list(s.shopify.shop().customers))
        told = [
            one.getMessage() for one in caplog.records if "webhooks come in API version 2027-01" in one.getMessage()
        ]
        assert len(told) == 1
        await s.look()
        await s.until(lambda: any("2027-01" in one.text for one in s.stands().problems))  # type: ignore[union-attr]


async def test_b8_a_subscription_that_is_gone_is_made_again_and_the_gap_read(tmp_path: Path) -> None:
    async with running(tmp_path, more='subscriptions = "shop"') as s:
        s.shopify.app_config.topics = []
        await s.live()
        subscriptions = s.shopify.shop().subscriptions
        many = len(subscriptions)
        subscriptions.clear()
        await s.done(lambda: s.shopify.merchant().create_product("Nobody was told"))
        await s.quiet()
        assert "Nobody was told" not in str(s.products())
        await s.look()
        await s.until(lambda: "Nobody was told" in str(s.products()))
        assert len(subscriptions) == many
        await s.done(lambda: s.shopify.merchant().create_product("By the new one"))
        await s.quiet()
        assert "By the new one" in str(s.products())


async def test_b8_an_app_that_left_stops_and_is_erased_after_thirty_days(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        assert s.products()
        await s.done(lambda: s.shopify.installs.uninstall(DOMAIN))
        await asyncio.to_thread(s.shopify.settle)
        await s.until(lambda: s.state() == "uninstalled")
        while await s.connector().tokens.stored() is not None:
            await asyncio.sleep(0.05)
        asked = len(s.shopify.calls)
        await _left(s, 29)
        await asyncio.sleep(0.6)
        assert s.products()
        await _left(s, 31)
        await s.until(lambda: not s.products() and not s.users() and not s.interactions())
        assert len(s.shopify.calls) == asked  # nothing was asked of the shop any more


async def _left(s: Running, days: int) -> None:
    await s.engine.store.run(lambda tx: tx.db.execute("UPDATE installs SET ended = ended - ?", (days * DAY_MS,)))
