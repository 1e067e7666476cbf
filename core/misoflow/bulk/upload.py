"""One upload from beginning to end: a thread reads and checks, the event loop sends, a journal remembers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from misoflow.bulk.batches import Batch
from misoflow.bulk.journal import VERSION, Journal, Totals
from misoflow.bulk.letters import BadFile, reason_of
from misoflow.bulk.reading import Budget, File, Reader
from misoflow.bulk.sending import Sender, Stopped
from misoflow.config import MisoConfig
from misoflow.crash import point
from misoflow.encode import Kind
from misoflow.errors import Reject
from misoflow.files import Format
from misoflow.miso import Miso

SECONDS = 300.0
"""For one request: 8 MiB through a slow line."""
PATIENCE = 900.0


@dataclass
class Wanted:
    """What is to be uploaded where. ``rules`` stands for the mapping in the journal, so that a change is seen."""

    kind: Kind
    files: list[File]
    miso: MisoConfig
    folder: Path
    """Of the journals."""
    format: Format | None = None
    rules: bytes = b""
    bad: Path | None = None
    restart: bool = False
    again: bool = False
    """What an earlier upload of the same files has finished is sent again."""
    patience: float = PATIENCE


@dataclass
class Progress:
    """How an upload stands, for whoever looks."""

    totals: Totals = field(default_factory=Totals)
    bytes_read: int = 0
    waiting: str = ""
    resumed: bool = False
    ended_before: bool = False
    bad_file: Path | None = None
    stopped: bool = False

    @property
    def bad(self) -> int:
        return self.totals.bad


def head(wanted: Wanted) -> dict[str, object]:
    """What makes two uploads the same one."""
    return {
        "upload": VERSION,
        "kind": wanted.kind,
        "miso": wanted.miso.name,
        "api_url": wanted.miso.api_url,
        "user_ids": wanted.miso.user_ids,
        "format": wanted.format,
        "rules": hashlib.sha256(wanted.rules).hexdigest() if wanted.rules else None,
        "sources": [[one.source.name, one.source.size, one.source.version] for one in wanted.files],
    }


def name_of(wanted: Wanted) -> str:
    """Of the journal: the same for the same kind, environment and list of files."""
    names = [one.source.path for one in wanted.files]
    return hashlib.sha256(msgspec.json.encode([wanted.kind, wanted.miso.name, names])).hexdigest()[:16]


class Upload:
    """``run`` it once; ``progress`` may be looked at meanwhile, and ``stop`` ends it early without a loss."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._budget = Budget()
        self._stopping = asyncio.Event()
        self._queue: asyncio.Queue[Batch | None] = asyncio.Queue()
        self._open: dict[int, tuple[frozenset[str], asyncio.Event]] = {}
        self._trouble: BaseException | None = None
        self.progress = Progress()

    def stop(self) -> None:
        """Answers under way are waited for; nothing more is sent."""
        self._stopping.set()
        self._budget.stop()
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Raises Halt, Retry, Reject and Differs; what has arrived is in the journal whatever happens."""
        wanted = self._wanted
        path = wanted.folder / f"{name_of(wanted)}.jsonl"
        pipes = any(one.source.once for one in wanted.files)
        journal = Journal(path, head(wanted), restart=wanted.restart or pipes)
        try:
            if wanted.again and journal.ended:
                journal.close()
                journal = Journal(path, head(wanted), restart=True)
            await self._upload(journal)
        finally:
            journal.close()

    async def _upload(self, journal: Journal) -> None:
        wanted, progress = self._wanted, self.progress
        progress.totals, progress.resumed, progress.ended_before = journal.totals, journal.resumed, journal.ended
        bad_path = wanted.bad or journal.path.with_suffix(".bad.jsonl")
        progress.bad_file = bad_path
        if journal.ended:
            for file in wanted.files:
                file.whole = True
            return
        letters = BadFile(bad_path, [one.source.name for one in wanted.files], journal.bad_size)
        miso = Miso(wanted.miso.api_url, wanted.miso.api_key, SECONDS)
        sender = Sender(miso, wanted.kind, journal.plan, self._stopping, wanted.patience)
        try:
            reading = in_thread(self._reader(journal, sender).run)
            reading.add_done_callback(lambda _: self._queue.put_nowait(None))
            await self._send(journal, letters, sender)
            if reading.done() or not self._stopping.is_set():  # else it may wait for a pipe that gives nothing
                await reading
        finally:
            letters.close()
            await miso.close()
        if self._trouble is not None:
            raise self._trouble
        progress.stopped = self._stopping.is_set()
        if not progress.stopped and all(file.whole for file in wanted.files):
            journal.end()

    def _reader(self, journal: Journal, sender: Sender) -> Reader:
        loop = asyncio.get_running_loop()

        def hand_over(batch: Batch) -> None:
            loop.call_soon_threadsafe(self._queue.put_nowait, batch)

        return Reader(
            self._wanted.kind,
            self._wanted.files,
            hand_over,
            format=self._wanted.format,
            begun=journal.sealed,
            changed=journal.changed,
            budget=self._budget,
            progress=self._read,
            most=sender.most,
        )

    def _read(self, size: int) -> None:
        self.progress.bytes_read += size

    async def _send(self, journal: Journal, letters: BadFile, sender: Sender) -> None:
        """Every batch that the reader hands over, several at a time."""
        tasks: set[asyncio.Task[None]] = set()
        while (batch := await self._queue.get()) is not None:
            if self._stopping.is_set():
                continue
            journal.seal(batch)
            point("upload.sealed")
            task = asyncio.create_task(self._bring(batch, journal, letters, sender))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)

    async def _bring(self, batch: Batch, journal: Journal, letters: BadFile, sender: Sender) -> None:
        done = asyncio.Event()
        ids = frozenset(batch.ids)
        older = [event for others, event in self._open.values() if not ids.isdisjoint(others)]
        self._open[batch.number] = (ids, done)
        try:
            for event in older:  # the newest of a product or user must be the last that Miso gets
                await event.wait()
            await sender.bring(batch)
            self._done(batch, journal, letters)
        except Stopped:
            pass
        except BaseException as error:
            self._trouble = self._trouble or error
            self.stop()
        finally:
            self.progress.waiting = sender.waiting
            del self._open[batch.number]
            done.set()
            self._budget.give(batch.held)

    def _done(self, batch: Batch, journal: Journal, letters: BadFile) -> None:
        refused = batch.bad + [batch.refused(index, *why) for index, why in sorted(batch.plan.refused.items())]
        refused.sort(key=lambda one: (one.source, one.row))
        rows = {(one.source, one.row) for one in refused}
        totals = Totals(
            read=batch.read,
            delivered=batch.read - batch.skipped - len(rows),
            skipped=batch.skipped,
            bad=len(rows),
            reasons=dict(Counter(reason_of(one.reason, one.path) for one in refused)),
        )
        letters.add(refused)
        point("upload.bad")
        journal.done(batch, totals, letters.size)
        point("upload.done")
        self.progress.totals.add(totals)


def in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Run it in a thread that does not hold up the end of the process, as asyncio's own do."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="reader", daemon=True).start()
    return done


def check_bad_file(bad: Path | None, files: Sequence[File]) -> None:
    """Raises Reject when the bad file would overwrite a source."""
    if bad is not None and str(bad.resolve()) in {file.source.path for file in files}:
        raise Reject(f"{bad} is one of the files to upload; name another for --bad")
