"""A Shopify stand-in, written from Shopify's documentation and from what its webhooks are known to do wrong.

In a test::

    with shopify_thread(ShopifyWorld(shops=(ShopSpec(products=10),)), Options(speed=0)) as shopify:
        shopify.url                                  # api_url of the connector: f"{shopify.url}/{{shop}}"
        shopify.app_config.app_url = "…/install/shop"        # the app's URL
        shopify.app_config.webhook_url = "…/hooks/shop"      # app-specific subscriptions, compliance topics included
        shopify.install_url()                        # where a merchant clicks *Install* (GET …/{shop}/, then authorize)
        shopify.installs.install(domain)             # or at once, for custom and managed apps
        shop = shopify.shop()                        # its things: shop.products, .orders, .customers, .collections
        shopify.merchant().update_product(id, title="New")   # a change, and the webhooks that Shopify sends of it
        visit(shopify.shopper(7), 7)                 # a visitor: pixel events, carts/*, orders/create
        shopify.clock.advance(48 * 3600)             # retries, shop/redact and expiries follow this clock
        shopify.settle()                             # all webhooks that are due were sent
        shopify.hooks.rules.append(HookRule(topic="orders/", copies=1))      # webhooks that go wrong
        shopify.bulk_fault(BulkRule(contains="orders", status="FAILED", partial=20))
        shopify.faults.add(Rule(Action(status=429, headers={"Retry-After": "1"}), name="Products"))
        truth(shop), variants_on_sale(shop)          # what should be at Miso

``served_shopify`` is the same for asynchronous tests, ``shopify_process`` another process, driven over HTTP (see
``misoflow_sandbox.shopify.control``). Client id and secret are ``sandbox-client`` and ``sandbox-secret``. With
``Options(speed=0)`` time stands still between calls of ``clock.advance``; by default it is the real time.
Personal data in it contains the word *canary* or *Canary*, the telephone numbers begin with +1555019.
"""

from __future__ import annotations

from misoflow_sandbox.shopify.app import ShopifySandbox
from misoflow_sandbox.shopify.bulk import BulkRule, Operation
from misoflow_sandbox.shopify.faults import Action, Rule
from misoflow_sandbox.shopify.hooks import Delivery, HookRule
from misoflow_sandbox.shopify.merchant import Merchant
from misoflow_sandbox.shopify.serving import run, served_shopify, shopify_process, shopify_thread
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.shopper import Shopper
from misoflow_sandbox.shopify.state import App, Call, Options
from misoflow_sandbox.shopify.truth import counted_orders, refunded_units, truth, units, variants_on_sale
from misoflow_sandbox.shopify.visits import visit
from misoflow_sandbox.shopify.world import ShopifyWorld, ShopSpec

__all__ = [
    "Action",
    "App",
    "BulkRule",
    "Call",
    "Delivery",
    "HookRule",
    "Merchant",
    "Operation",
    "Options",
    "Rule",
    "Shop",
    "ShopSpec",
    "ShopifySandbox",
    "ShopifyWorld",
    "Shopper",
    "counted_orders",
    "refunded_units",
    "run",
    "served_shopify",
    "shopify_process",
    "shopify_thread",
    "truth",
    "units",
    "variants_on_sale",
    "visit",
]
