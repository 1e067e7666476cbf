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
    Request,
    Route,
    Stream,
    Visit,
)

from misoflow_shopify import deliveries, mapping, pixel, samples, signature
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

    topics = tuple(mapping.ROWS)
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

    def verify(self, request: Request) -> None:
        """Webhooks by their signature, the pixel by its key; what a visitor has not agreed to is Unwanted."""
        if request.channel == pixel.CHANNEL:
            pixel.check(request, self.config)
        else:
            secrets = [secret.get_secret_value().encode() for secret in self.config.client_secret]
            signature.check(request, secrets, self.config.shop)

    def events(self, request: Request) -> Iterable[Event]:
        """Objects as neutral data, or thin events that say which object is to be read."""
        return pixel.events(request) if request.channel == pixel.CHANNEL else deliveries.events(request)

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """By the mapping table."""
        return mapping.translated(self.config, event)

    def tenant(self, request: Request) -> str:
        """The shop of a verified delivery; "" where the instance is that shop's."""
        if self.config.shop is not None:
            return ""
        return pixel.shop_of(request, self.config) if request.channel == pixel.CHANNEL else signature.shop_of(request)

    def sample(self, topic: str) -> Request:
        """A delivery of that topic as Shopify or the pixel would send it; LookupError for what is only read."""
        return samples.request_for(self.config, topic)

    def visit(self, visit: Visit) -> Reply:
        raise Reject("not written yet")

    async def install(self, grant: Mapping[str, str]) -> Installed:
        return Installed()

    async def uninstall(self) -> None:
        return None
