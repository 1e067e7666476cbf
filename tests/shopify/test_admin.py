"""The Admin client: waits that are computed, refusals that are told apart, and where it connects to."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from misoflow import Halt, Reject, Retry
from misoflow_shopify.admin import Denied, TooCostly, may_download

from tests.shopify.fake import SHOP, Clock, FakeShop, connected, connector

QUERY = "query Thing { thing }"


def cost(asked: float, available: float, rate: float = 100.0, most: float = 2000.0) -> dict[str, Any]:
    status = {"maximumAvailable": most, "currentlyAvailable": available, "restoreRate": rate}
    return {"cost": {"requestedQueryCost": asked, "throttleStatus": status}}


def throttled(asked: float, available: float, rate: float = 100.0) -> dict[str, Any]:
    error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
    return {"errors": [error], "extensions": cost(asked, available, rate)}


def failing(code: str, data: Any = None) -> dict[str, Any]:
    return {"data": data, "errors": [{"message": "Secret detail", "extensions": {"code": code}}]}


async def test_33_throttled_in_a_200_waits_as_long_as_the_cost_needs() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    answers = [throttled(500, 100), throttled(500, 450), {"thing": 1}]
    shop.answers["Thing"] = lambda _: answers.pop(0)
    assert await made.admin.query(QUERY) == {"thing": 1}
    first, second = clock.slept
    assert 4.0 <= first < 4.5
    assert 0.5 <= second < 1.0


async def test_33_a_known_cost_is_waited_for_before_it_is_asked() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    shop.extensions = cost(500, 200)
    shop.answers["Thing"] = lambda _: {"thing": 1}
    await made.admin.query(QUERY)
    assert clock.slept == []
    await made.admin.query(QUERY)
    assert clock.slept == [pytest.approx(3.0)]


async def test_33_a_wait_beyond_patience_is_the_engines() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    shop.answers["Thing"] = lambda _: throttled(1000, 0, 50)
    with pytest.raises(Retry) as caught:
        await made.admin.query(QUERY, patience=3.0)
    assert caught.value.after is not None
    assert 20.0 <= caught.value.after < 20.5
    assert clock.slept == []


async def test_33_one_hot_shop_holds_up_no_other() -> None:
    hot, cool, clock = FakeShop(), FakeShop(), Clock()
    one, other = await connected(hot, clock=clock), await connected(cool, clock=clock)
    hot.extensions = cool.extensions = cost(1000, 0, 50)
    hot.answers["Thing"] = cool.answers["Thing"] = lambda _: {"thing": 1}
    await one.admin.query(QUERY)
    await other.admin.query(QUERY)
    assert clock.slept == []


@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("2.5", 2.5), ("soon", 2.0), ("-1", 2.0), ("1e9", 2.0)])
async def test_33_429_waits_as_it_says(header: str, wait: float) -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    answers = [httpx.Response(429, headers={"Retry-After": header}), {"thing": 1}]
    shop.answers["Thing"] = lambda _: answers.pop(0)  # type: ignore[return-value]
    assert await made.admin.query(QUERY) == {"thing": 1}
    assert clock.slept == [wait]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 430])
async def test_33_what_passes_is_tried_again_later(status: int) -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: httpx.Response(status)
    with pytest.raises(Retry):
        await made.admin.query(QUERY)


async def test_33_no_answer_is_tried_again_later() -> None:
    shop = FakeShop()
    made = await connected(shop)

    def lost(_: object) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    shop.answers["Thing"] = lost
    with pytest.raises(Retry):
        await made.admin.query(QUERY)


@pytest.mark.parametrize(("status", "text"), [(402, "frozen"), (423, "locked"), (403, "denies"), (404, "no shop")])
async def test_a_closed_shop_is_halted(status: int, text: str) -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: httpx.Response(status)
    with pytest.raises(Halt, match=text):
        await made.admin.query(QUERY)


async def test_401_renews_the_token_once() -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: {"thing": 1}
    shop.good.clear()
    assert await made.admin.query(QUERY) == {"thing": 1}
    assert len(shop.calls("token")) == 1
    shop.tokens = lambda _: {"access_token": "never-good", "expires_in": 3600, "refresh_token": "r"}
    shop.good.clear()
    with pytest.raises(Halt, match="refuses the access token"):
        await made.admin.query(QUERY)
    assert len(shop.calls("token")) == 2


async def test_parts_that_a_scope_is_missing_for_are_null() -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: failing("ACCESS_DENIED", {"thing": {"a": 1, "b": None}})
    assert await made.admin.query(QUERY) == {"thing": {"a": 1, "b": None}}
    shop.answers["Thing"] = lambda _: failing("ACCESS_DENIED", {"thing": None})
    with pytest.raises(Denied):
        await made.admin.query(QUERY)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("MAX_COST_EXCEEDED", TooCostly),
        ("SHOP_INACTIVE", Halt),
        ("INTERNAL_SERVER_ERROR", Retry),
        ("TIMEOUT", Retry),
        ("undefinedField", Reject),
    ],
)
async def test_errors_in_a_200_are_told_apart(code: str, kind: type[Exception]) -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: failing(code)
    with pytest.raises(kind) as caught:
        await made.admin.query(QUERY)
    assert "Secret detail" not in str(caught.value)


@pytest.mark.parametrize("body", [b"[]", b"7", b"<html>", b"{}", b'{"data": null}', b'{"errors": "no"}'])
async def test_an_answer_that_is_none_is_an_error_of_ours(body: bytes) -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: httpx.Response(200, content=body)
    with pytest.raises((Retry, Reject)):
        await made.admin.query(QUERY)


async def test_another_version_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: {"thing": 1}
    shop.version = "2027-07"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await made.admin.query(QUERY)
    assert caplog.text.count("2027-07") == 1
    assert made.admin.answered == "2027-07"


async def test_the_token_is_in_a_header_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shop = FakeShop()
    made = await connected(shop)
    shop.answers["Thing"] = lambda _: {"thing": 1}
    await made.admin.query(QUERY)
    (request,) = shop.requests
    assert request.headers["x-shopify-access-token"] == "access-1"
    assert str(request.url) == f"https://{SHOP}/admin/api/2026-10/graphql.json"
    assert "access-1" not in caplog.text


# ---- S1: nothing but the shop and Google's storage is connected to

GOOD = [
    "https://storage.googleapis.com/shopify-tiers-assets-prod-us-east1/x?GoogleAccessId=a%40b&Expires=1&Signature=s%2B",
    "https://shopify-bulk.storage.googleapis.com/x.jsonl",
]
BAD = [
    "",
    "storage.googleapis.com/x",
    "//storage.googleapis.com/x",
    "http://storage.googleapis.com/x",
    "ftp://storage.googleapis.com/x",
    "file:///etc/passwd",
    "https://storage.googleapis.com.evil.com/x",
    "https://storage.googleapis.com@evil.com/x",
    "https://storage.googleapis.com:x@evil.com/x",
    "https://user@storage.googleapis.com/x",
    "https://evil.com/storage.googleapis.com",
    "https://evil.com#.storage.googleapis.com/",
    "https://evil.com?.storage.googleapis.com/",
    "https://evil.com\\.storage.googleapis.com/",
    "https://storage.googleapis.com\\@evil.com/",
    "https://storage.googleapis.com:8443/x",
    "https://storage.googleapis.com\n.evil.com/",
    "https://storage.googleapis.com /x",
    "https://storage.googleapis.com\t/x",
    "https://.storage.googleapis.com/x",
    "https://evilstorage.googleapis.com/x",
    "https://googleapis.com/x",
    "https://storage。googleapis.com/x",
    "https://storage.googleapis.com./x",
    "https://127.0.0.1/x",
    "https://localhost/x",
    "https://[::1]/x",
    "https://[::ffff:169.254.169.254]/x",
    "https://169.254.169.254/latest/meta-data",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://0xa9fea9fe/",
    "https://10.0.0.1/x",
    "https://192.168.0.1/x",
    "https://172.16.0.1/x",
    "https://metadata.google.internal/x",
    "https://0.0.0.0/x",
    f"https://{SHOP}/x",
    "javascript:alert(1)",
    "data:text/plain,x",
    "gopher://storage.googleapis.com/x",
    "HTTPS://STORAGE.GOOGLEAPIS.COM.EVIL/x",
]


@pytest.mark.parametrize("url", GOOD)
async def test_s1_files_are_read_at_googles_storage(url: str) -> None:
    made = connector(FakeShop())
    assert may_download(made.link, SHOP, url)


@pytest.mark.parametrize("url", BAD)
async def test_s1_and_nowhere_else(url: str) -> None:
    made = connector(FakeShop())
    assert not may_download(made.link, SHOP, url)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://127.0.0.1:8620/x.jsonl", True),
        ("http://127.0.0.1:8621/x.jsonl", False),
        ("http://127.0.0.1:8620@evil.com/x", False),
        ("http://127.0.0.1/x", False),
        ("https://127.0.0.1:8620/x", False),
        ("https://storage.googleapis.com/x", False),
    ],
)
async def test_s1_with_an_address_of_its_own_files_are_there(url: str, good: bool) -> None:
    made = connector(FakeShop(), api_url="http://127.0.0.1:8620/{shop}")
    assert may_download(made.link, SHOP, url) is good
