"""Awkward shops from Shopify to Miso through the real processes, in bulk first and then by webhook and reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from misoflow_sandbox.shopify import ShopSpec
from misoflow_sandbox.shopify.catalog import FIRST_PRODUCT, Catalog, variant_id
from misoflow_sandbox.shopify.history import History

from tests.shopify.place import Place, placed

SECONDS = 90
MOST = 2048
DRAFT, ARCHIVED, UNLISTED, UNPUBLISHED = (FIRST_PRODUCT + n for n in (13, 14, 15, 16))
MANY = FIRST_PRODUCT + 1
AWKWARD = ShopSpec(products=40, variants=3, most_variants=MOST, customers=8, orders=60, history_days=30)
YEN = ShopSpec(currency="JPY", country="JP", locale="ja", products=15, customers=4, orders=20, history_days=30)
DONG = ShopSpec(currency="VND", country="VN", locale="vi", products=15, customers=4, orders=20, history_days=30)
DINAR = ShopSpec(currency="KWD", country="KW", locale="ar", products=15, customers=4, orders=20, history_days=30)
METAFIELDS = 'metafields = ["custom.weight", "custom.material", "custom.colors"]\n'


@contextmanager
def live(folder: Path, shop: ShopSpec, settings: str = "", before: Any = None) -> Iterator[Place]:
    """A shop whose history is at Miso; ``before`` changes it before it is installed."""
    with placed(folder, shop, settings) as place:
        if before is not None:
            before(place)
        place.install()
        place.until(place.settled, SECONDS)
        yield place


def held(place: Place) -> dict[str, dict[str, Any]]:
    """Miso's products by id."""
    return {one["product_id"]: one for one in place.records("products")}


def groups(place: Place) -> set[str]:
    return {one["product_group_id"] for one in place.records("products")}


def checkouts(place: Place) -> dict[str, dict[str, Any]]:
    """Miso's checkouts by order; each order has one."""
    found = [one for one in place.records("interactions") if one["type"] == "checkout"]
    made = {one["context"]["custom_context"]["order_id"]: one for one in found}
    assert len(made) == len(found)
    return made


def assert_is_the_shop(place: Place) -> None:
    """Products and checkouts are those of the shop, with their quantities and revenue."""
    truth, found = place.told("truth"), checkouts(place)
    assert set(held(place)) == set(truth["variants"])
    wanted = {one["id"]: one for one in truth["orders"] if one["units"]}
    assert found.keys() == wanted.keys()
    for number, record in found.items():
        bought = [list(pair) for pair in zip(record["product_ids"], record["quantities"], strict=True)]
        assert sorted(bought) == sorted(wanted[number]["units"])
        assert record["revenue"] == pytest.approx(wanted[number]["hundredths"] / 100, abs=1e-9)
    assert place.counts()["dead"] == 0


def sold(shop: ShopSpec) -> tuple[int, int]:
    """A variant of the first order, and one of a product that another order is of."""
    history = History(shop, 0, Catalog(shop, 0))
    lines = [line for number in (0, 1) for line in history.order(number).lines]
    first = next(line for line in lines if line.product != MANY)
    other = next(line for line in lines if line.product not in (MANY, first.product))
    assert first.variant is not None
    assert other.product is not None
    return first.variant, other.product


def test_an_awkward_shop_is_at_miso_as_the_tables_say(tmp_path: Path) -> None:
    variant, product = sold(AWKWARD)

    def deleted(place: Place) -> None:
        place.change("delete_variant", variant=variant)
        place.change("delete_product", product=product)

    with live(tmp_path, AWKWARD, METAFIELDS, deleted) as place:
        assert_is_the_shop(place)
        products = held(place)
        assert sum(one["product_group_id"] == str(MANY) for one in products.values()) == MOST
        assert not groups(place) & {str(one) for one in (DRAFT, ARCHIVED, UNLISTED, UNPUBLISHED)}
        gone = [str(variant), *(str(variant_id(product, n)) for n in range(3))]
        assert not [one for one in checkouts(place).values() if set(one["product_ids"]) & set(gone)]
        weights = {type(one["custom_attributes"].get("mf_custom_weight")) for one in products.values()}
        assert weights == {int, type(None)}  # Miso has one type of each key; those with a text there stay without it

        changed = changed_by_hand(place)
        place.until(lambda: set(held(place)) == set(place.told("truth")["variants"]), SECONDS)
        place.until(lambda: held(place)[changed["price"]]["sale_price"] == 7.5 and place.settled(), SECONDS)
        assert_is_the_shop(place)
        products = held(place)
        assert products[changed["price"]]["original_price"] == 7.5  # "0.00" is none
        assert sum(one["product_group_id"] == str(MANY) for one in products.values()) == MOST - 1
        assert not groups(place) & {changed["unlisted"], changed["unpublished"]}
        assert str(UNLISTED) in groups(place)
        drifted = [one for one in products.values() if one["product_group_id"] == changed["drifted"]]
        assert drifted
        assert all("mf_custom_weight" not in one["custom_attributes"] for one in drifted)


def changed_by_hand(place: Place) -> dict[str, str]:
    """What the merchant does once the shop is live."""
    left = sorted(int(one) for one in groups(place) - {str(MANY)})
    unlisted, unpublished, drifted, priced = left[:4]
    place.change("update_product", product=unlisted, status="UNLISTED")
    place.change("update_product", product=unpublished, published_at=None)
    place.change("update_product", product=UNLISTED, status="ACTIVE", published_at=1_790_000_000_000)
    place.change("delete_variant", variant=variant_id(MANY, MOST - 1))
    weight = {"namespace": "custom", "key": "weight", "type_": "single_line_text_field", "value": "very heavy"}
    place.change("set_metafield", product=drifted, **weight)
    price = next(one["product_id"] for one in held(place).values() if one["product_group_id"] == str(priced))
    place.change("update_variant", variant=int(price), price="7.50", compare_at_price="0.00")
    return {"unlisted": str(unlisted), "unpublished": str(unpublished), "drifted": str(drifted), "price": price}


@pytest.mark.parametrize(
    ("shop", "price", "original"),
    [
        pytest.param(YEN, "1980", "2480", id="no_decimals"),
        pytest.param(DONG, "250000", "310000", id="no_decimals_and_large", marks=pytest.mark.long),
        pytest.param(DINAR, "7.125", "9.500", id="three_decimals", marks=pytest.mark.long),
    ],
)
def test_amounts_are_what_the_currency_says(tmp_path: Path, shop: ShopSpec, price: str, original: str) -> None:
    with live(tmp_path, shop) as place:
        assert_is_the_shop(place)
        priced = {
            str(one.id): float(one.price) for n in range(shop.products) for one in Catalog(shop, 0).product(n).variants
        }
        assert {key: one["sale_price"] for key, one in held(place).items()} == {key: priced[key] for key in held(place)}
        currencies = {one["context"]["custom_context"]["currency"] for one in checkouts(place).values()}
        assert currencies == {shop.currency}
        first = min(held(place))
        place.change("update_variant", variant=int(first), price=price, compare_at_price=original)
        before = len(checkouts(place))
        assert place.post("visit", number=1)["order"]
        place.until(lambda: held(place)[first]["sale_price"] == float(price), SECONDS)
        assert held(place)[first]["original_price"] == float(original)
        place.until(lambda: len(checkouts(place)) == before + 1 and place.settled(), SECONDS)
        assert_is_the_shop(place)
