"""A big shop is installed by the real processes: all of it arrives, in little memory.

At full size (``make test-all``): 20,000 products of five variants and 100,000 orders. ``make test`` has a twentieth.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from misoflow.config import load
from misoflow.demo import started
from misoflow.demo_shopify import SETTINGS, click
from misoflow.standing import Standing, standing
from misoflow.status import status
from misoflow.vault import Vault
from misoflow_sandbox.shopify import Options, ShopifyWorld, ShopSpec, shopify_process

MOST_KB = 300 * 1024
FULL = ShopSpec(
    products=20_000,
    variants=5,
    collections=40,
    customers=5_000,
    orders=100_000,
    history_days=55,
    plan="enterprise",
)
TWENTIETH = msgspec.structs.replace(FULL, products=1_000, customers=250, orders=5_000)
USUAL = ShopSpec(products=1_000, variants=3, customers=30, orders=60, history_days=55, plan="basic")
FIRST_PRODUCTS_SECONDS = 120


class Place:
    """misoflow beside both sandboxes, each a process of its own."""

    def __init__(self, folder: Path, miso: str, shopify: str) -> None:
        self.miso, self.shopify = miso, shopify
        self.config = folder / "plugins.toml"
        self.config.write_text(SETTINGS.format(miso=miso, shopify=shopify))
        self.settings = load(self.config)
        self.vault = Vault.from_settings(self.settings)
        self.domain = next(iter(self.told("state")["shops"]))
        self.name = f"shop/{self.domain}"
        self.pids: dict[str, int] = {}

    @contextmanager
    def running(self, log: Path) -> Iterator[None]:
        """``misoflow run``, and the app's addresses at Shopify."""
        command = [sys.executable, "-m", "misoflow", "run", "--config", str(self.config)]
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*command, "--port", "0", "--admin-port", "0"], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            self.pids = children(process.pid)
            self._post("app", app_url=f"{url}/install/shop", webhook_url=f"{url}/hooks/shop")
            yield
            assert children(process.pid) == self.pids  # neither was started again, so their peaks are the whole truth
        finally:
            process.terminate()
            process.wait(60)

    def stands(self) -> Standing | None:
        return standing(self.settings, self.vault, self.name)

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = status(self.settings, self.vault)["instances"][self.name]
        return found

    def settled(self) -> bool:
        """Everything was read, and Miso has all of it."""
        found = self.stands()
        if found is None or found.state != "live":
            return False
        figures = status(self.settings, self.vault)
        waiting = sum(env["waiting_batches"] for env in figures["miso"].values())
        return not waiting and not figures["instances"][self.name]["pending"]

    def until(self, done: Callable[[], bool], seconds: float) -> float:
        """Seconds until it was so."""
        begun = time.monotonic()
        while not done():
            assert time.monotonic() - begun < seconds, (self.stands(), self.counts())
            time.sleep(0.25)
        return time.monotonic() - begun

    def records(self, kind: str) -> Iterator[dict[str, Any]]:
        """What Miso holds of a kind."""
        with urllib.request.urlopen(f"{self.miso}/_sandbox/records?kind={kind}", timeout=600) as answer:
            yield from map(json.loads, answer)

    def told(self, what: str) -> Any:
        """Of Shopify's sandbox."""
        with urllib.request.urlopen(f"{self.shopify}/_sandbox/{what}", timeout=600) as answer:
            return json.load(answer)

    def _post(self, what: str, **given: Any) -> None:
        urllib.request.urlopen(f"{self.shopify}/_sandbox/{what}", json.dumps(given).encode(), timeout=60).close()

    def peaks(self) -> dict[str, int]:
        """KiB that each process had in memory at most."""
        return {name: peak(pid) for name, pid in self.pids.items()}


@contextmanager
def installed(folder: Path, shop: ShopSpec) -> Iterator[Place]:
    """A place in which somebody has clicked *Install* just now."""
    with ExitStack() as stack:
        miso = stack.enter_context(started(folder, "sandbox", "--port", "0"))
        shopify = stack.enter_context(shopify_process(ShopifyWorld(shops=(shop,)), Options()))
        place = Place(folder, miso, shopify)
        stack.enter_context(place.running(folder / "run.log"))
        click(f"{shopify}/{place.domain}/install")
        yield place


def children(pid: int) -> dict[str, int]:
    """``serve`` and ``work`` of a ``misoflow run``."""
    found: dict[str, int] = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        found.update({name: int(child) for name in ("serve", "work") if name in words})
    return found


def peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize(
    "shop",
    [pytest.param(TWENTIETH, id="a_twentieth"), pytest.param(FULL, id="full", marks=pytest.mark.long)],
)
def test_a_big_shop_is_complete_in_little_memory(tmp_path: Path, shop: ShopSpec) -> None:
    with installed(tmp_path, shop) as place:
        took = place.until(place.settled, 1.0 * (shop.orders + 10 * shop.products) / 50 + 120)
        counts, peaks, truth = place.counts(), place.peaks(), place.told("truth")
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
        f"\n{shop.products:,} products of {shop.variants} variants, {shop.orders:,} orders: {took / 60:.1f} min, "
        f"{counts['accepted']:,} events, {counts['accepted'] / took:,.0f} events/s, peaks: {megabytes}, "
        f"{calls.total():,} calls of the Admin API: {dict(calls)}"
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
    with installed(tmp_path, USUAL) as place:
        place.until(lambda: any(True for _ in place.records("products")), FIRST_PRODUCTS_SECONDS)
        place.until(place.settled, FIRST_PRODUCTS_SECONDS)
        calls = [one for one in place.told("state")["calls"] if one["name"]]
        assert {one["product_id"] for one in place.records("products")} == set(place.told("truth")["variants"])
    names = Counter(one["name"] for one in calls)
    print(f"\n{USUAL.products:,} products: {len(calls)} calls of the Admin API: {dict(names)}")
    refused = [one for one in calls if one["status"] != 200]
    assert not refused
