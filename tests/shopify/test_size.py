"""A big shop is installed by the real processes: all of it arrives, in little memory.

At full size (``make test-all``): 20,000 products of five variants each, on average, and 100,000 orders. ``make test``
has a twentieth.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from misoflow_sandbox.shopify import ShopSpec

from tests.shopify.place import placed

MOST_KB = 300 * 1024
# three of ten products have their default variant only, so that there are 104,000 in all
FULL = ShopSpec(
    products=20_000,
    variants=7,
    collections=40,
    customers=5_000,
    orders=100_000,
    history_days=55,
    plan="enterprise",
)
TWENTIETH = msgspec.structs.replace(FULL, products=1_000, customers=250, orders=5_000)
USUAL = ShopSpec(products=1_000, variants=3, customers=30, orders=60, history_days=55, plan="basic")
FIRST_PRODUCTS_SECONDS = 120


@pytest.mark.parametrize(
    "shop",
    [pytest.param(TWENTIETH, id="a_twentieth"), pytest.param(FULL, id="full", marks=pytest.mark.long)],
)
def test_a_big_shop_is_complete_in_little_memory(tmp_path: Path, shop: ShopSpec) -> None:
    with placed(tmp_path, shop) as place:
        place.install()
        took = place.until(place.settled, 1.0 * (shop.orders + 10 * shop.products) / 50 + 120)
        counts, peaks, busy, truth = place.counts(), place.peaks(), place.busy("work"), place.told("truth")
        calls = Counter(one["name"] for one in place.told("state")["calls"] if one["name"])
        products = [one["product_id"] for one in place.records("products")]
        checkouts = Counter(
            one["context"]["custom_context"]["order_id"]
            for one in place.records("interactions")
            if one["type"] == "checkout"
        )
        users = {one["user_id"] for one in place.records("users")}
    megabytes = ", ".join(f"{name} {kb / 1024:.0f} MiB" for name, kb in peaks.items())
    print(
        f"\n{shop.products:,} products, {len(products):,} variants on sale, {shop.orders:,} orders: "
        f"{took / 60:.1f} min, {counts['accepted']:,} events, "
        f"{counts['accepted'] / busy:,.0f} a second of work's processor time ({busy:.0f} s), "
        f"peaks: {megabytes}, {calls.total():,} calls of the Admin API: {dict(calls)}"
    )
    assert len(products) == len(set(products))
    assert set(products) == set(truth["variants"])
    assert len(products) > 4 * shop.products
    assert checkouts == Counter(one["id"] for one in truth["orders"] if one["units"])
    assert users == set(truth["customers"])
    assert counts["dead"] == 0
    assert peaks.keys() == {"serve", "work"}
    assert max(peaks.values()) < MOST_KB


def test_the_first_products_of_a_usual_shop_come_soon(tmp_path: Path) -> None:
    """Under the rate limit of the smallest plan."""
    with placed(tmp_path, USUAL) as place:
        place.install()
        place.until(lambda: any(True for _ in place.records("products")), FIRST_PRODUCTS_SECONDS)
        place.until(place.settled, FIRST_PRODUCTS_SECONDS)
        calls = [one for one in place.told("state")["calls"] if one["name"]]
        assert {one["product_id"] for one in place.records("products")} == set(place.told("truth")["variants"])
    names = Counter(one["name"] for one in calls)
    print(f"\n{USUAL.products:,} products: {len(calls)} calls of the Admin API: {dict(names)}")
    refused = [one for one in calls if one["status"] != 200]
    assert not refused
