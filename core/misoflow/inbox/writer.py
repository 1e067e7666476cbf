"""The owner's side of the inbox: durable appends, many of them in one commit.

One thread writes. It takes whatever is waiting, commits it as one transaction, writes the high-water mark and
only then lets the callers go on; it never waits for a group to fill.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from misoflow.clock import now_ms
from misoflow.connector import Request
from misoflow.errors import ConfigError
from misoflow.inbox.file import InboxFull, InboxUnavailable, open_for_writing, read_mark, refuse_foreign
from misoflow.inbox.inspect import audit, degradation, keep_log
from misoflow.inbox.payload import seal_delivery, to_ms
from misoflow.inbox.table import PRUNE_CHUNK, Entry, Table, continued
from misoflow.vault import Vault

T = TypeVar("T")

GROUP_BYTES = 16 * 1024 * 1024
WAITING_BYTES = 64 * 1024 * 1024
WAITING_APPENDS = 4096
OFFLOAD_FROM = 256 * 1024
"""Bodies from this size on are compressed and sealed in a thread of their own."""
BLANK_CHUNK = 20_000
"""Deliveries looked at in one go when those of an erased install are blanked."""
DISK_FULL = 0.95
DISK_ROOM = 5 * 1024**3
"""Bytes free that are room enough, however large the disk is."""


@dataclass(slots=True)
class _Append:
    entries: list[Entry]
    size: int
    since: float
    done: asyncio.Future[list[int]]


@dataclass(slots=True)
class _Job:
    """Anything else that the writer does between two groups."""

    work: Callable[[], Any]
    done: asyncio.Future[Any]


class Inbox:
    """Durable, encrypted queue of raw deliveries; ``degraded`` says which acknowledged ones are lost."""

    def __init__(self, data: Path, vault: Vault, table: Table, lock: int) -> None:
        self.data = data
        self.degraded: str | None = None
        self._vault = vault
        self._table = table
        self._lock = lock
        self._waiting_bytes = self._waiting = 0
        self._disk_checked = 0.0
        self._disk_used = 0.0
        self._disk_low = False
        self._closed = False
        self._audited_from = 1
        self._line: deque[_Append] = deque()
        self._queue: queue.SimpleQueue[_Append | _Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="misoflow-inbox", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, data: Path, vault: Vault, max_bytes: int, *, floor: int = 0) -> Inbox:
        """Open or make the inbox; raises ConfigError (exit code 78) without a write where it is not usable.

        ``floor``: ids start above it; the store's offset, in case inbox and mark were both lost.
        """
        refuse_foreign(data, vault)
        lock = take_lock(data)
        try:
            degraded, audited_from = degradation(data)
            if degraded is not None:
                keep_log(data)
            db, uid = open_for_writing(data, vault)
            try:
                table = Table(data, db, continued(db, uid, read_mark(data), floor), max_bytes)
            except BaseException:
                db.close()
                raise
        except BaseException as error:
            os.close(lock)
            if isinstance(error, apsw.Error | OSError):
                problem = f"the inbox cannot be used: {error}; run: misoflow repair"
                raise ConfigError(str(data), problem) from None
            raise
        inbox = cls(data, vault, table, lock)
        inbox.degraded, inbox._audited_from = degraded, audited_from
        return inbox

    async def append(self, items: list[tuple[str, Request]]) -> list[int]:
        """Store deliveries (instance name, request) and return their ids once they are on the disk.

        Raises InboxFull or InboxUnavailable; then none of them counts as taken.
        """
        self._refuse_if_full()
        size = sum(len(request.body) for _, request in items)
        if self._waiting >= WAITING_APPENDS or (self._waiting and self._waiting_bytes + size > WAITING_BYTES):
            raise InboxUnavailable("too many deliveries are waiting to be stored")
        while self._line and self._line[0].done.done():
            self._line.popleft()
        self._waiting += 1
        self._waiting_bytes += size
        try:
            entries = await asyncio.to_thread(self._seal, items) if size >= OFFLOAD_FROM else self._seal(items)
            done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
            append = _Append(entries, size, time.monotonic(), done)
            self._queue.put(append)
            self._line.append(append)
            return await done
        finally:
            self._waiting -= 1
            self._waiting_bytes -= size

    def expire(self, seconds: float) -> None:
        """Refuse the appends that have waited longer; one timer for all is much cheaper than one for each.

        What is on its way to the disk at that moment may still be stored.
        """
        until = time.monotonic() - seconds
        while self._line and (self._line[0].done.done() or self._line[0].since < until):
            _settle(self._line.popleft().done, InboxUnavailable("the disk did not answer in time"))

    async def prune(self, before_id: int, before_ms: int) -> int:
        """Delete the oldest deliveries that have both a smaller id and an earlier time; how many went."""
        total = 0
        while True:
            gone: int = await self._do(lambda: self._table.prune(before_id, before_ms))
            total += gone
            if gone < PRUNE_CHUNK:
                return total

    async def rewrite(self, changes: list[tuple[int, bytes]]) -> None:
        """Put other sealed payloads (``seal_delivery``) in the place of those with these ids."""
        if changes:
            await self._do(lambda: self._table.rewrite(changes))

    async def erase(self, erasures: list[tuple[int, str, int]]) -> None:
        """Blank the deliveries of erased installs, (number, instance, last delivery) each; readers see when it is done.

        Until they do (somebody reading may hold the log) it has to be asked for again.
        """
        blank = seal_delivery(self._vault, Request(b""), events=[])
        for _, instance, upto in erasures:
            for after in range(self._table.mark.first - 1, upto, BLANK_CHUNK):
                await self._do(partial(self._table.blank, instance, after, min(upto, after + BLANK_CHUNK), blank))
        if erasures:
            await self._do(lambda: self._table.erased(max(number for number, _, _ in erasures)))

    async def probe(self) -> None:
        """Raise InboxFull or InboxUnavailable if an append would; writes nothing."""
        self._refuse_if_full()
        await self._do(self._table.probe)

    async def audit_rest(self) -> None:
        """Check, in a thread, the older rows that the audit at the start had no time for."""
        if self._audited_from > self._table.mark.first and self.degraded is None:
            result = await asyncio.to_thread(audit, self.data, below=self._audited_from)
            self._audited_from = result.checked_from
            self.degraded = self.degraded or result.problem

    async def close(self) -> None:
        """Store what is waiting, then let go of the files."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            os.close(self._lock)

    def size(self) -> int:
        """Bytes that live deliveries take in the file, as of the last commit."""
        return self._table.live

    def disk_used(self) -> float:
        """The used share of the disk, 0 to 1; looked up at most once a second."""
        now = time.monotonic()
        if now - self._disk_checked >= 1 or not self._disk_checked:
            self._disk_checked = now
            usage = shutil.disk_usage(self.data)
            self._disk_used = 1 - usage.free / max(1, usage.total)
            self._disk_low = self._disk_used >= DISK_FULL and usage.free < DISK_ROOM
        return self._disk_used

    def watch_commits(self, seen: Callable[[float], None]) -> None:
        """``seen`` is called, in the writer's thread, with the seconds that each commit took."""
        self._table.on_commit = seen

    def _refuse_if_full(self) -> None:
        if self._closed:
            raise InboxUnavailable("the inbox is closed")
        self.disk_used()
        if self._disk_low:
            raise InboxFull(f"the disk of {self.data} is {self._disk_used:.0%} full")
        if self._table.full:
            raise InboxFull(f"the inbox has reached its limit at {self._table.live} bytes")

    def _seal(self, items: list[tuple[str, Request]]) -> list[Entry]:
        vault = self._vault
        return [
            (
                instance,
                now_ms() if request.received_at is None else to_ms(request.received_at),
                seal_delivery(vault, request),
            )
            for instance, request in items
        ]

    async def _do(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise InboxUnavailable("the inbox is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Job(work, done))
        return await done

    # What follows runs in the writer's thread.

    def _run(self) -> None:
        more = True
        while more:
            group, job, more = self._collect()
            if group:
                entries = [entry for append in group for entry in append.entries]
                _report(group[0].done, _resolve, group, self._attempt(self._table.insert, entries))
            if job is not None:
                _report(job.done, _settle, job.done, self._attempt(job.work))
            self._attempt(self._table.checkpoint)
        self._attempt(self._table.close)

    def _collect(self) -> tuple[list[_Append], _Job | None, bool]:
        """All appends that wait, up to the first other job; blocks while there is nothing to do."""
        group: list[_Append] = []
        size = 0
        entry = self._queue.get()
        with contextlib.suppress(queue.Empty):
            while isinstance(entry, _Append):
                if not entry.done.done():  # the caller may have given up
                    group.append(entry)
                    size += entry.size
                if size >= GROUP_BYTES:
                    return group, None, True
                entry = self._queue.get_nowait()
            return group, entry, entry is not None
        return group, None, True

    def _attempt(self, work: Callable[..., T], *arguments: Any) -> T | Exception:
        try:
            return work(*arguments)
        except Exception as error:
            self._table.recover()
            if isinstance(error, apsw.FullError):
                return InboxFull("the disk is full")
            if isinstance(error, apsw.Error | OSError):
                return InboxUnavailable(f"the inbox cannot be written: {error}")
            return error


def _report(waiting: asyncio.Future[Any], call: Callable[..., None], *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
        waiting.get_loop().call_soon_threadsafe(call, *arguments)


def _resolve(group: list[_Append], outcome: int | Exception) -> None:
    """Every caller of the group gets its ids, or the one failure."""
    if isinstance(outcome, Exception):
        for append in group:
            _settle(append.done, outcome)
        return
    for append in group:
        count = len(append.entries)
        _settle(append.done, list(range(outcome, outcome + count)))
        outcome += count


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def take_lock(data: Path) -> int:
    """One owner: held until the process ends; raises ConfigError while another one holds it."""
    path = data / "serve.lock"
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError("engine.data", f"cannot write in {data}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigError("engine.data", f"another misoflow serve uses {data}; stop it first") from None
    return handle
