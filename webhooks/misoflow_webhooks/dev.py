"""The receiver of ``misoflow dev``: as in production, and it tells of each delivery and takes new code on the way."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Protocol

from misoflow.config import Settings

from misoflow_webhooks.protocol import Deadlines
from misoflow_webhooks.receiver import Receiver, Watch
from misoflow_webhooks.routes import Routes, load_hooks
from misoflow_webhooks.serve import serve

HOST = "127.0.0.1"
LOOK_SECONDS = 0.2


class Bench(Watch, Protocol):
    """Whoever works on the connector."""

    def ready(self, url: str, admin: str) -> None:
        """The receiver listens."""

    def renewed(self) -> Settings | None:
        """The settings when the code has changed and can be used; None while it has not, or cannot. Never raises."""

    def used(self) -> None:
        """What ``renewed`` gave is in use."""


def run(settings: Settings, *, port: int, bench: Bench) -> int:
    """Receive on loopback until SIGINT or SIGTERM; the exit code. Port 0: a free one. Raises OSError if it is taken."""

    def renew(receiver: Receiver) -> None:
        """In a thread that nobody waits for: a module that hangs when it is imported holds up nothing else."""
        look = threading.Thread(target=_look, args=(asyncio.get_running_loop(), bench, receiver), daemon=True)
        look.start()

    receiving = serve(
        settings,
        host=HOST,
        port=port,
        admin_port=0,
        ready=bench.ready,
        deadlines=Deadlines(),
        watch=bench,
        beside=renew,
    )
    asyncio.run(receiving)
    return 0


def _look(loop: asyncio.AbstractEventLoop, bench: Bench, receiver: Receiver) -> None:
    def use(fresh: Settings) -> None:
        receiver.use(Routes(load_hooks(fresh)))
        bench.used()

    while not loop.is_closed():
        time.sleep(LOOK_SECONDS)
        fresh = bench.renewed()
        if fresh is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(use, fresh)
