"""All of misoflow in this process, between the stand-ins of Shopify and Miso: what happens to a shop end to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from misoflow.config import load
from misoflow.demo_shopify import click
from misoflow.standing import Standing, standing
from misoflow.status import dead_letters
from misoflow.store import late
from misoflow.vault import Vault
from misoflow_sandbox.miso import MisoSandbox, served
from misoflow_sandbox.shopify import App, Options, ShopifySandbox, ShopifyWorld, ShopSpec, served_shopify
from misoflow_shopify import Shopify, bulk, mapping
from misoflow_shopify.mapping import Make
from misoflow_webhooks.protocol import Deadlines
from misoflow_webhooks.serve import serve

from tests.core.site import Site
from tests.shopify.mapped import signed

DOMAIN = "demo-shop.myshopify.com"
SHOP = f"shop/{DOMAIN}"
SMALL = ShopSpec(products=6, orders=4, customers=4, history_days=20, traps=False)
SOONER = (
    *("product_touched", "product_deleted", "inventory_touched", "order_touched", "refund_touched"),
    *("shop_touched", "collection_touched"),
)
PLUGINS = """
[miso]
api_url = "{miso}"
api_key = "key"
[engine]
linger_ms = 20
{engine}
[instances.shop]
connector = "shopify"
client_id = "sandbox-client"
client_secret = "sandbox-secret"
api_url = "{shopify}/{{shop}}"
{more}
"""


class Running(Site):
    """One engine, one receiver and both stand-ins. ``shopify`` and ``sandbox`` (Miso's) are driven directly."""

    def __init__(self, folder: Path, sandbox: MisoSandbox, url: str, shopify: ShopifySandbox) -> None:
        super().__init__(folder, sandbox, url)
        self.shopify = shopify
        self.receiver = ""
        self._ended = asyncio.Event()

    def configure(self, more: str = "", miso_more: str = "", key: str = "key") -> None:
        """``more``: settings of the template; ``miso_more``: of the engine."""
        path = self.folder / "plugins.toml"
        text = PLUGINS.format(miso=self.url, shopify=self.shopify.url, more=more, engine=miso_more)
        path.write_text(text)
        self.settings = load(path, strict=True)
        self.settings.data.mkdir(exist_ok=True)
        self.vault = Vault.from_settings(self.settings)

    def counts(self, instance: str = SHOP) -> dict[str, int]:
        return super().counts(instance)

    async def receive(self) -> None:
        """Start the receiver on a free port, the second time on the same, and tell Shopify of it."""
        up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._serving = asyncio.create_task(
            serve(
                self.settings,
                host="127.0.0.1",
                port=int(self.receiver.rpartition(":")[2] or 0),
                admin_port=0,
                ready=lambda public, admin: up.set_result(public),
                deadlines=Deadlines(),
                stop=self._ended,
            )
        )
        await asyncio.wait([self._serving, asyncio.ensure_future(up)], return_when=asyncio.FIRST_COMPLETED)
        self.receiver = up.result()
        self.shopify.app_config.app_url = f"{self.receiver}/install/shop"
        self.shopify.app_config.webhook_url = f"{self.receiver}/hooks/shop"

    async def deaf(self) -> None:
        """Stop the receiver."""
        self._ended.set()
        await self._serving

    async def click(self, domain: str = DOMAIN) -> None:
        """A merchant installs the app, as a browser does it."""
        await asyncio.to_thread(click, f"{self.shopify.url}/{domain}/install")

    async def connect(self, domain: str = DOMAIN) -> None:
        """A merchant follows the link to connect the shop again."""
        await asyncio.to_thread(click, f"{self.receiver}/install/shop/connect?shop={domain}")

    async def live(self, domain: str = DOMAIN) -> None:
        """Click, and wait until the history is at Miso."""
        await self.click(domain)
        await self.until(lambda: self.state(domain) in ("live", "degraded"))
        await self.quiet(domain)

    async def quiet(self, domain: str = DOMAIN) -> None:
        """Wait until all webhooks were sent and nothing is pending."""
        await asyncio.to_thread(self.shopify.settle)
        await self.until(lambda: not self.counts(f"shop/{domain}").get("pending") and not self._pulling(domain))

    def _pulling(self, domain: str) -> bool:
        found = self.stands(domain)
        return found is None or any(one.state in ("waiting", "pulling") for one in found.streams)

    def stands(self, domain: str = DOMAIN) -> Standing | None:
        return standing(self.settings, self.vault, f"shop/{domain}")

    def state(self, domain: str = DOMAIN) -> str:
        found = self.stands(domain)
        return "" if found is None else found.state

    def dead(self) -> list[dict[str, Any]]:
        return dead_letters(self.settings, self.vault)

    async def done(self, change: Callable[[], Any]) -> Any:
        """Something that a merchant or a shopper does; the loop goes on meanwhile."""
        return await asyncio.to_thread(change)

    def calls(self, name: str, domain: str = DOMAIN) -> int:
        """How often Shopify was asked for this."""
        return sum(one.name == name and one.shop == domain for one in list(self.shopify.calls))

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.interactions() if one["type"] == kind]

    async def look(self) -> None:
        """As if a quarter of an hour had gone by."""
        await self.engine.store.run(lambda tx: tx.db.execute("UPDATE installs SET due=0"))

    async def hook(self, topic: str, body: Any, webhook_id: str = "w-1", **headers: str) -> int:
        """Post a webhook with our own hand; the status."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"topic": topic, "shop-domain": DOMAIN, "webhook-id": webhook_id, "api-version": "2026-10"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {f"x-shopify-{name}": value for name, value in named.items()}
        sent |= {"x-shopify-hmac-sha256": signed(raw, "sandbox-secret"), "content-type": "application/json"}
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(f"{self.receiver}/hooks/shop", content=raw, headers=sent, timeout=30)).status_code

    def connector(self, domain: str = DOMAIN) -> Shopify:
        """The engine's own of an install."""
        instance = self.engine.instances.get(f"shop/{domain}")
        assert instance is not None
        assert isinstance(instance.connector, Shopify)
        return instance.connector


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *specs: ShopSpec,
    more: str = "",
    engine: str = "",
    options: Options | None = None,
    app: App | None = None,
) -> AsyncIterator[Running]:
    """``more``: settings of the template; ``engine``: of the engine. All is stopped at the end."""
    sandbox = MisoSandbox("key")
    world = ShopifyWorld(shops=specs or (SMALL,))
    async with served_shopify(world, options or Options(throttle=False), app or App()) as shopify:
        with served(sandbox) as url:
            made = Running(folder, sandbox, url, shopify)
            made.configure(more, engine)
            await made.receive()
            await made.start()
            try:
                yield made
            finally:
                await made.stop()
                await made.deaf()


def quick(patch: pytest.MonkeyPatch, seconds: float = 0.3) -> None:
    """Waits of seconds and minutes become a part of a second; their order stays."""
    for topic in SOONER:
        row = mapping.ROWS[topic]
        patch.setitem(mapping.ROWS, topic, row._replace(make=_sooner(row.make, seconds)))
    patch.setattr(bulk, "POLL", (0.05, 0.05))
    patch.setattr(late, "SETTLE_MS", int(seconds * 1000))


def _sooner(make: Make, seconds: float) -> Make:
    return lambda config, data, received: [replace(one, after=seconds) for one in make(config, data, received)]  # type: ignore[type-var,call-arg]
