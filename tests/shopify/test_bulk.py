"""Bulk operations under every fault that is known of them, through the streams of history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import httpx
import pytest
from misoflow import Halt, Page, Reject, Retry, Slice
from misoflow.http import Http
from misoflow_shopify import Shopify, bulk
from misoflow_shopify.bulk import BUSY_SECONDS, Failed
from misoflow_shopify.history import AT_ONCE_READ
from misoflow_shopify.jsonl import Broken

from tests.shopify.fake import SHOP, Clock, FakeShop, MemoryState, connected

NOW = datetime.fromtimestamp(1_800_000_000, UTC)
FILE = "https://storage.googleapis.com/bulk/{}.jsonl?Signature=s"


class Bulks:
    """Shopify's bulk operations: ``lines`` are what any of them finds."""

    def __init__(self, shop: FakeShop, lines: list[dict[str, Any]]) -> None:
        self.shop = shop
        self.lines = lines
        self.operations: dict[str, dict[str, Any]] = {}
        self.started = 0
        self.looks = 2
        self.begins = "CREATED"
        self.refuse: list[dict[str, Any]] = []
        self.change: dict[str, Any] = {}
        self.body: bytes | None = None
        shop.answers |= {
            "Start": self.start,
            "Operation": self.look,
            "Operations": self.running,
            "Shop": lambda _: {
                "shop": {
                    "myshopifyDomain": SHOP,
                    "primaryDomain": {"host": "www.demo.example"},
                    "currencyCode": "USD",
                    "ianaTimezone": "UTC",
                    "plan": {"publicDisplayName": "Basic"},
                }
            },
            "Collections": lambda _: connection("collections", []),
            "Refunds": lambda _: {"order": {"refunds": [{**REFUND, **connection("refundLineItems", [REFUNDED])}]}},
        }

    @property
    def data(self) -> bytes:
        return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)

    def start(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        if self.refuse:
            return {"bulkOperationRunQuery": {"bulkOperation": None, "userErrors": self.refuse}}
        self.started += 1
        gid = f"gid://shopify/BulkOperation/{self.started}"
        self.operations[gid] = {
            "id": gid,
            "status": "CREATED",
            "createdAt": "2027-01-15T08:00:00Z",
            "query": variables["query"],
            "objectCount": "0",
            "looks": self.looks,
        }
        self.shop.files[FILE.format(self.started)] = self.file
        node = {"id": gid, "status": self.begins, "createdAt": "2027-01-15T08:00:00Z"}
        return {"bulkOperationRunQuery": {"bulkOperation": node, "userErrors": []}}

    def look(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        found = self.operations.get(variables["id"])
        if found is None:
            return {"bulkOperation": None, "more": 1}
        found["looks"] -= 1
        if found["looks"] <= 0:
            body = self.data if self.body is None else self.body
            found |= {
                "status": "COMPLETED",
                "objectCount": str(len(self.lines)),
                "fileSize": str(len(body)),
                "url": FILE.format(found["id"].rpartition("/")[2]) if self.lines else None,
                **self.change,
            }
        return {"bulkOperation": {key: value for key, value in found.items() if key != "looks"}}

    def running(self, _: Mapping[str, Any]) -> dict[str, Any]:
        found = [one for one in self.operations.values() if one["status"] in ("CREATED", "RUNNING")]
        return {"bulkOperations": {"nodes": found}}

    def file(self, request: httpx.Request) -> httpx.Response:
        body = self.data if self.body is None else self.body
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return httpx.Response(206 if start else 200, content=body[start:])


def connection(name: str, found: list[Any]) -> dict[str, Any]:
    return {name: {"nodes": found, "pageInfo": {"hasNextPage": False, "endCursor": None}}}


REFUND = {"id": "gid://shopify/Refund/8", "createdAt": "2026-12-02T10:00:00Z"}
REFUNDED = {"quantity": 1, "lineItem": {"id": "gid://shopify/LineItem/11"}}


def money(amount: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount, "currencyCode": "USD"}}


def order(number: int, units: int = 2, refunds: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    node = {
        "__typename": "Order",
        "id": f"gid://shopify/Order/{number}",
        "createdAt": "2026-12-01T10:00:00Z",
        "processedAt": "2026-12-01T10:00:00Z",
        "updatedAt": "2026-12-01T10:00:00Z",
        "test": False,
        "totalPriceSet": money("20.0"),
        "customer": {"id": "gid://shopify/Customer/5"},
        "customAttributes": [{"key": "_miso_anon", "value": "anon"}, {"key": "note", "value": "private canary"}],
        "cartToken": "cart",
        "checkoutToken": "checkout",
        "subtotalLineItemsQuantity": units,
        "refunds": refunds or [],
    }
    line = {
        "__typename": "LineItem",
        "id": f"gid://shopify/LineItem/{number}1",
        "__parentId": node["id"],
        "quantity": units,
        "isGiftCard": False,
        "variant": {"id": "gid://shopify/ProductVariant/7"},
        "product": {"id": "gid://shopify/Product/3"},
        "sellingPlan": None,
        "discountedTotalSet": money("20.0"),
    }
    return [node, line]


def product(number: int, variants: int = 2, claimed: int | None = None) -> list[dict[str, Any]]:
    gid = f"gid://shopify/Product/{number}"
    node = {
        "__typename": "Product",
        "id": gid,
        "title": f"T{number}",
        "status": "ACTIVE",
        "publishedAt": "2026-01-01T00:00:00Z",
        "variantsCount": {"count": variants if claimed is None else claimed},
    }
    parts = [
        {
            "__typename": "ProductVariant",
            "id": f"gid://shopify/ProductVariant/{number}{at}",
            "__parentId": gid,
            "price": "1.00",
        }
        for at in range(variants)
    ]
    collection = {"__typename": "Collection", "id": "gid://shopify/Collection/9", "handle": "all", "__parentId": gid}
    return [collection, *parts, node]


ORDERS = Slice("orders", NOW - timedelta(days=30), NOW)
CATALOG = Slice("catalog", NOW - timedelta(days=1), NOW)


async def pulled(made: Shopify, part: Slice = ORDERS) -> list[Page]:
    return [page async for page in made.backfill(part)]  # type: ignore[union-attr]


async def collect(made: Shopify, pages: list[Page], part: Slice = ORDERS) -> None:
    """What comes before an error is in ``pages``."""
    async for page in made.backfill(part):  # type: ignore[union-attr]
        pages.append(page)


def ids(pages: list[Page]) -> list[str]:
    return [event.id for page in pages for event in page.events]


async def shop_with(lines: list[dict[str, Any]], **options: Any) -> tuple[Bulks, Shopify]:
    shop = FakeShop()
    made = await connected(shop, **options)
    return Bulks(shop, lines), made


async def test_orders_come_with_their_states_and_refunds() -> None:
    bulks, made = await shop_with([*order(1, refunds=[REFUND]), *order(2)])
    pages = await pulled(made)
    found = ids(pages)
    assert sorted(found) == [
        "order/1",
        "order/2",
        "order_state/1@2026-12-01T10:00:00Z/1",
        "order_state/2@2026-12-01T10:00:00Z",
    ]
    assert found.index("order/1") < found.index("order_state/1@2026-12-01T10:00:00Z/1")
    data = next(event.data for page in pages for event in page.events if event.id == "order/1")
    assert data["refunds"] == [
        {"id": "8", "created_at": "2026-12-02T10:00:00Z", "lines": [{"line": "11", "quantity": 1}]}
    ]
    assert data["anonymous"] == "anon"
    assert "private canary" not in json.dumps(data)
    assert pages[-1].cursor == "end"
    assert made.state.values.keys() == {"tokens", "scopes"}  # type: ignore[attr-defined]
    assert bulks.started == 1


class Crowd:
    """Counts the readings of refunds that are under way; those of ``broken`` orders fail."""

    def __init__(self, shop: FakeShop, broken: tuple[int, ...] = ()) -> None:
        self._shop, self._broken = shop, [f"gid://shopify/Order/{number}" for number in broken]
        self.now = self.most = self.begun = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if b"query Refunds" not in request.content:
            return await self._shop(request)
        self.now, self.begun = self.now + 1, self.begun + 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(20):
                await asyncio.sleep(0)
            if json.loads(request.content)["variables"]["id"] in self._broken:
                return httpx.Response(503, stream=httpx.ByteStream(b""))
            return await self._shop(request)
        finally:
            self.now -= 1


async def crowded(broken: tuple[int, ...] = ()) -> tuple[Crowd, Shopify]:
    """Every fourth of 80 orders was refunded."""
    lines = [line for n in range(1, 81) for line in order(n, refunds=[REFUND] if n % 4 == 0 else None)]
    bulks, made = await shop_with(lines)
    crowd = Crowd(bulks.shop, broken)
    made.http = Http(transport=httpx.MockTransport(crowd))
    return crowd, made


async def test_refunds_of_a_page_are_read_beside_each_other() -> None:
    crowd, made = await crowded()
    found = [event for page in await pulled(made) for event in page.events if event.topic == "order"]
    assert len(found) == 80
    assert sum(len(event.data["refunds"]) for event in found) == crowd.begun == 20
    assert crowd.most == AT_ONCE_READ


async def test_when_one_reading_fails_no_other_of_its_page_is_begun() -> None:
    crowd, made = await crowded(broken=tuple(range(4, 81, 4)))
    with pytest.raises(Retry):
        await pulled(made)
    begun = crowd.begun
    for _ in range(200):
        await asyncio.sleep(0)
    assert crowd.begun == begun <= 2 * AT_ONCE_READ
    assert crowd.now == 0


async def test_polls_slower_and_slower() -> None:
    clock = Clock()
    bulks, made = await shop_with(order(1), clock=clock)
    bulks.looks = 25
    await pulled(made)
    gone = list(accumulate(clock.slept))
    assert all(wait < 1.01 + 0.3 * before for wait, before in zip(clock.slept, [0.0, *gone], strict=False))
    assert clock.slept == sorted(clock.slept)
    assert (len(clock.slept), clock.slept[0], clock.slept[-5:]) == (25, 1, [60] * 5)


async def test_an_operation_that_is_over_at_once_is_no_empty_one() -> None:
    bulks, made = await shop_with([*order(1), *order(2)])
    bulks.looks, bulks.begins = 0, "COMPLETED"
    assert len(ids(await pulled(made))) == 4


async def test_24_no_url_is_an_empty_success() -> None:
    _, made = await shop_with([])
    pages = await pulled(made)
    assert ids(pages) == []
    assert pages[-1].cursor == "end"


@pytest.mark.parametrize("code", ["OPERATION_IN_PROGRESS", "LIMIT_REACHED", None])
async def test_25_as_many_as_may_run_is_no_failure(code: str | None) -> None:
    bulks, made = await shop_with(order(1))
    bulks.refuse = [{"code": code, "field": None, "message": "A bulk operation is already in progress"}]
    with pytest.raises(Retry) as caught:
        await pulled(made)
    assert caught.value.after == BUSY_SECONDS  # so that it does not count as an attempt
    assert all("Cancel" not in str(request.content) for request in bulks.shop.requests)


async def test_25_one_of_ours_that_runs_is_adopted() -> None:
    bulks, made = await shop_with(order(1))
    bulks.looks = 1000
    query = next(iter(await started(made, bulks)))
    assert bulks.started == 1
    made.state.values.pop(next(name for name in made.state.values if name.startswith("bulk/")))  # type: ignore[attr-defined]
    bulks.operations[query]["looks"] = 2
    assert ids(await pulled(made)) != []
    assert bulks.started == 1


async def started(made: Shopify, bulks: Bulks) -> dict[str, Any]:
    """Start an operation, and break off while it runs."""

    class Stop(Exception):
        pass

    real = made.link.sleep

    async def stop(_: float) -> None:
        raise Stop

    made.link.sleep = stop
    with pytest.raises(Stop):
        await pulled(made)
    made.link.sleep = real
    return bulks.operations


async def test_25_one_of_others_is_let_be() -> None:
    bulks, made = await shop_with(order(1))
    bulks.operations["gid://shopify/BulkOperation/99"] = {
        "id": "gid://shopify/BulkOperation/99",
        "status": "RUNNING",
        "createdAt": "2027-01-15T08:00:00Z",
        "query": "{ others }",
        "looks": 1000,
    }
    await pulled(made)
    assert bulks.started == 1


@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "EXPIRED"])
async def test_26_what_failed_is_begun_anew_and_counts_as_an_attempt(status: str) -> None:
    bulks, made = await shop_with(order(1))
    bulks.change = {"status": status, "errorCode": "TIMEOUT", "url": None}
    for attempt in (1, 2):
        with pytest.raises(Failed) as caught:
            await pulled(made)
        assert caught.value.after is None  # the engine counts it, and halves the window
        assert bulks.started == attempt
        assert made.state.values.keys() == {"tokens", "scopes"}  # type: ignore[attr-defined]
    bulks.change = {}
    assert len(ids(await pulled(made))) == 2


