"""A real receiver on free ports, with connectors that do what the test's headers ask for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import misoflow_webhooks.routes
import misoflow_webhooks.serve
import pytest
import uvloop
from misoflow.connector import Config, Connector, Event, Request, Route
from misoflow.errors import ConfigError, Halt, Reject, Retry, Unauthorized, Unwanted
from misoflow.inbox import Delivery, InboxReader
from misoflow.vault import Vault
from misoflow_webhooks.protocol import Deadlines
from standardwebhooks import Webhook

SECRET = b"a-secret-of-the-tests"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KIB = 1024


def sign(body: bytes) -> str:
    return hmac.new(SECRET, body, hashlib.sha256).hexdigest()


class Fake(Connector[Config]):
    """HMAC-SHA256 in x-signature; the header x-do names an error to raise."""

    routes = (
        Route(max_body=64 * KIB, max_inflated=256 * KIB, keep=("x-topic",)),
        Route("pixel/*", channel="pixel", signed=False, max_body=64 * KIB, max_inflated=256 * KIB, cors=True),
        Route("image", signed=False, methods=("GET", "POST"), cors=True),
    )

    def verify(self, request: Request) -> None:
        errors: dict[str, Exception] = {
            "reject": Reject("the batch needs a second factor"),
            "retry": Retry(),
            "halt": Halt("no", "fix"),
            "oserror": PermissionError("secret file"),
            "bug": ZeroDivisionError(),
        }
        if request.header("x-do") in errors:
            raise errors[request.header("x-do")]
        if request.channel != "pixel" and request.method != "GET":
            sent = request.header("x-signature").encode("latin-1")
            if not hmac.compare_digest(sign(request.body).encode(), sent):
                raise Unauthorized("wrong signature")

    def answer(self, request: Request) -> Any:
        if request.header("x-answer") == "bug":
            raise ValueError
        return {"success": True, "bytes": len(request.body)}

    def tenant(self, request: Request) -> str:
        return request.header("x-tenant")

    def translate(self, event: Event) -> Iterable[Any]:
        return []


class Plain(Connector[Config]):
    """Takes everything that has the right signature, and leaves the answer as it is."""

    def verify(self, request: Request) -> None:
        sent = request.header("x-signature").encode("latin-1")
        if not hmac.compare_digest(sign(request.body).encode(), sent):
            raise Unauthorized("wrong signature")

    def translate(self, event: Event) -> Iterable[Any]:
        return []


class Broken(Connector[Config]):
    """Cannot start."""

    def __init__(self, config: Config) -> None:
        raise RuntimeError("a setting that must not be shown")

    def translate(self, event: Event) -> Iterable[Any]:
        return []


class Standard(Connector[Config]):
    """Standard Webhooks by its reference library, used as an author might: whatever it raises comes out."""

    def verify(self, request: Request) -> None:
        Webhook(STANDARD_SECRET).verify(request.body, dict(request.headers))

    def translate(self, event: Event) -> Iterable[Any]:
        return []


class Base64(Connector[Config]):
    """As Shopify and WooCommerce sign: base64 of HMAC-SHA256 over the raw body."""

    def verify(self, request: Request) -> None:
        wanted = base64.b64encode(hmac.digest(SECRET, request.body, "sha256"))
        if not hmac.compare_digest(wanted, request.header("x-signature").encode("latin-1")):
            raise Unauthorized("wrong signature")

    def translate(self, event: Event) -> Iterable[Any]:
        return []


class Pixel(Fake):
    """A public channel whose deliveries may be unwanted, beside one that answers 202."""

    routes = (
        Route("pixel/*", channel="pixel", signed=False, cors=True, status=204, per_second=3.0, per_address=2.0),
        Route("later", status=202),
    )

    def verify(self, request: Request) -> None:
        if request.header("x-unwanted"):
            raise Unwanted(request.header("x-unwanted"))
        super().verify(request)


CONNECTORS: dict[str, type[Connector[Any]]] = {
    "fake": Fake,
    "plain": Plain,
    "broken": Broken,
    "standard": Standard,
    "base64": Base64,
    "pixel": Pixel,
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running receiver and how to talk to it."""

    data: Path
    settings: Any
    vault: Vault
    port: int = 0
    admin_port: int = 0
    stop: Callable[[], None] = field(default=lambda: None)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        """A genuinely signed delivery; header names are given with underscores."""
        sent = {"x-signature": sign(body), "content-type": "application/json"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.request("POST", path, body, sent)

    def raw(self, data: bytes, timeout: float = 10) -> bytes:
        """Send bytes as they are; all that comes back until the server closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            return read_all(connection, 0.5)

    def raw_once(self, data: bytes) -> bytes:
        """Send one request as it is; what comes back up to the end of the first JSON answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(data)
            received = b""
            while not received.endswith(b"}"):
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
            return received

    def admin(self, path: str) -> Answer:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=15) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def stored(self) -> list[Delivery]:
        reader = InboxReader(self.data, self.vault)
        try:
            return reader.read(0, 100_000, 1 << 40)
        finally:
            reader.close()


