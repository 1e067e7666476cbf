"""store.db: every event's state, the records on their way, and what Miso holds. Owned by ``work``.

All calls run in one thread, each in one transaction; they take and give lists, so that another database
can stand behind the same calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from misoflow.errors import Retry
from misoflow.store import events
from misoflow.store.commit import Committer
from misoflow.store.mark import Mark
from misoflow.store.schema import BUSY_MS, open_for_reading, open_for_writing
from misoflow.store.tx import Tx
from misoflow.store.values import Chunk, Progress
from misoflow.vault import Vault

P = ParamSpec("P")
T = TypeVar("T")
FILE = "store.db"
LOG_BUSY_MS = 250


TROUBLE = (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.ReadOnlyError, apsw.CantOpenError, OSError)


class StoreUnavailable(Retry):
    """The disk is full, or another process holds the file: nothing was changed, try again later."""


class Store:
    """The owner's handle. ``await store.run(step, …)`` runs a step of this package in a transaction."""

    def __init__(self, data: Path, vault: Vault) -> None:
        self.path = data / FILE
        self._db = open_for_writing(self.path, vault)
        self._tx = Tx(self._db, vault)
        self._mark = Mark(self.path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, step: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """One step in one transaction: committed when it returns, rolled back when it raises.

        Raises StoreUnavailable, with nothing changed, when the disk or the file cannot be written now. When
        the calling task is cancelled the step is still finished first, so no half-known state is left.
        """
        done = asyncio.get_running_loop().run_in_executor(self._thread, lambda: self.run_now(step, *args, **kwargs))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            raise

    def run_now(self, step: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``run``, from code without an event loop."""
        try:
            self._tx.begin()
            result = step(self._tx, *args, **kwargs)
            commits = self._tx.commit()
            if commits is not None:
                self._mark.write(commits)
        except TROUBLE as error:
            self._tx.rollback()
            raise StoreUnavailable(f"the store cannot be written: {error}") from error
        except BaseException:
            self._tx.rollback()
            raise
        return result

    async def commit(self, chunk: Chunk) -> None:
        """Commit one step of the pipeline: states, records and the inbox offset, or nothing of it."""
        await self.run(lambda tx: Committer(tx, chunk).run())

    async def truncate_log(self) -> bool:
        """Move the whole log into the file and empty it, old pages too; False while a reader holds it up."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._truncate_log)

    def _truncate_log(self) -> bool:
        self._db.set_busy_timeout(LOG_BUSY_MS)  # readers are short, and everybody else waits meanwhile
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            return False
        finally:
            self._db.set_busy_timeout(BUSY_MS)
        return True

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()
        self._mark.close()


def reader(data: Path, vault: Vault) -> Tx | None:
    """A read-only view for other processes (wrap reads in BEGIN/COMMIT for one snapshot); None without a store."""
    try:
        db = open_for_reading(data / FILE)
    except apsw.CantOpenError:
        return None
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name='meta'").get:  # its owner is just making it
        db.close()
        return None
    return Tx(db, vault)


def progress(data: Path) -> Progress | None:
    """What the inbox's owner needs to know; None while there is no store."""
    try:
        db = open_for_reading(data / FILE)
    except apsw.CantOpenError:
        return None
    try:
        return events.progress(db)
    except apsw.SQLError:  # the owner has made the file but not its tables yet
        return None
    finally:
        db.close()
