"""What the pixel sends: who is let in, and what its events become; rows 41, 42, 44, 49 and 50 of the failure modes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from misoflow import Event, LateId, Reject, Unauthorized, Unwanted
from misoflow_shopify import pixel
from misoflow_shopify.domains import pixel_key
from misoflow_shopify.fields import hashed

from tests.shopify.mapped import (
    CLIENT,
    NOW,
    OLD_SECRET,
    SECRET,
    SHOP,
    ago,
    clicked,
    outputs,
    shopify,
    split,
    visit,
    wire,
)

ITEM = {"variant": "11", "product": "1"}
BASE = {
    "anonymous_id": CLIENT,
    "timestamp": "2026-11-20T11:59:30.500Z",
    "context": {
        "locale": "en-US",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "page": {"url": "https://shop.example/", "title": "Demo"},
        "custom_context": {"shop": SHOP, "event_id": "sh-1"},
    },
}


def page(path: str, title: str = "Demo", referrer: str = "") -> dict[str, str]:
    return {"url": f"https://shop.example{path}", "referrer": referrer, "title": title}


@pytest.mark.parametrize("consent", [None, {}, {"analytics": False}, {"analytics": "true"}, {"marketing": True}, "yes"])
def test_41_nothing_is_kept_without_consent_to_analytics(consent: Any) -> None:
    with pytest.raises(Unwanted, match="consent"):
        shopify().verify(clicked({**wire("page_viewed"), "consent": consent}))


BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0",
    "facebookexternalhit/1.1",
    "python-requests/2.31",
    "Mozilla/5.0 AhrefsSiteAudit crawler",
]


@pytest.mark.parametrize("agent", BOTS)
def test_bots_are_unwanted(agent: str) -> None:
    with pytest.raises(Unwanted, match="bot"):
        shopify().verify(clicked(wire("page_viewed", userAgent=agent)))


@pytest.mark.parametrize("agent", [None, "", "Mozilla/5.0 (Linux; Android 9; CUBOT X19)", "Mozilla/5.0 (iPhone)"])
def test_people_are_no_bots(agent: str | None) -> None:
    shopify().verify(clicked(wire("page_viewed", userAgent=agent)))


@pytest.mark.parametrize("name", ["alert_displayed", "ui_extension_errored", "clicked", "", None, ["page_viewed"]])
def test_events_of_no_use_are_unwanted(name: Any) -> None:
    with pytest.raises((Unwanted, Reject)):
        shopify().verify(clicked(wire("page_viewed", name=name)))


def test_42_a_key_that_is_none_of_ours_is_unauthorized() -> None:
    ours = pixel_key(shopify().config, SHOP)
    theirs = pixel_key(shopify(client_secret=("another-secret",)).config, SHOP)
    other = pixel_key(shopify().config, "other-shop.myshopify.com")
    for key in ("", "x", "pk", "pk--", ours[:-1], ours + "a", theirs, other[:30] + ours[30:], "pk-ü-ü", "pk-a-b"):
        with pytest.raises(Unauthorized):
            shopify().verify(clicked(wire("page_viewed"), key=key))


def test_the_key_says_which_shop_it_is_and_works_under_the_previous_secret() -> None:
    old = shopify(client_secret=(OLD_SECRET,))
    request = clicked(wire("page_viewed"), old)
    new = shopify(client_secret=(SECRET, OLD_SECRET))
    new.verify(request)
    assert new.tenant(request) == SHOP
    # what was taken in stays usable when the old secret is gone
    assert split(request, shopify())[0].data["shop"] == SHOP


def test_an_app_of_one_shop_takes_its_own_pixel_only() -> None:
    shopify(shop=SHOP).verify(clicked(wire("page_viewed")))
    with pytest.raises(Unauthorized):
        shopify(shop="other-shop.myshopify.com").verify(clicked(wire("page_viewed")))


BROKEN: list[Any] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"v":1}',
    {**wire("page_viewed"), "v": 2},
    {**wire("page_viewed"), "event": []},
    wire("page_viewed", id=None),
    wire("page_viewed", id="x" * 200),
    wire("page_viewed", clientId=""),
    wire("page_viewed", clientId=7),
    wire("page_viewed", clientId="someone@example.com"),
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_event_is_rejected_before_it_is_stored(body: Any) -> None:
    with pytest.raises(Reject):
        shopify().verify(clicked(body))


@pytest.mark.parametrize("path", ["/", "", "/fr", "/fr/", "/en-ca", "/EN-CA/", "/zh-hant", "/pt-br?utm_source=x"])
def test_the_root_in_any_language_is_the_home_page(path: str) -> None:
    (made,) = visit("page_viewed", page=page(path))
    assert made["type"] == "home_page_view"


@pytest.mark.parametrize("path", ["/cart", "/products/x", "/fr/cart", "/pages/about", "/search", "/collections", "/a"])
def test_other_pages_are_nothing(path: str) -> None:
    assert "skip" in visit("page_viewed", page=page(path))[0]


@pytest.mark.parametrize(
    "given", [None, "x", {}, {"url": None}, {"url": "about:blank"}, {"url": "//x"}, {"url": "http://["}]
)
def test_a_page_without_an_address_is_nothing(given: Any) -> None:
    assert "skip" in visit("page_viewed", page=given)[0]


def test_a_product_viewed_counts_once_the_product_is_known() -> None:
    (made,) = visit("product_viewed", ITEM)
    assert made["fetch"] == ["product", "1"]
    wanted = {"type": "product_detail_page_view", "product_ids": ["11"], "product_group_ids": ["1"], **BASE}
    assert made["known"] == wanted


def test_without_a_variant_the_product_is_named_as_a_group() -> None:
    (made,) = visit("product_viewed", {"variant": None, "product": "gid://shopify/Product/1"})
    assert "product_ids" not in made["known"]
    assert made["known"]["product_group_ids"] == ["1"]


def test_whole_products_have_the_products_id() -> None:
    (made,) = visit("product_viewed", ITEM, settings={"group_mode": "product"})
    assert made["known"]["product_ids"] == ["1"]
    assert "product_group_ids" not in made["known"]


@pytest.mark.parametrize("data", [None, {"variant": "11", "product": None}, {"product": "x"}, [], {"product": -1}])
def test_a_view_that_names_no_product_is_nothing(data: Any) -> None:
    assert "skip" in visit("product_viewed", data)[0]


def test_what_is_added_to_the_cart_has_a_quantity() -> None:
    (made,) = visit("product_added_to_cart", {**ITEM, "quantity": 3})
    assert made["known"]["type"] == "add_to_cart"
    assert made["known"]["quantities"] == [3]
    for quantity in (0, -2, None, "2", 1.5, True):
        (made,) = visit("product_added_to_cart", {**ITEM, "quantity": quantity})
        assert made["known"]["quantities"] == [1]


def test_a_cart_line_that_shopify_could_not_tell_is_counted_as_skipped() -> None:
    body = wire("product_added_to_cart")
    body["event"]["data"] = None
    (event,) = split(clicked(body))
    assert outputs(shopify(), event) == [{"skip": "Shopify could not tell the line of the cart"}]


def test_what_is_removed_has_no_quantity() -> None:
    (made,) = visit("product_removed_from_cart", {**ITEM, "quantity": 3})
    assert made["known"]["type"] == "remove_from_cart"
    assert "quantities" not in made["known"]


@pytest.mark.parametrize("name", ["product_added_to_cart", "product_removed_from_cart"])
def test_carts_by_webhook_are_not_counted_by_the_pixel_too(name: str) -> None:
    assert "skip" in visit(name, ITEM, settings={"carts": "webhooks"})[0]


def category(**event: Any) -> Any:
    """The category of the view, with the keys under which it is looked up."""
    connector = shopify()
    (made,) = split(clicked(wire("collection_viewed", **event)))
    (record,) = connector.translate(Event("e", made.topic, made.data, NOW))
    return record.category[0]  # type: ignore[union-attr, index]


def test_a_category_is_the_collections_handle() -> None:
    found = category(data={"collection": "5", "title": "Licht"}, page=page("/collections/light"))
    assert (str(found), found.keys) == ("light", ("collection:5",))


@pytest.mark.parametrize(
    "path", ["/de/collections/licht", "/en-ca/collections/light/", "/", "/collections/vendors?q=x"]
)
def test_49_titles_and_translated_addresses_are_no_categories(path: str) -> None:
    found = category(data={"collection": "5", "title": "Licht"}, page=page(path))
    assert isinstance(found, LateId)
    assert str(found) == ""


def test_a_collection_without_an_id_has_the_handle_of_its_address() -> None:
    found = category(data={"collection": None}, page=page("/collections/Caf%C3%A9"))
    assert found == "café"
    assert not isinstance(found, LateId)
    assert (
        "skip" in visit("collection_viewed", {"collection": None, "title": "Light"}, page=page("/de/collections/x"))[0]
    )


def test_lists_are_impressions_where_the_settings_ask_for_them() -> None:
    items = [ITEM, {"variant": "12", "product": "1"}, {"variant": "21", "product": "2"}, "x", None]
    data = {"collection": "5", "items": items}
    assert len(visit("collection_viewed", data, page=page("/collections/light"))) == 1
    _, made = visit("collection_viewed", data, page=page("/collections/light"), settings={"impressions": True})
    assert made["known"]["type"] == "impression"
    assert made["known"]["product_ids"] == ["11", "12", "21"]
    assert made["known"]["product_group_ids"] == ["1", "2"]
    many = {"items": [{"variant": str(n), "product": "1"} for n in range(1, 99)], "query": "x"}
    _, made = visit("search_submitted", many, settings={"impressions": True})
    assert len(made["known"]["product_ids"]) == 50


def test_a_search_has_words_and_filters() -> None:
    path = (
        "/search?q=lamp&filter.v.option.color=Red&filter.v.option.color=Blue&filter.p.vendor=&filter.v.price.gte=5&x=1"
    )
    (made,) = visit("search_submitted", {"query": "  la\u0301mp "}, page=page(path))
    assert made["search"] == {
        "keywords": "l\u00e1mp",
        "filters": {"v.option.color": ["Red", "Blue"], "v.price.gte": ["5"]},
    }
    assert made["context"]["page"]["url"] == "https://shop.example/search?q=lamp"


@pytest.mark.parametrize("query", ["jane@example.com", "+49 30 1234567", "", "   ", None, 5])
def test_a_search_for_a_person_is_nothing(query: Any) -> None:
    assert "skip" in visit("search_submitted", {"query": query}, page=page(f"/search?q={query}"))[0]


def test_a_search_loses_the_address_in_it() -> None:
    (made,) = visit("search_submitted", {"query": "order of jane@example.com"})
    assert made["search"]["keywords"] == "order of"


def test_the_way_to_an_order_says_whose_cart_it_is() -> None:
    token = "cart-token-of-shopper-3"
    data = {"cart": f"gid://shopify/Cart/{token}?key=k", "checkout": "c0ffee", "order": None, "customer": "9"}
    made = visit("checkout_started", data)
    assert made == [
        {"alias": f"cart:{hashed(SHOP, token)}", "is": CLIENT},
        {"alias": f"checkout:{hashed(SHOP, 'c0ffee')}", "is": CLIENT},
    ]
    assert visit("cart_viewed", {"cart": token}) == made[:1]
    assert "skip" in visit("cart_viewed", {"cart": None})[0]


@pytest.mark.parametrize("order", ["gid://shopify/OrderIdentity/5396", "gid://shopify/Order/5396", "5396", 5396])
def test_44_a_completed_checkout_has_its_order_read_if_no_webhook_comes(order: Any) -> None:
    made = visit("checkout_completed", {"order": order, "checkout": "t", "cart": None})
    assert made[1:] == [{"alias": "order:5396", "is": CLIENT}, {"fetch": ["order", "5396"], "after": 1800}]


@pytest.mark.parametrize(
    "name",
    [
        "cart_viewed",
        "checkout_started",
        "payment_info_submitted",
        "checkout_completed",
        "checkout_address_info_submitted",
    ],
)
def test_steps_are_custom_interactions_where_the_settings_ask_for_them(name: str) -> None:
    records = [one for one in visit(name, {"cart": "abc"}, settings={"steps": True}) if "type" in one]
    assert [(one["type"], one["custom_action_name"]) for one in records] == [("custom", name)]
    assert records[0]["context"]["custom_context"]["cart"] == hashed(SHOP, "abc")
    assert [one for one in visit(name, {"cart": "abc"}) if "type" in one] == []


@pytest.mark.parametrize(("name", "kind"), [("miso:impression", "impression"), ("miso:click", "click")])
def test_a_theme_may_publish_what_miso_answered(name: str, kind: str) -> None:
    miso_id = "0b7e3f0a-1b2c-4d3e-8f90-123456789abc"
    (made,) = visit(name, {"items": [ITEM], "miso_id": miso_id})
    assert (made["known"]["type"], made["known"]["miso_id"]) == (kind, miso_id)
    (made,) = visit(name, {"items": [ITEM], "miso_id": "x"})
    assert "miso_id" not in made["known"]
    assert "skip" in visit(name, {"items": []})[0]


TIMES = [
    (ago(minutes=1), "2026-11-20T11:59:00.000Z"),
    (ago(hours=23, minutes=59), "2026-11-19T12:01:00.000Z"),
    (ago(minutes=-5), "2026-11-20T12:05:00.000Z"),
    (ago(minutes=-6), "2026-11-20T12:00:00.000Z"),
    ("2126-01-01T00:00:00Z", "2026-11-20T12:00:00.000Z"),
    (None, "2026-11-20T12:00:00.000Z"),
    ("yesterday", "2026-11-20T12:00:00.000Z"),
    (1795176000, "2026-11-20T12:00:00.000Z"),
    ("2026-11-20T12:59:30+01:00", "2026-11-20T11:59:30.000Z"),
]


@pytest.mark.parametrize(("given", "wanted"), TIMES)
def test_50_the_visitors_clock_counts_unless_it_is_ahead(given: Any, wanted: str) -> None:
    (made,) = visit("page_viewed", timestamp=given)
    assert made["timestamp"] == wanted


def test_50_what_is_older_than_a_day_is_nothing() -> None:
    assert visit("page_viewed", timestamp=ago(hours=24, minutes=1)) == [{"skip": "older than a day"}]


def test_50_an_event_that_is_replayed_after_consent_has_the_same_id() -> None:
    first, again = wire("page_viewed"), wire("page_viewed", seq=9)
    assert split(clicked(first))[0].id == split(clicked(again))[0].id == "pixel/sh-1"


def test_a_customer_and_a_visitor_are_named_together() -> None:
    (made,) = visit("page_viewed", customer="gid://shopify/Customer/900")
    assert (made["user_id"], made["anonymous_id"]) == ("900", CLIENT)


def test_the_context_has_the_page_and_its_campaign() -> None:
    given = page(
        "/?utm_source=news&utm_medium=mail&utm_campaign=fall&gclid=x&variant=5#top", referrer="https://g.example/?q=a"
    )
    (made,) = visit("page_viewed", page=given)
    assert made["context"]["campaign"] == {"source": "news", "medium": "mail", "name": "fall"}
    wanted = "https://shop.example/?utm_source=news&utm_medium=mail&utm_campaign=fall&variant=5"
    assert made["context"]["page"] == {"url": wanted, "referrer": "https://g.example/?q=a", "title": "Demo"}


PRIVATE = [
    ("/checkouts/cn/Z2NwLX/information?key=1", "https://shop.example/checkouts/:token"),
    ("/fr/checkouts/c/abc", "https://shop.example/fr/checkouts/:token"),
    ("/12345/orders/0a1b2c", "https://shop.example/12345/orders/:token"),
    ("/account/orders/0a1b2c?x=1", "https://shop.example/account/orders/:token"),
    ("/account", "https://shop.example/account"),
    ("/cart/c/abc?key=1", "https://shop.example/cart/:token"),
    ("/gift_cards/1/abc", "https://shop.example/gift_cards/:token"),
    ("/customer_authentication/x", "https://shop.example/customer_authentication/:token"),
]


@pytest.mark.parametrize(("path", "shown"), PRIVATE)
def test_addresses_of_a_visitors_own_pages_are_cut(path: str, shown: str) -> None:
    (made,) = visit("checkout_started", {}, page=page(path, title="Jane's order"), settings={"steps": True})
    assert made["context"]["page"] == {"url": shown}


@pytest.mark.parametrize("path", ["/collections/account", "/products/orders", "/blogs/news/apps", "/pages/cart"])
def test_addresses_of_the_shops_pages_are_not_cut(path: str) -> None:
    (made,) = visit("checkout_started", {}, page=page(path), settings={"steps": True})
    assert made["context"]["page"] == {"url": f"https://shop.example{path}", "title": "Demo"}


def test_strange_ids_are_not_shown() -> None:
    (event,) = split(clicked(wire("page_viewed", id="<script> jane")))
    assert event.id.removeprefix("pixel/").isalnum()


def test_every_name_has_a_topic() -> None:
    assert {topic for topic in shopify().topics if topic.startswith("pixel_")} == set(pixel.TOPICS)


def test_the_sender_can_say_no_more_than_what_is_on_the_list() -> None:
    body = wire("checkout_completed", {"order": "5", "email": "jane@example.com", "total": 999})
    body["event"]["context"] = {"email": "jane@example.com"}
    (event,) = split(clicked(body))
    assert "jane" not in json.dumps(event.data)
    assert set(event.data["data"]) == {"cart", "checkout", "order"}
