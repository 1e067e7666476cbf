"""``python -m misoflow_sandbox.shopify``: Shopify's stand-in on its own, with every setting."""

from __future__ import annotations

import argparse

import msgspec

from misoflow_sandbox.shopify.app import ShopifySandbox
from misoflow_sandbox.shopify.serving import serve
from misoflow_sandbox.shopify.state import App, Options
from misoflow_sandbox.shopify.world import ShopifyWorld


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser("misoflow_sandbox.shopify", description="A stand-in for Shopify.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8620, help="0: a free one, printed as `ready URL`")
    parser.add_argument("--world", default="{}", help="the shops as JSON, see ShopifyWorld")
    parser.add_argument("--options", default="{}", help="the stand-in's options as JSON, see Options")
    parser.add_argument("--app", default="{}", help="the app as JSON, see App")
    given = parser.parse_args()
    world = msgspec.json.decode(given.world, type=ShopifyWorld)
    options = msgspec.json.decode(given.options, type=Options)
    app = msgspec.json.decode(given.app, type=App)
    serve(given.host, given.port, ShopifySandbox(world, options, app))


if __name__ == "__main__":
    main()
