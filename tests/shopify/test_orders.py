"""Orders: one checkout, each unit refunded once, in whatever order and however often they are told."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow import Event, LateId
from misoflow.effects import Once
from misoflow_shopify import rest
from misoflow_shopify.fields import hashed

from tests.shopify.mapped import NOW, SHOP, line, order, outputs, read, shopify, split, translate, webhook

CANCELLED = "2026-11-20T11:00:00Z"


def refund(refund_id: str, at: str, *lines: tuple[str, int]) -> dict[str, Any]:
    return {"id": refund_id, "created_at": at, "lines": [{"line": one, "quantity": count} for one, count in lines]}


def refunds_of(data: dict[str, Any], **config: Any) -> list[tuple[str, list[str]]]:
    """(key, products) of each refund of a state."""
    made = [one for one in read("order_state", data, **config) if one.get("record", {}).get("type") == "refund"]
    return [(one["once"], one["record"]["product_ids"]) for one in made]


def test_an_order_is_one_checkout() -> None:
    (made,) = read("order", order())
    assert made["once"] == "order:7001"
    assert made["also"] == ["line:7001:101", "line:7001:102"]
    assert made["record"] == {
        "type": "checkout",
        "product_ids": ["11", "21"],
        "product_group_ids": ["1", "2"],
        "quantities": [2, 1],
        "revenue": 45.5,
        "user_id": "900",
        "anonymous_id": made["record"]["anonymous_id"],
        "timestamp": "2026-11-20T10:00:01.000Z",
        "context": {
            "locale": "de-DE",
            "custom_context": {
                "shop": SHOP,
                "order_id": "7001",
                "currency": "EUR",
                "source": "web",
                "cart": hashed(SHOP, "cart-token-of-shopper-2"),
            },
        },
    }


def test_the_visitor_is_looked_up_by_cart_checkout_and_order_in_this_order() -> None:
    connector = shopify()
    (made,) = connector.translate(Event("o", "order", order(), NOW))
    assert isinstance(made, Once)
    who = getattr(made.record, "anonymous_id")  # noqa: B009 (not all records have one)
    assert isinstance(who, LateId)
    assert [key.partition(":")[0] for key in who.keys] == ["cart", "checkout", "order"]
    assert "Z2Nw" not in "".join(who.keys)  # the token opens the cart


def test_a_carts_token_counts_without_its_key() -> None:
    """Admin GraphQL gives it as the cart's id in the storefront is written, with the key that opens it."""
    with_key = read("order", order(cart_token="cart-token-of-shopper-2?key=open-sesame"))
    assert with_key == read("order", order())


def test_47_an_order_that_no_pixel_has_seen_has_the_same_visitor_each_time() -> None:
    first, again = (read("order", order(customer=None))[0]["record"]["anonymous_id"] for _ in range(2))
    assert first == again
    other = read("order", order(customer=None, cart_token="another"))[0]["record"]["anonymous_id"]
    assert other != first
    elsewhere = read("order", order(customer=None, shop="x.myshopify.com"))[0]["record"]["anonymous_id"]
    assert elsewhere != first
    without = read("order", order(customer=None, cart_token=None, checkout_token=None))[0]["record"]
    assert without["anonymous_id"] == "shopify-order-7001"
    assert "user_id" not in without


def test_a_visitor_named_by_the_theme_is_used_as_it_is() -> None:
    (made,) = shopify().translate(Event("o", "order", order(anonymous="visitor-7"), NOW))
    assert isinstance(made, Once)
    who = getattr(made.record, "anonymous_id")  # noqa: B009
    assert who == "visitor-7"
    assert not isinstance(who, LateId)


@pytest.mark.parametrize("topic", ["order", "order_state"])
def test_45_a_test_order_is_nothing(topic: str) -> None:
    (made,) = read(topic, order(test=True, cancelled_at=CANCELLED))
    assert made["skip"] == "a test order"


@pytest.mark.parametrize("topic", ["order", "order_state"])
def test_an_order_of_a_source_that_is_left_out_is_nothing(topic: str) -> None:
    assert "skip" in read(topic, order(source="pos", cancelled_at=CANCELLED), skip_order_sources=["pos"])[0]
    assert "once" in read(topic, order(source="web"), skip_order_sources=["pos"])[0]


