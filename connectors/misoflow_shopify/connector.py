"""The connector's class: which part does what."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta

from misoflow import (
    Connector,
    Effect,
    Event,
    Installable,
    Installed,
    Page,
    Problem,
    Record,
    Reply,
    Request,
    Route,
    Slice,
    Stream,
    Visit,
)

from misoflow_shopify import checking, deliveries, mapping, oauth, pixel, samples, setup, signature
from misoflow_shopify.admin import Admin
from misoflow_shopify.bulk import Bulk
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.history import History
from misoflow_shopify.link import Link
from misoflow_shopify.reading import Reader
from misoflow_shopify.tokens import ClientCredentials, OfflineTokens, StoredTokens

log = logging.getLogger("misoflow.shopify")

VERSION = re.compile(r"20\d\d-\d\d|unstable", re.ASCII)
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
        "customers": Stream(timedelta(days=3650), depth=timedelta(days=3650)),
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
            per_address=50.0,
        ),
    )

    def __init__(self, config: ShopifyConfig) -> None:
        super().__init__(config)
        self.template = config.shop is None
        self.link = Link(self)
        self.tokens: StoredTokens = OfflineTokens(self.link) if config.shop is None else ClientCredentials(self.link)
        self.admin = Admin(self.link, self.tokens)
        self.bulk = Bulk(self.link, self.admin)
        self.reader = Reader(self)
        self.heard = ""
        """The version of the latest webhook, where it is another one than is asked for."""

    def verify(self, request: Request) -> None:
        """Webhooks by their signature, the pixel by its key; what a visitor has not agreed to is Unwanted."""
        if request.channel == pixel.CHANNEL:
            pixel.check(request, self.config)
        else:
            secrets = [secret.get_secret_value().encode() for secret in self.config.client_secret]
            signature.check(request, secrets, self.config.shop)

    def events(self, request: Request) -> Iterable[Event]:
        """Objects as neutral data, or thin events that say which object is to be read."""
        if request.channel == pixel.CHANNEL:
            return pixel.events(request)
        self._look_at_version(signature.header(request, "api-version"))
        return deliveries.events(request)

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
        """The app's address, Shopify's consent, the way back from it, and pages inside the admin."""
        return oauth.reply(self.config, visit)

    async def install(self, grant: Mapping[str, str]) -> Installed:
        """Tokens, what the shop granted, webhooks and the pixel; what is missing is made again."""
        return await setup.installed(self, grant)

    async def uninstall(self) -> None:
        """The tokens are dead at Shopify already."""
        await self.tokens.forget()

    def backfill(self, part: Slice) -> AsyncIterator[Page]:
        """The catalogue, orders and customers by bulk operations; what changed lately by queries."""
        return History(self).pages(part)

    async def fetch(self, kind: str, ref: str) -> list[Event]:
        """One object, whole, as the events of its kind."""
        return await self.reader.fetch(kind, ref)

    async def check(self) -> list[Problem]:
        """What the settings tell; of a custom app's shop also whether it answers."""
        return await checking.problems(self)

    def _look_at_version(self, told: str) -> None:
        """Subscriptions have a version of their own: https://shopify.dev/docs/apps/build/webhooks/subscribe/versioning"""
        if told in ("", self.config.api_version):
            self.heard = ""
        elif told != self.heard and VERSION.fullmatch(told):  # headers are not signed: no other text is repeated
            self.heard = told
            log.warning("webhooks come in API version %s, asked was %s; set both alike", told, self.config.api_version)
