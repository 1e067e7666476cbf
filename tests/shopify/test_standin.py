"""The client side against Shopify's stand-in: what is read is what the shop has, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from misoflow import Event, Page, Retry, Slice, Visit
from misoflow.http import Http
from misoflow_sandbox.shopify import (
    Action,
    App,
    BulkRule,
    Options,
    Rule,
    ShopifySandbox,
    ShopifyWorld,
    ShopSpec,
    served_shopify,
    truth,
    variants_on_sale,
)
from misoflow_shopify import Shopify

from tests.shopify.fake import MemoryState, config

DOMAIN = "demo-shop.myshopify.com"
URL = "https://misoflow.example/install/shop"
SETTINGS = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}


async def nap(_: float) -> None:
    """Waits are not waited for, but the stand-in's threads must have their turn."""
    await asyncio.sleep(0.01)


def connector(sandbox: ShopifySandbox, state: MemoryState | None = None, **settings: Any) -> Shopify:
    made = Shopify(config(**SETTINGS, api_url=f"{sandbox.url}/{{shop}}", **settings))
    made.http = Http()
    made.state = state or MemoryState()
    made.link.now = lambda: sandbox.clock.now() / 1000
    made.link.sleep = nap
    return made


async def clicked(sandbox: ShopifySandbox, made: Shopify) -> dict[str, str]:
    """A merchant's way through the app's address and Shopify's consent: the grant."""
    sandbox.app_config.app_url = URL
    now = datetime.fromtimestamp(sandbox.clock.now() / 1000, UTC)
    link = sandbox.oauth.app_link(sandbox.shop(DOMAIN))
    begun = made.visit(Visit(path="", query=tuple(parse_qsl(urlsplit(link).query)), url=URL, now=now))
    assert begun.unless_installed is not None
    sandbox.app_config.redirect_urls = [f"{URL}/callback"]
    consent = urlsplit(begun.unless_installed.location)
    values = dict(parse_qsl(consent.query))
    answer = sandbox.oauth.agree(sandbox.shop(DOMAIN), values)
    back = dict(answer.headers)[b"location"].decode()
    cookies = {cookie.name: cookie.value for cookie in begun.unless_installed.cookies}
    query = tuple(parse_qsl(urlsplit(back).query))
    done = made.visit(Visit(path="callback", query=query, url=URL, now=now, cookies=cookies))
    assert done.tenant == DOMAIN
    assert done.grant is not None
    return dict(done.grant)


@pytest.fixture
async def sandbox() -> AsyncIterator[ShopifySandbox]:
    async with served_shopify(ShopifyWorld(), Options(speed=0, throttle=False), App(all_orders=True)) as found:
        found.app_config.scopes.append("read_all_orders")
        yield found


async def installed(sandbox: ShopifySandbox, state: MemoryState | None = None, **settings: Any) -> Shopify:
    made = connector(sandbox, state, **settings)
    found = await made.install(await clicked(sandbox, made))
    assert [problem for problem in found.problems if problem.level == "fail"] == []
    return made


def span(sandbox: ShopifySandbox, stream: str, days: int = 400, cursor: str | None = None) -> Slice:
    now = datetime.fromtimestamp(sandbox.clock.now() / 1000, UTC) + timedelta(minutes=1)
    return Slice(stream, now - timedelta(days=days), now, cursor)


async def events(made: Shopify, part: Slice) -> list[Event]:
    return [event for page in await pages(made, part) for event in page.events]


async def pages(made: Shopify, part: Slice) -> list[Page]:
    return [page async for page in made.backfill(part)]  # type: ignore[union-attr]


def sold(found: list[Event]) -> set[str]:
    """Variants of the products that are on sale, as the events have them."""
    return {
        variant["id"]
        for event in found
        if event.topic == "product" and event.data["published"] and event.data["status"] == "ACTIVE"
        for variant in event.data["variants"]
    }


