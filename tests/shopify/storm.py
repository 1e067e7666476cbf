"""A shop and misoflow in a storm: both as they are, the faults, the kills and the merchant's doings by a seed."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from misoflow.config import load
from misoflow.control import call
from misoflow.demo_shopify import SETTINGS, click
from misoflow.errors import MisoflowError
from misoflow.standing import standing
from misoflow.status import snapshot, status
from misoflow.store import slices
from misoflow.vault import Vault
from misoflow_sandbox.faults import Match
from misoflow_sandbox.miso import MisoSandbox, served
from misoflow_sandbox.shopify import (
    Action,
    BulkRule,
    HookRule,
    Options,
    Rule,
    ShopifyWorld,
    Shopper,
    ShopSpec,
    shopify_thread,
    visit,
)

from tests.shopify.storm_processes import Process, SharedClock, serve, work

SPEED = 60.0
"""Seconds of the shop a second."""
LONGEST = 120.0
"""Real seconds for anything to come true."""
HELP_SECONDS = 3.0
"""Between two times that the merchant opens an app that stands still."""
POINTS = (
    *("install.done", "page.read", "slice.before_pulled", "slice.after_pulled", "pull.begun", "work.before_commit"),
    *("commit.inside", "work.after_commit", "seal.before", "seal.inside", "seal.after", "send.before", "send.after"),
    *("task.saved", "task.clean", "outcome.before", "finish.inside", "outcome.after", "forget.inside"),
)
SILENT = (
    *("products/", "inventory_levels/", "collections/", "orders/", "refunds/", "carts/"),
    *("customers/create", "customers/update"),
)
"""Topics whose webhooks may be lost, as what they tell is read one day; of a deleted customer nothing else tells."""
HIDING = ("DRAFT", "ARCHIVED", "UNLISTED")


class Storm:
    """One seed. Made by ``storm``."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack) -> None:
        self.dice = random.Random(seed)
        dice = self.dice
        self.folder, self.said = folder, list[str]()
        self.clock = SharedClock(folder / "clock", SPEED)
        self.miso = stack.enter_context(served(MisoSandbox("sandbox")))
        spec = ShopSpec(
            seed=seed,
            products=dice.randint(4, 10),
            orders=dice.randint(4, 12),
            customers=dice.randint(3, 8),
            collections=dice.randint(1, 4),
            history_days=dice.choice((20, 50, 90)),
        )
        options = Options(
            headers=dice.choice(("classic", "events", "both")),
            bulk_order=dice.choice(("grouped", "shuffled")),
            bulk_seconds=dice.choice((0.0, 0.0, 20.0)),
        )
        world = ShopifyWorld(shops=(spec,), start=self.clock.now())
        self.shopify = stack.enter_context(shopify_thread(world, options))
        vars(self.shopify.clock).update(now=self.clock.now, advance=self.clock.advance)
        self.shop, self.merchant = self.shopify.shop(), self.shopify.merchant()
        self.config = folder / "plugins.toml"
        self.config.write_text(SETTINGS.format(miso=self.miso, shopify=self.shopify.url).replace("= 100", "= 20"))
        self.settings = load(self.config)
        self.settings.data.mkdir()
        self.vault = Vault.from_settings(self.settings)
        self.name = f"shop/{self.shop.domain}"
        self.shoppers: list[Shopper] = []
        self.hidden: set[int] = set()
        """Products that were not on sale for a while."""
        self.forgotten: set[int] = set()
        self.kills = 0
        self._helped = 0.0
        self.installed_at = 0
        self._serve = self._work = Process.__new__(Process)

    # processes

    def begin(self) -> None:
        """Start misoflow and click *Install*, with faults all the way."""
        self._serve = Process(serve, self.config, self.folder / "clock", 0)
        receiver = self._serve.url
        self.shopify.app_config.app_url = f"{receiver}/install/shop"
        self.shopify.app_config.webhook_url = f"{receiver}/hooks/shop"
        self._start("", 1)
        self.faults()
        self.installed_at = self.clock.now()
        self.click()
        self.storm(3)
        self.until(lambda: self.shop.pixel is not None, "the pixel is there")
        self.until(lambda: standing(self.settings, self.vault, self.name) is not None, "the install is known")

    def click(self) -> None:
        """At the speed of a browser; a link lives a minute and a half."""
        self.clock.run(1.0)
        click(f"{self.shopify.url}/{self.shop.domain}/install")
        self.clock.run(SPEED)

    def _start(self, crash_at: str, times: int) -> None:
        self._work = Process(work, self.config, self.folder / "clock", crash_at, times)

    def kill(self, *, serve_too: bool = False) -> None:
        """End ``work``, and have it start again, maybe to end at a named point."""
        self._work.kill()
        self.kills += 1
        if serve_too:
            port = int(self._serve.url.rpartition(":")[2])
            self._serve.kill()
            self._serve = Process(serve, self.config, self.folder / "clock", port)
        crash_at = self.dice.choice(POINTS) if self.dice.random() < 0.5 else ""
        self._start(crash_at, self.dice.randint(1, 3))

    def alive(self) -> None:
        """As the supervisor does: whoever died is started again."""
        if not self._work.alive:
            self.kills += 1
            self.said.append("work died and is started again")
            self._start("", 1)

    def end(self) -> None:
        for process in (self._work, self._serve):
            if hasattr(process, "url"):
                process.kill()

    # faults

    def faults(self) -> None:
        """Some of what can go wrong with the Admin API, bulk operations and webhooks."""
        dice = self.dice
        admin = Match(path=f"/{self.shop.domain}/admin/api")
        actions = [
            Action(status=429, headers={"Retry-After": "2"}),
            Action(throttled=True),
            Action(status=503),
            Action(status=502, body="<html>"),
            Action(lost="before"),
            Action(lost="after"),
            Action(delay=0.3),
        ]
        for _ in range(dice.randint(0, 4)):
            share, seed = dice.uniform(0.1, 0.6), dice.random()
            rule = Rule(dice.choice(actions), admin, times=dice.randint(1, 4), share=share, seed=int(seed * 1e6))
            self.shopify.faults.add(rule)
        bulks: list[dict[str, Any]] = [
            {"status": "FAILED", "error_code": "INTERNAL_SERVER_ERROR", "partial": dice.randint(0, 9)},
            {"status": "FAILED", "error_code": "TIMEOUT", "partial": dice.randint(0, 9), "partial_after": 20.0},
            *({"status": "CANCELED"}, {"truncate": True}, {"miscount": 2}, {"duplicates": 3}, {"orphans": 2}),
            *({"link_seconds": 0.0}, {"seconds": 90.0}),
        ]
        for _ in range(dice.randint(0, 3)):
            contains = dice.choice(("", "products", "orders", "customers"))
            self.shopify.bulk_fault(BulkRule(contains=contains, **dice.choice(bulks)))
        files = Match(path=f"/{self.shop.domain}/bulk")
        if dice.random() < 0.3:
            self.shopify.faults.add(Rule(Action(cut=dice.randint(1, 3000)), files))

    def webhooks(self) -> None:
        """Copies, delays, another order, lost answers and losses, of some topics."""
        dice = self.dice
        kinds: list[dict[str, Any]] = [
            *({"drop": True}, {"copies": 2}, {"twice": True}, {"delay": dice.choice((30.0, 900.0))}),
            *({"shuffle": 60.0}, {"shuffle": 7200.0, "copies": 1}),
        ]
        for _ in range(dice.randint(1, 4)):
            kind = dice.choice(kinds)
            topics = SILENT if kind.get("drop") else (*SILENT, "customers/delete")
            settings: dict[str, Any] = {
                "times": dice.randint(1, 6),
                "share": dice.uniform(0.3, 1),
                "seed": dice.randrange(10**6),
            }
            self.shopify.hooks.rules.append(HookRule(topic=dice.choice(topics), **kind, **settings))

    # what a shop does

    def storm(self, count: int) -> None:
        """So many things happen."""
        doings: list[Callable[[], None]] = [
            *(self._visit, self._visit, self._visit, self._product, self._product, self._variant, self._inventory),
            *(self._hide, self._collection, self._customer, self._refund, self._refund, self._cancel, self._edit),
            *(self._delete, self.faults, self.webhooks, self._token, self._revoke, self._pass, self._kill, self._kill),
        ]
        for _ in range(count):
            doing = self.dice.choice(doings)
            self.said.append(doing.__name__.strip("_"))
            rules = [HookRule(topic=topic, drop=True, times=-1) for topic in SILENT if self.dice.random() < 0.3]
            self.shopify.hooks.rules[:0] = rules
            doing()
            for rule in rules:
                self.shopify.hooks.rules.remove(rule)
            self.alive()
            time.sleep(self.dice.choice((0.0, 0.02, 0.05)))

    def _visit(self) -> None:
        number = len(self.shoppers) + 1
        customers = [one.id for one in self.shop.customers]
        customer = self.dice.choice(customers) if customers and self.dice.random() < 0.5 else None
        shopper = self.shopify.shopper(number, customer=customer)
        self.shoppers.append(shopper)
        visit(shopper, number, buys=self.dice.random() < 0.7)

    def _some_product(self) -> Any:
        return self.dice.choice(list(self.shop.products))

    def _some_variant(self) -> int:
        return int(self.dice.choice(self._some_product().variants).id)

    def _product(self) -> None:
        if self.dice.random() < 0.3:
            made = self.merchant.create_product(f"Thing {self.dice.randrange(99)}", variants=self.dice.randint(1, 3))
            self.hidden.add(made.id)
        else:
            self.merchant.update_product(self._some_product().id, title=f"Title {self.dice.randrange(10**6)}")

    def _variant(self) -> None:
        product = self._some_product()
        match self.dice.randrange(3):
            case 0:
                self.merchant.add_variant(product.id, f"Extra {self.dice.randrange(99)}")
            case 1 if len(product.variants) > 1:
                self.merchant.delete_variant(product.variants[-1].id)
            case _:
                self.merchant.update_variant(product.variants[0].id, price=f"{self.dice.randrange(1, 99)}.50")

    def _inventory(self) -> None:
        self.merchant.set_inventory(self._some_variant(), self.dice.choice((0, 3)))

    def _hide(self) -> None:
        product = self._some_product()
        self.hidden.add(product.id)
        fields: dict[str, Any] = {"status": self.dice.choice((*HIDING, "ACTIVE"))}
        if self.dice.random() < 0.5:
            fields = {"published_at": None if product.published else self.clock.now() // 1000 * 1000}
        if self._left(product):
            self.merchant.update_product(product.id, **fields)

    def _left(self, product: Any) -> bool:
        """Whether visitors still find something without it."""
        return any(self.shop.url(one) and one.status == "ACTIVE" for one in self.shop.products if one.id != product.id)

    def _delete(self) -> None:
        product = self._some_product()
        if len(self.shop.products) > 3 and self._left(product):
            self.hidden.add(product.id)
            self.merchant.delete_product(product.id)

    def _collection(self) -> None:
        known = sorted(self.shop.collections)
        match self.dice.randrange(3):
            case 0 if known:
                title = f"Set {self.dice.randrange(999)}"
                self.merchant.update_collection(self.dice.choice(known), title=title)
            case 1 if len(known) > 1:
                self.merchant.delete_collection(known[-1])
            case _:
                self.merchant.create_collection(f"Fresh {self.dice.randrange(999)}", tag="new")

    def _customer(self) -> None:
        customers = [one.id for one in self.shop.customers]
        match self.dice.randrange(4):
            case 0:
                self.merchant.create_customer()
            case 1 if len(customers) > 2:
                gone = self.dice.choice(customers)
                self.forgotten.add(gone)
                self.merchant.delete_customer(gone)
            case _ if customers:
                self.merchant.update_customer(self.dice.choice(customers), country=self.dice.choice(("DE", "FR", "US")))

    def _orders(self) -> list[Any]:
        """Those that a merchant still works on: of the last days, not cancelled."""
        since = self.clock.now() - 30 * 86_400_000
        return [one for one in self.shop.orders if one.created_at > since and one.cancelled_at is None and one.lines]

    def _refund(self) -> None:
        if orders := self._orders():
            order = self.dice.choice(orders)
            left = {line.id: order.left(line) for line in order.lines if order.left(line)}
            some = {line: self.dice.randint(1, count) for line, count in left.items() if self.dice.random() < 0.6}
            self.merchant.refund(order.id, some if self.dice.random() < 0.8 else None)

    def _cancel(self) -> None:
        if orders := self._orders():
            self.merchant.cancel(self.dice.choice(orders).id, refund=self.dice.random() < 0.6)

    def _edit(self) -> None:
        if orders := self._orders():
            order = self.dice.choice(orders)
            add = {self._some_variant(): self.dice.randint(1, 2)} if self.dice.random() < 0.7 else None
            left = [line for line in order.lines if order.left(line)]
            remove = {self.dice.choice(left).id: 1} if left and self.dice.random() < 0.5 else None
            self.merchant.edit_order(order.id, add=add, remove=remove)

    def _token(self) -> None:
        self.shop.tokens.expire_access()

    def _revoke(self) -> None:
        """The app stands still until somebody opens it again."""
        if self.dice.random() < 0.3:
            self.shop.tokens.revoke()

    def _pass(self) -> None:
        self.clock.advance(self.dice.choice((20, 90, 700, 4000)))

    def _kill(self) -> None:
        self.kill(serve_too=self.dice.random() < 0.3)

    # the end

    def calm(self) -> None:
        """The faults end; what was late, and what nobody told, arrives."""
        self.shopify.faults.rules.clear()
        self.shopify.hooks.rules.clear()
        self.shopify.operations[self.shop.domain].rules.clear()
        self.quiet()
        self.clock.advance(5 * 3600)
        self.quiet()
        self.pull("changes")
        self.pull("catalog")

    def stands_still(self) -> bool:
        """Whether only the merchant helps: tokens were revoked, or a code was used up and its answer never came."""
        found = standing(self.settings, self.vault, self.name)
        return found is not None and (found.again or found.state == "failed")

    def pull(self, stream: str) -> None:
        """What the scheduler does every hour and every night."""
        self.until(lambda: self._pulled(stream), f"{stream} is pulled")
        self.quiet()

    def _pulled(self, stream: str) -> bool:
        try:
            asyncio.run(call(self.settings, "backfill.start", instance=self.name, streams=[stream]))
        except (MisoflowError, OSError):  # it is just starting
            return False
        return True

    def quiet(self) -> None:
        """Until all that is due was sent, read, translated and delivered."""
        self.shopify.settle(LONGEST)
        self.until(self.is_quiet, "everything has arrived")

    def is_quiet(self) -> bool:
        figures = status(self.settings, self.vault)
        one = figures["instances"].get(self.name)
        if one is None or one["pending"] or any(env["waiting_batches"] for env in figures["miso"].values()):
            return False
        with snapshot(self.settings, self.vault) as tx:
            assert tx is not None
            asked = tx.one("SELECT 1 FROM pulls LIMIT 1")
            if asked:  # in ten minutes
                self.clock.advance(60)
            return not asked and not slices.open_jobs(tx)

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait; meanwhile the supervisor does its work, and the merchant opens the app where only that helps."""
        deadline = time.monotonic() + LONGEST
        while not done():
            self.alive()
            if self.stands_still() and time.monotonic() > self._helped + HELP_SECONDS:
                self._helped = time.monotonic()
                self.click()
            if time.monotonic() > deadline:
                raise AssertionError(f"{LONGEST:g} s went by before {what}: {self.counts()}")
            time.sleep(0.1)

    # what can be looked at

    def counts(self) -> dict[str, Any]:
        found = status(self.settings, self.vault)["instances"].get(self.name, {})
        history = [(job["stream"], job["state"], job["error"], job["waits"]) for job in found.get("history", ())]
        return {**found, "history": history}

    def recount(self) -> dict[str, Any]:
        found: dict[str, Any] = asyncio.run(call(self.settings, "recount"))
        return found

    def held(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("/_sandbox/state"))
        return found

    def wire(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._ask("/_sandbox/wire"))
        return found

    def interactions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._ask("/_sandbox/records?kind=interactions").splitlines()]

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(self.miso + path, timeout=60) as answer:
            body: bytes = answer.read()
        return body


@contextmanager
def storm(folder: Path, seed: int) -> Iterator[Storm]:
    """A world of its own for one seed."""
    with ExitStack() as stack:
        made = Storm(folder, seed, stack)
        stack.callback(made.end)
        yield made
