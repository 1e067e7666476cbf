"""Through real processes: no secret and nothing of a person is anywhere but in what is encrypted.

The stand-in's people are called *canary*, their telephones begin with +1555019; pixel events carry more of them.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from misoflow.demo import started
from misoflow_sandbox.shopify import (
    App,
    Options,
    ShopifySandbox,
    ShopifyWorld,
    Shopper,
    ShopSpec,
    shopify_thread,
    visit,
)

DOMAIN = "demo-shop.myshopify.com"
SECRET = "zq-client-secret-that-nobody-may-see"
API_KEY = "zq-key-of-miso-that-nobody-may-see"
TOML = """
[miso]
api_key = {{ env = "ZQ_MISO" }}
api_url = "{miso}"

[engine]
linger_ms = 50

[instances.shop]
connector = "shopify"
client_id = "sandbox-client"
client_secret = {{ env = "ZQ_SHOPIFY" }}
api_url = "{shopify}/{{shop}}"
impressions = true
steps = true
"""
PEOPLE = ("canary", "+1555019", "qzplanted", "203.0.113.77")
PLANTED = {
    "email": "jane@qzplanted.example",
    "phone": "+15550199",
    "firstName": "Qzplanted",
    "lastName": "Qzplanted",
    "shippingAddress": {"address1": "1 Qzplanted Street", "zip": "qzplanted"},
    "ip": "203.0.113.77",
}
COMMANDS = (
    ("status",),
    ("installs",),
    ("dead", "list"),
    ("dead", "show", "1"),
    ("config", "show"),
    ("connectors",),
    ("slices",),
    ("check",),
    ("tail", "--no-follow", "-n", "1000"),
)


@dataclass
class Places:
    """Whatever a person, a log or a disk can hold, by where it was found."""

    texts: dict[str, bytes] = field(default_factory=dict)

    def add(self, where: str, what: str | bytes) -> None:
        self.texts[where] = self.texts.get(where, b"") + (what if isinstance(what, bytes) else what.encode())

    def holding(self, *words: str) -> list[str]:
        """Where one of the words is, whatever its case; with what stands around the first."""
        wanted = re.compile(b"|".join(re.escape(word.lower().encode()) for word in words))
        found = {where: wanted.search(text.lower()) for where, text in self.texts.items()}
        return [
            f"{where}: {self.texts[where][max(0, hit.start() - 60) : hit.end() + 20]!r}"
            for where, hit in found.items()
            if hit
        ]


class Click(urllib.request.HTTPRedirectHandler):
    """A merchant's browser, which remembers where it was sent."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), self)

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.urls.append(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def get(self, url: str, body: bytes | None = None, **headers: str) -> tuple[str, str]:
        with self.opener.open(urllib.request.Request(url, body, headers), timeout=30) as answer:
            return answer.read().decode(), answer.geturl()

    def secrets(self) -> list[str]:
        """What was in the addresses that proves something."""
        queries = [dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)) for url in self.urls]
        return [query[name] for query in queries for name in ("code", "hmac", "state", "id_token") if name in query]


