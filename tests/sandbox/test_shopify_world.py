"""The shops of Shopify's stand-in: the same from the same settings, lazily, awkward kinds included."""

from __future__ import annotations

import tracemalloc

import msgspec
from misoflow_sandbox.shopify import Options, ShopifySandbox, ShopifyWorld, ShopSpec, units, variants_on_sale
from misoflow_sandbox.shopify.history import total
from misoflow_sandbox.shopify.world import cents, money

START = 1_790_000_000_000
STILL = Options(speed=0)


def sandbox(**spec: object) -> ShopifySandbox:
    made = msgspec.convert(spec, ShopSpec)
    return ShopifySandbox(ShopifyWorld(shops=(made,), start=START), STILL)


def test_the_same_settings_give_the_same_shop() -> None:
    one, other, different = sandbox().shop(), sandbox().shop(), sandbox(seed=2).shop()
    assert list(one.products) == list(other.products)
    assert list(one.orders) == list(other.orders)
    assert list(one.customers) == list(other.customers)
    assert list(one.products) != list(different.products)


def test_the_awkward_kinds_are_there() -> None:
    shop = sandbox().shop()
    products, orders = list(shop.products), list(shop.orders)
    assert {one.status for one in products} == {"ACTIVE", "DRAFT", "ARCHIVED", "UNLISTED"}
    assert any(one.status == "ACTIVE" and not one.published for one in products)
    assert any(one.body_html is None and not one.tags for one in products)
    assert {one.variants[0].compare_at_price for one in products} >= {None, "0.00"}
    assert any(one.test for one in orders)
    assert any(one.cancelled_at for one in orders)
    assert any(one.customer is None for one in orders)
    assert any(one.source == "pos" and one.cart_token is None for one in orders)
    assert any(line.variant is None for one in orders for line in one.lines)
    assert any(line.plan for one in orders for line in one.lines)
    assert any(refund.lines == [] for one in orders for refund in one.refunds)
    types = {(field.key, field.type) for one in products for field in one.metafields}
    assert {("weight", "number_integer"), ("weight", "single_line_text_field")} <= types


def test_without_traps_everything_is_on_sale() -> None:
    shop = sandbox(traps=False).shop()
    assert variants_on_sale(shop) == {str(one.id) for product in shop.products for one in product.variants}
    assert all(units(shop, order) and not order.test for order in shop.orders)


def test_what_a_customer_spent_is_the_sum_of_their_orders() -> None:
    shop = sandbox().shop()
    for person in shop.customers:
        mine = [one for one in shop.orders if one.customer == person.id]
        assert person.orders_count == len(mine)
        assert cents(person.amount_spent) == sum(total(one) for one in mine if not one.test)


def test_a_product_has_as_many_variants_as_asked() -> None:
    shop = sandbox(most_variants=2048).shop()
    product = list(shop.products)[1]
    assert len({one.id for one in product.variants}) == 2048
    assert len({tuple(one.options) for one in product.variants}) == 2048
    assert shop.variant(product.variants[-1].id) == (product, product.variants[-1])
    assert shop.item(product.variants[7].inventory_item) == (product, product.variants[7])


def test_money_of_a_currency_without_decimals() -> None:
    assert (money(199900, "JPY"), money(1999, "USD"), cents("1999"), cents("19.9")) == ("1999", "19.99", 199900, 1990)
    shop = sandbox(currency="JPY").shop()
    assert all("." not in one.price for product in shop.products for one in product.variants)


def test_ranges_find_what_a_scan_finds() -> None:
    shop = sandbox(orders=300).shop()
    kept = shop.orders.keep(next(iter(shop.orders)).id)
    kept.updated_at = START
    everything = list(shop.orders)
    low, high = everything[40].created_at, everything[200].created_at
    assert list(shop.orders.between((low, high))) == [one for one in everything if low <= one.created_at < high]
    changed = [one for one in everything if low <= one.updated_at < START + 1]
    assert list(shop.orders.between(updated=(low, START + 1))) == changed
    assert kept in changed


def test_a_large_shop_takes_no_memory() -> None:
    tracemalloc.start()
    shop = sandbox(products=20_000, variants=5, orders=100_000, customers=20_000).shop()
    assert (len(shop.products), len(shop.orders)) == (20_000, 100_000)
    seen = sum(1 for one in shop.orders.between((START - 86_400_000, START)) if one.lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen > 500
    assert peak < 8 * 1024 * 1024


def test_things_that_are_gone_are_gone() -> None:
    shop = sandbox().shop()
    first = next(iter(shop.products)).id
    shop.products.remove(first)
    assert shop.products.get(first) is None
    assert first not in [one.id for one in shop.products]
    assert len(shop.products) == 39
