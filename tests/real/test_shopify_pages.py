"""The page of a shop in a real browser where the merchant withholds a scope, and inside Shopify's admin."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from misoflow.demo import started
from misoflow.demo_shopify import SETTINGS
from misoflow_sandbox.shopify import App, Options, ShopifyWorld, ShopSpec, shopify_thread
from misoflow_sandbox.shopify.app import ShopifySandbox

from tests.real.browser import Browser

pytestmark = pytest.mark.real
DOMAIN = "demo-shop.myshopify.com"
ADMIN = "https://admin.shopify.com/store/demo-shop/apps/misoflow"
SMALL = {"products": 12, "orders": 10, "customers": 8}


@contextmanager
def running(folder: Path, spec: ShopSpec, options: Options, app: App) -> Iterator[ShopifySandbox]:
    """Shopify with one shop, Miso, and misoflow as a process."""
    with ExitStack() as stack:
        shopify = stack.enter_context(shopify_thread(ShopifyWorld(shops=(spec,)), options, app))
        miso = stack.enter_context(started(folder, "sandbox", "--port", "0"))
        config = folder / "plugins.toml"
        config.write_text(SETTINGS.format(miso=miso, shopify=shopify.url), "utf-8")
        command = ("run", "--config", str(config), "--port", "0", "--admin-port", "0")
        receiver = stack.enter_context(started(folder, *command))
        shopify.app_config.app_url = f"{receiver}/install/shop"
        shopify.app_config.webhook_url = f"{receiver}/hooks/shop"
        yield shopify


@pytest.fixture
def stingy(tmp_path: Path) -> Iterator[ShopifySandbox]:
    """A merchant who lets nobody read customers."""
    spec = ShopSpec(**SMALL, withheld=("read_customers",))
    with running(tmp_path, spec, Options(), App()) as shopify:
        yield shopify


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ShopifySandbox]:
    """Shopify installs the app itself and opens it in the admin."""
    with running(tmp_path, ShopSpec(**SMALL), Options(embedded=True), App(managed=True)) as shopify:
        yield shopify


def test_a_scope_that_was_withheld(stingy: ShopifySandbox, browser: Browser, shots: Path) -> None:
    link = f"{stingy.url}/{DOMAIN}/install"
    browser.open()
    browser.go(link)
    browser.do("click", selector="text=Install app")
    browser.wait("#standing[data-state=degraded]")
    assert browser.text("h1") == "Needs attention"
    assert "read_customers" in browser.text("main")
    browser.wait("li:has-text('Orders'):has-text('complete')")  # all but customers is read
    for width in (375, 1280):
        for scheme in ("light", "dark"):
            browser.open(width, scheme)
            browser.go(link)
            browser.wait("#standing[data-state=degraded]")
            browser.do("shot", path=str(shots / f"shopify-degraded-{width}-{scheme}.png"))
            assert browser.do("axe") == []
            assert browser.do("evaluate", script="document.documentElement.scrollWidth") <= width
            assert browser.trouble() == []


def admin_page(shopify: ShopifySandbox) -> str:
    """Shopify's admin with the app in a frame, signed for the moment."""
    with urllib.request.urlopen(f"{shopify.url}/{DOMAIN}/admin/apps/misoflow", timeout=10) as answer:
        page: str = answer.read().decode()
    return page.replace("<title>", '<link rel="icon" href="data:,"><title>')


def test_it_is_installed_from_inside_the_admin(managed: ShopifySandbox, browser: Browser, shots: Path) -> None:
    browser.open()
    browser.do("pretend", url=ADMIN, body=admin_page(managed))
    assert browser.go(ADMIN) == 200
    browser.wait("#standing[data-state=live]", frame="iframe")
    browser.do("shot", path=str(shots / "shopify-embedded-1280-light.png"))
    assert browser.text("h1", frame="iframe") == "Live"
    assert managed.shop().pixel is not None
    grants = [call for call in managed.calls if call.path.endswith("/access_token")]
    assert [call.status for call in grants] == [200]
    assert not [call for call in managed.calls if call.path.endswith("/authorize")]
    assert browser.trouble() == []


def test_no_other_site_may_frame_it(managed: ShopifySandbox, browser: Browser) -> None:
    other = "https://other-shop.myshopify.com/admin/apps/misoflow"
    browser.open()
    browser.do("pretend", url=other, body=admin_page(managed))
    browser.go(other)
    (refusal,) = browser.trouble()
    assert f"frame-ancestors https://{DOMAIN} https://admin.shopify.com" in refusal
