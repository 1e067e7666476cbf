"""The demo of Shopify: a shop's life adds up and leaves nothing, and the demo says so only when it is true."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from misoflow.demo_shopify import Shown, adds_up, is_gone, traces


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``misoflow demo --shopify`` says of itself, played once."""
    command = [sys.executable, "-m", "misoflow", "demo", "--shopify", "--yes", "--json"]
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(folder.iterdir())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long  # `make test-real` plays it with a browser
def test_a_shops_life_adds_up(played: dict[str, Any]) -> None:
    assert [check["what"] for check in played["checks"] if not check["holds"]] == []
    assert len(played["checks"]) == 10
    counts = played["counts"]
    assert counts["accepted"] == counts["delivered"] + counts["skipped"]
    assert (counts["dead"], counts["pending"]) == (0, 0)


@pytest.mark.long
def test_catalogue_orders_customers_and_clicks_were_at_miso(played: dict[str, Any]) -> None:
    assert played["products"] > 50
    assert played["users"] == 30
    kinds = {"checkout", "refund", "search", "home_page_view", "category_page_view", "add_to_cart", "remove_from_cart"}
    assert kinds < set(played["by_type"])


TRUTH: dict[str, Any] = {
    "variants": {"11": {}, "12": {}},
    "customers": {"9": {}},
    "orders": [
        {"id": "1", "units": [["11", 1]], "refunded": {}},
        {"id": "2", "units": [["12", 2]], "refunded": {"21": 2}},
        {"id": "3", "units": [], "refunded": {"31": 1}},
    ],
}
"""Two orders; a third has only lines without a product."""


def record(kind: str, order: str = "") -> dict[str, Any]:
    return {"type": kind, "context": {"custom_context": {"order_id": order}}}


def good() -> dict[str, Any]:
    """The arguments of ``adds_up`` when all is well."""
    clicks = ("home_page_view", "category_page_view", "search", "product_detail_page_view", "add_to_cart")
    states = dict.fromkeys(("suppressed", "erased", "dead", "pending"), 0)
    return {
        "truth": copy.deepcopy(TRUTH),
        "held": {"products": {"11": {}, "12": {}}, "users": {"9": {}}, "by_type": dict.fromkeys(clicks, 1)},
        "records": [record("checkout", "1"), record("checkout", "2"), record("refund", "2"), record("search")],
        "counts": {**states, "accepted": 12, "delivered": 10, "skipped": 2},
    }


SPOILT: dict[str, Callable[[dict[str, Any]], object]] = {
    "a product is missing": lambda seen: seen["held"]["products"].pop("11"),
    "a product is left": lambda seen: seen["held"]["products"].update({"13": {}}),
    "an order is missing": lambda seen: seen["records"].pop(0),
    "an order counts twice": lambda seen: seen["records"].append(record("checkout", "1")),
    "an order is unknown": lambda seen: seen["records"].append(record("checkout", "4")),
    "a refund is missing": lambda seen: seen["records"].pop(2),
    "a refund is too many": lambda seen: seen["records"].append(record("refund", "1")),
    "a user is missing": lambda seen: seen["held"]["users"].clear(),
    "a user is too many": lambda seen: seen["held"]["users"].update({"8": {}}),
    "no clicks": lambda seen: seen["held"]["by_type"].pop("search"),
    "an event is lost": lambda seen: seen["counts"].update(accepted=13),
    "an event is dead": lambda seen: seen["counts"].update(dead=1, delivered=9),
    "an event waits": lambda seen: seen["counts"].update(pending=1, delivered=9),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_does_not_add_up_is_found(what: str) -> None:
    assert all(holds for _, holds in adds_up(**good()))
    seen = good()
    SPOILT[what](seen)
    assert sum(not holds for _, holds in adds_up(**seen)) == 1


@pytest.mark.parametrize("left", [{"interactions": 1}, {"products": {"11": {}}}, {"users": {"9": {}}}])
def test_what_is_left_at_miso_is_found(left: dict[str, Any]) -> None:
    empty: dict[str, Any] = {"interactions": 0, "products": {}, "users": {}}
    assert all(holds for _, holds in is_gone(empty))
    assert sum(not holds for _, holds in is_gone(empty | left)) == 1


def test_what_is_left_on_disk_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "store.db-wal").write_bytes(b"\x00\x01demo-shop.myshopify.com\xff")
    (tmp_path / "other").write_bytes(b"demo-shop")
    assert traces(tmp_path, "demo-shop.myshopify.com") == [str(tmp_path / "deep" / "store.db-wal")]


def test_a_demo_that_checked_nothing_is_not_good() -> None:
    assert not Shown().good
    assert not Shown(checks=[("one", True), ("another", False)]).good
    assert Shown(checks=[("one", True)]).good
