"""The stand-in: its shops, its app, its ASGI application. See the package's docstring for how to drive it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import orjson

from misoflow_sandbox.answers import Answer, answer
from misoflow_sandbox.protocol import Receive, Scope, Send, body_of, reset
from misoflow_sandbox.shopify import pages
from misoflow_sandbox.shopify.admin import SCHEMA, Admin, name_of
from misoflow_sandbox.shopify.bulk import BulkRule, Operations
from misoflow_sandbox.shopify.control import Control
from misoflow_sandbox.shopify.faults import Action, Faults
from misoflow_sandbox.shopify.files import send_file
from misoflow_sandbox.shopify.hooks import Hooks
from misoflow_sandbox.shopify.installing import Installs
from misoflow_sandbox.shopify.merchant import Merchant
from misoflow_sandbox.shopify.oauth import OAuth
from misoflow_sandbox.shopify.sender import Sender, post
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.shopper import Shopper
from misoflow_sandbox.shopify.state import App, Call, Clock, Options, Refusal, refused
from misoflow_sandbox.shopify.world import ShopifyWorld

MOST_CALLS = 100_000


class ShopifySandbox:
    """One stand-in: ``shops``, ``app_config``, ``options``, ``clock``, ``faults``, ``hooks``, ``installs``."""

    def __init__(
        self, world: ShopifyWorld | None = None, options: Options | None = None, app: App | None = None
    ) -> None:
        self.world = world or ShopifyWorld()
        self.options, self.app_config = options or Options(), app or App()
        self.clock = Clock(self.world.start, self.options)
        self.faults = Faults()
        self.calls: list[Call] = []
        self.url = ""
        self.hooks = Hooks(self.app_config, self.options, self.clock)
        self.shops = {spec.domain: Shop(spec, self.clock, n) for n, spec in enumerate(self.world.shops)}
        self.installs = Installs(self.app_config, self.options, self.clock, self.hooks, self.shops)
        self.oauth = OAuth(self.installs)
        self.operations = {
            domain: Operations(shop, self.hooks, self.options, SCHEMA) for domain, shop in self.shops.items()
        }
        self.sender = Sender(self.hooks, self.shops, self._look)
        self._admin = Admin(self.app_config, self.options)
        self._control = Control(self)

    def __repr__(self) -> str:
        return f"ShopifySandbox({', '.join(self.shops)})"

    def shop(self, domain: str | None = None) -> Shop:
        """A shop by its domain; the first without one. Raises KeyError."""
        return self.shops[domain or next(iter(self.shops))]

    def merchant(self, domain: str | None = None) -> Merchant:
        """Changes a shop as its merchant does."""
        return Merchant(self.shop(domain), self.hooks)

    def shopper(self, number: int = 1, domain: str | None = None, **settings: Any) -> Shopper:
        """A visitor of a shop's storefront; see ``Shopper``."""
        return Shopper(self.shop(domain), self.hooks, post, number, **settings)

    def bulk_fault(self, *rules: BulkRule, domain: str | None = None) -> None:
        """Let the next bulk operations of a shop go wrong."""
        self.operations[self.shop(domain).domain].rules += rules

    def install_url(self, domain: str | None = None) -> str:
        """Where a merchant begins: the app's page in the store."""
        return f"{self.url}/{self.shop(domain).domain}/"

    def settle(self, timeout: float = 30.0) -> None:
        """Return once every webhook that is due was sent. Raises TimeoutError."""
        self.sender.settle(timeout)

    def close(self) -> None:
        """Stop sending; remove files."""
        self.sender.stop()
        for operations in self.operations.values():
            operations.close()

    def _look(self) -> None:
        for operations in self.operations.values():
            operations.look()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = unquote(raw.partition(b"?")[0].decode("latin-1"))
        body = await body_of(receive)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if path.startswith("/_sandbox/"):
            await _send(send, await asyncio.to_thread(self._control.answer, scope["method"], path, query, body))
            return
        domain, _, rest = path[1:].partition("/")
        name = name_of(body) if rest.endswith("graphql.json") else ""
        call = Call(len(self.calls) + 1, scope["method"], path, self.clock.now(), 0, name, domain)
        if len(self.calls) < MOST_CALLS:
            self.calls.append(call)
        action = self.faults.action(call.method, path, name)
        await asyncio.sleep(action.delay)
        if action.lost == "before":
            await reset(scope, receive)
            return
        if action.status is not None or action.throttled:
            made = _scripted(action)
        elif rest.startswith("bulk/"):
            await self._file(call, rest[5:], query, headers, action, (scope, receive, send))
            return
        else:
            made = self._answer(call, rest, query, headers, body)
        if action.lost == "after":
            await reset(scope, receive)
            return
        call.status = made.status
        await _send(send, made)

    def _answer(
        self, call: Call, rest: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        shop = self.shops.get(call.shop)
        if shop is None:
            return answer(404, {"errors": "Not Found"})
        try:
            return self._route(shop, call, rest.rstrip("/").split("/"), query, headers, body)
        except Refusal as stopped:
            return stopped.answer

    def _route(
        self,
        shop: Shop,
        call: Call,
        rest: list[str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        match call.method, rest:
            case "GET", [""]:
                return pages.store(shop)
            case "GET", ["install"]:
                return self._install(shop)
            case "GET", ["admin", "apps", _]:
                return pages.admin(shop, self.oauth.app_link(shop))
            case "GET", ["admin", "oauth", "authorize"]:
                return self.oauth.authorize(shop, query, call.path)
            case "POST", ["admin", "oauth", "authorize"]:
                return self.oauth.agree(shop, dict(parse_qsl(body.decode())))
            case "POST", ["admin", "oauth", "access_token"]:
                return self.oauth.token(shop, _values(body, headers))
            case "POST", ["admin", "api", version, "graphql.json"]:
                token = headers.get("x-shopify-access-token", "")
                return self._admin.answer(shop, version, token, body, self._operations(shop))
        raise refused(404, "Not Found")

    def _install(self, shop: Shop) -> Answer:
        """The store's button. Managed: Shopify installs the app by itself, then opens it."""
        if self.app_config.managed and shop.installed_at is None:
            self.installs.install(shop.domain)
        return self.oauth.open_app(shop)

    def _operations(self, shop: Shop) -> Operations:
        found = self.operations[shop.domain]
        found.base = f"{self.url}/{shop.domain}/bulk"
        return found

    async def _file(
        self,
        call: Call,
        name: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        action: Action,
        asgi: tuple[Scope, Receive, Send],
    ) -> None:
        """A result of a bulk operation; no token is asked for, the link is signed."""
        operations = self.operations.get(call.shop)
        found = operations.file(name, query) if operations else 404
        if isinstance(found, int):
            call.status = found
            await _send(asgi[2], Answer(found, b"<Error><Code>ExpiredToken</Code></Error>", type=b"application/xml"))
            return
        call.status = await send_file(asgi, found, headers, action.cut)


def _values(body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """Of a form or of JSON. Raises Refusal."""
    if headers.get("content-type", "").startswith("application/json"):
        with contextlib.suppress(orjson.JSONDecodeError):
            found = orjson.loads(body)
            if isinstance(found, dict):
                return {str(name): str(value) for name, value in found.items()}
        raise refused(400, "the body is no JSON object")
    return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))


def _scripted(action: Action) -> Answer:
    if action.throttled:
        return answer(200, {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]})
    extra = [(name.lower().encode(), value.encode("latin-1")) for name, value in action.headers.items()]
    status = action.status or 500
    if isinstance(action.body, str):
        return Answer(status, action.body.encode(), extra, b"text/html; charset=utf-8")
    body = {"errors": f"HTTP {status}"} if action.body is None else action.body
    return Answer(status, msgspec.json.encode(body), extra)


async def _send(send: Send, given: Answer) -> None:
    await send({"type": "http.response.start", "status": given.status, "headers": given.fields()})
    await send({"type": "http.response.body", "body": given.body})
