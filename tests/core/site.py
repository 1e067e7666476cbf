"""One engine in this process with its inbox and a Miso sandbox, for tests of the engine's parts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from misoflow.config import load
from misoflow.connector import Request
from misoflow.control import call
from misoflow.engine import Engine
from misoflow.inbox import Inbox
from misoflow.status import recent, status
from misoflow.vault import Vault
from misoflow_sandbox.miso import MisoSandbox, served

from tests.core.toy import Toy

TOML = """
[miso]
api_url = "{miso}"
api_key = "{key}"
{miso_more}
[engine]
linger_ms = 20
[instances.web]
connector = "tests.core.toy:Toy"
{more}
[instances.other]
connector = "tests.core.toy:Toy"
"""
numbers = iter(range(10**9))


def item(do: str, **more: Any) -> dict[str, Any]:
    return {"id": f"e{next(numbers)}", "do": do, **more}


class Site:
    """One engine with its inbox and sandbox."""

    def __init__(self, folder: Path, sandbox: MisoSandbox, url: str) -> None:
        self.folder, self.sandbox, self.url = folder, sandbox, url
        Toy.fetched.clear()
        Toy.answers.clear()

    def configure(self, more: str = "", miso_more: str = "", key: str = "key") -> None:
        path = self.folder / "plugins.toml"
        path.write_text(TOML.format(miso=self.url, key=key, more=more, miso_more=miso_more))
        self.settings = load(path, strict=True)
        self.settings.data.mkdir(exist_ok=True)
        self.vault = Vault.from_settings(self.settings)

    async def open(self) -> None:
        self.inbox = Inbox.open(self.settings.data, self.vault, 10**9)
        await self.start()

    async def start(self) -> None:
        self.engine = Engine(self.settings)
        ready = asyncio.Event()
        self.task = asyncio.create_task(self.engine.run(ready.set))
        await asyncio.wait([self.task, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        self.engine.stopping.set()
        await self.task

    async def send(self, *items: Any, instance: str = "web", body: bytes | None = None) -> None:
        raw = body if body is not None else json.dumps(items).encode()
        await self.inbox.append([(instance, Request(raw, received_at=datetime.now(UTC)))])

    def counts(self, instance: str = "web") -> dict[str, int]:
        found = status(self.settings, self.vault)["instances"][instance]
        states = ("pending", "delivered", "skipped", "suppressed", "erased", "dead")
        assert found["accepted"] == sum(found[state] for state in states)
        return {name: found[name] for name in ("accepted", *states, "duplicates") if found[name]}

    async def until(self, done: Callable[[], Any], seconds: float = 30) -> None:
        for _ in range(int(seconds / 0.05)):
            if self.task.done():
                self.task.result()
            if done():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"did not get there: {self.counts()}")

    async def settled(self, accepted: int, instance: str = "web") -> dict[str, int]:
        await self.until(
            lambda: self.counts(instance).get("accepted", 0) >= accepted and "pending" not in self.counts(instance)
        )
        return self.counts(instance)

    def interactions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]

    def lines(self) -> list[bytes]:
        """Interactions as JSON."""
        return self._ask("/_sandbox/records?kind=interactions").splitlines()

    def products(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("/_sandbox/state"))["products"]
        return found

    def users(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("/_sandbox/state"))["users"]
        return found

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            body: bytes = answer.read()
        return body

    def last(self, n: int = 1) -> list[dict[str, Any]]:
        return recent(self.settings, self.vault, limit=n)


@contextlib.asynccontextmanager
async def site(tmp_path: Path, more: str = "", miso_more: str = "") -> AsyncIterator[Site]:
    sandbox = MisoSandbox("key")
    with served(sandbox) as url:
        made = Site(tmp_path, sandbox, url)
        made.configure(more, miso_more)
        await made.open()
        try:
            yield made
            assert (await call(made.settings, "recount"))["wrong"] == []
        finally:
            await made.stop()
            await made.inbox.close()
