"""What the Shopify stand-in knows besides its shops: the app, the options, the clock and the calls."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson
from msgspec import Struct, field

from misoflow_sandbox.answers import Answer
from misoflow_sandbox.shopify.world import SCOPES

COMPLIANCE = ("customers/data_request", "customers/redact", "shop/redact")
TOPICS = (
    *("products/create", "products/update", "products/delete", "collections/create", "collections/update"),
    *("collections/delete", "inventory_levels/update", "orders/create", "orders/updated", "orders/cancelled"),
    *("orders/edited", "refunds/create", "carts/create", "carts/update"),
    *("customers/create", "customers/update", "customers/delete", "bulk_operations/finish", "app/uninstalled"),
    *("app/scopes_update", "shop/update"),
)
SUPPORTED = ("2025-10", "2026-01", "2026-04", "2026-07", "2026-10", "unstable")
"""Versions of the Admin API; a call of another is answered by the oldest: https://shopify.dev/docs/api/usage/versioning"""


class App(Struct, kw_only=True, forbid_unknown_fields=True):
    """The app in the Dev Dashboard: what its ``shopify.app.toml`` says, and its secrets, the newest first.

    ``webhook_url`` None: no app-specific subscriptions. ``custom``: an app of one organisation, which has
    client credentials. ``managed``: Shopify installs it without asking it (scopes of the TOML, token exchange).
    """

    client_id: str = "sandbox-client"
    secrets: list[str] = field(default_factory=lambda: ["sandbox-secret"])
    app_url: str | None = None
    redirect_urls: list[str] = field(default_factory=list)
    """Where OAuth may send a merchant back to. Empty: any address of this machine."""
    scopes: list[str] = field(default_factory=lambda: list(SCOPES))
    webhook_url: str | None = None
    topics: list[str] = field(default_factory=lambda: list(TOPICS))
    compliance_topics: list[str] = field(default_factory=lambda: list(COMPLIANCE))
    pixel_fields: list[str] = field(default_factory=lambda: ["accountID", "endpoint"])
    """The settings that the extension's TOML declares, all of them needed."""
    custom: bool = False
    managed: bool = False
    all_orders: bool = False
    """Shopify approved ``read_all_orders``; otherwise it is never granted."""
    protected: bool = False
    """Approved for level 2 of protected customer data; otherwise those fields are null."""


class Options(Struct, kw_only=True, forbid_unknown_fields=True):
    """How the stand-in behaves."""

    api_version: str = "2026-10"
    """Of webhooks, and the newest stable."""
    throttle: bool = True
    """Points and their bucket: https://shopify.dev/docs/api/usage/limits"""
    speed: float = 1.0
    """Seconds of the stand-in's clock a second; 0: it moves only by ``clock.advance``."""
    headers: Literal["classic", "events", "both"] = "classic"
    """Which family of headers webhooks carry."""
    bulk_seconds: float = 0.0
    """How long a bulk operation takes at least, by the stand-in's clock."""
    bulk_at_once: int = 5
    bulk_order: Literal["grouped", "shuffled"] = "shuffled"
    """Of the lines of an operation that does not group its objects."""
    link_seconds: float = 7 * 86400.0
    """How long a link to a result works."""
    retries: int = 8
    retry_seconds: float = 4 * 3600.0
    """Retries of a webhook, and the time in which they happen, each pause twice the one before."""
    answer_seconds: float = 5.0
    """Real seconds that a webhook's answer may take."""
    shop_redact_seconds: float = 48 * 3600.0
    embedded: bool = False
    """The app's page is opened in a frame with an ``id_token``."""


class Call(Struct):
    """One request to Shopify. ``status`` 0: it was not answered. No header, no credential is kept."""

    n: int
    method: str
    path: str
    at: int
    status: int = 0
    name: str = ""
    """Of GraphQL: the operation, or its first field."""
    shop: str = ""


class Refusal(Exception):
    """Carries the answer of a request that goes no further."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Clock:
    """The stand-in's time, in ms; it can run fast, stand still and jump forward, never back."""

    def __init__(self, start: int | None, options: Options) -> None:
        self._options = options
        self._then = start if start is not None else round(time.time() * 1000)
        self._real, self._speed = time.monotonic(), options.speed

    def now(self) -> int:
        elapsed = time.monotonic() - self._real
        if self._speed != self._options.speed:
            self._then, self._real = self._then + round(elapsed * 1000 * self._speed), time.monotonic()
            self._speed, elapsed = self._options.speed, 0.0
        return self._then + round(elapsed * 1000 * self._speed)

    def advance(self, seconds: float) -> None:
        self._then += round(seconds * 1000)


@lru_cache(4096)
def iso(ms: int) -> str:
    """As GraphQL gives a DateTime."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(ms: int, timezone: str) -> str:
    """As REST payloads give a time: in the shop's zone, with its offset."""
    return datetime.fromtimestamp(ms // 1000, ZoneInfo(timezone)).isoformat()


def refused(status: int, errors: Any, **headers: str) -> Refusal:
    """An error as the Admin API gives it."""
    extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Refusal(Answer(status, orjson.dumps({"errors": errors}), extra))
