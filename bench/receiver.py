"""The durable receiver against a bare Starlette route that only checks the HMAC, on the same server settings.

Both take the same signed 1.5 KB delivery over 64 connections from a load generator in a process of its own;
rounds are interleaved, and the median of the rounds' ratios is the figure. ``python -m bench.receiver``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from misoflow.connector import Config, Connector, Event, Request, Route
from misoflow.errors import Unauthorized
from misoflow.inbox import Inbox
from misoflow.vault import Vault
from misoflow_webhooks.metrics import Metrics
from misoflow_webhooks.protocol import Deadlines
from misoflow_webhooks.receiver import Receiver
from misoflow_webhooks.routes import Hook, Routes
from misoflow_webhooks.serve import listen, server
from misoflow_webhooks.upkeep import sweep
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route as StarletteRoute

SECRET = b"bench-secret"
CONNECTIONS = 64
GOAL = 0.6
EVENT = {
    "type": "track",
    "event": "Product Viewed",
    "messageId": "ajs-next-0123456789abcdef",
    "anonymousId": "anonymous-1",
    "properties": {"product_id": "sku-1", "name": "Shirt", "filler": "x" * 1200},
}
BODY = msgspec.json.encode(EVENT)


def signature(body: bytes) -> str:
    return hmac.new(SECRET, body, hashlib.sha256).hexdigest()


class BenchConnector(Connector[Config]):
    """Checks one HMAC, as the bare route does."""

    routes = (Route(),)

    def verify(self, request: Request) -> None:
        if not hmac.compare_digest(signature(request.body).encode(), request.header("x-signature").encode()):
            raise Unauthorized("wrong signature")

    def translate(self, event: Event) -> Iterator[Any]:
        """Not part of this benchmark."""
        yield from ()


async def bare(request: StarletteRequest) -> JSONResponse:
    """The floor: a route that only verifies."""
    body = await request.body()
    if not hmac.compare_digest(signature(body).encode(), request.headers["x-signature"].encode()):
        return JSONResponse({"success": False}, status_code=401)
    return JSONResponse({"success": True})


async def serve(kind: str) -> None:
    """One of the two servers, on a free port that is printed; ends with its standard input."""
    listener = listen("127.0.0.1", 0)
    inbox = None
    stack = contextlib.AsyncExitStack()
    if kind == "bare":
        app: Any = Starlette(routes=[StarletteRoute("/hooks/web", bare, methods=["POST"])])
    else:
        folder = Path(tempfile.mkdtemp(prefix="misoflow-bench-"))
        stack.callback(shutil.rmtree, folder)
        inbox = Inbox.open(folder, Vault(b"k" * 32), 8 * 1024**3)
        stack.push_async_callback(inbox.close)
        metrics = Metrics()
        inbox.watch_commits(metrics.committed)
        app = Receiver(Routes([Hook("web", BenchConnector(Config()))]), inbox, metrics)
    async with stack:
        one = server(app, 15)
        chores = []
        if kind == "bare":
            one.config = uvicorn.Config(
                app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, backlog=2048
            )
        if inbox is not None:
            chores.append(asyncio.create_task(sweep(one.server_state.connections, Deadlines(), inbox)))
        task = asyncio.create_task(one.serve(sockets=[listener]))
        await one.up.wait()
        print(listener.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        one.should_exit = True
        await task
        for chore in chores:
            chore.cancel()


class Client(asyncio.Protocol):
    """One connection that sends the next request as soon as it has the answer."""

    def __init__(self, request: bytes, seconds: list[float]) -> None:
        self._request = request
        self._seconds = seconds
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.endswith(b"}"):
            if not self._buffer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(self._buffer.decode())
            self._buffer = b""
            self._seconds.append(time.perf_counter() - self._sent)
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def load(port: int, seconds: float) -> dict[str, float]:
    """Requests/s and the 99th percentile in ms."""
    head = (
        f"POST /hooks/web HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"user-agent: bench\r\nx-signature: {signature(BODY)}\r\ncontent-length: {len(BODY)}\r\n\r\n"
    )
    times: list[float] = []
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = [
        await loop.create_connection(lambda: Client(head.encode() + BODY, times), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(seconds)
    rate = len(times) / (time.perf_counter() - started)
    for transport, _ in clients:
        transport.abort()
    return {"rate": rate, "p99_ms": statistics.quantiles(times, n=100)[98] * 1000}


def _child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.receiver", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _measure(port: str, seconds: float) -> dict[str, float]:
    text, _ = _child("--load", port, "--seconds", str(seconds)).communicate()
    result: dict[str, float] = msgspec.json.decode(text)
    return result


def compare(rounds: int, seconds: float) -> float:
    """Print each round and the medians; the median ratio."""
    servers = {kind: _child("--serve", kind) for kind in ("bare", "durable")}
    ratios, rates = [], {"bare": [0.0], "durable": [0.0]}
    try:
        ports = {kind: child.stdout.readline().strip() for kind, child in servers.items() if child.stdout}
        for port in ports.values():
            _measure(port, 0.5)
        rates = {"bare": [], "durable": []}
        for number in range(rounds):
            order = ("bare", "durable") if number % 2 == 0 else ("durable", "bare")
            found = {kind: _measure(ports[kind], seconds) for kind in order}
            ratios.append(found["durable"]["rate"] / found["bare"]["rate"])
            for kind, figures in found.items():
                rates[kind].append(figures["rate"])
            print(
                f"round {number + 1}: bare {found['bare']['rate']:,.0f}/s p99 {found['bare']['p99_ms']:.1f} ms"
                f" · durable {found['durable']['rate']:,.0f}/s p99 {found['durable']['p99_ms']:.1f} ms"
                f" · ratio {ratios[-1]:.2f}"
            )
    finally:
        for child in servers.values():
            child.communicate()
    ratio = statistics.median(ratios)
    print(
        f"receiver: {statistics.median(rates['durable']):,.0f}/s durable,"
        f" {statistics.median(rates['bare']):,.0f}/s bare route, ratio {ratio:.2f} (goal {GOAL})"
    )
    return ratio


def main() -> int:
    """Exit code 0 when the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--serve", choices=["bare", "durable"])
    parser.add_argument("--load", type=int)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return 0
    if options.load:
        print(msgspec.json.encode(uvloop.run(load(options.load, options.seconds))).decode())
        return 0
    return 0 if compare(options.rounds, options.seconds) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
