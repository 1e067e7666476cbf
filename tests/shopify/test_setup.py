"""What an install makes at Shopify: once, again where it is gone, and said where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from misoflow import Halt, Installed, Reject
from misoflow_shopify import Shopify
from misoflow_shopify.domains import pixel_key, shop_of_key

from tests.shopify.fake import SCOPES, SHOP, Clock, FakeShop, MemoryState, config, connector
from tests.shopify.test_bulk import Bulks, connection

GRANT = {"shop": SHOP, "code": "code-1", "url": "https://misoflow.example/install/shop"}
HOOKS = "https://misoflow.example/hooks/shop"
ALL = SCOPES.split(",")


class Admin:
    """The parts of a shop that an install touches."""

    def __init__(self, shop: FakeShop, scopes: list[str] | None = None) -> None:
        Bulks(shop, [])
        self.scopes = [*ALL, "read_all_orders"] if scopes is None else scopes
        self.pixel: dict[str, Any] | None = None
        self.pixel_error = ""
        self.hooks: dict[str, dict[str, str]] = {}
        self.refused: tuple[str, ...] = ()
        shop.answers |= {
            "Scopes": lambda _: {"currentAppInstallation": {"accessScopes": [{"handle": one} for one in self.scopes]}},
            "Pixel": self.read_pixel,
            "CreatePixel": self.create_pixel,
            "UpdatePixel": self.update_pixel,
            "Subscriptions": lambda _: connection("webhookSubscriptions", list(self.hooks.values())),
            "Subscribe": self.subscribe,
            "Unsubscribe": self.unsubscribe,
        }

    def read_pixel(self, _: Mapping[str, Any]) -> dict[str, Any]:
        if self.pixel is None:
            return {"data": {"webPixel": None}, "errors": [{"message": "none", "extensions": {"code": "NOT_FOUND"}}]}
        return {"webPixel": self.pixel}

    def create_pixel(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        code = self.pixel_error or ("TAKEN" if self.pixel else "")
        if not code:
            self.pixel = {"id": "gid://shopify/WebPixel/1", "settings": variables["settings"]}
        return {"webPixelCreate": {"webPixel": None, "userErrors": [{"code": code}] if code else []}}

    def update_pixel(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        assert self.pixel is not None
        assert variables["id"] == self.pixel["id"]
        self.pixel["settings"] = variables["settings"]
        return {"webPixelUpdate": {"webPixel": {"id": "1"}, "userErrors": []}}

    def subscribe(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        topic = variables["topic"]
        if topic in self.refused:
            return {"webhookSubscriptionCreate": {"userErrors": [{"message": "no"}]}}
        self.hooks[topic] = {"id": topic, "topic": topic, "uri": variables["uri"]}
        return {"webhookSubscriptionCreate": {"webhookSubscription": {"id": topic}, "userErrors": []}}

    def unsubscribe(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        self.hooks.pop(variables["id"], None)
        return {"webhookSubscriptionDelete": {"userErrors": []}}


def shop_with(scopes: list[str] | None = None, **options: Any) -> tuple[FakeShop, Admin, Shopify]:
    shop = FakeShop()
    made = connector(shop, **options)
    return shop, Admin(shop, scopes), made


async def test_an_install_makes_everything_and_a_second_look_nothing() -> None:
    shop, admin, made = shop_with()
    assert await made.install(GRANT) == Installed()
    assert admin.pixel is not None
    assert json.loads(admin.pixel["settings"]) == {"accountID": pixel_key(made.config, SHOP), "endpoint": HOOKS}
    assert shop_of_key(made.config, json.loads(admin.pixel["settings"])["accountID"]) == SHOP
    shop.requests.clear()
    assert await made.install({}) == Installed()
    assert await made.install(GRANT) == Installed()
    assert shop.calls("token") == shop.calls("CreatePixel") == shop.calls("UpdatePixel") == []


async def test_the_pixel_follows_our_address_and_what_somebody_changed() -> None:
    _, admin, made = shop_with()
    await made.install(GRANT)
    assert admin.pixel is not None
    for settings in ('{"accountID":"x"}', {"accountID": "x"}, "none"):
        admin.pixel["settings"] = settings
        await made.install({})
        assert json.loads(admin.pixel["settings"])["endpoint"] == HOOKS
    admin.pixel = None
    await made.install({})
    assert admin.pixel is not None


async def test_a_pixel_that_cannot_be_made_is_told() -> None:
    _, admin, made = shop_with()
    admin.pixel_error = "NO_EXTENSION"
    (problem,) = (await made.install(GRANT)).problems
    assert (problem.level, "NO_EXTENSION" in problem.text) == ("fail", True)


@pytest.mark.parametrize(
    ("lacking", "closed", "said"),
    [
        ("read_orders", ("orders",), "orders and refunds"),
        ("read_customers", ("customers",), "customers"),
        ("read_products", ("catalog",), "the catalogue"),
        ("read_inventory", ("catalog",), "read_inventory"),
        ("read_publications", ("catalog",), "read_publications"),
        ("write_pixels", (), "clicks"),
        ("read_customer_events", (), "clicks"),
    ],
)
async def test_03_a_missing_scope_is_named_and_its_stream_left_out(
    lacking: str, closed: tuple[str, ...], said: str
) -> None:
    shop, _, made = shop_with([*(one for one in ALL if one != lacking), "read_all_orders"])
    found = await made.install(GRANT)
    (problem,) = found.problems
    assert lacking in problem.text
    assert said in problem.text
    assert found.without == closed
    assert (shop.calls("CreatePixel") == []) == (said == "clicks")


async def test_03_to_write_a_thing_implies_to_read_it() -> None:
    scopes = [one.replace("read_products", "write_products") for one in ALL]
    _, _, made = shop_with([*scopes, "read_all_orders"])
    assert await made.install(GRANT) == Installed()


async def test_03_no_customers_are_needed_without_users() -> None:
    _, _, made = shop_with([*(one for one in ALL if one != "read_customers"), "read_all_orders"], users=False)
    found = await made.install(GRANT)
    assert found.problems == ()
    assert found.without == ("customers",)


async def test_32_the_wall_is_said_and_its_end_pulls_what_was_hidden() -> None:
    _, admin, made = shop_with(ALL)
    found = await made.install(GRANT)
    (problem,) = found.problems
    assert (problem.level, "history_limited" in problem.text) == ("warn", True)
    assert (found.without, found.gaps) == ((), ())
    admin.scopes = [*ALL, "read_all_orders"]
    assert (await made.install({})).gaps == ("orders",)
    assert (await made.install({})).gaps == ()


async def test_21_a_subscription_that_vanished_is_made_again_and_the_gap_pulled() -> None:
    shop, admin, made = shop_with(subscriptions="shop")
    assert (await made.install(GRANT)).gaps == ()
    assert "PRODUCTS_UPDATE" in admin.hooks
    assert "CARTS_UPDATE" not in admin.hooks
    assert {hook["uri"] for hook in admin.hooks.values()} == {HOOKS}
    shop.requests.clear()
    assert (await made.install({})).gaps == ()
    assert shop.calls("Subscribe") == []
    del admin.hooks["ORDERS_CREATE"]
    assert (await made.install({})).gaps == ("changes",)
    assert shop.calls("Subscribe") == [{"topic": "ORDERS_CREATE", "uri": HOOKS}]
    assert (await made.install({})).gaps == ()


async def test_21_a_subscription_to_another_address_of_ours_is_moved_others_are_let_be() -> None:
    _, admin, made = shop_with(subscriptions="shop")
    admin.hooks["PRODUCTS_UPDATE"] = {
        "id": "PRODUCTS_UPDATE",
        "topic": "PRODUCTS_UPDATE",
        "uri": "https://old/hooks/shop",
    }
    admin.hooks["theirs"] = {"id": "theirs", "topic": "ORDERS_CREATE", "uri": "https://other.example/hook"}
    await made.install(GRANT)
    assert admin.hooks["PRODUCTS_UPDATE"]["uri"] == HOOKS
    assert admin.hooks["theirs"]["uri"] == "https://other.example/hook"
    assert admin.hooks["ORDERS_CREATE"]["uri"] == HOOKS


async def test_21_carts_are_subscribed_to_where_no_pixel_runs() -> None:
    _, admin, made = shop_with(subscriptions="shop", carts="webhooks")
    admin.refused = ("CARTS_UPDATE",)
    found = await made.install(GRANT)
    assert "CARTS_CREATE" in admin.hooks
    assert "carts_update" in found.problems[0].text


async def test_the_apps_webhooks_are_not_ours_to_make() -> None:
    shop, _, made = shop_with()
    await made.install(GRANT)
    assert shop.calls("Subscriptions") == []


async def test_30_broken_off_anywhere_the_next_look_makes_the_rest() -> None:
    _, _, whole = shop_with(subscriptions="shop")
    fake = whole.http._client._transport.handler  # type: ignore[attr-defined]
    await whole.install(GRANT)
    calls = len(fake.requests)
    for stop in range(1, calls):
        shop, state = FakeShop(), MemoryState()
        admin, left = Admin(shop), stop

        async def call(request: httpx.Request, shop: FakeShop = shop) -> httpx.Response:
            nonlocal left
            left -= 1
            if left < 0:
                raise httpx.ConnectError("killed")
            return await shop(request)

        made = connector(shop, state, subscriptions="shop")
        made.http._client._transport = httpx.MockTransport(call)
        with pytest.raises(Exception, match="no connection"):
            await made.install(GRANT)
        again = connector(shop, state, subscriptions="shop")
        assert (await again.install(GRANT)).problems == ()
        assert admin.pixel is not None
        assert len(admin.hooks) == 22


async def test_01_a_click_that_came_too_late_has_to_be_repeated() -> None:
    shop, _, made = shop_with()
    shop.tokens = lambda _: httpx.Response(400, json={"error": "invalid_request"})
    with pytest.raises(Reject, match="open the app again"):
        await made.install(GRANT)
    assert made.state.values == {}  # type: ignore[attr-defined]


async def test_a_custom_app_knows_its_address_from_the_settings() -> None:
    _, admin, made = shop_with(shop=SHOP, public_url="https://misoflow.example/")
    assert await made.install({}) == Installed()
    assert admin.pixel is not None
    assert json.loads(admin.pixel["settings"])["endpoint"] == HOOKS
    _, _, made = shop_with(shop=SHOP)
    assert "public_url" in (await made.install({})).problems[0].fix


async def test_uninstalled_the_tokens_are_forgotten_and_a_new_click_brings_others() -> None:
    shop, _, made = shop_with()
    await made.install(GRANT)
    await made.uninstall()
    await made.uninstall()
    with pytest.raises(Halt, match="not connected"):
        await made.tokens.token()
    await made.install({**GRANT, "code": "code-2"})
    assert await made.tokens.token() == "access-2"
    assert len(shop.calls("token")) == 2


async def test_another_version_is_a_problem_to_see() -> None:
    shop, _, made = shop_with()
    shop.version = "2027-07"
    (problem,) = (await made.install(GRANT)).problems
    assert "2027-07" in problem.text


async def test_check_needs_no_shop_and_asks_a_custom_apps() -> None:
    assert await Shopify(config()).check() == []
    (problem,) = await Shopify(config(client_secret=["new", "old"])).check()
    assert "two client secrets" in problem.text
    (problem,) = await Shopify(config(api_version="2026-07")).check()
    assert "2026-10" in problem.text
    shop, admin, made = shop_with(shop=SHOP, public_url="https://misoflow.example")
    assert await made.check() == []
    admin.scopes = ALL[1:]
    assert [problem.level for problem in await made.check()] == ["fail", "warn"]
    shop.tokens = lambda _: httpx.Response(400, json={"error": "shop_not_permitted"})
    await made.tokens.forget()
    (problem,) = await made.check()
    assert "shop_not_permitted" in problem.text


async def test_an_idle_shop_is_kept_alive_by_the_look() -> None:
    clock = Clock()
    shop, _, made = shop_with(clock=clock)
    await made.install(GRANT)
    shop.requests.clear()
    clock.at += 31 * 86_400
    await made.install({})
    assert len(shop.calls("token")) == 1
