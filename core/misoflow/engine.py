"""``work``: the store's owner. Composes intake, senders, fetches, maintenance and the control socket."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from misoflow.actions import Actions
from misoflow.backfill.backfills import Backfills
from misoflow.budget import StoredBudgets
from misoflow.clock import pause
from misoflow.config import Settings
from misoflow.control import ControlServer
from misoflow.crash import point
from misoflow.delivery import Sender
from misoflow.errors import ConfigError
from misoflow.fetches import Fetcher
from misoflow.http import Http
from misoflow.inbox import InboxReader
from misoflow.installer import Installer
from misoflow.instances import Instance, Instances
from misoflow.intake import Intake
from misoflow.maintenance import Maintenance
from misoflow.miso import Miso
from misoflow.pipeline import Translator, describe, event_hash, pack_event, unpack
from misoflow.purging import Purging
from misoflow.schedule import Schedule
from misoflow.state import StoredState
from misoflow.store import Store, StoreUnavailable, events, slices
from misoflow.streams import StreamConfig
from misoflow.trouble import TROUBLE_SECONDS, Trouble
from misoflow.vault import Vault

log = logging.getLogger("misoflow.work")

POLL_SECONDS = 0.05
"""How often the inbox is looked at when nothing is going on."""


class Lock:
    """One ``work`` per data folder; the lock goes with the process, however it ends."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._file = os.open(data / "work.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 100, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise ConfigError(str(data), f"{who} is at work in this data folder; stop it first") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._file)


