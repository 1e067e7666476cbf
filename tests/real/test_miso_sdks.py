"""Miso's own SDKs point at misoflow instead of Miso, and what they send reaches Miso.

https://github.com/MisoAI/miso-python-sdk and https://github.com/MisoAI/miso-client-js-sdk
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.harness.world import World
from tests.real.expected import of_user, settled
from tests.real.sites import Site

if TYPE_CHECKING:
    from tests.conftest import StartWorld

pytestmark = pytest.mark.real
KEY, PAGE_KEY = "key-of-our-servers", "key-of-our-pages"
TOML = """
[instances.python]
connector = "http"
api_key = "{key}"

[instances.page]
connector = "http"
publishable_key = "{page_key}"
origins = ["{origin}"]

[instances.foreign]
connector = "http"
publishable_key = "{page_key}"
origins = ["https://shop.example"]
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def world(live: StartWorld, site: Site) -> World:
    return live(TOML.format(key=KEY, page_key=PAGE_KEY, origin=site.origin))


def held(world: World, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in world.get(f"/_sandbox/records?kind={kind}").splitlines()]


def test_the_python_sdk(world: World, miso_python: Path) -> None:
    script = Path(__file__).parent / "miso_session.py"
    command = [miso_python, script, f"{world.hooks}/hooks/python", KEY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["interactions"] == said["repeat"] == said["forgotten"] == {"message": "success"}
    assert said["wrong key"]["errors"] is True
    assert all(said[name]["task_id"].isdigit() for name in ("products", "users", "bad", "product deleted"))
    counts = settled(world, "python", 8)
    assert (counts["accepted"], counts["duplicates"], counts["dead"], counts["delivered"]) == (8, 2, 1, 7)
    assert sorted(one["type"] for one in of_user(world, "py-user", "")) == ["like", "search"]
    assert [one["product_id"] for one in held(world, "products")] == ["Py-1"]
    assert [one["age"] for one in held(world, "users") if one["user_id"] == "py-user"] == [30]


def visit(site: Site, open_page: Callable[[str], None], world: World, name: str, key: str) -> dict[str, Any]:
    query = {"api": f"{world.hooks}/hooks/{name}/v1", "key": key, "user": "page-user"}
    open_page(f"{site.origin}/?{urlencode(query)}")
    return site.results.get(timeout=60)


def test_the_browser_sdk(world: World, site: Site, miso_bundle: bytes, browse: Callable[[str], None]) -> None:
    site.script = miso_bundle
    assert visit(site, browse, world, "page", PAGE_KEY) == {"ok": True}
    counts = settled(world, "page", 4)
    assert (counts["accepted"], counts["delivered"]) == (4, 4)
    mine = of_user(world, "page-user", "")
    kinds = ["add_to_cart", "product_detail_page_view", "product_detail_page_view", "search"]
    assert sorted(one["type"] for one in mine) == kinds
    assert all(one["anonymous_id"] and one["context"]["page"]["url"].startswith(site.origin) for one in mine)
    assert all(one["timestamp"].endswith("Z") for one in mine)


def test_the_browser_sdk_is_told_that_its_key_is_wrong(
    world: World, site: Site, miso_bundle: bytes, browse: Callable[[str], None]
) -> None:
    site.script = miso_bundle
    said = visit(site, browse, world, "page", "another-key")
    assert said == {"error": "the signature or key does not fit this address", "status": 401}


def test_a_page_of_another_origin_is_kept_out(
    world: World, site: Site, miso_bundle: bytes, browse: Callable[[str], None]
) -> None:
    site.script = miso_bundle
    assert visit(site, browse, world, "foreign", PAGE_KEY)["error"] == "Failed to fetch"
    assert settled(world, "foreign", 0)["accepted"] == 0
