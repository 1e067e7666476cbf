"""``misoflow demo --shopify``: a shop installs the app, sells for a day and leaves again, on this machine only.

Shopify and Miso are the sandboxes; misoflow runs as it does everywhere else.
"""

from __future__ import annotations

import html
import http.cookiejar
import json
import re
import tempfile
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from misoflow.config import Settings, load
from misoflow.demo import DemoFailed, held_by, started
from misoflow.standing import Standing, standing
from misoflow.status import status
from misoflow.vault import Vault

TEMPLATE = "shop"
SETTINGS = """\
[miso]
api_key = "sandbox"
api_url = "{miso}"

[engine]
linger_ms = 100

[instances.shop]
connector = "shopify"
client_id = "sandbox-client"
client_secret = "sandbox-secret"
api_url = "{shopify}/{{shop}}"
"""
CLICK_SECONDS = 600.0
SETTLE_SECONDS = 120.0
LOOK_SECONDS = 0.25
VISITORS = 6
REDACT_SECONDS = 48 * 3600.0 + 60
"""https://shopify.dev/docs/apps/build/privacy-law-compliance"""

Say = Callable[[str], None]


@dataclass(slots=True)
class Shown:
    """What the demo saw. ``checks`` are (what should hold, whether it does)."""

    shop: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    by_type: dict[str, int] = field(default_factory=dict)
    products: int = 0
    users: int = 0
    checks: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return bool(self.checks) and all(held for _, held in self.checks)


