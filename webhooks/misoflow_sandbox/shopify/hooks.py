"""Webhooks: who gets one, what is on it, and when it is sent again.

https://shopify.dev/docs/apps/build/webhooks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import threading
import uuid
from typing import Any

from msgspec import Struct, field

from misoflow_sandbox.shopify.shop import Shop, Subscription
from misoflow_sandbox.shopify.state import COMPLIANCE, App, Clock, Options, iso

FAILURES = 8
"""A shop's own subscription is deleted after so many attempts in a row that failed.
https://shopify.dev/docs/apps/build/webhooks/troubleshooting-webhooks"""
TOPIC_SCOPES = {
    **dict.fromkeys(("orders", "refunds", "carts", "checkouts"), "read_orders"),
    **dict.fromkeys(("products", "collections"), "read_products"),
    "inventory_levels": "read_inventory",
    "customers": "read_customers",
}
"""First part of a topic -> the scope without which an app does not hear of it."""
ESCAPED = {"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"}
"""As Rails writes JSON."""


class HookRule(Struct, forbid_unknown_fields=True, kw_only=True):
    """What happens to deliveries of a topic (a prefix) and shop: the first ``after`` are spared, then ``times`` meet it
    (-1: all), each with the probability ``share`` by ``seed``.

    ``drop``: never sent. ``delay``: sent so many seconds late. ``shuffle``: up to so many seconds late, at random.
    ``copies``: sent so many times more. ``twice``: the answer of the first attempt is not heard, so it is sent again.
    ``secret``: signed with this one.
    """

    topic: str = ""
    shop: str | None = None
    drop: bool = False
    delay: float = 0.0
    shuffle: float = 0.0
    copies: int = 0
    twice: bool = False
    secret: str | None = None
    times: int = 1
    after: int = 0
    share: float = 1.0
    seed: int = 1
    fired: int = 0
    seen: int = 0

    def takes(self, shop: str, topic: str) -> bool:
        """Whether it is the turn of this delivery; counts it."""
        if not topic.startswith(self.topic) or self.shop not in (None, shop):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times >= 0 and self.fired >= self.times):
            return False
        if self.share < 1 and self.dice() >= self.share:
            return False
        self.fired += 1
        return True

    def dice(self) -> float:
        return random.Random(f"{self.seed}/{self.seen}").random()  # noqa: S311


class Delivery(Struct, kw_only=True):
    """One webhook to one address. ``statuses``: of its attempts; 0 is a lost connection or no answer in time.

    ``state``: waiting, delivered, failed (all attempts) or dropped (by a rule).
    """

    n: int
    webhook_id: str
    event_id: str
    shop: str
    topic: str
    uri: str
    version: str
    body: bytes
    triggered_at: int
    due: int
    subscription: int | None = None
    statuses: list[int] = field(default_factory=list)
    state: str = "waiting"
    twice: bool = False
    secret: str | None = None