async def test_26_partial_data_counts_but_proves_nothing() -> None:
    bulks, made = await shop_with([*order(1), *order(2)])
    short = [*order(1), order(2)[0]]
    bulks.body = b"".join(json.dumps(line).encode() + b"\n" for line in short) + b'{"id": "gid://sho'
    bulks.change = {"status": "FAILED", "errorCode": "TIMEOUT", "url": None, "partialDataUrl": FILE.format(1)}
    pages: list[Page] = []
    with pytest.raises(Failed):
        await collect(made, pages)
    assert ids(pages) == ["order/1", "order_state/1@2026-12-01T10:00:00Z"]  # 2 lacks its lines
    assert {page.cursor for page in pages} == {None}


async def test_26_partial_data_that_shows_up_later_is_waited_for() -> None:
    clock = Clock()
    bulks, made = await shop_with(order(1), clock=clock)
    bulks.change = {"status": "FAILED", "errorCode": "INTERNAL_SERVER_ERROR", "url": None}
    real, looks = bulks.look, 0

    def look(variables: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal looks
        found = real(variables)
        looks += 1
        if looks == 6:
            found["bulkOperation"]["partialDataUrl"] = FILE.format(1)
        return found

    bulks.shop.answers["Operation"] = look
    pages: list[Page] = []
    with pytest.raises(Failed):
        await collect(made, pages)
    assert len(ids(pages)) == 2
    assert clock.slept.count(10.0) == 4


@pytest.mark.parametrize("fault", ["cut", "orphan", "missing", "more", "size", "garbage"])
async def test_27_29_a_file_that_is_not_whole_fails_the_slice(fault: str) -> None:
    bulks, made = await shop_with([*order(1), *order(2)])
    match fault:
        case "cut":
            bulks.body = bulks.data[:-9]
        case "orphan":
            bulks.lines = [*order(1), order(2)[1]]
        case "missing":
            bulks.body = bulks.data.split(b"\n", 1)[1]
        case "more":
            bulks.change = {"objectCount": "5"}
        case "size":
            bulks.change = {"fileSize": "7"}
        case "garbage":
            bulks.body = b"<html>\n"
    pages: list[Page] = []
    with pytest.raises(Broken):
        await collect(made, pages)
    assert {page.cursor for page in pages} <= {None}
    bulks.lines, bulks.body, bulks.change = [*order(1), *order(2)], None, {}
    assert len(ids(await pulled(made))) == 4  # another operation, not the broken one again
    assert bulks.started == 2


async def test_28_a_link_that_ended_leads_to_another_operation() -> None:
    bulks, made = await shop_with(order(1))
    bulks.shop.files[FILE.format(1)] = lambda _: httpx.Response(400)
    real = bulks.file
    bulks.file = lambda request: httpx.Response(400)  # type: ignore[method-assign]
    with pytest.raises(Broken, match="link"):
        await pulled(made)
    bulks.file = real  # type: ignore[method-assign]
    assert len(ids(await pulled(made))) == 2
    assert bulks.started == 2


class Breaking(httpx.AsyncByteStream):
    """A body whose connection is lost after what there is."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> Any:
        yield self._content
        raise httpx.RemoteProtocolError("peer closed")


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_lost_connection_is_taken_up_where_it_broke(ranges: bool) -> None:
    """Also where the host gives the whole file again."""
    bulks, made = await shop_with([line for number in range(1, 400) for line in order(number)])
    starts: list[int] = []

    async def call(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return await bulks.shop(request)
        starts.append(len(bulks.data) - len(bulks.file(request).content))
        if not ranges:
            request.headers.pop("range", None)
        found = bulks.file(request)
        some = found.content[: starts[-1] * (not ranges) + 20_000 * len(starts)]
        body = Breaking(some) if len(starts) < 4 else httpx.ByteStream(found.content)
        return httpx.Response(found.status_code, stream=body)

    made.http._client._transport = httpx.MockTransport(call)
    assert len(ids(await pulled(made))) == 2 * 399
    assert starts == sorted(set(starts))
    assert len(starts) == 4


@pytest.mark.parametrize("part", [ORDERS, CATALOG])
async def test_30_broken_off_anywhere_it_goes_on_without_loss(part: Slice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_shopify.bulk.AT_ONCE", 3)
    make = order if part is ORDERS else product
    lines = [line for number in range(1, 20) for line in make(number)]
    _, whole = await shop_with(lines)
    expected = sorted(ids(await pulled(whole, part)))
    pages = len(await pulled(whole, part))
    for stop in range(1, pages + 1):
        state, shop = MemoryState(), FakeShop()
        made = await connected(shop, state)
        bulks = Bulks(shop, lines)
        found: list[str] = []
        cursor: str | None = None
        generator = made.backfill(part)
        for _ in range(stop):
            page = await anext(generator)  # type: ignore[arg-type]
            found += [event.id for event in page.events]
            cursor = page.cursor
        await generator.aclose()  # type: ignore[union-attr]
        again = await connected(shop, state)
        rest = await pulled(again, Slice(part.stream, part.start, part.end, cursor))
        if stop < pages:  # after the last page there is nothing to go on with
            assert sorted(found + ids(rest)) == expected
            assert bulks.started == 1


@pytest.mark.parametrize("part", [ORDERS, CATALOG])
async def test_30_a_cursor_of_another_operation_is_no_place_in_this_one(part: Slice) -> None:
    lines = [line for number in (1, 2) for line in (order if part is ORDERS else product)(number)]
    _, made = await shop_with(lines)
    stale = Slice(part.stream, part.start, part.end, '{"op":"gid://shopify/BulkOperation/77","row":1}')
    found = [event.data["id"] for page in await pulled(made, stale) for event in page.events if "id" in event.data]
    assert {"1", "2"} <= set(found)


async def test_07_a_token_that_is_revoked_meanwhile_loses_no_operation() -> None:
    state, shop = MemoryState(), FakeShop()
    made = await connected(shop, state)
    bulks = Bulks(shop, order(1))
    bulks.looks = 1000
    await started(made, bulks)
    shop.good.clear()
    mint = shop.tokens
    shop.tokens = lambda _: httpx.Response(400, json={"error": "invalid_grant"})
    with pytest.raises(Halt, match="connected again"):
        await pulled(made)
    shop.tokens = mint
    await made.tokens.exchange({"shop": SHOP, "code": "code-9", "url": ""})  # type: ignore[attr-defined]
    next(iter(bulks.operations.values()))["looks"] = 2
    assert len(ids(await pulled(made))) == 2
    assert bulks.started == 1


async def test_26_a_window_that_takes_too_long_is_cancelled_and_asked_for_in_halves() -> None:
    clock = Clock()
    bulks, made = await shop_with(order(1), clock=clock)
    bulks.looks = 100_000

    def cancel(variables: Mapping[str, Any]) -> dict[str, Any]:
        bulks.operations[variables["id"]] |= {"looks": 1, "objectCount": "0"}
        bulks.change = {"status": "CANCELED", "url": None}
        return {"bulkOperationCancel": {"userErrors": []}}

    bulks.shop.answers["Cancel"] = cancel
    with pytest.raises(Failed, match="CANCELED"):
        await pulled(made)
    assert 7200 <= sum(clock.slept) < 7400
    assert len(bulks.shop.calls("Cancel")) == 1


async def test_a_catalogue_of_yesterday_is_not_todays() -> None:
    bulks, made = await shop_with(product(1))
    await pulled(made, CATALOG)
    query = next(iter(bulks.operations.values()))["query"]
    await made.link.remember(bulk._name(query), "gid://shopify/BulkOperation/1")  # done, and a crash kept it
    tomorrow = Slice("catalog", NOW, NOW + timedelta(days=1), "")
    await pulled(made, tomorrow)
    assert bulks.started == 2
    await made.link.remember(bulk._name(query), "gid://shopify/BulkOperation/2")
    await pulled(made, CATALOG)
    assert bulks.started == 2  # of this slice: it goes on


async def test_32_before_the_wall_there_is_nothing_to_ask_for() -> None:
    bulks, made = await shop_with(order(1))
    await made.link.remember("scopes", ["read_orders"])
    old = Slice("orders", NOW - timedelta(days=90), NOW - timedelta(days=60))
    pages = await pulled(made, old)
    assert [(page.events, page.cursor) for page in pages] == [([], "end")]
    assert bulks.started == 0
    await made.link.remember("scopes", ["read_orders", "read_all_orders"])
    assert len(ids(await pulled(made, old))) == 2


async def test_34_an_order_that_came_short_is_read_again() -> None:
    bulks, made = await shop_with([*order(1), order(2)[0]])
    reads: list[Any] = []

    def read(variables: Mapping[str, Any]) -> dict[str, Any]:
        reads.append(variables["id"])
        node, line = order(2)
        return {"order": {**node, **connection("lineItems", [line])}}

    bulks.shop.answers["Order"] = read
    found = [event for page in await pulled(made) for event in page.events]
    assert reads == ["gid://shopify/Order/2"]
    assert next(event for event in found if event.id == "order/2").data["lines"] != []


async def test_35_the_catalogue_ends_by_saying_so() -> None:
    bulks, made = await shop_with([*product(1), *product(2)])
    bulks.shop.answers["Collections"] = lambda _: connection(
        "collections", [{"id": "gid://shopify/Collection/9", "handle": "all", "title": "All"}]
    )
    pages = await pulled(made, CATALOG)
    at = int(datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp() * 1000)
    assert ids(pages)[0] == f"collection/9@{at}"
    assert sorted(ids(pages)[1:-1]) == [f"product/1@{at}", f"product/2@{at}"]
    last = pages[-1].events[-1]
    assert (last.id, last.topic, last.data) == ("catalog/1", "catalog_end", {"version": at})
    assert pages[-1].cursor == ""
    data = pages[1].events[0].data
    assert data["domain"] == "www.demo.example"
    assert data["published"] is True
    assert [one["id"] for one in data["variants"]] == [f"{data['id']}0", f"{data['id']}1"]
    assert data["collections"] == [{"id": "9", "handle": "all", "title": None}]


async def test_34_a_product_that_came_short_is_read_again() -> None:
    bulks, made = await shop_with([*product(1), *product(2, variants=1, claimed=3)])

    def read(variables: Mapping[str, Any]) -> dict[str, Any]:
        *parts, node = product(2, variants=3)
        variants = [one for one in parts if one["__typename"] == "ProductVariant"]
        return {"product": {**node, **connection("variants", variants), **connection("collections", [])}}

    bulks.shop.answers["Product"] = read
    found = {
        event.data["id"]: event.data
        for page in await pulled(made, CATALOG)
        for event in page.events[:2]
        if event.topic == "product"
    }
    assert len(found["2"]["variants"]) == 3


async def test_a_file_elsewhere_is_not_read() -> None:
    bulks, made = await shop_with(order(1))
    bulks.change = {"url": "https://evil.example/x.jsonl"}
    with pytest.raises(Reject, match="not where Shopify keeps"):
        await pulled(made)
    assert not [request for request in bulks.shop.requests if request.url.host == "evil.example"]


async def test_customers_carry_nothing_personal() -> None:
    node = {
        "__typename": "Customer",
        "id": "gid://shopify/Customer/5",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-12-01T00:00:00Z",
        "numberOfOrders": "3",
        "amountSpent": {"amount": "30.5"},
        "defaultAddress": {"countryCodeV2": "US", "provinceCode": "CA", "address1": "street canary"},
        "email": "canary@example.com",
    }
    _, made = await shop_with([node])
    (event,) = [event for page in await pulled(made, Slice("customers", NOW, NOW)) for event in page.events]
    assert event.id.startswith("customer/5@2026-12-01T00:00:00Z/")
    assert event.data == {
        "shop": SHOP,
        "id": "5",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-12-01T00:00:00Z",
        "country": "US",
        "state": "CA",
        "orders_count": 3,
        "amount_spent": "30.5",
    }
