"""The web pixel in a worker of a real browser, on another origin than misoflow: it gets in and becomes records.

https://shopify.dev/docs/api/web-pixels-api
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.domains import pixel_key

from tests.harness.world import World
from tests.real import pixel_events as shopify
from tests.real.expected import of_user
from tests.real.sites import Site

if TYPE_CHECKING:
    from tests.conftest import StartWorld

pytestmark = pytest.mark.real
HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "deploy" / "shopify" / "extensions" / "miso-pixel" / "src" / "index.js"
SHOP, SECRET = "demo-shop.myshopify.com", "the-client-secret-of-this-test"
# nothing answers as Shopify here: products stay unknown, and what names none goes on
TOML = f"""
[instances.shop]
connector = "shopify"
client_id = "app"
client_secret = ["{SECRET}"]
shop = "{SHOP}"
public_url = "https://ingest.example"
api_url = "http://127.0.0.1:9/{{shop}}"
"""
PAGE = """
const worker = new Worker(URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' })))
const heard = []
worker.onerror = (error) => fetch('/', { method: 'POST', body: JSON.stringify({ error: error.message }) })
worker.onmessage = ({ data }) => {
  heard.push(data)
  if (heard.length === EVENTS.length) fetch('/', { method: 'POST', body: JSON.stringify({ heard }) })
}
worker.postMessage(EVENTS)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def world(live: StartWorld) -> World:
    return live(TOML)


@pytest.fixture(scope="module")
def bundle(sdks: Path) -> str:
    """The pixel as Shopify CLI packs it, behind what stands for Shopify."""
    folder = sdks / "pixel-browser"
    folder.mkdir(exist_ok=True)
    shutil.copy(SOURCE, folder / "index.js")
    out = folder / "bundle.js"
    esbuild = sdks / "node_modules" / ".bin" / "esbuild"
    subprocess.run([esbuild, folder / "index.js", "--bundle", f"--outfile={out}", "--log-level=error"], check=True)
    return (HERE / "pixel_worker.js").read_text() + out.read_text()


def script(bundle: str, settings: dict[str, str], events: list[dict[str, Any]]) -> bytes:
    worker = f"const SETTINGS = {json.dumps(settings)}\nconst INIT = {json.dumps(shopify.init())}\n{bundle}"
    return f"const WORKER = {json.dumps(worker)}\nconst EVENTS = {json.dumps(events)}\n{PAGE}".encode()


def fresh(names: list[str]) -> list[dict[str, Any]]:
    """The events as of now: what is older than a day is not believed."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    events = shopify.standard_events() | shopify.custom_events()
    return [{**events[name], "timestamp": stamp} for name in names]


def test_a_visit_arrives_and_becomes_records(
    world: World, site: Site, bundle: str, browse: Callable[[str], None]
) -> None:
    names = [
        "page_viewed",
        "search_submitted",
        "product_viewed",
        "cart_viewed",
        "checkout_started",
        "checkout_completed",
    ]
    events = fresh(names)
    key = pixel_key(ShopifyConfig(client_id="app", client_secret=(SECRET,)), SHOP)  # type: ignore[arg-type]
    site.script = script(bundle, {"accountID": key, "endpoint": f"{world.hooks}/hooks/shop"}, events)
    browse(f"{site.origin}/")
    assert site.results.get(timeout=60) == {"heard": [204] * len(names)}
    about = ("9007199254740993", events[0]["clientId"])
    until = time.monotonic() + 60
    while len(found := of_user(world, *about)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert sorted(record["type"] for record in found) == ["home_page_view", "search"]
    assert {record["timestamp"] for record in found} == {events[0]["timestamp"]}
    assert shopify.CANARY not in json.dumps(found)
    assert world.status()["instances"]["shop"]["accepted"] == len(names)


def test_a_key_that_is_none_of_ours_is_refused_and_not_tried_again(
    world: World, site: Site, bundle: str, browse: Callable[[str], None]
) -> None:
    before = world.status()["instances"]["shop"]["accepted"]
    key = pixel_key(ShopifyConfig(client_id="app", client_secret=("another",)), SHOP)  # type: ignore[arg-type]
    settings = {"accountID": key, "endpoint": f"{world.hooks}/hooks/shop"}
    site.script = script(bundle, settings, fresh(["page_viewed", "cart_viewed"]))
    browse(f"{site.origin}/")
    assert site.results.get(timeout=60) == {"heard": [401, 401]}
    assert world.status()["instances"]["shop"]["accepted"] == before