def read_all(connection: socket.socket, quiet: float) -> bytes:
    connection.settimeout(quiet)
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return received


Start = Callable[..., Server]


def instance(connector: str, origins: tuple[str, ...] = (), per_second: float | None = None) -> Any:
    limits = SimpleNamespace(per_second=per_second)
    return SimpleNamespace(connector=connector, config=Config(), origins=origins, limits=limits)


def make_settings(data: Path, *, proxies: tuple[str, ...] = (), public_url: str | None = None, **instances: Any) -> Any:
    """As much of Settings as the receiver looks at."""
    known = instances or {
        "web": instance("fake"),
        "plain": instance("plain"),
        "slow": instance("plain", per_second=0.001),
        "listed": instance("fake", ("https://shop.example",)),
        "bad": instance("broken"),
        "standard": instance("standard"),
        "base64": instance("base64"),
        "shop": instance("pixel"),
    }
    engine = SimpleNamespace(
        key="k" * 40,
        old_key=None,
        inbox_max_bytes=1 << 30,
        retention_days=7,
        trusted_proxies=proxies,
        public_url=public_url,
    )
    return SimpleNamespace(
        path=data.parent / "plugins.toml",
        data=data,
        engine=engine,
        instances=known,
        broken={"unset": ConfigError("instances.unset", "no such variable")},
        miso={},
    )


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts receivers; each is stopped at the end of the test."""
    monkeypatch.setattr(misoflow_webhooks.routes, "load_connector", lambda name, *_: CONNECTORS[name])
    running: list[Server] = []

    def launch(settings: Any = None, **options: Any) -> Server:
        settings = settings or make_settings(tmp_path / "var")
        server = _launch(settings, **options)
        running.append(server)
        return server

    yield launch
    for server in running:
        server.stop()


def _launch(settings: Any, deadlines: Deadlines | None = None) -> Server:
    server = Server(settings.data, settings, Vault.from_settings(settings))
    loop = uvloop.new_event_loop()
    stop = asyncio.Event()
    up = threading.Event()
    failure: list[BaseException] = []

    def ready(public: str, admin: str) -> None:
        server.port, server.admin_port = (int(url.rpartition(":")[2]) for url in (public, admin))
        up.set()

    def work() -> None:
        try:
            loop.run_until_complete(
                misoflow_webhooks.serve.serve(
                    settings,
                    host="127.0.0.1",
                    port=0,
                    admin_port=0,
                    ready=ready,
                    deadlines=deadlines or Deadlines(),
                    stop=stop,
                )
            )
        except BaseException as error:
            failure.append(error)
        finally:
            up.set()
            loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def end() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()

    server.stop = end
    assert up.wait(20)
    if failure:
        raise failure[0]
    return server


@pytest.fixture
def server(start: Start) -> Server:
    """One receiver with the usual instances."""
    return start()


@pytest.fixture
def only_plain(tmp_path: Path, start: Start) -> Server:
    """A receiver whose routes all take POST only."""
    return start(make_settings(tmp_path / "plain", web=instance("plain")))
