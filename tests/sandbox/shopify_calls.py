"""What the tests of Shopify's stand-in call it with: an app that has a token, and a receiver of webhooks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from misoflow_sandbox.shopify import ShopifySandbox

CLIENT = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
START = 1_790_000_000_000
"""2026-09-21."""


class AppClient:
    """The app in one shop, with a token that lasts."""

    def __init__(self, sandbox: ShopifySandbox, domain: str | None = None, scopes: list[str] | None = None) -> None:
        self.sandbox = sandbox
        self.shop = sandbox.installs.install(sandbox.shop(domain).domain, scopes)
        self.token = self.shop.tokens.mint(self.shop.scopes, "sandbox-secret", None).token
        self.http = httpx.Client(base_url=f"{sandbox.url}/{self.shop.domain}", timeout=30)

    def raw(self, query: str, variables: dict[str, Any] | None = None, version: str = "2026-10") -> httpx.Response:
        headers = {"X-Shopify-Access-Token": self.token}
        body = {"query": query, "variables": variables or {}}
        return self.http.post(f"/admin/api/{version}/graphql.json", json=body, headers=headers)

    def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        body: dict[str, Any] = self.raw(query, variables).json()
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    def pages(self, field: str, arguments: str, selection: str) -> list[dict[str, Any]]:
        """All nodes of a root connection, page by page."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            query = (
                f"query($after: String) {{ {field}({arguments} after: $after) "
                f"{{ nodes {{ {selection} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            )
            page = self(query, after=after)[field]
            found += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]


class Received:
    """Webhooks as they arrived: (lower-case headers, body). ``status`` is answered."""

    def __init__(self) -> None:
        self.all: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.url = ""

    def topics(self) -> list[str]:
        return sorted(headers["x-shopify-topic"] for headers, _ in self.all)

    def bodies(self, topic: str) -> list[bytes]:
        return [body for headers, body in self.all if headers["x-shopify-topic"] == topic]


@contextlib.contextmanager
def receiver() -> Iterator[Received]:
    """A receiver of webhooks and pixel events on this machine."""
    found = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.all.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