def test_lines_of_deleted_products_are_left_out() -> None:
    lines = [line("101", None, None, 1, "3.00"), line("102", "21", "2", 1, "4.00"), line("103", None, "3", 1, "5.00")]
    assert read("order", order(lines=lines))[0]["record"]["product_ids"] == ["21"]
    (made,) = read("order", order(lines=lines[:1]))
    assert "still exists" in made["skip"]
    assert read("order", order(lines=lines), group_mode="product")[0]["record"]["product_ids"] == ["2", "3"]


def test_one_product_on_two_lines_is_added_up_and_quantities_stay_aligned() -> None:
    lines = [line("1", "11", "1", 2, "4"), line("2", "12", "1", 5, "5"), line("3", "11", "1", 1, "2")]
    record = read("order", order(lines=lines))[0]["record"]
    assert (record["product_ids"], record["quantities"]) == (["11", "12"], [3, 5])
    assert record["product_group_ids"] == ["1"]
    whole = read("order", order(lines=lines), group_mode="product")[0]["record"]
    assert (whole["product_ids"], whole["quantities"]) == (["1"], [8])
    assert "product_group_ids" not in whole


def test_gift_cards_are_marked_and_plans_are_subscriptions() -> None:
    lines = [line("1", "11", "1", 1, "4") | {"gift_card": True}, line("2", "21", "2", 1, "4") | {"plan": True}]
    checkout, subscribe = read("order", order(lines=lines))
    assert checkout["record"]["context"]["custom_context"]["gift_cards"] == ["11"]
    assert subscribe["once"] == "subscribe:7001"
    assert subscribe["record"]["type"] == "subscribe"
    assert subscribe["record"]["product_ids"] == ["21"]


@pytest.mark.parametrize(
    ("total", "revenue"),
    [("1980", 1980), ("1980.0", 1980), ("125000", 125000), ("3.125", 3.125), ("0.00", 0), ("199.65", 199.65)],
)
def test_39_revenue_has_the_digits_of_its_currency(total: str, revenue: float) -> None:
    assert read("order", order(total=total))[0]["record"]["revenue"] == revenue


def test_revenue_is_in_the_shops_currency() -> None:
    body = {"id": 1, "total_price": "99", "total_price_set": {"shop_money": {"amount": "12.5"}}}
    assert rest.order(SHOP, body)["total"] == "12.5"


def test_46_a_refund_of_money_alone_is_none() -> None:
    assert refunds_of(order(refunds=[refund("1", CANCELLED)])) == []


def test_46_a_refund_of_a_part_names_its_products_only() -> None:
    assert refunds_of(order(refunds=[refund("1", CANCELLED, ("102", 1))])) == [("refund:7001:102:0", ["21"])]


def test_later_refunds_of_a_line_count_on() -> None:
    data = order(refunds=[refund("1", CANCELLED, ("101", 1)), refund("2", CANCELLED, ("101", 1), ("102", 1))])
    keys = [key for key, _ in refunds_of(data)]
    assert keys == ["refund:7001:101:0", "refund:7001:101:1", "refund:7001:102:0"]


def test_more_units_than_were_bought_are_not_taken_back() -> None:
    data = order(refunds=[refund("1", CANCELLED, ("101", 9)), refund("2", CANCELLED, ("101", 1))])
    assert refunds_of(data) == [("refund:7001:101:0", ["11"])]


def test_45_a_cancellation_takes_back_what_is_left() -> None:
    whole = read("order_state", order(cancelled_at=CANCELLED))
    (first, second) = [one for one in whole if one["record"]["type"] == "refund"]
    assert (first["once"], first["also"]) == ("refund:7001:101:0", ["refund:7001:101:1"])
    assert second["record"]["timestamp"] == "2026-11-20T11:00:00.000Z"
    partly = order(cancelled_at=CANCELLED, refunds=[refund("1", "2026-11-20T10:30:00Z", ("101", 1), ("102", 1))])
    assert [key for key, _ in refunds_of(partly)] == ["refund:7001:101:0", "refund:7001:102:0", "refund:7001:101:1"]


def test_a_huge_quantity_does_not_make_a_key_for_each_unit() -> None:
    data = order(lines=[line("101", "11", "1", 10**9, "1")], cancelled_at=CANCELLED)
    made = [one for one in read("order_state", data) if one["record"]["type"] == "refund"]
    assert len(made[0]["also"]) < 1000


