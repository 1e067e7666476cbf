"""The process ``serve``: two listeners over one inbox, from start to a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from misoflow.config import Settings
from misoflow.inbox import Inbox
from misoflow.vault import Vault

from misoflow_webhooks.admin import admin_app
from misoflow_webhooks.installs import Installs
from misoflow_webhooks.ledger import Ledger
from misoflow_webhooks.limits import Senders
from misoflow_webhooks.metrics import Metrics, StatusCollector
from misoflow_webhooks.protocol import DeadlineProtocol, Deadlines
from misoflow_webhooks.receiver import Receiver, Watch
from misoflow_webhooks.routes import Routes, load_hooks
from misoflow_webhooks.upkeep import Upkeep, engine_figures, store_progress, sweep

log = logging.getLogger("misoflow.serve")

ADMIN_HOST = "127.0.0.1"
BACKLOG = 2048
DRAIN_SECONDS = 15
"""For requests in flight; with the inbox's last commits the whole stop stays under 20 s."""

Ready = Callable[[str, str], None]
Beside = Callable[[Receiver], None]


class Server(uvicorn.Server):
    """Says when it is up; signals are handled once, for both listeners."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(
    settings: Settings,
    *,
    host: str,
    port: int,
    admin_port: int,
    ready: Ready | None = None,
    deadlines: Deadlines | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Port 0: a free one, given to ``ready`` with its URL.

    Raises ConfigError when key or inbox cannot be used, OSError when a port is taken.
    """
    serving = serve(
        settings, host=host, port=port, admin_port=admin_port, ready=ready, deadlines=deadlines or Deadlines()
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serving)
    return 0


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    admin_port: int,
    ready: Ready | None,
    deadlines: Deadlines,
    stop: asyncio.Event | None = None,
    watch: Watch | None = None,
    beside: Beside | None = None,
) -> None:
    """The same inside a running loop; setting ``stop`` ends it too.

    ``watch`` is told of every delivery; ``beside`` is given the receiver before it takes any.
    """
    stop = stop or asyncio.Event()
    vault = Vault.from_settings(settings)
    inbox = Inbox.open(settings.data, vault, settings.engine.inbox_max_bytes, floor=_floor(settings))
    try:
        metrics = Metrics()
        inbox.watch_commits(metrics.committed)
        metrics.add(StatusCollector(engine_figures(settings, vault)))
        ledger = Ledger(settings, vault)
        senders = Senders(settings.engine.trusted_proxies)
        receiver = Receiver(
            Routes(load_hooks(settings)),
            inbox,
            metrics,
            ledger=ledger,
            watch=watch,
            senders=senders,
            installs=Installs(settings, vault, inbox, metrics),
        )
        with contextlib.ExitStack() as sockets:
            if beside is not None:
                beside(receiver)
            public = sockets.enter_context(listen(host, port))
            admin = sockets.enter_context(listen(ADMIN_HOST, admin_port))
            _prepare_process()
            await _until_stopped(settings, receiver, inbox, metrics, (public, admin), (ready, deadlines, stop))
    finally:
        await inbox.close()


def _floor(settings: Settings) -> int:
    """The last id that the store has used up. A store that cannot be read must not keep intake from starting."""
    try:
        progress = store_progress(settings.data)
    except Exception as error:
        log.error("store.db cannot be read (%s); deliveries are taken in all the same", type(error).__name__)
        return 0
    return max(0, progress.done_before - 1) if progress is not None else 0


async def _until_stopped(
    settings: Settings,
    receiver: Receiver,
    inbox: Inbox,
    metrics: Metrics,
    sockets: tuple[socket.socket, socket.socket],
    control: tuple[Ready | None, Deadlines, asyncio.Event],
) -> None:
    ready, deadlines, stop = control
    public = server(receiver, int(deadlines.idle))
    admin = server(admin_app(inbox, metrics), int(deadlines.idle))
    chores = [
        asyncio.create_task(sweep(public.server_state.connections, deadlines, inbox)),
        asyncio.create_task(Upkeep(inbox, settings.engine.retention_days).run()),
    ]
    servers = [
        asyncio.create_task(public.serve(sockets=[sockets[0]])),
        asyncio.create_task(admin.serve(sockets=[sockets[1]])),
    ]
    with _signals(stop):
        try:
            await _first(asyncio.gather(public.up.wait(), admin.up.wait()), *servers)
            if ready is not None and public.started and admin.started:
                ready(_url(sockets[0]), _url(sockets[1]))
            await _first(stop.wait(), *servers)
        finally:
            receiver.stopping = True
            public.should_exit = admin.should_exit = True
            await asyncio.gather(*servers)
            for task in chores:
                task.cancel()
            await asyncio.gather(*chores, return_exceptions=True)


async def _first(waiting: Awaitable[Any], *tasks: asyncio.Task[Any]) -> None:
    own = asyncio.ensure_future(waiting)
    await asyncio.wait([own, *tasks], return_when=asyncio.FIRST_COMPLETED)
    own.cancel()


def server(app: Any, idle: int) -> Server:
    """A listener with our limits; ``idle`` is in seconds."""
    config = uvicorn.Config(
        app,
        http=DeadlineProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=idle,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=BACKLOG,
    )
    return Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: whoever runs us stops us
            loop.add_signal_handler(number, stop.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _prepare_process() -> None:
    """Room for many connections, and no garbage collection over what stays for ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
