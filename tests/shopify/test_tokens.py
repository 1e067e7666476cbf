"""Tokens: renewed by one at a time, kept alive, and said to be dead where they are."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import pytest
from misoflow import Halt, Reject, Retry
from misoflow_shopify.tokens import IDLE

from tests.shopify.fake import SECRET, SHOP, Clock, FakeShop, MemoryState, connected, connector

pytestmark = pytest.mark.asyncio
GRANT = {"shop": SHOP, "code": "code-1", "url": "https://misoflow.example/install/shop"}


async def test_a_code_becomes_an_expiring_pair() -> None:
    shop = FakeShop()
    made = connector(shop)
    await made.tokens.exchange(GRANT)  # type: ignore[attr-defined]
    (form,) = shop.calls("token")
    assert form == {"client_id": "client", "client_secret": SECRET, "code": "code-1", "expiring": "1"}
    assert await made.tokens.token() == "access-1"


async def test_the_same_code_is_exchanged_once() -> None:
    shop = FakeShop()
    made = await connected(shop)
    await made.tokens.exchange(GRANT)  # type: ignore[attr-defined]
    assert shop.calls("token") == []


async def test_an_id_token_is_exchanged_for_an_offline_token() -> None:
    shop = FakeShop()
    made = connector(shop)
    await made.tokens.exchange({"shop": SHOP, "id_token": "a.b.c", "url": ""})  # type: ignore[attr-defined]
    (form,) = shop.calls("token")
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert form["subject_token"] == "a.b.c"
    assert form["requested_token_type"] == "urn:shopify:params:oauth:token-type:offline-access-token"
    assert form["expiring"] == "1"


async def test_04_eight_at_once_make_one_call_and_get_the_same_token() -> None:
    shop, state, clock = FakeShop(), MemoryState(), Clock()
    first = await connected(shop, state, clock)
    clock.at += 3590

    async def slowly(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("access_token"):
            for _ in range(20):
                await asyncio.sleep(0)
        return await shop(request)

    processes = [first, *(connector(shop, state, clock) for _ in range(7))]
    for one in processes:
        one.http._client._transport = httpx.MockTransport(slowly)

        async def turn(_: float) -> None:
            await asyncio.sleep(0)

        one.link.sleep = turn
    found = await asyncio.gather(*(one.tokens.token() for one in processes for _ in range(2)))
    assert set(found) == {"access-2"}
    assert len(shop.calls("token")) == 1


async def test_04_a_claim_of_a_crashed_process_ends() -> None:
    shop, state, clock = FakeShop(), MemoryState(), Clock()
    made = await connected(shop, state, clock)
    clock.at += 3590
    state.values["renewing"] = json.dumps({"by": "gone", "until": clock.at + 60}).encode()
    assert await made.tokens.token() == "access-2"
    assert sum(clock.slept) >= 60
    assert "renewing" not in state.values


async def test_05_a_lost_answer_is_asked_for_with_the_old_refresh_token() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    clock.at += 3590
    answer = shop.tokens

    def lost(form: object) -> httpx.Response:
        answer(form)  # type: ignore[arg-type]
        raise httpx.ReadError("lost")

    shop.tokens = lost
    with pytest.raises(Retry):
        await made.tokens.token()
    shop.tokens = answer
    assert await made.tokens.token() == "access-3"
    assert [form["refresh_token"] for form in shop.calls("token")] == ["refresh-1", "refresh-1"]


@pytest.mark.parametrize(("header", "after"), [("17", 17.0), ("999999999", 3600.0), ("soon", None), ("", None)])
async def test_33_the_token_endpoint_says_when_to_come_again(header: str, after: float | None) -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    clock.at += 3590
    shop.tokens = lambda _: httpx.Response(429, headers={"retry-after": header})
    with pytest.raises(Retry) as raised:
        await made.tokens.token()
    assert raised.value.after == after


async def test_06_an_invalid_grant_halts_and_is_not_asked_again() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    clock.at += 3590
    shop.tokens = lambda _: httpx.Response(400, json={"error": "invalid_grant"})
    for _ in range(3):
        with pytest.raises(Halt, match=rf"connected again.*install/shop/connect\?shop={SHOP}"):
            await made.tokens.token()
    assert len(shop.calls("token")) == 1


async def test_06_a_new_install_ends_the_halt() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    clock.at += 3590
    mint = shop.tokens
    shop.tokens = lambda _: httpx.Response(400, json={"error": "invalid_grant"})
    with pytest.raises(Halt):
        await made.tokens.token()
    shop.tokens = mint
    await made.tokens.exchange({**GRANT, "code": "code-2"})  # type: ignore[attr-defined]
    assert await made.tokens.token() == "access-2"


async def test_a_bad_client_secret_halts_without_killing_the_token() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    clock.at += 3590
    mint = shop.tokens
    shop.tokens = lambda _: httpx.Response(401, json={"error": "invalid_client"})
    with pytest.raises(Halt, match="client secret"):
        await made.tokens.token()
    shop.tokens = mint
    assert await made.tokens.token() == "access-2"


async def test_the_older_secret_is_tried_where_the_newer_is_not_known() -> None:
    shop = FakeShop()
    made = connector(shop, client_secret=["newer", "older"])
    mint = shop.tokens
    shop.tokens = lambda form: (
        mint(form) if form["client_secret"] == "older" else httpx.Response(401, json={"error": "invalid_client"})
    )
    await made.tokens.exchange(GRANT)  # type: ignore[attr-defined]
    assert await made.tokens.token() == "access-1"
    shop.tokens = mint  # the newer is known by now: a token ends with the secret that made it
    shop.requests.clear()
    await made.tokens.keep()
    assert [form["client_secret"] for form in shop.calls("token")] == ["newer"]
    await made.tokens.keep()
    assert len(shop.calls("token")) == 1


async def test_an_idle_shop_is_kept_alive() -> None:
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    await made.tokens.keep()
    assert shop.calls("token") == []
    clock.at += IDLE + 1
    await made.tokens.keep()
    assert len(shop.calls("token")) == 1


async def test_a_token_that_was_refused_is_renewed_once() -> None:
    shop = FakeShop()
    made = await connected(shop)
    assert await made.tokens.token("access-1") == "access-2"
    assert await made.tokens.token("access-1") == "access-2"
    assert len(shop.calls("token")) == 1


async def test_a_code_that_was_used_is_rejected_unless_there_are_tokens() -> None:
    shop = FakeShop()
    shop.tokens = lambda _: httpx.Response(400, json={"error": "invalid_request"})
    made = connector(shop)
    with pytest.raises(Reject, match="open the app again"):
        await made.tokens.exchange(GRANT)  # type: ignore[attr-defined]
    assert made.state.values == {}  # type: ignore[attr-defined]
    shop = FakeShop()
    made = await connected(shop)
    shop.tokens = lambda _: httpx.Response(400, json={"error": "invalid_subject_token"})
    await made.tokens.exchange({"shop": SHOP, "id_token": "stale", "url": ""})  # type: ignore[attr-defined]
    assert await made.tokens.token() == "access-1"


async def test_a_custom_app_needs_no_click() -> None:
    shop = FakeShop()
    made = connector(shop, shop=SHOP)
    assert not made.template
    assert await made.tokens.token() == "access-1"
    (form,) = shop.calls("token")
    assert form["grant_type"] == "client_credentials"


async def test_before_the_install_nothing_is_asked() -> None:
    shop = FakeShop()
    with pytest.raises(Halt, match="not connected"):
        await connector(shop).tokens.token()
    assert shop.requests == []


async def test_09_nothing_secret_is_logged_or_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shop, clock = FakeShop(), Clock()
    made = await connected(shop, clock=clock)
    told = []
    for status, error in ((400, "invalid_grant"), (401, "invalid_client"), (500, "oops"), (423, ""), (418, "")):
        made.state.values.clear()  # type: ignore[attr-defined]
        shop.tokens = shop._mint
        await made.tokens.exchange({**GRANT, "code": f"code-{status}"})  # type: ignore[attr-defined]
        clock.at += 3590
        shop.tokens = lambda form, s=status, e=error: httpx.Response(s, json={"error": e, "echo": dict(form)})  # type: ignore[misc]
        with pytest.raises((Halt, Retry, Reject)) as caught:
            await made.tokens.token()
        told.append(str(caught.value))
    text = caplog.text + " ".join(told)
    for secret in (SECRET, "access-", "refresh-", "code-4", "code-5"):
        assert secret not in text
    assert all("?" not in str(request.url) for request in shop.requests)
