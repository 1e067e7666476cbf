"""Shopify's GraphQL Admin API: cost budget, throttling, and what each answer means.

https://shopify.dev/docs/api/usage/limits, https://shopify.dev/docs/api/usage/response-codes
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

import msgspec
from misoflow import Halt, Reject, Retry

from misoflow_shopify.config import LOOPBACK
from misoflow_shopify.domains import base_url, is_shop
from misoflow_shopify.link import Link
from misoflow_shopify.tokens import TokenProvider

log = logging.getLogger("misoflow.shopify")

Json = dict[str, Any]
PATIENCE = 60.0
"""Seconds that one query may wait for its cost; longer waits are the engine's."""
SECURITY_WAIT = 60.0
DEFAULT_WAIT = 2.0
LONGEST_WAIT = 3600.0
CLOSED = (402, 423)
SCOPES = "grant the app what it asks for in the shop's admin, or request protected customer data in the Dev Dashboard"


class TooCostly(Reject):
    """One query costs more than any may: ask for smaller pages."""


class Denied(Reject):
    """A scope or an approval is missing for all that was asked."""


class Bucket:
    """The shop's budget of query cost, as its last answer told. One a connector: one shop never waits for another."""

    def __init__(self) -> None:
        self._available = 0.0
        self._most = 0.0
        self._rate = 0.0
        self._at = 0.0
        self._costs: dict[str, float] = {}

    def wait(self, text: str, now: float) -> float:
        """Seconds until there is room for this query, as far as is known; what it costs is set aside."""
        cost = self._costs.get(text, 0.0)
        if not self._rate or not cost:
            return 0.0
        cost = min(cost, self._most)
        there = min(self._most, self._available + (now - self._at) * self._rate)
        wait = max(0.0, (cost - there) / self._rate)
        self._available, self._at = there - cost, now
        return wait

    def learn(self, text: str, answer: Json, now: float) -> float:
        """Take in ``extensions.cost``; seconds until the query would fit."""
        cost = (answer.get("extensions") or {}).get("cost") or {}
        status = cost.get("throttleStatus") or {}
        rate, asked = _number(status.get("restoreRate")), _number(cost.get("requestedQueryCost"))
        if not rate:
            return DEFAULT_WAIT
        self._rate, self._at = rate, now
        self._available = _number(status.get("currentlyAvailable"))
        self._most = _number(status.get("maximumAvailable"))
        if asked:
            self._costs[text] = asked
        return max(0.0, (asked - self._available) / rate)


class Admin:
    """Queries to one shop."""

    def __init__(self, link: Link, tokens: TokenProvider) -> None:
        self._link = link
        self._tokens = tokens
        self._bucket = Bucket()
        self._shop = ""
        self.answered = ""
        """The version that answered, where it is another one than was asked for."""

    async def shop(self) -> str:
        """The shop's domain. Halt before the install."""
        shop = self._link.config.shop or self._shop  # an instance is of one shop for ever
        if not shop:
            saved = await self._link.remembered("tokens", dict[str, Any])
            shop = "" if saved is None else saved.get("shop", "")
        if not is_shop(shop):
            raise Halt("the shop is not connected", "open the app in the shop's admin")
        self._shop = shop
        return shop

    async def query(self, text: str, variables: Json | None = None, *, patience: float = PATIENCE) -> Json:
        """The ``data`` of the answer; parts that a scope is missing for are null in it.

        Raises Retry (also with the wait that would be longer than ``patience``), Halt, TooCostly, Denied, Reject.
        """
        shop, left, refused = await self.shop(), patience, ""
        wait = self._bucket.wait(text, self._link.now())
        while True:
            left = await self._pause(wait, left)
            token = await self._tokens.token(refused)
            status, headers, body = await self._post(shop, token, text, variables)
            if status == 401:
                if refused:
                    raise Halt("Shopify refuses the access token", "open the app in the shop's admin once more")
                refused, wait = token, 0.0
                continue
            if status == 429:
                wait = _asked(headers.get("retry-after", ""))
                continue
            if status != 200:
                raise _failed(status, shop)
            self._look_at_version(headers.get("x-shopify-api-version", ""))
            fits = self._bucket.learn(text, body, self._link.now())
            codes = _codes(body)
            if "THROTTLED" not in codes:
                return _data(body, codes)
            wait = max(fits, 0.1) + secrets.randbelow(500) / 1000

    async def _pause(self, wait: float, left: float) -> float:
        if wait <= 0:
            return left
        if wait > left:
            raise Retry("Shopify's budget of query cost is used up", wait)
        await self._link.sleep(wait)
        return left - wait

    async def _post(self, shop: str, token: str, text: str, variables: Json | None) -> tuple[int, Any, Json]:
        config, asked_at = self._link.config, self._link.now()
        answer = await self._link.http.post(
            f"{base_url(config, shop)}/admin/api/{config.api_version}/graphql.json",
            content=msgspec.json.encode({"query": text, "variables": variables or {}}),
            headers={"X-Shopify-Access-Token": token, "Content-Type": "application/json"},
            classify=False,
        )
        self._link.heard(answer.headers.get("date", ""), asked_at)
        body = answer.json() if answer.status == 200 else {}
        if not isinstance(body, dict):
            raise Retry("Shopify's answer is no object")
        return answer.status, answer.headers, body

    def _look_at_version(self, answered: str) -> None:
        """Shopify answers by the oldest version it still has where ours is gone: https://shopify.dev/docs/api/usage/versioning"""
        asked = self._link.config.api_version
        if answered in ("", asked):
            self.answered = ""
        elif answered != self.answered:
            self.answered = answered
            log.warning(
                "Shopify answers by API version %s, asked was %s; set api_version to a newer one", answered, asked
            )


