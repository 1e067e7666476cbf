"""The connector's class: which part does what."""

from __future__ import annotations

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
    Reject,
    Reply,
    Route,
    Slice,
    Stream,
    Visit,
)

from misoflow_shopify import checking, oauth, setup
from misoflow_shopify.admin import Admin
from misoflow_shopify.bulk import Bulk
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.history import History
from misoflow_shopify.link import Link
from misoflow_shopify.reading import Reader
from misoflow_shopify.tokens import ClientCredentials, OfflineTokens, StoredTokens

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

    def __init__(self, config: ShopifyConfig) -> None:
        super().__init__(config)
        self.template = config.shop is None
        self.link = Link(self)
        self.tokens: StoredTokens = OfflineTokens(self.link) if config.shop is None else ClientCredentials(self.link)
        self.admin = Admin(self.link, self.tokens)
        self.bulk = Bulk(self.link, self.admin)
        self.reader = Reader(self)

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