class Engine:
    """Everything of one ``work`` process. Also used without its loops, by commands that run while none does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = Lock(settings.data)
        self.vault = Vault.from_settings(settings)
        self.store = Store(settings.data, self.vault)
        self.inbox = InboxReader(settings.data, self.vault)
        self._http: list[Http] = []
        self.budgets = StoredBudgets(self.store)
        self.instances = Instances(settings, self._equip)
        self.translator = Translator(self.vault)
        self.intake = Intake(self.store, self.inbox, self.instances, self.translator, settings.data)
        self.senders = {
            name: Sender(
                self.store,
                Miso(miso.api_url, miso.api_key),
                name,
                self.raws_of,
                linger_ms=settings.engine.linger_ms,
                jitter=random.Random(),  # noqa: S311 (spreads retries, guards nothing)
            )
            for name, miso in settings.miso.items()
        }
        self.intake.committed = self._wake_senders
        self.fetcher = Fetcher(self.store, self.instances, self.intake, self.raws_of)
        self.backfills = Backfills(self)
        self.installer = Installer(self)
        self.schedule = Schedule(self)
        self.maintenance = Maintenance(self)
        self.purging = Purging(self)
        self.actions = Actions(self)
        self.stopping = asyncio.Event()
        self.trouble = Trouble()

    def _equip(self, instance: Instance) -> None:
        http = Http()
        self._http.append(http)
        instance.connector.http = http
        instance.connector.state = StoredState(self.store, instance.name)
        instance.connector.budget = self.budgets

    def stream_config(self, instance: str, stream: str) -> StreamConfig:
        """``backfill.<stream>`` of an instance, or its defaults."""
        return self.settings.instances[instance.partition("/")[0]].backfill.get(stream) or StreamConfig()

    async def start(self) -> None:
        """Read back where the last process stopped."""
        await self.intake.start()
        point("work.start")

    async def close(self) -> None:
        for sender in self.senders.values():
            await sender.close()
        for http in self._http:
            await http.close()
        self.inbox.close()
        await self.store.close()
        self.intake.suspects.close()
        self._lock.release()

    async def raws_of(self, rows: list[int]) -> dict[int, bytes]:
        """The packed raw events behind these rows: kept by the store, or split again from the inbox."""
        places = await self.store.run(events.raw_places, rows)
        raws = {row: kept for row, (_, _, _, kept) in places.items() if kept is not None}
        wanted = {(name, digest): row for row, (name, digest, _, kept) in places.items() if kept is None}
        pages = sorted({-delivery for _, _, delivery, kept in places.values() if kept is None and delivery < 0})
        for raw in await self.store.run(slices.raws, pages):
            packed = unpack(raw)
            for name in {name for name, _ in wanted}:
                row = wanted.get((name, event_hash(name, packed.id)))
                if row is not None:
                    raws[row] = raw
        deliveries = sorted({delivery for _, _, delivery, kept in places.values() if kept is None and delivery > 0})
        for delivery in self.inbox.get(deliveries):
            instance = self.instances.get(delivery.instance)
            if instance is None:
                continue
            for event in self.intake.events_of(instance, delivery):
                row = wanted.get((instance.name, event_hash(instance.name, event.id)))
                if row is not None:
                    raws[row] = pack_event(event)
        return raws

    async def take_in(self) -> bool:
        """One step of intake: released deliveries first, then new ones. False when there is nothing to do."""
        for name in list(self.maintenance.released):
            if await self.intake.release(name):
                return True
            self.maintenance.released.discard(name)
        return await self.intake.step()

    async def _intake_loop(self) -> None:
        while not self.stopping.is_set():
            try:
                busy = await self.take_in()
                self.intake.busy = busy
            except StoreUnavailable as error:
                self.trouble.say(error)
                await pause(self.stopping, TROUBLE_SECONDS)
                continue
            await (asyncio.sleep(0) if busy else pause(self.stopping, POLL_SECONDS))

    def _wake_senders(self) -> None:
        for sender in self.senders.values():
            sender.wake()

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Work until ``stopping`` is set, then drain within [engine] drain_seconds."""
        await self.start()
        await self.installer.start()
        control = ControlServer(self.settings.data, self.actions)
        await control.start()
        senders = [asyncio.create_task(sender.run()) for sender in self.senders.values()]
        loops = [
            asyncio.create_task(self._intake_loop()),
            asyncio.create_task(self.maintenance.run(self.stopping)),
            asyncio.create_task(self.purging.run(self.stopping)),
            asyncio.create_task(self.fetcher.run(self.stopping)),
            asyncio.create_task(self.backfills.run(self.stopping)),
            asyncio.create_task(self.installer.run(self.stopping)),
            asyncio.create_task(self.schedule.run(self.stopping)),
            asyncio.create_task(self._beat()),
        ]
        stop = asyncio.create_task(self.stopping.wait())
        if ready is not None:
            ready()
        done, _ = await asyncio.wait([stop, *loops, *senders], return_when=asyncio.FIRST_COMPLETED)
        self.stopping.set()
        for sender in self.senders.values():
            sender.stop()
        await asyncio.wait(senders, timeout=self.settings.engine.drain_seconds * 0.8)
        for sender in self.senders.values():
            await sender.cancel()
        await asyncio.wait([*loops, *senders], timeout=2)
        await control.stop()
        await self.close()
        for task in done:
            task.result()

    async def _beat(self) -> None:
        """The watchdog's sign of life: without one for watchdog_seconds the process ends, and is started again."""
        self.intake.beat = self._alive
        while not self.stopping.is_set():
            self._alive()
            await pause(self.stopping, 1)
        self.intake.suspects.rest()

    def _alive(self) -> None:
        self.intake.suspects.watch(self.settings.engine.watchdog_seconds)


def run(settings: Settings, *, ready: Callable[[], None] | None = None) -> int:
    """The ``work`` process: until SIGTERM or SIGINT. Returns the exit code."""

    async def main() -> None:
        engine = Engine(settings)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, engine.stopping.set)
        await engine.run(ready)

    try:
        asyncio.run(main())
    except (SystemExit, KeyboardInterrupt) as error:  # signals are asked for above; this is a task of a connector
        log.error("a connector's own task ended the worker: %s", describe(error))
        return 1
    return 0


async def with_engine(settings: Settings, verb: str, args: dict[str, Any]) -> Any:
    """Run one action without a ``work`` process: takes its lock, does the work, lets go."""
    engine = Engine(settings)
    try:
        await engine.start()
        return await engine.actions.call(verb, args)
    finally:
        await engine.close()