def may_download(link: Link, shop: str, url: str) -> bool:
    """Whether a file of a bulk operation may be read there: Google's storage, or the host of ``api_url``."""
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return False
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    if link.config.api_url is not None:
        ours, _, base = base_url(link.config, shop).partition("://")
        return (scheme, host) == (ours, base.partition("/")[0]) and (scheme == "https" or _name(host) in LOOPBACK)
    # https://shopify.dev/docs/api/usage/bulk-operations/queries: signed links of Google Cloud Storage
    return scheme == "https" and (host == "storage.googleapis.com" or _bucket(host))


def _bucket(host: str) -> bool:
    name, dot, rest = host.partition(".storage.googleapis.com")
    return bool(name and dot) and not rest and all(char.isalnum() or char in "-._" for char in name)


def _name(host: str) -> str:
    return host.rpartition(":")[0].strip("[]") or host


def _failed(status: int, shop: str) -> Exception:
    if status in CLOSED:
        return Halt("Shopify has frozen or locked the shop", "the shop's owner settles that with Shopify")
    if status == 403:
        return Halt("Shopify denies access to the shop", SCOPES)
    if status == 404:
        return Halt(f"there is no shop {shop} any more, or it has no such API version", "check api_version")
    if status == 430:
        return Retry("Shopify takes our calls for an attack", SECURITY_WAIT)
    if status >= 500 or status in (408, 425):
        return Retry(f"Shopify answered {status}")
    return Reject(f"Shopify answered {status}")


def _codes(body: Json) -> set[str]:
    errors = body.get("errors") or []
    if not isinstance(errors, list):
        return {"UNKNOWN"}
    return {str((one.get("extensions") or {}).get("code") or "UNKNOWN") for one in errors if isinstance(one, dict)}


def _data(body: Json, codes: set[str]) -> Json:
    data = body.get("data")
    some = isinstance(data, dict) and any(value is not None for value in data.values())
    if not codes or (codes == {"ACCESS_DENIED"} and some):
        if not isinstance(data, dict):
            raise Retry("Shopify's answer holds no data")
        return data
    if "MAX_COST_EXCEEDED" in codes:
        raise TooCostly("the query costs more than Shopify allows")
    if "SHOP_INACTIVE" in codes:
        raise Halt("the shop is inactive at Shopify", "the shop's owner settles that with Shopify")
    if codes & {"INTERNAL_SERVER_ERROR", "TIMEOUT"}:
        raise Retry("Shopify had an error of its own")
    if "ACCESS_DENIED" in codes:
        raise Denied("Shopify denies access: a scope or an approval is missing")
    raise Reject(f"Shopify refuses the query ({', '.join(sorted(codes))})")


def _asked(header: str) -> float:
    try:
        wait = float(header)
    except ValueError:
        return DEFAULT_WAIT
    return wait if 0 < wait <= LONGEST_WAIT else DEFAULT_WAIT


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
