"""A Shopify that answers what a test tells it to, behind the real HTTP client: for faults one at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import httpx
from misoflow.http import Http
from misoflow_shopify import Shopify
from misoflow_shopify.config import ShopifyConfig

SHOP = "demo-shop.myshopify.com"
SECRET = "client-secret-canary-of-forty-characters"
Answer = httpx.Response | dict[str, Any]
SCOPES = "read_products,read_inventory,read_publications,read_orders,read_customers,write_pixels,read_customer_events"


def granted(scopes: str) -> dict[str, Any]:
    """What Shopify says of scopes with commas between them."""
    handles = [{"handle": one} for one in scopes.split(",")]
    return {"currentAppInstallation": {"accessScopes": handles}}


class MemoryState:
    """The state of one instance, shared by whoever gets it; others have their turn before each access."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        await asyncio.sleep(0)
        return self.values.get(name)

    async def put(self, name: str, value: bytes | None, *, expected: bytes | None) -> bool:
        await asyncio.sleep(0)
        if self.values.get(name) != expected:
            return False
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value
        return True


class FakeShop:
    """``answers``: operation name -> function of the variables, giving ``data`` or a whole response."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Mapping[str, Any]], Answer]] = {"Scopes": lambda _: granted(SCOPES)}
        self.tokens: Callable[[Mapping[str, Any]], Answer] = self._mint
        self.files: dict[str, Callable[[httpx.Request], httpx.Response]] = {}
        self.requests: list[httpx.Request] = []
        self.minted = 0
        self.good: set[str] = set()
        self.extensions: dict[str, Any] = {}
        self.version = "2026-10"

    def _mint(self, form: Mapping[str, Any]) -> Answer:
        self.minted += 1
        self.good.add(f"access-{self.minted}")
        return {
            "access_token": f"access-{self.minted}",
            "scope": SCOPES,
            "expires_in": 3600,
            "refresh_token": f"refresh-{self.minted}",
            "refresh_token_expires_in": 90 * 86_400,
        }

    def calls(self, name: str) -> list[dict[str, Any]]:
        """The variables of each call of an operation, or the forms of the token endpoint (``"token"``)."""
        found = []
        for request in self.requests:
            if request.method != "POST":
                continue
            body = json.loads(request.content)
            if name == "token" and request.url.path.endswith("/access_token"):
                found.append(body)
            elif name != "token" and operation(body) == name:
                found.append(body["variables"])
        return found

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        found = self._answered(request)
        headers = {name: value for name, value in found.headers.items() if name != "content-length"}
        return httpx.Response(found.status_code, headers=headers, stream=httpx.ByteStream(found.content))

    def _answered(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if str(request.url) in self.files:
            return self.files[str(request.url)](request)
        body = json.loads(request.content)
        if request.url.path.endswith("/admin/oauth/access_token"):
            return _response(self.tokens(body))
        if request.headers["x-shopify-access-token"] not in self.good:
            return httpx.Response(401, json={"errors": "[API] Invalid API key or access token"})
        found = self.answers[operation(body)](body["variables"])
        if isinstance(found, dict) and not {"data", "errors"} & found.keys():
            found = {"data": found, "extensions": self.extensions}
        return _response(found, {"x-shopify-api-version": self.version})


def operation(body: Mapping[str, Any]) -> str:
    """The name of a query; "" for a form of the token endpoint."""
    head = str(body.get("query", "")).split("(")[0].split("{")[0].split()
    return head[-1] if head else ""


def _response(found: Answer, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found, headers=dict(headers or {}))


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def config(**settings: Any) -> ShopifyConfig:
    return ShopifyConfig.model_validate({"client_id": "client", "client_secret": SECRET, **settings})


def connector(fake: FakeShop, state: MemoryState | None = None, clock: Clock | None = None, **settings: Any) -> Shopify:
    """A connector of one shop, with our HTTP client over the fake."""
    made = Shopify(config(**settings))
    made.http = Http(transport=httpx.MockTransport(fake))
    made.state = state or MemoryState()
    time = clock or Clock()
    made.link.now, made.link.sleep = time.now, time.sleep
    return made


async def connected(
    fake: FakeShop, state: MemoryState | None = None, clock: Clock | None = None, **settings: Any
) -> Shopify:
    """One that has its tokens."""
    made = connector(fake, state, clock, **settings)
    grant = {"shop": SHOP, "code": "code-1", "url": "https://misoflow.example/install/shop"}
    await made.tokens.exchange(grant)  # type: ignore[attr-defined]
    fake.requests.clear()
    return made


def pairs(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query, keep_blank_values=True))
