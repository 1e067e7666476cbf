"""Real processes of misoflow that live by the stand-in's clock, so that an hour of a shop's life takes seconds.

They are forked from a server that has everything imported: a start costs a twentieth of a second, and a kill is -9.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import multiprocessing
import struct
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FORM = struct.Struct("ddd")
LEAST_PAUSE = 0.05
"""Real seconds: loops that look every fifth of a second must not eat the machine when time runs fast."""
START_SECONDS = 60
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["misoflow.engine", "misoflow_webhooks.serve", "misoflow_shopify", "tests.shopify.storm_processes"]
)


class SharedClock:
    """A clock that several processes read: ms since 1970, as fast as ``speed`` says. One of them sets it."""

    def __init__(self, path: Path, speed: float | None = None) -> None:
        if speed is not None:
            path.write_bytes(FORM.pack(time.time() * 1000, time.monotonic(), speed))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), FORM.size)

    def _read(self) -> tuple[float, float, float]:
        while True:  # the other process may be in the middle of a change
            first, second = bytes(self._shared), bytes(self._shared)
            if first == second:
                then, real, speed = FORM.unpack(first)
                return then, real, speed

    @property
    def speed(self) -> float:
        return self._read()[2]

    def now(self) -> int:
        then, real, speed = self._read()
        return int(then + (time.monotonic() - real) * 1000 * speed)

    def run(self, speed: float) -> None:
        self._set(0.0, speed)

    def advance(self, seconds: float) -> None:
        self._set(seconds, self.speed)

    def _set(self, seconds: float, speed: float) -> None:
        then, real, before = self._read()
        now = time.monotonic()
        self._shared[:] = FORM.pack(then + (now - real) * 1000 * before + seconds * 1000, now, speed)


class Process:
    """``serve`` or ``work`` of one plugins.toml."""

    def __init__(self, target: Callable[..., None], config: Path, clock: Path, *more: Any) -> None:
        mine, theirs = CONTEXT.Pipe(duplex=False)
        self._process: BaseProcess = CONTEXT.Process(target=target, args=(config, clock, theirs, *more), daemon=True)
        self._process.start()
        theirs.close()
        self.url = ""
        try:
            if mine.poll(START_SECONDS):
                self.url = mine.recv()
        except EOFError:  # killed at a point of its start
            pass
        finally:
            mine.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """As power loss or an operator does."""
        self._process.kill()
        self._process.join()


def serve(config: Path, clock: Path, ready: Connection, port: int) -> None:
    """The process ``serve``, until it is killed."""
    _prepare(config, clock)
    import misoflow_webhooks.installs
    from misoflow.config import load
    from misoflow_webhooks.serve import run

    shared = SharedClock(clock)

    def now(zone: Any) -> datetime:
        return datetime.fromtimestamp(shared.now() / 1000, zone)

    vars(misoflow_webhooks.installs).update(datetime=SimpleNamespace(now=now))
    run(load(config), host="127.0.0.1", port=port, admin_port=0, ready=lambda url, admin: ready.send(url))


def work(config: Path, clock: Path, ready: Connection, crash_at: str, times: int) -> None:
    """The process ``work``, until it is killed, or comes to the crash point for the so-manieth time."""
    _prepare(config, clock)
    from misoflow import crash, engine
    from misoflow.config import load

    crash._name, crash._left = crash_at, times
    engine.run(load(config), ready=lambda: ready.send("ready"))


def _prepare(config: Path, clock: Path) -> None:
    """Let misoflow and the connector live by the shared clock, and write what they say to a file."""
    import misoflow.clock
    import misoflow.fetches
    import misoflow_shopify.link

    logging.basicConfig(filename=config.parent / "storm.log", level=logging.INFO, force=True)
    shared = SharedClock(clock)

    def pause(seconds: float) -> Any:
        return asyncio.timeout(max(LEAST_PAUSE, seconds / shared.speed))

    def sleep(seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds / shared.speed)

    vars(misoflow.clock).update(
        time=SimpleNamespace(time_ns=lambda: shared.now() * 1_000_000),
        asyncio=SimpleNamespace(timeout=pause),
    )
    vars(misoflow_shopify.link).update(
        time=SimpleNamespace(time=lambda: shared.now() / 1000),
        asyncio=SimpleNamespace(sleep=sleep),
    )
    vars(misoflow.fetches).update(IDLE_SECONDS=LEAST_PAUSE)