def test_48_lines_added_later_are_a_checkout_of_their_own() -> None:
    made = read("order_state", order(lines=[*order()["lines"], line("103", "31", "3", 2, "8.00")]))
    last = made[-1]
    assert last["once"] == "line:7001:103"
    assert last["record"]["product_ids"] == ["31"]
    assert last["record"]["revenue"] == 8
    assert last["record"]["timestamp"] == "2026-11-20T10:00:02.000Z"


def rest_order(**own: Any) -> dict[str, Any]:
    """A body as https://shopify.dev/docs/api/webhooks/latest shows it, cut down."""
    return {
        "id": 820982911946154508,
        "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
        "created_at": "2026-11-20T05:00:00-05:00",
        "processed_at": "2026-11-20T05:00:00-05:00",
        "updated_at": "2026-11-20T05:00:09-05:00",
        "cancelled_at": None,
        "test": False,
        "currency": "USD",
        "total_price": "388.00",
        "cart_token": "Z2Nw?key=secret",
        "checkout_token": None,
        "customer": {"id": 115310627314723954, "email": "john@example.com"},
        "customer_locale": "en",
        "source_name": "web",
        "note_attributes": [{"name": "gift", "value": "yes"}],
        "line_items": [
            {"id": 9, "variant_id": 3, "product_id": 2, "quantity": 2, "price": "199.00", "discount_allocations": []},
            {
                "id": 8,
                "variant_id": None,
                "product_id": None,
                "quantity": 1,
                "price": "10.00",
                "discount_allocations": [{"amount": "2.50"}, {"amount_set": {"shop_money": {"amount": "1.00"}}}],
            },
        ],
        "refunds": [
            {
                "id": 5,
                "created_at": "2026-11-20T06:00:00-05:00",
                "note": "too big",
                "refund_line_items": [{"id": 1, "line_item_id": 9, "quantity": 1, "line_item": {"name": "x"}}],
                "transactions": [{"amount": "199.00"}],
            }
        ],
        **own,
    }


def test_an_order_by_webhook_is_neutral() -> None:
    first, second = split(webhook("orders/updated", rest_order()))
    assert (first.id, second.id) == (
        "order/820982911946154508",
        "order_state/820982911946154508@2026-11-20T10:00:09Z/1",
    )
    assert first.data == second.data
    assert first.data == {
        "shop": SHOP,
        "id": "820982911946154508",
        "created_at": "2026-11-20T10:00:00Z",
        "processed_at": "2026-11-20T10:00:00Z",
        "updated_at": "2026-11-20T10:00:09Z",
        "test": False,
        "cancelled_at": None,
        "source": "web",
        "currency": "USD",
        "total": "388.00",
        "customer": "115310627314723954",
        "cart_token": "Z2Nw",
        "checkout_token": None,
        "anonymous": None,
        "locale": "en",
        "lines": [
            {**line("8", None, None, 1, "6.50")},
            {**line("9", "3", "2", 2, "398.00")},
        ],
        "refunds": [{"id": "5", "created_at": "2026-11-20T11:00:00Z", "lines": [{"line": "9", "quantity": 1}]}],
    }


def test_two_states_of_one_second_are_two_events() -> None:
    """Else the later one would be taken for a repeat, and by no channel be heard of again."""
    states = [rest_order(refunds=[]), rest_order(), rest_order(cancelled_at="2026-11-20T05:00:09-05:00")]
    assert len({split(webhook("orders/updated", state))[1].id for state in states}) == 3


def test_the_visitor_comes_from_the_orders_attributes() -> None:
    pairs = [{"name": "_miso_anon", "value": "v-1"}, {"name": "_miso_anon", "value": "v-2"}]
    made = translate(webhook("orders/create", rest_order(note_attributes=pairs)))
    assert {one["record"]["anonymous_id"] for one in made} == {"v-1"}


def test_an_edited_order_is_read_again() -> None:
    body = {"order_edit": {"id": 1, "order_id": 607673086, "line_items": {"additions": [], "removals": []}}}
    assert translate(webhook("orders/edited", body)) == [{"fetch": ["order", "607673086"], "after": 5}]


