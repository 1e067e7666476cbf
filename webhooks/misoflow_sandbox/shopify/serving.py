"""Running the Shopify stand-in: in this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from misoflow_sandbox.serving import process_of, serve_forever, served
from misoflow_sandbox.shopify.app import ShopifySandbox
from misoflow_sandbox.shopify.state import App, Options
from misoflow_sandbox.shopify.world import ShopifyWorld


@contextlib.contextmanager
def shopify_thread(
    world: ShopifyWorld | None = None, options: Options | None = None, app: App | None = None
) -> Iterator[ShopifySandbox]:
    """Serve a stand-in from threads of this process; its ``url`` says where, and webhooks are sent as they fall due.

    Raises RuntimeError when it does not start.
    """
    sandbox = ShopifySandbox(world, options, app)
    with served(sandbox, date_header=False) as url:
        sandbox.url = url
        sandbox.sender.start()
        try:
            yield sandbox
        finally:
            sandbox.close()


@contextlib.asynccontextmanager
async def served_shopify(
    world: ShopifyWorld | None = None, options: Options | None = None, app: App | None = None
) -> AsyncIterator[ShopifySandbox]:
    """The same for asynchronous tests."""
    running = shopify_thread(world, options, app)
    sandbox = await asyncio.to_thread(running.__enter__)
    try:
        yield sandbox
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@contextlib.contextmanager
def shopify_process(
    world: ShopifyWorld | None = None, options: Options | None = None, app: App | None = None
) -> Iterator[str]:
    """Run a stand-in as a process of its own, on a free port; gives its URL. Drive it by ``/_sandbox/``.

    Raises RuntimeError when it does not start.
    """
    settings = []
    for name, given in (("world", world or ShopifyWorld()), ("options", options or Options()), ("app", app or App())):
        settings += [f"--{name}", msgspec.json.encode(given).decode()]
    command = [sys.executable, "-m", "misoflow_sandbox.shopify", "--port", "0", *settings]
    with process_of(command, "the Shopify sandbox") as url:
        yield url


def serve(host: str, port: int, sandbox: ShopifySandbox, ready: Callable[[str], None] | None = None) -> None:
    """Serve until stopped. ``ready`` takes the URL once requests are taken; without it ``ready URL`` is printed."""

    def up(url: str) -> None:
        sandbox.url = url
        sandbox.sender.start()
        if ready is not None:
            ready(url)
        else:
            print(f"ready {url}", flush=True)

    try:
        with contextlib.suppress(KeyboardInterrupt):
            serve_forever(sandbox, host, port, up, date_header=False)
    finally:
        sandbox.close()


def run(
    host: str = "127.0.0.1",
    port: int = 8620,
    public_url: str = "http://127.0.0.1:8400",
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a shop to try an install with, until stopped.

    ``public_url``: where misoflow is, with an instance named ``shop``. A merchant begins at ``/{shop}/``.
    """
    app = App(app_url=f"{public_url}/install/shop", webhook_url=f"{public_url}/hooks/shop")
    serve(host, port, ShopifySandbox(app=app), ready)
