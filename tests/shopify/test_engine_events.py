"""What the table of failures promises of webhooks, catalogue and events, through receiver, engine and stand-ins."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from misoflow.control import call
from misoflow.store.known import STRANGE
from misoflow_sandbox.faults import Match
from misoflow_sandbox.shopify import (
    Action,
    HookRule,
    Options,
    Rule,
    ShopSpec,
    refunded_units,
    units,
    variants_on_sale,
    visit,
)
from misoflow_shopify import mapping

from tests.shopify.mapped import signed
from tests.shopify.running import DOMAIN, SHOP, Running, quick, running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def first(s: Running, domain: str = DOMAIN) -> Any:
    """A product that is on sale."""
    return next(iter(s.shopify.shop(domain).products))


async def test_13_a_delivery_that_comes_again_is_answered_and_counts_once(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        users, accepted = len(s.users()), s.counts()["accepted"]
        s.shopify.hooks.rules.append(HookRule(topic="customers/", copies=4))
        await s.done(lambda: s.shopify.merchant().create_customer())
        await s.quiet()
        told = [one for one in s.shopify.hooks.deliveries if one.topic == "customers/create"]
        assert [one.statuses for one in told] == [[200]] * 5
        assert len({one.webhook_id for one in told}) == 1
        assert len(s.users()) == users + 1
        assert s.counts()["accepted"] == accepted + 1
        assert s.counts()["duplicates"] >= 4


async def test_14_two_topics_of_one_action_both_count(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        variant = first(s).variants[0].id
        await s.done(lambda: s.shopify.merchant().set_inventory(variant, 0))
        await s.quiet()
        level, product = s.shopify.hooks.deliveries[-2:]
        assert level.event_id == product.event_id
        topics = Counter(one["topic"] for one in s.last(10))
        assert topics["inventory_touched"] == 1
        assert topics["product_touched"] >= 1
        assert s.products()[str(variant)]["availability"] == "OUT_OF_STOCK"


async def test_15_webhooks_out_of_order_bring_nothing_back(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        merchant, gone, kept = s.shopify.merchant(), first(s), list(s.shopify.shop().products)[1]
        lost = {str(variant.id) for variant in gone.variants}
        s.shopify.hooks.rules.append(HookRule(topic="products/update", delay=60.0, times=2))
        await s.done(lambda: merchant.update_product(gone.id, title="Old"))
        await s.done(lambda: merchant.update_product(kept.id, title="Older"))
        await s.done(lambda: merchant.delete_product(gone.id))
        await s.done(lambda: merchant.update_product(kept.id, title="Newest"))
        await s.quiet()
        assert not lost & set(s.products())
        s.shopify.clock.advance(61)  # now those of before
        await s.quiet()
        assert [one.state for one in s.shopify.hooks.deliveries if one.topic == "products/update"] == ["delivered"] * 3
        assert not lost & set(s.products())
        assert s.products()[str(kept.variants[0].id)]["title"].startswith("Newest")


@pytest.mark.parametrize("many", [300, pytest.param(5000, marks=pytest.mark.long)])
async def test_16_a_burst_is_answered_whole_and_read_once_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    window = 1.0
    quick(monkeypatch, window)
    async with running(tmp_path) as s:
        await s.live()
        before = s.calls("Product")
        products = [one.id for one in list(s.shopify.shop().products)[:5]]
        began = time.monotonic()
        statuses = await _burst(s, products, many)
        assert statuses == Counter({200: many})
        await s.until(lambda: s.counts()["accepted"] >= many)
        await s.quiet()
        windows = (time.monotonic() - began) / window + 1
        assert 5 <= s.calls("Product") - before <= 5 * windows
        assert s.dead() == []


async def _burst(s: Running, products: list[int], many: int) -> Counter[int]:
    """products/update of these, by turns, each delivery with an id of its own; the statuses."""
    found: Counter[int] = Counter()
    numbers = iter(range(many))

    async def send(client: httpx.AsyncClient) -> None:
        for number in numbers:
            body = json.dumps({"id": products[number % len(products)]}).encode()
            own = {"topic": "products/update", "shop-domain": DOMAIN, "webhook-id": f"burst-{number}"}
            own |= {"hmac-sha256": signed(body, "sandbox-secret"), "api-version": "2026-10"}
            headers = {f"x-shopify-{name}": value for name, value in own.items()}
            found[(await client.post(f"{s.receiver}/hooks/shop", content=body, headers=headers)).status_code] += 1

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await asyncio.gather(*(send(client) for _ in range(16)))
    return found


async def test_17_what_cannot_be_written_is_refused_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("misoflow_webhooks.upkeep.STORE_SECONDS", 0.3)
    async with running(tmp_path) as s:
        await s.live()
        users = len(s.users())
        foreign = apsw.Connection(str(s.settings.data / "inbox.db"))
        foreign.execute("BEGIN IMMEDIATE")
        await s.done(lambda: s.shopify.merchant().create_customer())
        await asyncio.to_thread(s.shopify.settle)
        delivery = s.shopify.hooks.deliveries[-1]
        assert (delivery.state, delivery.statuses) == ("waiting", [503])
        foreign.execute("ROLLBACK")
        foreign.close()
        monkeypatch.setattr("misoflow_webhooks.upkeep.STORE_SECONDS", 4.0)
        s.shopify.clock.advance(4 * 3600)
        await s.quiet()
        assert delivery.state == "delivered"
        assert len(s.users()) == users + 1


async def test_18_a_bug_of_ours_is_a_dead_letter_with_its_data_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as s:
        await s.live()
        users = len(s.users())

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        with monkeypatch.context() as bug:
            bug.setitem(mapping.ROWS, "customer", mapping.ROWS["customer"]._replace(make=broken))
            customer = await s.done(lambda: s.shopify.merchant().create_customer())
            await s.until(lambda: bool(s.dead()))
        (letter,) = s.dead()
        assert (letter.topic, letter.instance) == ("customer", SHOP)
        assert "ZeroDivisionError" in letter.reason
        assert json.loads(letter.raw)["data"]["id"] == str(customer.id)
        await call(s.settings, "dead.retry", ids=[letter.id])
        await s.until(lambda: len(s.users()) == users + 1)
        assert s.dead() == []


async def test_33_a_shop_that_is_throttled_holds_up_no_other(tmp_path: Path) -> None:
    hot, calm = (
        ShopSpec(domain=f"{name}.myshopify.com", products=4, orders=2, traps=False) for name in ("hot", "calm")
    )
    async with running(tmp_path, hot, calm) as s:
        for spec in (hot, calm):
            await s.live(spec.domain)
        path = f"/{hot.domain}/admin/api/"
        s.shopify.faults.add(Rule(Action(throttled=True), match=Match(path=path), times=-1))
        for spec in (hot, calm):
            number = first(s, spec.domain).id
            await s.done(
                lambda spec=spec, number=number: s.shopify.merchant(spec.domain).update_product(number, title="New")
            )
        await s.quiet(calm.domain)
        assert s.products()[str(first(s, calm.domain).variants[0].id)]["title"].startswith("New")
        assert s.counts(f"shop/{hot.domain}")["pending"] == 1
        s.shopify.faults.rules.clear()
        await s.quiet(hot.domain)
        assert s.products()[str(first(s, hot.domain).variants[0].id)]["title"].startswith("New")


async def test_34_a_product_of_2048_variants_is_at_miso_whole(tmp_path: Path) -> None:
    spec = ShopSpec(products=3, most_variants=2048, orders=0, customers=0, traps=False)
    async with running(tmp_path, spec) as s:
        await s.live()
        assert set(s.products()) == variants_on_sale(s.shopify.shop())
        assert len(s.products()) >= 2048
        largest = max(s.shopify.shop().products, key=lambda one: len(one.variants))
        await s.done(lambda: s.shopify.merchant().update_product(largest.id, title="Renamed"))
        await s.quiet()
        assert sum(one["title"].startswith("Renamed") for one in s.products().values()) == 2048


async def test_35_36_what_is_not_on_sale_any_more_is_removed(tmp_path: Path) -> None:
    spec = ShopSpec(products=6, orders=0, customers=0, traps=False)
    async with running(tmp_path, spec) as s:
        await s.live()
        merchant = s.shopify.merchant()
        one, draft, unlisted, unpublished, *_ = list(s.shopify.shop().products)
        removed = one.variants[-1].id
        await s.done(lambda: merchant.delete_variant(removed))
        await s.done(lambda: merchant.update_product(draft.id, status="DRAFT"))
        await s.done(lambda: merchant.update_product(unlisted.id, status="UNLISTED"))
        await s.done(lambda: merchant.update_product(unpublished.id, published_at=None))
        await s.quiet()
        gone = {str(removed)} | {str(v.id) for each in (draft, unlisted, unpublished) for v in each.variants}
        assert not gone & set(s.products())
        assert set(s.products()) == variants_on_sale(s.shopify.shop())
        await s.done(lambda: merchant.update_product(draft.id, status="ACTIVE"))
        await s.quiet()
        assert str(draft.variants[0].id) in s.products()


async def test_37_a_metafield_of_another_type_costs_no_product(tmp_path: Path) -> None:
    async with running(tmp_path, more='metafields = ["custom.material"]') as s:
        await s.live()
        merchant, number = s.shopify.merchant(), first(s).id
        for type_, value in (("number_integer", "7"), ("list.single_line_text_field", '["a","b"]'), ("json", "{")):
            await s.done(lambda t=type_, v=value: merchant.set_metafield(number, "custom", "material", t, v))
            await s.quiet()
        assert s.dead() == []
        assert set(s.products()) == variants_on_sale(s.shopify.shop())
        kept = {type(one.get("custom_attributes", {}).get("custom_material", "")) for one in s.products().values()}
        assert kept == {str}


async def test_40_another_domain_is_in_every_address(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        assert all("www.demo-shop.example" in one["url"] for one in s.products().values())
        await s.done(lambda: s.shopify.merchant().change_shop(primary_domain="new.example"))
        await s.until(lambda: all("//new.example/" in one["url"] for one in s.products().values()))
        await s.quiet()
        assert set(s.products()) == variants_on_sale(s.shopify.shop())
        assert s.shopify.operations[DOMAIN].all  # by one more reading of the catalogue


async def test_41_without_consent_nothing_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        accepted = s.counts()["accepted"]
        shopper = s.shopify.shopper(1)
        await s.done(shopper.home)
        await s.until(lambda: s.counts()["accepted"] == accepted + 1)
        (event,) = shopper.sent
        event["id"] = "without"
        shopper.consent = {"analytics": False, "marketing": True, "preferences": True, "sale": True}
        assert await s.done(lambda: shopper.send(event)) == 204  # a pixel that does not ask
        await s.quiet()
        assert s.counts()["accepted"] == accepted + 1


async def test_42_forged_events_are_dropped_and_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        shopper = s.shopify.shopper(1)
        await s.done(lambda: shopper.view(first(s).variants[0].id))
        await s.quiet()
        views, before = len(s.of_type("product_detail_page_view")), s.counts()
        assert views == 1
        (event,) = [one for one in shopper.sent if one["name"] == "product_viewed"]
        forged = {**event, "id": "forged", "data": {"variant": "1", "product": "1", "quantity": 1}}
        assert await s.done(lambda: shopper.send(forged)) == 204  # the storefront's key is no secret
        await s.until(lambda: STRANGE in {one["reason"] for one in s.last(5)})
        pixel = s.shopify.shop().pixel
        assert pixel is not None
        pixel.settings["accountID"] = "a" * len(pixel.settings["accountID"])
        assert await s.done(lambda: shopper.send({**event, "id": "of another key"})) == 401
        await s.quiet()
        assert s.counts()["accepted"] == before["accepted"] + 2  # the view, and that its product is gone
        assert len(s.of_type("product_detail_page_view")) == views


def orders_of(s: Running) -> Counter[str]:
    return Counter(one["context"]["custom_context"]["order_id"] for one in s.of_type("checkout"))


async def test_43_the_pixel_and_the_webhooks_of_an_order_make_one_checkout_of_its_visitor(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        shopper = s.shopify.shopper(7)
        order = await s.done(lambda: visit(shopper, 7))
        await s.done(lambda: s.shopify.merchant().touch_order(order.id))
        await s.quiet()
        (found,) = [
            one for one in s.of_type("checkout") if one["context"]["custom_context"]["order_id"] == str(order.id)
        ]
        assert found["anonymous_id"] == shopper.client_id
        bought = list(zip(found["product_ids"], found["quantities"], strict=True))
        assert bought == units(s.shopify.shop(), order)
        viewed = [one for one in s.of_type("product_detail_page_view") if one["anonymous_id"] == shopper.client_id]
        assert viewed


@pytest.mark.parametrize("lost", ["pixel", "webhook"])
async def test_44_47_one_of_both_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    row = mapping.ROWS["pixel_checkout_completed"]

    def soon(*given: Any) -> Any:
        return [replace(one, after=0.5) if type(one).__name__ == "Fetch" else one for one in row.make(*given)]

    monkeypatch.setitem(mapping.ROWS, "pixel_checkout_completed", row._replace(make=soon))
    async with running(tmp_path) as s:
        await s.live()
        consent = {"analytics": lost != "pixel", "marketing": False, "preferences": False, "sale": False}
        shopper = s.shopify.shopper(7, consent=consent)
        if lost == "webhook":
            s.shopify.hooks.rules.append(HookRule(topic="orders/", drop=True, times=-1))
        order = await s.done(lambda: visit(shopper, 7))
        await s.until(lambda: str(order.id) in orders_of(s))
        await s.done(lambda: s.shopify.merchant().touch_order(order.id))
        await s.quiet()
        assert orders_of(s)[str(order.id)] == 1
        (found,) = [
            one for one in s.of_type("checkout") if one["context"]["custom_context"]["order_id"] == str(order.id)
        ]
        assert (found["anonymous_id"] == shopper.client_id) == (lost == "webhook")
        assert found["anonymous_id"]


async def test_45_46_48_orders_that_change_add_up(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        merchant, shop = s.shopify.merchant(), s.shopify.shop()
        tested = s.shopify.shopper(1)
        await s.done(lambda: (tested.add(first(s).variants[0].id), tested.buy(test=True, completed=False)))
        orders = [await s.done(lambda n=n: visit(s.shopify.shopper(n), n)) for n in (2, 3, 4, 5)]
        cancelled, quietly, part, edited = orders
        known = {one.id: units(shop, one) for one in orders}
        await s.done(lambda: merchant.cancel(cancelled.id))
        await s.done(lambda: merchant.cancel(quietly.id, refund=False))
        await s.done(lambda: merchant.refund(part.id, {part.lines[0].id: 1}))
        await s.done(lambda: merchant.refund(part.id, amount="2.00"))
        added = list(shop.products)[2].variants[0].id
        await s.done(lambda: merchant.edit_order(edited.id, add={added: 2}))
        await s.quiet()
        assert s.dead() == []
        checkouts: dict[str, list[Any]] = {}
        for one in s.of_type("checkout"):
            number = one["context"]["custom_context"]["order_id"]
            checkouts.setdefault(number, []).append(list(zip(one["product_ids"], one["quantities"], strict=True)))
        assert not [one for one in shop.orders if one.test and str(one.id) in checkouts]
        for order in (cancelled, quietly, part):
            assert checkouts[str(order.id)] == [known[order.id]]
        assert sorted(checkouts[str(edited.id)]) == sorted([known[edited.id], [(str(added), 2)]])
        refunds = Counter(one["context"]["custom_context"]["order_id"] for one in s.of_type("refund"))
        for order in (cancelled, quietly, part, edited):
            lines = refunded_units(shop.orders.keep(order.id))
            assert refunds[str(order.id)] == len(lines), order.id


async def test_50_51_events_that_come_again_and_a_miso_that_fails_double_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as s:
        await s.live()
        before = len(s.lines())
        refusals = [{"status": 503, "body": {}, "match": {"path": "/v1/interactions"}}] * 2
        s.sandbox.faults.add(json.dumps(refusals).encode())
        shopper = s.shopify.shopper(7)
        order = await s.done(lambda: visit(shopper, 7))
        for event in list(shopper.sent):  # as a visitor's browser does that gives its consent later
            assert await s.done(lambda event=event: shopper.send(event)) == 204
        await s.quiet()
        assert orders_of(s)[str(order.id)] == 1
        seen = Counter(one["context"]["custom_context"]["uuid"] for one in s.interactions())
        assert max(seen.values()) == 1
        assert len(s.lines()) > before
        times = {one["timestamp"] for one in shopper.sent}
        views = s.of_type("product_detail_page_view")
        assert views
        assert {one["timestamp"] for one in views} <= times


async def test_b5_a_catalogue_that_changes_while_it_is_read_is_right_after_the_next(tmp_path: Path) -> None:
    options = Options(throttle=False, speed=0, bulk_seconds=60)
    async with running(tmp_path, ShopSpec(products=12, orders=0, customers=0), options=options) as s:
        s.shopify.hooks.rules.append(HookRule(drop=True, times=-1))  # nobody tells what changes
        await s.click()
        await s.until(lambda: s.calls("Operation") > 3)
        shop, merchant = s.shopify.shop(), s.shopify.merchant()
        some = [one for one in shop.products if one.status == "ACTIVE" and one.published][:4]
        s.shopify.options.bulk_seconds = 0
        s.shopify.clock.advance(61)
        for number, one in enumerate(some):
            await s.done(lambda n=number, p=one: _changed(merchant, n, p))
        await s.until(lambda: s.state() == "live")
        await s.quiet()
        await asyncio.sleep(0.01)
        s.shopify.clock.advance(1)
        await call(s.settings, "backfill.start", instance=SHOP, streams=["catalog"])
        await s.quiet()
        await s.until(lambda: set(s.products()) == variants_on_sale(shop))


def _changed(merchant: Any, number: int, product: Any) -> None:
    match number:
        case 0:
            merchant.delete_product(product.id)
        case 1:
            merchant.delete_variant(product.variants[0].id)
        case 2:
            merchant.add_variant(product.id, "Another")
        case _:
            merchant.create_product("Brand new", variants=3)