class Hooks:
    """Makes deliveries of what happens, and decides after each attempt."""

    def __init__(self, app: App, options: Options, clock: Clock) -> None:
        self.app, self.options, self.clock = app, options, clock
        self.rules: list[HookRule] = []
        self.deliveries: list[Delivery] = []
        self._events = 0
        self._lock = threading.Lock()

    def event(self, shop: Shop) -> str:
        """The id of one thing that a merchant or shopper did; all its webhooks carry it."""
        with self._lock:
            self._events += 1
            number = self._events
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"event/{shop.domain}/{number}"))

    def tell(self, shop: Shop, event: str, topic: str, body: dict[str, Any], after: float = 0.0) -> None:
        """Queue the webhooks of a topic. ``after``: seconds until they are sent."""
        for uri, version, subscription in self._receivers(shop, topic):
            fields = subscription.include_fields if subscription else []
            shown = {name: value for name, value in body.items() if name in fields} if fields else body
            with self._lock:
                self._queue(shop, event, topic, encoded(shown), after, uri, version, subscription)

    def _receivers(self, shop: Shop, topic: str) -> list[tuple[str, str, Subscription | None]]:
        """Address, version and subscription. An app hears of a shop while it is installed, compliance aside."""
        app, found = self.app, list[tuple[str, str, Subscription | None]]()
        topics = app.compliance_topics if topic in COMPLIANCE else app.topics
        if app.webhook_url and topic in topics and self._hears(shop, topic):
            found.append((app.webhook_url, self.options.api_version, None))
        own = [one for one in list(shop.subscriptions.values()) if one.topic == topic]
        return found + [(one.uri, one.api_version, one) for one in own]

    def _hears(self, shop: Shop, topic: str) -> bool:
        """Whether an app with these topics in its TOML gets this one of this shop."""
        if topic in COMPLIANCE:
            return True
        scope = TOPIC_SCOPES.get(topic.partition("/")[0])
        granted = scope is None or scope in shop.scopes or scope.replace("read_", "write_") in shop.scopes
        return shop.installed_at is not None and granted

    def _queue(
        self,
        shop: Shop,
        event: str,
        topic: str,
        body: bytes,
        after: float,
        uri: str,
        version: str,
        subscription: Subscription | None,
    ) -> None:
        n, now = len(self.deliveries) + 1, self.clock.now()
        made = Delivery(
            n=n,
            webhook_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"webhook/{shop.domain}/{n}")),
            event_id=event,
            shop=shop.domain,
            topic=topic,
            uri=uri,
            version=version,
            body=body,
            triggered_at=now,
            due=now + round(after * 1000),
            subscription=None if subscription is None else subscription.id,
        )
        self.deliveries.append(made)
        for rule in self.rules:
            if rule.takes(shop.domain, topic):
                self._spoil(made, rule)

    def _spoil(self, made: Delivery, rule: HookRule) -> None:
        made.due += round((rule.delay + rule.shuffle * rule.dice()) * 1000)
        made.twice, made.secret = made.twice or rule.twice, rule.secret or made.secret
        if rule.drop:
            made.state = "dropped"
        for _ in range(rule.copies):
            copy = Delivery(**{name: getattr(made, name) for name in Delivery.__struct_fields__})
            copy.n, copy.statuses = len(self.deliveries) + 1, []
            self.deliveries.append(copy)

    def headers(self, given: Delivery) -> dict[str, str]:
        """Signed with the oldest secret that is not revoked.
        https://shopify.dev/docs/apps/build/authentication-authorization/client-secrets/rotate-revoke-client-credentials
        """
        secret = given.secret or self.app.secrets[-1]
        digest = hmac.digest(secret.encode(), given.body, hashlib.sha256)
        values = {
            "topic": given.topic,
            "hmac-sha256": base64.b64encode(digest).decode(),
            "shop-domain": given.shop,
            "api-version": given.version,
            "webhook-id": given.webhook_id,
            "event-id": given.event_id,
            "triggered-at": iso(given.triggered_at)[:-1] + ".000000000Z",
        }
        if self.options.headers != "classic":
            values |= self._of_events(given)
        prefixes = {"classic": ("X-Shopify-",), "events": ("shopify-",), "both": ("X-Shopify-", "shopify-")}
        found = {"Content-Type": "application/json", "User-Agent": "Shopify-Captain-Hook"}
        for prefix in prefixes[self.options.headers]:
            found |= {prefix + (name.title() if prefix[0] == "X" else name): value for name, value in values.items()}
        return found

    def _of_events(self, given: Delivery) -> dict[str, str]:
        """What the newer family adds: https://shopify.dev/docs/apps/build/events-webhooks"""
        subject, _, action = given.topic.partition("/")
        resource = json.loads(given.body).get("id")
        return {"handle": subject, "action": action, "resource-id": str(resource or "")}

    def settle(self, given: Delivery, status: int, shops: dict[str, Shop]) -> None:
        """Take the answer of an attempt: success is any 2xx, otherwise it is sent again, or was the last."""
        given.statuses.append(status)
        good = 200 <= status < 300 and not given.twice
        given.twice = False
        if good:
            given.state = "delivered"
        elif len(given.statuses) > self.options.retries:
            given.state = "failed"
        else:
            given.due = self.clock.now() + round(self._pause(len(given.statuses)) * 1000)
        self._count(given, shops.get(given.shop), good=good)

    def _pause(self, attempts: int) -> float:
        """Seconds: https://shopify.dev/changelog/updates-to-webhook-retry-mechanism"""
        unit: float = self.options.retry_seconds / (2**self.options.retries - 1)
        return unit * float(2 ** (attempts - 1))

    def _count(self, given: Delivery, shop: Shop | None, *, good: bool) -> None:
        subscription = shop.subscriptions.get(given.subscription or 0) if shop else None
        if subscription is None or shop is None:
            return
        subscription.failures = 0 if good else subscription.failures + 1
        if subscription.failures >= FAILURES:
            shop.subscriptions.pop(subscription.id, None)


def encoded(body: dict[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    for character, escape in ESCAPED.items():
        text = text.replace(character, escape)
    return text.encode()