class Life:
    """A shop's install, history, day and end, all of it looked through."""

    def __init__(self, folder: Path, shopify: ShopifySandbox, miso: str, receiver: str, places: Places) -> None:
        self.folder, self.shopify, self.miso, self.receiver = folder, shopify, miso, receiver
        self.places = places
        self.click = Click()
        self.spooled: set[str] = set()
        self.answers: list[int] = []

    def install(self) -> None:
        page, url = self.click.get(f"{self.shopify.url}/{DOMAIN}/install")
        form = re.search(r"<form method=post action='([^']*)'>(.*?)</form>", page, re.DOTALL)
        assert form is not None
        data = urllib.parse.urlencode(re.findall(r"name='([^']*)' value='([^']*)'", form[2])).encode()
        self.look_at_page(*self.click.get(urllib.parse.urljoin(url, form[1]), data))
        self.until(lambda: self.states() == ["live"], "it is live")
        self.look_at_page(*self.click.get(f"{self.receiver}/install/shop/page"))

    def look_at_page(self, page: str, url: str) -> None:
        self.places.add("page", page)
        self.places.add("address of the page", url)
        token = re.search(r'data-token="([^"]+)"', page)
        assert token is not None
        state, _ = self.click.get(f"{self.receiver}/install/shop/state", **{"X-Install-Token": token[1]})
        self.places.add("JSON of the page", json.dumps(json.loads(state)["html"]))

    def day(self) -> None:
        """Orders, refunds, customers, compliance, and a visitor whose events hold what they should not."""
        merchant, shop = self.shopify.merchant(), self.shopify.shop()
        customer = next(iter(shop.customers)).id
        order = visit(self.shopify.shopper(1, customer=customer), 1)
        assert order is not None
        merchant.refund(order.id, {order.lines[0].id: 1})
        merchant.update_customer(customer, country="DE")
        merchant.create_customer()
        merchant.data_request(customer)
        merchant.change_shop(name="Canary's shop")
        shopper = self.shopify.shopper(2)
        visit(shopper, 2)
        self.answers = [status for _, status in shopper.heard]
        self.answers += [self.plant(shopper, event) for event in list(shopper.sent)]
        for part in ("garbage", "{}"):  # what is refused is told as well
            self.refused("/hooks/shop/pixel/pk_wrong_qzplanted", part.encode())
            self.refused("/hooks/shop", part.encode(), **{"X-Shopify-Hmac-Sha256": "qzplanted"})
            self.refused("/install/shop?shop=qzplanted.myshopify.com&hmac=qzplanted")
        self.shopify.settle()
        self.until(self.settled, "the day has arrived")

    def plant(self, shopper: Shopper, event: dict[str, Any]) -> int:
        page = {
            "url": f"{event['page']['url'].partition('?')[0]}?email=jane@qzplanted.example&variant=1",
            "referrer": "https://mail.example/jane@qzplanted.example?token=qzplanted",
            "title": "Hello jane@qzplanted.example",
        }
        data = {**(event["data"] or {}), **PLANTED}
        if "query" in data:
            data["query"] = "jane@qzplanted.example"
        planted = {**event, **PLANTED, "id": f"planted-{event['id']}", "page": page, "data": data}
        time.sleep(0.03)  # the pixel's rate by address is one for people
        return shopper.send(planted)

    def refused(self, path: str, body: bytes | None = None, **headers: str) -> None:
        with pytest.raises(urllib.error.HTTPError) as failed:
            self.click.get(f"{self.receiver}{path}", body, **headers)
        self.places.add("refusals", failed.value.read())

    def look_at_all(self) -> None:
        for command in COMMANDS:
            for more in ((), ("--json",)):
                self.run(*command, *more)
        self.run("dead", "show", "1", "--as-sample", json_too=False)
        for kind in ("interactions", "products", "users"):
            self.places.add(f"Miso's {kind}", self.get(f"{self.miso}/_sandbox/records?kind={kind}"))
        wire = self.get(f"{self.miso}/_sandbox/wire")
        self.places.add("requests to Miso", wire)
        for one in json.loads(wire):
            if one["method"] != "GET":
                self.places.add("bodies for Miso", self.get(f"{self.miso}/_sandbox/wire/{one['n']}"))
        for path in (self.folder / "var").rglob("*"):
            if path.is_file():
                self.places.add(f"file {path.name}", path.read_bytes())
        self.places.add("log", (self.folder / "run.log").read_bytes())

    def run(self, *command: str, json_too: bool = True) -> None:
        args = [sys.executable, "-m", "misoflow", *command, "--config", str(self.folder / "plugins.toml")]
        done = subprocess.run(args, capture_output=True, cwd=self.folder, timeout=60)
        assert done.returncode in (0, 1), (command, done.stderr)
        self.places.add(f"misoflow {' '.join(command)}", done.stdout + done.stderr)

    def get(self, url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: bytes = answer.read()
        return found

    def states(self) -> list[str]:
        return [one["state"] for one in self.asked("installs")]

    def settled(self) -> bool:
        (figures,) = self.asked("status")
        waiting = sum(one["waiting_batches"] for one in figures["miso"].values())
        return not waiting and not figures["instances"][f"shop/{DOMAIN}"]["pending"]

    def asked(self, what: str) -> list[Any]:
        """What a command says as JSON, a line each."""
        args = [sys.executable, "-m", "misoflow", what, "--json", "--config", str(self.folder / "plugins.toml")]
        done = subprocess.run(args, capture_output=True, cwd=self.folder, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 90
        while not done():
            self.spooled |= {str(path) for path in (self.folder / "tmp").rglob("*")}
            assert time.monotonic() < deadline, f"90 s went by before {what}: {(self.folder / 'run.log').read_text()}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Played once; Shopify may show this app everything of a person."""
    folder, places = tmp_path_factory.mktemp("life"), Places()
    (folder / "tmp").mkdir()
    world = ShopifyWorld(shops=(ShopSpec(products=10, orders=10, customers=8),))
    app = App(secrets=[SECRET], protected=True, all_orders=True)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("ZQ_MISO", API_KEY)
        patch.setenv("ZQ_SHOPIFY", SECRET)
        patch.setenv("TMPDIR", str(folder / "tmp"))
        _record_addresses(patch, places)
        shopify = stack.enter_context(shopify_thread(world, Options(), app))
        miso = stack.enter_context(started(folder, "sandbox", "--api-key", API_KEY, "--store-wire", "--port", "0"))
        (folder / "plugins.toml").write_text(TOML.format(miso=miso, shopify=shopify.url))
        config = str(folder / "plugins.toml")
        receiver = stack.enter_context(started(folder, "run", "--config", config, "--port", "0", "--admin-port", "0"))
        shopify.app_config.app_url = f"{receiver}/install/shop"
        shopify.app_config.webhook_url = f"{receiver}/hooks/shop"
        played = Life(folder, shopify, miso, receiver, places)
        played.install()
        played.day()
        played.look_at_all()
        yield played


def _record_addresses(patch: pytest.MonkeyPatch, places: Places) -> None:
    """Whatever misoflow asks of Shopify, its query too."""
    genuine = ShopifySandbox.app

    async def app(self: ShopifySandbox, scope: Any, receive: Any, send: Any) -> None:
        asks = scope["type"] == "http" and re.search(r"/(graphql\.json|access_token|bulk/.*)$", scope["path"])
        if asks:
            places.add("addresses asked of Shopify", f"{scope['path']}?{scope['query_string'].decode()}\n")
        await genuine(self, scope, receive, send)

    patch.setattr(ShopifySandbox, "app", app)


def test_people_were_there_to_be_seen(life: Life) -> None:
    """Else the other tests prove nothing."""
    told = b"".join(one.body for one in life.shopify.hooks.deliveries).lower()
    assert b"canary" in told
    assert b"+1555019" in told
    assert {one.topic for one in life.shopify.hooks.deliveries if one.statuses == [200]} >= {
        *("orders/create", "refunds/create", "customers/update", "customers/data_request"),
    }
    assert life.answers
    assert set(life.answers) == {204}
    assert Places({"x": b"a CANARY sings"}).holding(*PEOPLE)


def test_everything_was_looked_at(life: Life) -> None:
    where = life.places.texts
    assert {f"Miso's {kind}" for kind in ("interactions", "products", "users")} < set(where)
    assert {"file store.db", "file inbox.db", "file store.db-wal", "log", "page", "JSON of the page"} < set(where)
    assert {"requests to Miso", "bodies for Miso", "addresses asked of Shopify"} < set(where)
    assert b"data_request" in where["misoflow dead show 1"]
    assert b"/bulk/" in where["addresses asked of Shopify"]
    assert all(text for name, text in where.items() if name.startswith("misoflow "))


def test_nothing_of_a_person_is_anywhere(life: Life) -> None:
    assert life.places.holding(*PEOPLE) == []


def test_no_secret_is_anywhere(life: Life) -> None:
    tokens = life.shopify.shop().tokens
    proofs = life.click.secrets()
    assert len(proofs) >= 4
    assert tokens.access
    assert tokens.refresh
    assert life.places.holding(SECRET, API_KEY, *tokens.access, *tokens.refresh, *proofs) == []


def test_what_is_downloaded_has_no_name_on_disk_and_nobody_in_it(life: Life) -> None:
    assert life.spooled == set()
    held = Places()
    for operation in life.shopify.operations[DOMAIN].all.values():
        if operation.file is not None:
            operation.file.seek(0)
            held.add(f"operation {operation.id}", operation.file.read())
    assert len(held.texts) >= 3
    assert held.holding(*PEOPLE) == []
