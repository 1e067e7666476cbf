"""The connector's class: which part does what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from misoflow import (
    Connector,
    Effect,
    Event,
    Installable,
    Installed,
    Record,
    Reject,
    Reply,
    Route,
    Stream,
    Visit,
)

from misoflow_shopify.config import ShopifyConfig

KEEP = (
    *("x-shopify-topic", "x-shopify-shop-domain", "x-shopify-api-version", "x-shopify-webhook-id"),
    *("x-shopify-event-id", "x-shopify-triggered-at", "shopify-topic", "shopify-shop-domain", "shopify-api-version"),
    *("shopify-webhook-id", "shopify-event-id", "shopify-triggered-at", "shopify-action", "shopify-resource-id"),
)
WEBHOOK_BYTES = 8 * 1024 * 1024
PIXEL_BYTES = 64 * 1024


class Shopify(Connector[ShopifyConfig], Installable):
    """All shops of one app; or with ``shop`` set, that one."""

    topics = ()
    lifecycle = ("uninstalled", "redact_customer", "redact_shop", "data_request")
    streams = {  # noqa: RUF012 (the base's type)
        "catalog": Stream(timedelta(days=1), poll=True, every=timedelta(days=1)),
        "orders": Stream(timedelta(days=30)),
        "customers": Stream(timedelta(days=3650)),
        "changes": Stream(timedelta(hours=1), poll=True, every=timedelta(hours=1)),
    }
    routes = (
        Route(keep=KEEP, max_body=WEBHOOK_BYTES),
        Route(
            path="pixel/*",
            channel="pixel",
            signed=False,
            cors=True,
            max_body=PIXEL_BYTES,
            status=204,
            per_second=200.0,
            per_address=20.0,
        ),
    )

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        raise Reject("not written yet")

    def visit(self, visit: Visit) -> Reply:
        raise Reject("not written yet")

    async def install(self, grant: Mapping[str, str]) -> Installed:
        return Installed()

    async def uninstall(self) -> None:
        return None
