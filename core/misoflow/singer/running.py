"""A tap's run around its parts: settings, a store for the parts of users and products, the connector, the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from misoflow.budget import StoredBudgets
from misoflow.config import Settings
from misoflow.engine import Lock
from misoflow.errors import ConfigError
from misoflow.http import Http
from misoflow.instances import Instance, Instances
from misoflow.pipeline import Translator
from misoflow.singer.bookmarks import Bookmarks
from misoflow.singer.catalog import Selection
from misoflow.singer.making import Maker
from misoflow.singer.tap import Tap, chosen
from misoflow.state import StoredState
from misoflow.store import Store
from misoflow.streams import StreamConfig
from misoflow.vault import Vault


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run: the instance's settings, what to pull, and what was done before."""

    settings: Settings
    name: str
    pull: list[str] | None
    selection: Selection
    bookmarks: Bookmarks


@dataclass(frozen=True, slots=True)
class Told:
    """What a run gave."""

    records: Counter[str]
    skipped: int
    rejected: Counter[str]
    stopped: bool


@contextlib.contextmanager
def folder_of(kept: Any) -> Iterator[Path]:
    """Where parts of users and products are put together: ``data``, which is kept, or a folder for this run."""
    if isinstance(kept, str):
        yield Path.cwd() / kept
        return
    if kept is not None:
        raise ConfigError("data", "must be a folder")
    with tempfile.TemporaryDirectory(prefix="misoflow-tap-") as folder:
        yield Path(folder)


async def pulled(wanted: Wanted, write: Callable[[bytes], None], waits: tuple[float, ...] | None = None) -> Told:
    """One run, to its end or until it is told to stop. Raises Halt, Retry, Reject and ConfigError."""
    settings = wanted.settings
    lock = Lock(settings.data)
    vault = Vault.from_settings(settings)
    store = Store(settings.data, vault)
    https: list[Http] = []

    def equip(instance: Instance) -> None:
        instance.connector.http = Http()
        https.append(instance.connector.http)
        instance.connector.state = StoredState(store, instance.name)
        instance.connector.budget = StoredBudgets(store)

    instance = Instances(settings, equip).get(wanted.name)
    assert instance is not None
    configs = settings.instances[wanted.name].backfill
    maker = Maker(store, instance, Translator(vault), wanted.selection, write)
    tap = Tap(
        instance, lambda name: configs.get(name, StreamConfig()), maker, wanted.selection, wanted.bookmarks, write
    )
    tap.waits = waits or tap.waits
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, tap.stopping.set)
    try:
        await tap.run(chosen(instance, wanted.pull))
    finally:
        for http in https:
            await http.close()
        await store.close()
        lock.release()
    return Told(maker.records, maker.skipped, maker.rejected, tap.stopping.is_set())
