"""Running the sandbox: in this process, in a thread of it, or as a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import uvicorn

from misoflow_sandbox.protocol import ResetProtocol
from misoflow_sandbox.state import Options

STOP_SECONDS = 5
KEEP_ALIVE_SECONDS = 75


class Sandbox(Protocol):
    """Anything with an ASGI application."""

    @property
    def app(self) -> Any: ...


class _Server(uvicorn.Server):
    """Says at which URL it takes requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _server(
    sandbox: Sandbox, host: str, port: int, ready: Callable[[str], None], *, date_header: bool = True
) -> _Server:
    config = uvicorn.Config(
        sandbox.app,
        host=host,
        port=port,
        interface="asgi3",
        proxy_headers=False,
        http=ResetProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
        date_header=date_header,
    )
    return _Server(config, ready)


def run(
    host: str = "127.0.0.1",
    port: int = 8600,
    api_key: str = "sandbox",
    schema: Path | None = None,
    store_wire: bool = False,
    *,
    keep: bool = True,
    task_delay: float = 0.0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until stopped. Prints ``ready http://127.0.0.1:PORT`` once it takes requests; port 0 is a free one.

    ``ready`` takes the URL instead of the print.

    ``schema``, ``store_wire``, ``keep`` and ``task_delay``: see ``MisoSandbox`` and ``Options``.
    Raises OSError, ValueError or KeyError when the schema cannot be used, SystemExit when the port is taken.
    """
    from misoflow_sandbox.miso import MisoSandbox

    options = Options(store_wire=store_wire, keep=keep, task_delay=task_delay)
    sandbox = MisoSandbox(api_key, schema, options)
    with contextlib.suppress(KeyboardInterrupt):
        _server(sandbox, host, port, ready or (lambda url: print(f"ready {url}", flush=True))).run()


def serve_forever(
    sandbox: Sandbox, host: str, port: int, ready: Callable[[str], None], *, date_header: bool = True
) -> None:
    """Serve until stopped; ``ready`` takes the URL once requests are taken.

    ``date_header`` false: the application sends its own ``Date``.
    """
    _server(sandbox, host, port, ready, date_header=date_header).run()


@contextlib.contextmanager
def served(sandbox: Sandbox, *, date_header: bool = True) -> Iterator[str]:
    """Serve a sandbox from a thread, on a free port; gives its URL. Raises RuntimeError when it does not start.

    ``date_header`` false: the application sends its own ``Date``.
    """
    up, urls = threading.Event(), list[str]()

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    server = _server(sandbox, "127.0.0.1", 0, ready, date_header=date_header)
    thread = threading.Thread(target=server.run, name="miso sandbox", daemon=True)
    thread.start()
    try:
        if not up.wait(STOP_SECONDS):
            raise RuntimeError("the Miso sandbox did not start")
        yield urls[0]
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)


@contextlib.contextmanager
def sandbox_process(api_key: str = "sandbox", *arguments: str) -> Iterator[str]:
    """Run a sandbox as a process of its own, on a free port; gives its URL.

    ``arguments`` go to ``python -m misoflow_sandbox`` as they are. Raises RuntimeError when it does not start.
    """
    command = [sys.executable, "-m", "misoflow_sandbox", "--port", "0", "--api-key", api_key, *arguments]
    with process_of(command, "the Miso sandbox") as url:
        yield url


@contextlib.contextmanager
def process_of(command: Sequence[str], name: str) -> Iterator[str]:
    """Run a command that prints ``ready URL``; gives the URL. Raises RuntimeError when it does not start."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stdout is not None
        word, _, url = process.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise RuntimeError(f"{name} did not start; its exit code is {process.wait(STOP_SECONDS)}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
