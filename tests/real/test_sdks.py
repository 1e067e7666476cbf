"""Segment's own JavaScript libraries deliver a shop session to ``misoflow run``, and it reaches Miso whole.

https://segment.com/docs/connections/sources/catalog/libraries/server/node/ and …/website/javascript/
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.harness.world import World
from tests.real.expected import check, instance, settled
from tests.real.sites import Site

if TYPE_CHECKING:
    from tests.conftest import StartWorld

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def world(live: StartWorld, site: Site) -> World:
    """One engine with an instance for each way to deliver."""
    browser = [instance(name, origins=[site.origin]) for name in ("browser", "batching")]
    return live("".join([instance("node"), *browser, instance("foreign", origins=["https://shop.example"])]))


def test_the_node_library(world: World, sdks: Path) -> None:
    arguments = [world.hooks, "/hooks/node/v1/batch", "key-node", "node-user", "node-anonymous"]
    done = subprocess.run(["node", "node_shop.cjs", *arguments], cwd=sdks, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    check(world, "node", "node-user", "node-anonymous")


def test_the_node_library_is_told_that_its_key_is_wrong(world: World, sdks: Path) -> None:
    before = world.status()["instances"]["node"]["accepted"]
    arguments = [world.hooks, "/hooks/node/v1/batch", "key-other", "u", "a"]
    done = subprocess.run(["node", "node_shop.cjs", *arguments], cwd=sdks, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "delivery_failure" in done.stderr
    assert "[401]" in done.stderr
    assert world.status()["instances"]["node"]["accepted"] == before


def visit(site: Site, open_page: Callable[[str], None], world: World, name: str, **more: str) -> dict[str, Any]:
    """Open the shop's page and wait for what it reports."""
    api = f"{world.hooks.removeprefix('http://')}/hooks/{name}/v1"
    query = {"api": api, "key": f"key-{name}", "user": f"{name}-user", "anonymous": f"{name}-anonymous", **more}
    open_page(f"{site.origin}/?{urlencode(query)}")
    return site.results.get(timeout=60)


@pytest.mark.parametrize("name", ["browser", "batching"])
def test_the_browser_library(world: World, site: Site, bundle: bytes, browse: Callable[[str], None], name: str) -> None:
    site.script = bundle
    assert visit(site, browse, world, name, batching=str(name == "batching").lower()) == {"ok": True}
    check(world, name, f"{name}-user", f"{name}-anonymous")


def test_a_page_of_another_origin_is_kept_out(
    world: World, site: Site, bundle: bytes, browse: Callable[[str], None]
) -> None:
    site.script = bundle
    assert visit(site, browse, world, "foreign", foreign="1") == {"error": "TypeError: Failed to fetch"}
    assert settled(world, "foreign", 0)["accepted"] == 0