class Demo:
    """One play, in a folder that is gone afterwards."""

    def __init__(self, folder: Path, miso: str, shopify: str, receiver: str, say: Say) -> None:
        self.miso, self.shopify, self.receiver, self.say = miso, shopify, receiver, say
        self.settings: Settings = load(folder / "plugins.toml")
        self._vault = Vault.from_settings(self.settings)
        self.domain = next(iter(self._get("state")["shops"]))
        self.name = f"{TEMPLATE}/{self.domain}"
        app = {"app_url": f"{receiver}/install/{TEMPLATE}", "webhook_url": f"{receiver}/hooks/{TEMPLATE}"}
        self._post("app", **app)
        self.orders: list[Any] = []
        """What visitors ordered; None for one who only looked."""

    @property
    def link(self) -> str:
        """Where a merchant clicks *Install app*."""
        return f"{self.shopify}/{self.domain}/install"

    def stands(self) -> Standing | None:
        return standing(self.settings, self._vault, self.name)

    def installed(self, seconds: float) -> None:
        """Wait for the click, and until the shop's history is at Miso."""
        self._until(lambda: self.stands() is not None, "somebody clicked Install", seconds)
        self.say("clicked: the shop is being connected, its catalogue and orders are pulled")
        self._until(lambda: getattr(self.stands(), "state", "") == "live" and self._settled(), "the shop is live")
        found = self.stands()
        pulled = ", ".join(f"{one.name} {one.read:,}" for one in found.streams) if found is not None else ""
        self.say(f"live; pulled: {pulled}")

    def day(self) -> None:
        """Visitors look and buy, and the merchant works on the catalogue."""
        for number in range(1, VISITORS + 1):
            self.orders.append(self._post("visit", number=number, buys=number % 2 == 1)["order"])
            time.sleep(1)  # the pixel's rate by address is one for people
        variants = self._get("truth")["variants"]
        self._change("set_inventory", variant=int(variants[0]), quantity=0)
        self._change("update_variant", variant=int(variants[1]), price="7.50")
        self._change("delete_variant", variant=int(variants[-1]))
        self._post("settle")
        self._until(self._settled, "the day's events have arrived")

    def returns(self) -> None:
        """One order comes back, another is cancelled."""
        back, cancelled = [one for one in self.orders if one is not None][:2]
        self._change("refund", order=back["id"], lines={str(line["id"]): line["quantity"] for line in back["lines"]})
        self._change("cancel", order=cancelled["id"])
        self._post("settle")
        self._until(self._settled, "the refunds have arrived")

    def leaves(self) -> None:
        """The app is uninstalled, and 48 hours later Shopify asks for everything to be erased."""
        self._post("uninstall", shop=self.domain)
        self._post("settle")
        self._until(lambda: getattr(self.stands(), "state", "") == "uninstalled", "the app is uninstalled")
        self._post("clock", advance=REDACT_SECONDS)
        self._post("settle")
        self._until(self._erased, "the shop is erased, here and at Miso")

    def compare(self, shown: Shown) -> Iterator[tuple[str, bool]]:
        """The sandbox of Miso against the shop."""
        held = held_by(self.miso)
        counts = status(self.settings, self._vault)["instances"][self.name]
        shown.shop, shown.by_type = self.domain, held["by_type"]
        shown.counts = {name: counts[name] for name in ("accepted", "delivered", "skipped", "dead", "pending")}
        shown.products, shown.users = len(held["products"]), len(held["users"])
        return adds_up(self._get("truth"), held, self._records(), counts)

    def _records(self) -> list[dict[str, Any]]:
        url = f"{self.miso}/_sandbox/records?kind=interactions"
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (on this machine)
            return [json.loads(line) for line in answer.read().splitlines()]

    def _erased(self) -> bool:
        instances = status(self.settings, self._vault)["instances"]
        return any(one["state"] == "erased" for one in instances.values()) and self.name not in instances

    def _settled(self) -> bool:
        figures = status(self.settings, self._vault)
        waiting = sum(env["waiting_batches"] for env in figures["miso"].values())
        return not waiting and not figures["instances"][self.name]["pending"]

    def _until(self, done: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise DemoFailed(f"{seconds:g} s went by before {what}")
            time.sleep(LOOK_SECONDS)

    def _change(self, do: str, **arguments: Any) -> None:
        self._post("change", do=do, **{"with": arguments})

    def _get(self, what: str) -> Any:
        return _call(f"{self.shopify}/_sandbox/{what}")

    def _post(self, what: str, **given: Any) -> Any:
        return _call(f"{self.shopify}/_sandbox/{what}", json.dumps(given).encode())


def play(*, say: Say, by_itself: bool, look: Callable[[str], None]) -> Shown:
    """All of it; raises MisoflowError. ``by_itself`` clicks; ``look`` gets a text when there is something to see."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="misoflow-demo-")))
        miso = stack.enter_context(started(folder, "sandbox", "--port", "0"))
        shopify = stack.enter_context(started(folder, "sandbox", "shopify", "--port", "0"))
        config = folder / "plugins.toml"
        config.write_text(SETTINGS.format(miso=miso, shopify=shopify), "utf-8")
        shown = Shown()
        with started(folder, "run", "--config", str(config), "--port", "0", "--admin-port", "0") as receiver:
            demo = Demo(folder, miso, shopify, receiver, say)
            say(f"install link: {demo.link}")
            if by_itself:
                click(demo.link)
            else:
                say("open it and click Install app")
            demo.installed(CLICK_SECONDS)
            demo.day()
            demo.returns()
            shown.checks = list(demo.compare(shown))
            look(f"the shop's page: {receiver}/install/{TEMPLATE}/page, what Miso holds: {miso}")
            demo.leaves()
            shown.checks += is_gone(held_by(demo.miso))
        shown.checks.append(("nothing of the shop is on disk", not traces(folder / "var", demo.domain)))
        return shown


def click(link: str) -> None:
    """Open the install link and press the button, as a browser does."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with opener.open(link, timeout=30) as answer:
        page, url = answer.read().decode(), answer.geturl()
    form = re.search(r"<form method=post action='([^']*)'>(.*?)</form>", page, re.DOTALL)
    if form is None:
        raise DemoFailed("Shopify's sandbox shows no button to install")
    fields = re.findall(r"name='([^']*)' value='([^']*)'", form[2])
    data = urllib.parse.urlencode([(name, html.unescape(value)) for name, value in fields]).encode()
    with opener.open(urllib.parse.urljoin(url, form[1]), data, timeout=30):
        pass


def adds_up(
    truth: dict[str, Any], held: dict[str, Any], records: list[dict[str, Any]], counts: dict[str, int]
) -> Iterator[tuple[str, bool]]:
    """What should hold while the shop is connected, and whether it does.

    ``truth`` is what the shop has, ``held`` and ``records`` (interactions) what Miso has, ``counts`` the instance's.
    """
    orders = Counter(_order(one) for one in records if one["type"] == "checkout")
    wanted = {one["id"] for one in truth["orders"] if one["units"]}
    refunds = {_order(one) for one in records if one["type"] == "refund"}
    back = {one["id"] for one in truth["orders"] if one["refunded"] and one["units"]}
    yield "the products are the shop's", set(held["products"]) == set(truth["variants"])
    yield "each order is one checkout", orders == Counter(wanted)
    yield "what came back is refunded", refunds == back
    yield "the users are the shop's customers", set(held["users"]) == set(truth["customers"])
    clicks = ("home_page_view", "category_page_view", "search", "product_detail_page_view", "add_to_cart")
    yield "the visitors' clicks are there", all(held["by_type"].get(kind) for kind in clicks)
    sum_of = sum(counts[state] for state in ("delivered", "skipped", "suppressed", "erased", "dead", "pending"))
    yield "accepted is the sum of the states", counts["accepted"] == sum_of
    yield "nothing is dead or pending", counts["dead"] == counts["pending"] == 0


def is_gone(held: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """What should hold of Miso once the shop is erased."""
    yield "Miso holds no interaction of the shop any more", held["interactions"] == 0
    yield "and no product or user", not held["products"] and not held["users"]


def traces(data: Path, *texts: str) -> list[str]:
    """Files that hold one of these texts, searched byte by byte."""
    wanted = [text.encode() for text in texts]
    files = [path for path in sorted(data.rglob("*")) if path.is_file()]
    return [str(path) for path in files if any(text in path.read_bytes() for text in wanted)]


def _order(record: dict[str, Any]) -> str:
    return str(record["context"]["custom_context"].get("order_id"))


def _call(url: str, body: bytes | None = None) -> Any:
    with urllib.request.urlopen(url, body, timeout=60) as answer:  # noqa: S310 (on this machine)
        return json.loads(answer.read() or b"null")
