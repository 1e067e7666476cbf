"""Single objects: whole, by whatever number of queries, and said to be gone where they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from misoflow import Reject, Retry
from misoflow_shopify import Shopify

from tests.shopify.fake import SHOP, Clock, FakeShop, MemoryState, connected
from tests.shopify.test_bulk import REFUND, Bulks, connection

READ_AT = 1_800_000_000_000


def too_costly() -> dict[str, Any]:
    return {"errors": [{"message": "cost", "extensions": {"code": "MAX_COST_EXCEEDED"}}]}


class Product:
    """A product with ``count`` variants whose connection is paged, and may not be asked for ``most`` at once."""

    def __init__(self, count: int, most: int = 250) -> None:
        self.count, self.most = count, most
        self.firsts: list[int] = []

    def page(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        first, start = variables["first"], int(variables.get("after") or 0)
        end = min(self.count, start + first)
        found = [{"id": f"gid://shopify/ProductVariant/{at + 1}", "price": "1.00"} for at in range(start, end)]
        return {"nodes": found, "pageInfo": {"hasNextPage": end < self.count, "endCursor": str(end)}}

    def whole(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        self.firsts.append(variables["first"])
        if variables["first"] > self.most:
            return too_costly()
        node = {"id": "gid://shopify/Product/3", "title": "T", "status": "ACTIVE", "publishedAt": None}
        return {"product": {**node, "variants": self.page(variables), **connection("collections", [])}}

    def more(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        self.firsts.append(variables["first"])
        return {"product": {"variants": self.page(variables)}}


async def shop_with(product: Product, **options: Any) -> tuple[FakeShop, Shopify]:
    shop = FakeShop()
    made = await connected(shop, **options)
    Bulks(shop, [])
    shop.answers |= {"Product": product.whole, "ProductVariants": product.more}
    return shop, made


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250, 2048])
async def test_34_all_variants_of_a_product(count: int) -> None:
    product = Product(count)
    _, made = await shop_with(product)
    (event,) = await made.fetch("product", "3")
    assert event.id == f"product/3@{READ_AT}"
    assert [one["id"] for one in event.data["variants"]] == [str(at + 1) for at in range(count)]
    assert event.data["published"] is False


async def test_34_what_costs_too_much_is_asked_for_in_smaller_pages() -> None:
    product = Product(60, most=30)
    _, made = await shop_with(product)
    (event,) = await made.fetch("product", "3")
    assert len(event.data["variants"]) == 60
    assert product.firsts == [100, 50, 25, 25, 25]
    await made.fetch("product", "3")
    assert product.firsts[5:] == [25, 25, 25]  # remembered
    product.most = 0
    with pytest.raises(Reject, match="one item at a time"):
        await made.fetch("product", "3")


async def test_15_a_product_that_is_no_more_is_gone() -> None:
    shop, made = await shop_with(Product(1))
    shop.answers["Product"] = lambda _: {"product": None, "more": 1}
    (event,) = await made.fetch("product", "3")
    assert event.data == {"shop": SHOP, "id": "3", "read_at": READ_AT, "gone": True}


async def test_a_product_that_vanishes_between_two_pages_is_read_again_later() -> None:
    shop, made = await shop_with(Product(200))
    shop.answers["ProductVariants"] = lambda _: {"product": None, "more": 1}
    with pytest.raises(Retry):
        await made.fetch("product", "3")


async def test_metafields_come_by_name_only() -> None:
    shop, made = await shop_with(Product(1), metafields=["custom.material"])
    found = [
        {"id": "1", "namespace": "custom", "key": "material", "type": "single_line_text_field", "value": "wool"},
        {"id": "2", "namespace": "custom", "key": "secret", "type": "single_line_text_field", "value": "canary"},
    ]
    shop.answers["ProductMetafields"] = lambda _: {"product": connection("metafields", found)}
    (event,) = await made.fetch("product", "3")
    assert event.data["metafields"] == [
        {"namespace": "custom", "key": "material", "type": "single_line_text_field", "value": "wool"}
    ]


async def test_an_inventory_item_is_its_product_and_is_asked_for_once() -> None:
    shop, made = await shop_with(Product(1))
    found = {"inventoryItem": {"variants": {"nodes": [{"product": {"id": "gid://shopify/Product/3"}}]}}}
    shop.answers["InventoryItem"] = lambda _: found
    for _ in range(2):
        (event,) = await made.fetch("inventory_item", "44")
        assert (event.id, event.topic) == (f"product_touched/3/{READ_AT // 10_000}", "product_touched")
        assert event.data == {"shop": SHOP, "id": "3"}
    assert shop.calls("InventoryItem") == [{"id": "gid://shopify/InventoryItem/44"}]
    shop.answers["InventoryItem"] = lambda _: {"inventoryItem": None, "more": 1}
    assert await made.fetch("inventory_item", "45") == []


async def test_an_order_is_whole() -> None:
    shop, made = await shop_with(Product(1))
    lines = [{"id": f"gid://shopify/LineItem/{at}", "quantity": 1} for at in range(1, 151)]

    def page(start: int, first: int) -> dict[str, Any]:
        end = start + first
        info = {"hasNextPage": end < len(lines), "endCursor": str(end)}
        return {"lineItems": {"nodes": lines[start:end], "pageInfo": info}}

    node = {
        "id": "gid://shopify/Order/5",
        "createdAt": "2026-12-01T00:00:00Z",
        "updatedAt": "2026-12-02T00:00:00Z",
        "refunds": [REFUND],
    }
    shop.answers |= {
        "Order": lambda v: {"order": {**node, **page(0, v["first"])}},
        "OrderLines": lambda v: {"order": page(int(v["after"]), v["first"])},
        "Refunds": lambda _: {"order": {"refunds": [{**REFUND, "refundLineItems": refunded(0)}]}},
        "RefundLines": lambda v: {"node": {"refundLineItems": refunded(int(v["after"]))}},
    }

    def refunded(start: int) -> dict[str, Any]:
        found = [{"quantity": 1, "lineItem": {"id": f"gid://shopify/LineItem/{at}"}} for at in (start + 1, start + 2)]
        return {"nodes": found, "pageInfo": {"hasNextPage": start < 4, "endCursor": str(start + 2)}}

    first, state = await made.fetch("order", "5")
    assert (first.topic, state.topic) == ("order", "order_state")
    assert len(first.data["lines"]) == 150
    assert first.data == state.data
    (refund,) = first.data["refunds"]
    assert refund["id"] == "8"
    assert [one["line"] for one in refund["lines"]] == ["1", "2", "3", "4", "5", "6"]
    shop.answers["Order"] = lambda _: {"order": None, "more": 1}
    assert await made.fetch("order", "6") == []


async def test_40_a_changed_domain_or_currency_is_told_until_it_is_known() -> None:
    clock = Clock()
    shop, made = await shop_with(Product(1), clock=clock)
    assert await made.fetch("shop", "shop") == []
    assert await made.fetch("shop", "shop") == []
    before = shop.answers["Shop"]({})
    changed = {"shop": {**before["shop"], "currencyCode": "JPY"}}  # type: ignore[index]
    shop.answers["Shop"] = lambda _: changed
    clock.at += 5
    (event,) = await made.fetch("shop", "shop")
    assert (event.topic, event.data) == ("shop_changed", {"shop": SHOP})
    clock.at += 5
    assert [one.id for one in await made.fetch("shop", "shop")] == [event.id]  # a crash may have lost the first
    changed["shop"]["primaryDomain"] = {"host": "new.example"}
    (other,) = await made.fetch("shop", "shop")
    assert other.id != event.id


async def test_another_shops_answer_is_refused() -> None:
    shop, made = await shop_with(Product(1))
    other = {"shop": {**shop.answers["Shop"]({})["shop"], "myshopifyDomain": "other.myshopify.com"}}  # type: ignore[index]
    shop.answers["Shop"] = lambda _: other
    with pytest.raises(Reject, match="another shop"):
        await made.fetch("shop", "shop")


async def test_carts_are_compared_with_the_last_one() -> None:
    _, made = await shop_with(Product(1))
    (event,) = await made.fetch("cart", "abcd@1000@7:2,8:1")
    assert event.data["added"] == [["7", None, 2], ["8", None, 1]]
    assert event.data["at"] == "1970-01-01T00:00:01.000Z"
    (event,) = await made.fetch("cart", "abcd@2000@7:1,9:3")
    assert event.data["added"] == [["9", None, 3]]
    assert event.data["removed"] == [["7", None, 1], ["8", None, 1]]
    (again,) = await made.fetch("cart", "abcd@2000@7:1,9:3")  # a crash may have lost the first
    assert again == event
    assert await made.fetch("cart", "abcd@1500@7:5") == []  # late
    assert await made.fetch("cart", "abcd@3000@7:1,9:3") == []  # nothing changed
    (event,) = await made.fetch("cart", "abcd@4000@")
    assert event.data["removed"] == [["7", None, 1], ["9", None, 3]]
    with pytest.raises(Reject):
        await made.fetch("cart", "abcd@x@7:1")


async def test_the_memory_of_carts_is_bounded() -> None:
    state = MemoryState()
    _, made = await shop_with(Product(1), state=state)
    for number in range(300):
        await made.fetch("cart", f"ab{number}@1000@7:1")
    assert len(json.loads(state.values["carts/ab"])) == 100


async def test_what_is_unknown_cannot_be_fetched() -> None:
    _, made = await shop_with(Product(1))
    with pytest.raises(Reject):
        await made.fetch("thing", "1")
