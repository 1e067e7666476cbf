"""``misoflow demo --shopify`` with a person at a browser: one click on the printed link, and the shop is live."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.real.browser import Browser

pytestmark = pytest.mark.real
LINK, PAGE, ENTER = "install link: ", "the shop's page: ", "press Enter"
SIZES = [(width, scheme) for width in (375, 1280) for scheme in ("light", "dark")]
PULLING_SECONDS = 6.0
"""So long Shopify prepares the history, for the page to be looked at meanwhile."""


class Demo:
    """The command as a process, and what it says to a person."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "misoflow", "demo", "--shopify"],
            stdin=subprocess.PIPE,
            stdout=(folder / "out.txt").open("w"),
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
        )
        self._shown = folder / "out.txt"

    def until(self, text: str) -> str:
        """The line that begins so, which is waited for; without that beginning."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if line.startswith(text):
                return line.removeprefix(text).rstrip()
        raise AssertionError(f"it never said {text!r}: {self.said}")

    def enter(self) -> tuple[int, str]:
        """Press Enter; the exit code, and what was printed at the end."""
        self.process.communicate("\n", timeout=150)
        return self.process.returncode, self._shown.read_text()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = Demo(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.process.wait(timeout=30)


def slow_history(link: str) -> None:
    """Let Shopify take its time."""
    parts = urlsplit(link)
    body = json.dumps({"bulk_seconds": PULLING_SECONDS}).encode()
    urllib.request.urlopen(f"{parts.scheme}://{parts.netloc}/_sandbox/options", body, timeout=10).close()


def test_one_click_and_the_shop_is_live(demo: Demo, browser: Browser, shots: Path) -> None:
    link = demo.until(LINK)
    slow_history(link)
    browser.open()
    assert browser.go(link) == 200
    browser.do("shot", path=str(shots / "shopify-asks.png"))
    browser.do("click", selector="text=Install app")
    browser.wait("#standing[data-state=pulling]")
    address = str(browser.do("address"))
    assert address.endswith("/install/shop/page")
    look(browser, link, shots, "installing")
    browser.wait("#standing[data-state=live]")
    assert browser.trouble() == []
    assert demo.until(PAGE).startswith(address)
    look(browser, link, shots, "live")
    assert browser.text("h1") == "Live"
    demo.until(ENTER)
    code, shown = demo.enter()
    assert "everything adds up" in shown
    assert code == 0


def look(browser: Browser, link: str, shots: Path, name: str) -> None:
    """Screenshots in both widths and colours; each is a new browser, which opens the app as it is installed."""
    for width, scheme in SIZES:
        browser.open(width, scheme)
        browser.go(link)
        browser.wait("#standing")
        browser.do("shot", path=str(shots / f"shopify-{name}-{width}-{scheme}.png"))
        assert browser.do("axe") == []
        assert browser.do("evaluate", script="document.documentElement.scrollWidth") <= width
        assert browser.trouble() == []