async def test_an_install_and_all_of_its_history(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    shop = sandbox.shop(DOMAIN)
    assert shop.pixel is not None
    assert shop.pixel.settings["endpoint"] == "https://misoflow.example/hooks/shop"
    catalogue = await events(made, span(sandbox, "catalog"))
    assert sold(catalogue) == variants_on_sale(shop)
    assert catalogue[-1].topic == "catalog_end"
    orders = await events(made, span(sandbox, "orders"))
    expected = {one["id"] for one in truth(shop)["orders"]}
    assert {event.data["id"] for event in orders if not event.data["test"]} == expected
    refunded = {one["id"]: one["refunded"] for one in truth(shop)["orders"]}
    for event in orders:
        if event.topic == "order_state" and not event.data["test"] and event.data["cancelled_at"] is None:
            counts: dict[str, int] = {}
            for refund in event.data["refunds"]:
                for line in refund["lines"]:
                    counts[line["line"]] = counts.get(line["line"], 0) + line["quantity"]
            assert counts == refunded[event.data["id"]]
    customers = await events(made, span(sandbox, "customers"))
    assert sorted(event.data["id"] for event in customers) == truth(shop)["customers"]
    everything = json.dumps([event.data for event in [*catalogue, *orders, *customers]])
    assert "anary" not in everything
    assert "1555019" not in everything
    assert all("email" not in call for call in everything.split(","))


async def test_b7_an_object_is_the_same_by_bulk_and_by_itself(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox, metafields=["custom.material"])
    catalogue = {
        event.data["id"]: event for event in await events(made, span(sandbox, "catalog")) if event.topic == "product"
    }
    for number, event in catalogue.items():
        (single,) = await made.fetch("product", number)
        assert {**single.data, "read_at": 0} == {**event.data, "read_at": 0}
    orders = {
        event.data["id"]: event for event in await events(made, span(sandbox, "orders")) if event.topic == "order"
    }
    for number, event in orders.items():
        assert (await made.fetch("order", number))[0] == event


async def test_34_2048_variants_by_bulk_and_by_itself() -> None:
    world = ShopifyWorld(shops=(ShopSpec(products=3, most_variants=2048, orders=5),))
    async with served_shopify(world, Options(speed=0), App(all_orders=True)) as sandbox:
        sandbox.app_config.scopes.append("read_all_orders")
        made = await installed(sandbox)
        catalogue = [event for event in await events(made, span(sandbox, "catalog")) if event.topic == "product"]
        largest = max(catalogue, key=lambda event: len(event.data["variants"]))
        assert len(largest.data["variants"]) == 2048
        for _ in range(200):  # its cost is above the shop's budget: the engine waits
            try:
                (single,) = await made.fetch("product", largest.data["id"])
                break
            except Retry as error:
                sandbox.clock.advance(error.after or 1)
        assert single.data["variants"] == largest.data["variants"]


async def test_33_throttling_is_waited_out(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    sandbox.faults.add(Rule(Action(throttled=True), name="Product", times=2))
    number = next(iter(sandbox.shop(DOMAIN).products)).id
    made.reader._first = 10
    with pytest.raises(Retry) as caught:  # more than one object may wait: the engine comes back
        await made.fetch("product", str(number))
    assert caught.value.after
    (event,) = await made.fetch("product", str(number))
    assert event.data["id"] == str(number)


@pytest.mark.parametrize(
    "rule",
    [
        BulkRule(status="FAILED", error_code="TIMEOUT", partial=20),
        BulkRule(status="FAILED", error_code="INTERNAL_SERVER_ERROR", partial=20, partial_after=30),
        BulkRule(status="CANCELED"),
        BulkRule(miscount=1),
        BulkRule(truncate=True),
        BulkRule(orphans=2),
        BulkRule(link_seconds=-1.0),
    ],
    ids=["failed", "internal", "canceled", "miscount", "truncated", "orphans", "link"],
)
async def test_26_27_28_29_a_fault_fails_the_slice_and_the_next_attempt_is_whole(
    sandbox: ShopifySandbox, rule: BulkRule
) -> None:
    made = await installed(sandbox)
    sandbox.bulk_fault(rule)
    found: list[Page] = []
    with pytest.raises(Retry):
        await gathered(made, span(sandbox, "orders"), found)
    assert {page.cursor for page in found} <= {None}
    whole = await events(made, span(sandbox, "orders"))
    expected = {one["id"] for one in truth(sandbox.shop(DOMAIN))["orders"]}
    assert {event.data["id"] for event in whole if not event.data["test"]} == expected


async def gathered(made: Shopify, part: Slice, found: list[Page]) -> None:
    async for page in made.backfill(part):  # type: ignore[union-attr]
        found.append(page)


async def test_27_lines_that_come_twice_count_once(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    sandbox.bulk_fault(BulkRule(duplicates=15))
    catalogue = await events(made, span(sandbox, "catalog"))
    assert sold(catalogue) == variants_on_sale(sandbox.shop(DOMAIN))
    numbers = [event.data["id"] for event in catalogue if event.topic == "product"]
    assert len(numbers) == len(set(numbers))


async def test_a_file_that_breaks_off_is_read_on(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    sandbox.faults.add(
        Rule(Action(cut=3000), times=3),
    )
    sandbox.faults.rules[-1].match.path = f"/{DOMAIN}/bulk/"
    catalogue = await events(made, span(sandbox, "catalog"))
    assert sold(catalogue) == variants_on_sale(sandbox.shop(DOMAIN))


async def test_24_a_window_without_orders(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    end = datetime(2001, 1, 1, tzinfo=UTC)
    assert await events(made, Slice("orders", end - timedelta(days=30), end)) == []


async def test_32_without_all_orders_the_wall_is_said() -> None:
    async with served_shopify(ShopifyWorld(), Options(speed=0, throttle=False)) as sandbox:
        made = connector(sandbox)
        found = await made.install(await clicked(sandbox, made))
        (problem,) = found.problems
        assert "60 days only (history_limited)" in problem.text
        orders = await events(made, span(sandbox, "orders"))
        expected = {one["id"] for one in truth(sandbox.shop(DOMAIN))["orders"]}
        assert {event.data["id"] for event in orders if not event.data["test"]} == expected


async def test_3_orders_come_without_customers_where_those_are_withheld() -> None:
    world = ShopifyWorld(shops=(ShopSpec(withheld=("read_customers",)),))
    async with served_shopify(world, Options(speed=0, throttle=False)) as sandbox:
        made = connector(sandbox)
        found = await made.install(await clicked(sandbox, made))
        assert found.without == ("customers",)
        orders = await events(made, span(sandbox, "orders"))
        assert {event.data["customer"] for event in orders} == {None}
        expected = {one["id"] for one in truth(sandbox.shop(DOMAIN))["orders"]}
        assert {event.data["id"] for event in orders if not event.data["test"]} == expected


async def test_35_36_what_changed_is_found_by_the_hourly_look(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    sandbox.clock.advance(3600)
    merchant, shop = sandbox.merchant(), sandbox.shop(DOMAIN)
    first, second = [one.id for one in shop.products if one.status == "ACTIVE" and one.published][:2]
    merchant.update_product(first, title="New")
    merchant.update_product(second, status="DRAFT")
    found = await pages(made, span(sandbox, "changes", days=0))
    assert found[-1].cursor is not None
    products = {event.data["id"]: event.data for page in found for event in page.events if event.topic == "product"}
    assert products[str(first)]["title"] == "New"
    assert products[str(second)]["status"] == "DRAFT"
    assert len(products) == 2


async def test_05_the_pair_before_stays_good_until_the_new_one_is_used(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox)
    sandbox.clock.advance(3590)
    sandbox.faults.add(Rule(Action(lost="after")))
    sandbox.faults.rules[-1].match.path = f"/{DOMAIN}/admin/oauth/"
    with pytest.raises(Retry):
        await made.tokens.token()
    assert await made.fetch("shop", "shop") == []


async def test_04_eight_processes_refresh_once(sandbox: ShopifySandbox) -> None:
    state = MemoryState()
    made = await installed(sandbox, state)
    sandbox.clock.advance(3590)
    before = sum(call.path.endswith("access_token") for call in sandbox.calls)
    processes = [made, *(connector(sandbox, state) for _ in range(7))]
    tokens = await asyncio.gather(*(one.tokens.token() for one in processes))
    assert len(set(tokens)) == 1
    assert sum(call.path.endswith("access_token") for call in sandbox.calls) == before + 1


async def test_subscriptions_of_a_shop(sandbox: ShopifySandbox) -> None:
    made = await installed(sandbox, subscriptions="shop")
    shop = sandbox.shop(DOMAIN)
    count = len(shop.subscriptions)
    assert count == 22
    shop.subscriptions.pop(next(iter(shop.subscriptions)))
    assert (await made.install({})).gaps == ("changes",)
    assert len(shop.subscriptions) == count


async def test_token_exchange_of_an_embedded_app() -> None:
    options = Options(speed=0, throttle=False, embedded=True)
    async with served_shopify(ShopifyWorld(), options, App(managed=True, app_url=URL)) as sandbox:
        made = connector(sandbox)
        link = sandbox.oauth.app_link(sandbox.shop(DOMAIN))
        now = datetime.fromtimestamp(sandbox.clock.now() / 1000, UTC)
        reply = made.visit(Visit(path="", query=tuple(parse_qsl(urlsplit(link).query)), url=URL, now=now))
        assert reply.tenant == DOMAIN
        assert f"https://{DOMAIN}" in reply.frames
        assert reply.grant is not None
        await made.install(reply.grant)
        assert sandbox.shop(DOMAIN).pixel is not None


async def test_a_custom_app_of_one_shop() -> None:
    async with served_shopify(ShopifyWorld(), Options(speed=0, throttle=False), App(custom=True)) as sandbox:
        sandbox.installs.install(DOMAIN)
        made = connector(sandbox, shop=DOMAIN, public_url="https://misoflow.example", subscriptions="shop")
        found = await made.install({})
        assert [problem.level for problem in found.problems] == ["warn"]
        assert sold(await events(made, span(sandbox, "catalog"))) == variants_on_sale(sandbox.shop(DOMAIN))


async def test_s12_two_shops_at_once_get_their_own() -> None:
    specs = (ShopSpec(domain="one.myshopify.com", seed=1), ShopSpec(domain="two.myshopify.com", seed=2))
    async with served_shopify(ShopifyWorld(shops=specs), Options(speed=0, throttle=False), App(custom=True)) as sandbox:
        made = []
        for spec in specs:
            sandbox.installs.install(spec.domain)
            made.append(connector(sandbox, shop=spec.domain))
        found = await asyncio.gather(*(events(one, span(sandbox, "catalog")) for one in made for _ in range(2)))
        for spec, catalogue in zip([spec for spec in specs for _ in range(2)], found, strict=True):
            assert {event.data["shop"] for event in catalogue if event.topic == "product"} == {spec.domain}
            assert sold(catalogue) == variants_on_sale(sandbox.shop(spec.domain))
