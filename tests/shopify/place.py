"""misoflow, Miso's and Shopify's sandboxes as real processes, and a shop that installs the app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from misoflow.config import load
from misoflow.demo import started
from misoflow.demo_shopify import SETTINGS, click
from misoflow.standing import Standing, standing
from misoflow.status import status
from misoflow.vault import Vault
from misoflow_sandbox.shopify import Options, ShopifyWorld, ShopSpec, shopify_process


class Place:
    """misoflow beside both sandboxes, each a process of its own."""

    def __init__(self, folder: Path, miso: str, shopify: str, more: str) -> None:
        self.miso, self.shopify = miso, shopify
        self.config = folder / "plugins.toml"
        self.config.write_text(SETTINGS.format(miso=miso, shopify=shopify) + more)
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
            self.post("app", app_url=f"{url}/install/shop", webhook_url=f"{url}/hooks/shop")
            yield
            assert children(process.pid) == self.pids  # neither was started again, so their peaks are the whole truth
        finally:
            process.terminate()
            process.wait(60)

    def install(self) -> None:
        """A merchant clicks *Install*."""
        click(f"{self.shopify}/{self.domain}/install")

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

    def post(self, what: str, **given: Any) -> Any:
        """Ask Shopify's sandbox to do something."""
        body = json.dumps(given).encode()
        with urllib.request.urlopen(f"{self.shopify}/_sandbox/{what}", body, timeout=60) as answer:
            return json.load(answer)

    def change(self, do: str, **arguments: Any) -> None:
        """As the merchant; the webhooks of it are sent."""
        self.post("change", do=do, **{"with": arguments})

    def busy(self, name: str) -> float:
        """Seconds of processor time of ``serve`` or ``work``."""
        fields = Path(f"/proc/{self.pids[name]}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peaks(self) -> dict[str, int]:
        """KiB that each process had in memory at most."""
        return {name: peak(pid) for name, pid in self.pids.items()}


@contextmanager
def placed(folder: Path, shop: ShopSpec, settings: str = "") -> Iterator[Place]:
    """A place in which nobody has installed the app yet; ``settings`` are more lines of the instance's."""
    with ExitStack() as stack:
        miso = stack.enter_context(started(folder, "sandbox", "--port", "0"))
        shopify = stack.enter_context(shopify_process(ShopifyWorld(shops=(shop,)), Options()))
        place = Place(folder, miso, shopify, settings)
        stack.enter_context(place.running(folder / "run.log"))
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