def test_a_refund_is_a_reason_to_read_its_order() -> None:
    assert translate(webhook("refunds/create", {"id": 2, "order_id": 7})) == [{"fetch": ["order", "7"], "after": 5}]


class Ledger:
    """What the engine does with keys: the first producer wins, and takes the others as far as they are free."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.records: list[tuple[str, dict[str, Any], int]] = []

    def take(self, data: dict[str, Any]) -> None:
        for topic in ("order", "order_state"):
            for made in outputs(shopify(), Event(topic, topic, data, NOW)):
                if "once" in made and made["once"] not in self.taken:
                    free = {made["once"], *made["also"]} - self.taken
                    self.taken |= free
                    self.records.append((made["once"], made["record"], len(free)))


def history(seed: int) -> list[dict[str, Any]]:
    """An order's states, one after another: refunds, an added line, a cancellation."""
    chance = random.Random(seed)
    data = order(lines=[line(str(n), str(n + 10), str(n % 3), chance.randint(1, 4), "5.00") for n in range(1, 4)])
    states = [data]
    done: Counter[str] = Counter()
    cancelled_after = chance.choice([None, 0, 1, 2])
    for step in range(4):
        data = copy.deepcopy(data)
        at = f"2026-11-20T10:{step + 1:02}:00Z"
        data["updated_at"] = at
        if step == cancelled_after:
            data["cancelled_at"] = at
        elif chance.random() < 0.2:
            data["lines"].append(line(str(50 + step), str(60 + step), "9", 2, "7.00"))
        else:
            parts = []
            for one in data["lines"]:
                count = min(chance.randint(0, 2), one["quantity"] - done[one["id"]])
                if count:
                    done[one["id"]] += count
                    parts.append((one["id"], count))
            data["refunds"].append(refund(str(100 + step), at, *parts))
        states.append(data)
    return states


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_whatever_states_are_seen_in_whatever_order_each_unit_counts_once(seed: int, chance: random.Random) -> None:
    states = history(seed)
    seen = [state for state in states[:-1] if chance.random() < 0.6] + [states[-1]]
    seen += [chance.choice(seen) for _ in range(2)]
    chance.shuffle(seen)
    ledger = Ledger()
    for state in seen:
        ledger.take(state)
    final = states[-1]
    bought: Counter[str] = Counter()
    for _, record, _ in ledger.records:
        if record["type"] == "checkout":
            bought.update(dict(zip(record["product_ids"], record["quantities"], strict=True)))
    assert bought == Counter({one["variant"]: one["quantity"] for one in final["lines"]})
    assert sum(key == "order:7001" for key, _, _ in ledger.records) == 1
    refunded = {key for key in ledger.taken if key.startswith("refund:")}
    units = sum(free for key, _, free in ledger.records if key.startswith("refund:"))
    assert units == len(refunded)  # no unit by two records
    assert refunded == {
        f"refund:7001:{one}:{unit}" for one, count in taken_back(final).items() for unit in range(count)
    }


def taken_back(final: dict[str, Any]) -> dict[str, int]:
    """How many units of each line were refunded in the end, by the shop's own books."""
    if final["cancelled_at"]:
        return {one["id"]: one["quantity"] for one in final["lines"]}
    counts: Counter[str] = Counter()
    for one in final["refunds"]:
        for part in one["lines"]:
            counts[part["line"]] += part["quantity"]
    return dict(counts)


@pytest.mark.parametrize("backwards", [False, True])
def test_45_a_cancellation_that_is_told_without_its_refund_takes_each_unit_back_once(backwards: bool) -> None:
    """One action sends orders/cancelled and refunds/create, and the body of the former may lack the refund."""
    bare = order(cancelled_at=CANCELLED)
    for parts in ([("101", 1)], [("101", 2)], [("101", 2), ("102", 1)]):
        ledger = Ledger()
        both = [bare, order(cancelled_at=CANCELLED, refunds=[refund("1", "2026-11-20T10:59:59Z", *parts)])]
        for state in reversed(both) if backwards else both:
            ledger.take(state)
        units = sorted(key for key in ledger.taken if key.startswith("refund:"))
        assert units == ["refund:7001:101:0", "refund:7001:101:1", "refund:7001:102:0"]
        assert sum(free for key, _, free in ledger.records if key.startswith("refund:")) == 3
