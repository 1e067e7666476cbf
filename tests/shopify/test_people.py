"""Customers, carts by webhook, and how people and shops are forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from misoflow import Event, LateId, Reject
from misoflow_shopify.fields import hashed

from tests.shopify.mapped import NOW, SHOP, ago, read, shopify, split, translate, webhook

CUSTOMER = {
    "id": 706405506930370084,
    "email": "bob@example.com",
    "first_name": "Bob",
    "created_at": "2021-12-31T19:00:00-05:00",
    "updated_at": "2026-11-20T06:00:00-05:00",
    "orders_count": 2,
    "total_spent": "199.65",
    "default_address": {"address1": "1 Street", "country_code": "CA", "province_code": "ON", "phone": "555-0100"},
}


def test_a_customer_is_a_user_without_name_and_address() -> None:
    assert translate(webhook("customers/update", CUSTOMER)) == [
        {
            "merge": "customer:706405506930370084",
            "source": "customer",
            "version": 1795172400000,
            "remove": [],
            "part": {
                "user_id": "706405506930370084",
                "created_at": "2022-01-01T00:00:00Z",
                "updated_at": "2026-11-20T11:00:00Z",
                "state": "ON",
                "country": "CA",
                "custom_attributes": {"orders_count": 2, "amount_spent": 199.65},
            },
        }
    ]


def test_what_a_webhook_lacks_does_not_hide_what_is_read() -> None:
    """Newer versions leave out what a customer bought, which has a topic of its own: customers/purchasing_summary."""
    short = {key: value for key, value in CUSTOMER.items() if key not in ("orders_count", "total_spent")}
    (whole,) = split(webhook("customers/update", CUSTOMER))
    (part,) = split(webhook("customers/update", short))
    assert whole.id.startswith("customer/706405506930370084@2026-11-20T11:00:00Z/")
    assert part.id != whole.id
    assert "custom_attributes" not in translate(webhook("customers/update", short))[0]["part"]


def test_two_changes_in_one_second_are_two_events() -> None:
    """``updated_at`` has whole seconds."""
    moved = {**CUSTOMER, "default_address": {**CUSTOMER["default_address"], "country_code": "FR"}}
    again, before = (split(webhook("customers/update", one))[0].id for one in (moved, CUSTOMER))
    assert again != before
    assert split(webhook("customers/create", CUSTOMER))[0].id == before


def test_an_address_that_was_deleted_is_taken_away() -> None:
    (made,) = translate(webhook("customers/update", {**CUSTOMER, "default_address": None}))
    assert made["remove"] == ["country", "state"]


def test_the_amount_spent_is_of_one_type() -> None:
    (made,) = translate(webhook("customers/update", {**CUSTOMER, "total_spent": "200.00"}))
    assert type(made["part"]["custom_attributes"]["amount_spent"]) is float


def test_users_can_be_left_out() -> None:
    assert "skip" in translate(webhook("customers/update", CUSTOMER), users=False)[0]


def test_a_customer_without_a_time_is_a_dead_letter() -> None:
    with pytest.raises(Reject):
        translate(webhook("customers/update", {"id": 5}, triggered_at=""))


FORGET = [
    ("customers/delete", {"id": 706405506930370084}),
    ("customers/redact", {"shop_domain": SHOP, "customer": {"id": 706405506930370084, "email": "b@example.com"}}),
]


@pytest.mark.parametrize(("topic", "body"), FORGET)
def test_a_customer_is_forgotten(topic: str, body: dict[str, Any]) -> None:
    assert translate(webhook(topic, body)) == [{"user_id": "706405506930370084"}]


def test_who_asks_for_their_data_is_answered_by_a_person() -> None:
    body = {"shop_domain": SHOP, "customer": {"id": 5, "email": "b@example.com", "phone": "555-625-1199"}}
    (event,) = split(webhook("customers/data_request", body))
    assert event.data == {"customer": "5", "at": "2026-11-20T11:59:58.123Z"}
    with pytest.raises(Reject, match="asks for their data"):
        list(shopify().translate(event))


def test_8_an_uninstall_says_when_it_was_triggered() -> None:
    shop = {"id": 5, "myshopify_domain": SHOP, "email": "owner@example.com"}
    (made,) = translate(webhook("app/uninstalled", shop))
    assert made == {"disconnect": "the app was uninstalled", "at": "2026-11-20 11:59:58.123000+00:00"}
    late = translate(webhook("shop/redact", {"shop_domain": SHOP}, triggered_at="2026-11-18T10:00:00Z"))
    assert late == [{"erase": "2026-11-18 10:00:00+00:00"}]
    without = translate(webhook("shop/redact", {"shop_domain": SHOP}, triggered_at="soon"))
    assert without == [{"erase": str(NOW)}]


CART = {
    "id": "eeafa272cebfd4b22385bc4b645e762c",
    "token": "eeafa272cebfd4b22385bc4b645e762c?key=open-sesame",
    "note": "for Bob",
    "updated_at": "2026-11-20T11:58:00.250Z",
    "line_items": [
        {"id": 704912205188288575, "variant_id": 704912205188288575, "quantity": 3, "title": "x", "price": "9"},
        {"id": 1, "variant_id": 12, "quantity": 1},
        {"id": 2, "variant_id": 12, "quantity": 2},
        {"id": 3, "variant_id": None, "quantity": 2},
        {"id": 4, "variant_id": 13, "quantity": 0},
    ],
}
HASH = hashed(SHOP, "eeafa272cebfd4b22385bc4b645e762c")


def test_a_cart_is_compared_with_the_last_one() -> None:
    (made,) = translate(webhook("carts/update", CART), carts="webhooks")
    assert made["fetch"] == ["cart", f"{HASH}@1795175880250@12:3,704912205188288575:3"]
    empty = {**CART, "line_items": []}
    (made,) = translate(webhook("carts/update", empty), carts="webhooks")
    assert made["fetch"] == ["cart", f"{HASH}@1795175880250@"]


def test_a_cart_of_whole_products_is_compared_by_those() -> None:
    lines = [{"variant_id": 12, "product_id": 1, "quantity": 1}, {"variant_id": 13, "product_id": 1, "quantity": 2}]
    request = webhook("carts/update", {**CART, "line_items": lines})
    (made,) = translate(request, carts="webhooks", group_mode="product")
    assert made["fetch"][1].endswith("@1:3")


def test_carts_are_the_pixels_unless_the_settings_say_otherwise() -> None:
    assert "skip" in translate(webhook("carts/update", CART))[0]


CHANGED = {
    "shop": SHOP,
    "cart": HASH,
    "at": "2026-11-20T11:58:00Z",
    "added": [["11", "1", 2], ["12", None, 1]],
    "removed": [["13", None, 5]],
    "customer": None,
}


def test_what_changed_in_a_cart_is_added_or_removed() -> None:
    made = read("cart_changed", CHANGED)
    assert [(one["type"], one["product_ids"], one.get("quantities")) for one in made] == [
        ("add_to_cart", ["11"], [2]),
        ("add_to_cart", ["12"], [1]),
        ("remove_from_cart", ["13"], None),
    ]
    assert made[0]["product_group_ids"] == ["1"]


def test_a_carts_visitor_is_the_one_that_its_order_will_have() -> None:
    first, *_ = shopify().translate(Event("c", "cart_changed", CHANGED, NOW))
    who = first.anonymous_id  # type: ignore[union-attr]
    assert isinstance(who, LateId)
    assert who.keys == (f"cart:{HASH}",)
    body = {"id": 7, "created_at": ago(minutes=1), "updated_at": ago(minutes=1), "cart_token": CART["token"]}
    body["line_items"] = [{"id": 1, "variant_id": 11, "product_id": 1, "quantity": 1, "price": "1"}]
    order = translate(webhook("orders/create", body))[0]["record"]
    assert order["anonymous_id"] == str(who)


def test_a_bulk_operation_that_ended_is_nothing() -> None:
    assert (
        "skip" in translate(webhook("bulk_operations/finish", {"admin_graphql_api_id": "x", "status": "completed"}))[0]
    )


def test_another_domain_or_currency_is_a_reason_to_read_all() -> None:
    assert read("shop_changed", {"shop": SHOP}) == [{"pull": "catalog", "after": 0}]
