"""Segment's own Python library delivers to ``misoflow run``, over a network that loses requests and answers.

https://segment.com/docs/connections/sources/catalog/libraries/server/python/
"""

from __future__ import annotations

import http.server
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from segment.analytics.client import Client

from tests.harness.world import World
from tests.real.expected import SESSION, check, instance, of_user, settled

if TYPE_CHECKING:
    from tests.conftest import StartWorld

EVENTS = 250


@pytest.fixture(scope="module")
def world(live: StartWorld) -> World:
    names = ("python", "zipped", "lossy", "restart")
    return live("".join(instance(name) for name in names))


def client(host: str, name: str, **options: Any) -> tuple[Client, list[Any]]:
    """The library with a write key, and the list of errors it reports."""
    errors: list[Any] = []
    made = Client(
        f"key-{name}",
        host=f"{host}/hooks/{name}",
        on_error=lambda error, items: errors.append((error, len(items))),
        upload_interval=0.05,
        **options,
    )
    return made, errors


def play(one: Client, user: str, anonymous: str) -> None:
    """The shop session of session.json."""
    for call, fields in ((step["call"], {k: v for k, v in step.items() if k != "call"}) for step in SESSION):
        match call:
            case "alias":
                one.alias(anonymous, user)
            case "group":
                one.group(user, fields["groupId"], fields["traits"], anonymous_id=anonymous)
            case "identify":
                one.identify(user, fields["traits"], anonymous_id=anonymous)
            case "page":
                one.page(user, None, fields["name"], fields["properties"], anonymous_id=anonymous)
            case _:
                one.track(user, fields["event"], fields["properties"], anonymous_id=anonymous)


def browse(one: Client, name: str) -> None:
    """EVENTS product views, each of a product of its own."""
    for number in range(EVENTS):
        one.track(None, "Product Viewed", {"product_id": f"{name}-{number}"}, anonymous_id=f"{name}-visitor")


def check_browsed(world: World, name: str) -> dict[str, int]:
    """Each view arrived exactly once; returns the counts."""
    counts = settled(world, name, EVENTS)
    views = [one["product_ids"] for one in of_user(world, "", f"{name}-visitor")]
    assert sorted(views) == sorted([f"{name}-{number}"] for number in range(EVENTS))
    assert (counts["accepted"], counts["delivered"], counts["dead"]) == (EVENTS, EVENTS, 0)
    return counts


@pytest.mark.parametrize(("name", "zipped"), [("python", False), ("zipped", True)])
def test_a_shop_session(world: World, name: str, zipped: bool) -> None:
    one, errors = client(world.hooks, name, gzip=zipped, upload_size=4)
    play(one, f"{name}-user", f"{name}-anonymous")
    one.shutdown()
    assert errors == []
    check(world, name, f"{name}-user", f"{name}-anonymous")


class Lossy:
    """A proxy before the receiver: of every three requests it refuses one, loses one's answer, passes one on."""

    def __init__(self, target: str) -> None:
        self.requests = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                proxy.requests += 1
                number = proxy.requests
                if number % 3 != 1:
                    request = urllib.request.Request(f"{target}{self.path}", body, dict(self.headers.items()))
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        assert answer.status == 200
                if number % 3 == 2:
                    self.connection.close()
                    return
                self.send_response(503 if number % 3 == 1 else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def lossy(world: World) -> Iterator[Lossy]:
    proxy = Lossy(world.hooks)
    yield proxy
    proxy.close()


def test_lost_requests_and_lost_answers(world: World, lossy: Lossy) -> None:
    one, errors = client(lossy.url, "lossy", gzip=True)
    browse(one, "lossy")
    one.shutdown()
    assert errors == []
    counts = check_browsed(world, "lossy")
    assert lossy.requests >= 6
    assert counts["duplicates"] > 0


def test_a_restart_in_between(world: World) -> None:
    one, errors = client(world.hooks, "restart", upload_size=20)
    assert world.kill("run", signal.SIGTERM) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(world.hooks, timeout=5)
    browse(one, "restart")
    time.sleep(0.3)  # the library has met a closed port by now
    world.start("run")
    one.shutdown()
    assert errors == []
    check_browsed(world, "restart")
