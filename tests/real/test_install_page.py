"""The page of an install in a real browser: states, widths and colours, keyboard, frames, and that it goes on."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import misoflow_webhooks.nonces
import pytest
from misoflow.clock import now_ms
from misoflow.standing import Finding, Pulling, Standing

from tests.real.browser import Browser
from tests.webhooks import conftest as receivers
from tests.webhooks.conftest import CONNECTORS, Server, instance, make_settings
from tests.webhooks.toyshop import ToyShop

pytestmark = pytest.mark.real
start = receivers.start  # its receivers, for these tests as well

SHOP = "blue-harbour-outdoor-goods.shop.example"
COUNTS = {"accepted": 128_430, "delivered": 126_012, "pending": 312, "skipped": 2_101, "dead": 5}
RUNNING = (
    Pulling("catalog", "done", 5_210, None),
    Pulling("orders", "pulling", 41_200, 0.43, "from today back to June 2024"),
    Pulling("customers", "pulling", 900, None),
    Pulling("changes", "waiting"),
)
DONE = tuple(Pulling(name, "done", 41_200, 1.0) for name in ("catalog", "orders", "customers"))
MISSING = (
    Finding("fail", "The app may not read customers (read_customers).", "Open the app in Shopify and allow it again."),
    Finding("warn", "Orders older than 60 days cannot be read.", "Ask Shopify for read_all_orders."),
)


def standing(state: str) -> Standing | None:
    """What the page is shown for each state."""
    known: dict[str, Any] = {
        "tenant": SHOP,
        "installed_at": now_ms() - 3_600_000,
        "last_event": now_ms() - 130_000,
        "counts": COUNTS,
    }
    known["asked"] = now_ms()
    match state:
        case "connecting":
            return None
        case "pulling":
            return Standing("pulling", **known, streams=RUNNING)
        case "live":
            return Standing("live", **known, streams=DONE)
        case "degraded":
            return Standing("degraded", **known, streams=(*DONE[:2], Pulling("customers", "off")), problems=MISSING)
        case "failed":
            reason = "The code of the click was used already."
            return Standing("failed", SHOP, reason, "Click Install again in Shopify.", asked=now_ms())
        case _:
            return Standing("uninstalled", SHOP, "The app was uninstalled.", counts=COUNTS, asked=now_ms())


class Shown:
    """A receiver, and what it is made to say of the shop."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state = "connecting"

    def click(self, **reply: Any) -> str:
        """The address that the platform sends a browser to."""
        text = quote(json.dumps({"tenant": SHOP, **reply}))
        return f"http://127.0.0.1:{self.server.port}/install/shop/callback?reply={text}"


@pytest.fixture
def shown(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setitem(CONNECTORS, "toyshop", ToyShop)
    found = Shown(start(make_settings(tmp_path / "var", shop=instance("toyshop"))))
    monkeypatch.setattr("misoflow.standing.standing", lambda *_: standing(found.state))
    return found


@pytest.mark.parametrize("state", ["connecting", "pulling", "live", "degraded", "failed", "uninstalled"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_state_on_phone_and_desktop(shown: Shown, browser: Browser, shots: Path, state: str, scheme: str) -> None:
    shown.state = state
    for width in (375, 1280):
        browser.open(width, scheme)
        assert browser.go(shown.click(grant={"code": "secret"}, once=str(width))) == 200
        assert browser.do("address").endswith("/install/shop/page")
        browser.wait(f"#standing[data-state={state}]")
        browser.do("shot", path=str(shots / f"{state}-{width}-{scheme}.png"))
        assert browser.do("axe") == []
        assert browser.do("evaluate", script="document.documentElement.scrollWidth") <= width
        assert browser.trouble() == []


def test_a_page_of_one_sentence(shown: Shown, browser: Browser, shots: Path) -> None:
    browser.open(375, "dark")
    assert browser.go(shown.click().partition("?")[0] + "?raise=unauthorized") == 403
    browser.do("shot", path=str(shots / "message-375-dark.png"))
    assert browser.do("axe") == []
    assert [one for one in browser.trouble() if "403" not in one] == []


def test_it_goes_on_by_itself(shown: Shown, browser: Browser) -> None:
    browser.open()
    browser.go(shown.click(grant={"code": "secret"}))
    browser.do("evaluate", script="globalThis.untouched = true")
    for state, title in (
        ("pulling", "Connected, bringing in your history"),
        ("degraded", "Needs attention"),
        ("live", "Live"),
    ):
        shown.state = state
        browser.wait(f"#standing[data-state={state}]")
        assert browser.text("h1") == title
        assert browser.do("title") == f"{title} · {SHOP}"
        assert browser.text("#announcement") == f"{title} · {SHOP}"
    assert browser.text("tfoot td") == "128,430"
    assert browser.do("evaluate", script="globalThis.untouched") is True
    assert browser.trouble() == []


def test_the_keyboard_is_enough(shown: Shown, browser: Browser) -> None:
    browser.open()
    browser.go(shown.click(grant={"code": "secret"}))
    browser.do("press", key="Tab")
    assert browser.text(":focus") == "Look again now"
    assert browser.do("evaluate", script="getComputedStyle(document.activeElement).outlineStyle") == "solid"
    shown.state = "live"
    browser.do("press", key="Enter")
    browser.wait("#standing[data-state=live]")
    assert browser.text(":focus") == "Look again now"  # what changes takes nobody's place away


def test_it_says_when_it_is_too_old_or_cut_off(shown: Shown, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    browser.open()
    browser.go(shown.click(grant={"code": "secret"}))
    with monkeypatch.context() as later:
        later.setattr(misoflow_webhooks.nonces, "now_ms", lambda: now_ms() + 2 * 3_600_000)
        browser.wait("#connection:has-text('Open the app again')")
    browser.go(shown.click(grant={"code": "secret"}, once="again"))
    shown.server.stop()
    browser.wait("#connection:has-text('no connection')")
    browser.trouble()


@pytest.fixture
def admin() -> Iterator[str]:
    """A platform's admin on an origin of its own; its page shows in a frame what its query says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            frame = self.path.partition("?")[2].encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(
                b'<!doctype html><title>admin</title><link rel="icon" href="data:,"><iframe src="%s">' % frame
            )

        def log_message(self, *_: Any) -> None:
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://localhost:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_in_a_frame_of_the_shops_admin_and_of_nobody_else(shown: Shown, browser: Browser, admin: str) -> None:
    browser.open()
    browser.go(f"{admin}/?{shown.click(frames=[admin])}")
    browser.wait("#standing[data-state=connecting]", frame="iframe")
    shown.state = "live"
    browser.wait("#standing[data-state=live]", frame="iframe")
    assert browser.trouble() == []
    browser.go(f"{admin}/?{shown.click(frames=['https://other.shop.example'])}")
    assert any("frame-ancestors https://other.shop.example" in one for one in browser.trouble())
