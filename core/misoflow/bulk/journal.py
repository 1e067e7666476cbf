"""What an upload has done so far, line by line on disk, so that the same command goes on after any end of it.

A batch is written down before its first request, with the hash of its bytes, and again when Miso has answered
for all of it; every change of what it owes stands there before the next request. So after a crash nothing that
was confirmed is sent again, and what may have been taken goes out again as the same bytes.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from pathlib import Path
from typing import IO, Any

import msgspec

from misoflow.bulk.batches import Batch, Segment
from misoflow.bulk.plan import Plan
from misoflow.errors import MisoflowError, Retry

VERSION = 1
OTHER = (
    "the mapping, format or Miso environment is another than when this upload began; "
    "--restart sends everything from the start, what had arrived too"
)


class Sealed(msgspec.Struct):
    """A batch as the journal knows it."""

    number: int
    sha256: str
    segments: list[Segment]
    whole: list[int]
    plan: Plan | None = None
    done: bool = False


class Totals(msgspec.Struct):
    """Rows: ``read`` is the sum of the others."""

    read: int = 0
    delivered: int = 0
    skipped: int = 0
    bad: int = 0
    reasons: dict[str, int] = {}

    def add(self, more: Totals) -> None:
        self.read += more.read
        self.delivered += more.delivered
        self.skipped += more.skipped
        self.bad += more.bad
        self.reasons = dict(Counter(self.reasons) + Counter(more.reasons))


class Differs(MisoflowError):
    """The upload that was begun is not the one that is wanted now."""


class Journal:
    """One upload's file, locked while it is open. ``sealed`` and ``totals`` are what it held when opened.

    ``changed`` are the files, by index, that are others than when it began: one that was cut off is whole now, or
    has grown. The upload goes on if they still begin with what was sent.
    """

    def __init__(self, path: Path, head: dict[str, Any], *, restart: bool = False) -> None:
        """Open or begin. Raises Differs when it was begun with another ``head``, Retry when it is in use."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[bytes] = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise Retry("another upload of these files is under way") from None
        self.sealed: dict[int, Sealed] = {}
        self.totals = Totals()
        self.bad_size = 0
        self.ended = False
        self.resumed = False
        self.changed: frozenset[int] = frozenset()
        self._sources = head["sources"]
        lines = [] if restart else self._lines()
        before = {**lines[0], "sources": lines[-1].get("sources") or lines[0]["sources"]} if lines else {}
        if lines and before != head and self._begun(lines):
            if {**before, "sources": None} != {**head, "sources": None}:
                self._file.close()
                raise Differs(OTHER)
            self.changed = frozenset(
                index
                for index, pair in enumerate(zip(before["sources"], head["sources"], strict=True))
                if len(set(map(tuple, pair))) > 1
            )
        elif before != head:
            self._file.truncate(0)
            self._file.seek(0)
            self._write(head)
            return
        self.resumed = True
        for line in lines[1:]:
            self._read(line)

    def _lines(self) -> list[dict[str, Any]]:
        """The lines that were written whole; what a crash left of another is cut off."""
        text = self._file.read()
        end = text.rfind(b"\n") + 1
        self._file.truncate(end)
        self._file.seek(end)
        return [msgspec.json.decode(line) for line in text[:end].splitlines()]

    @staticmethod
    def _begun(lines: list[dict[str, Any]]) -> bool:
        """Whether something may have arrived of an upload that has not ended."""
        return "end" not in lines[-1] and any("seal" in line for line in lines)

    def _read(self, line: dict[str, Any]) -> None:
        if "seal" in line:
            self.sealed[line["seal"]] = Sealed(
                line["seal"], line["sha256"], msgspec.convert(line["segments"], list[Segment]), line["whole"]
            )
        elif "plan" in line:
            self.sealed[line["plan"]].plan = msgspec.convert(line["state"], Plan, str_keys=True)
        elif "done" in line:
            self.sealed[line["done"]].done = True
            self.totals.add(msgspec.convert(line["totals"], Totals))
            self.bad_size = line["bad_size"]
        self.ended = "end" in line

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def seal(self, batch: Batch) -> None:
        """Before the first request of a new batch."""
        if batch.number not in self.sealed:
            line = {"seal": batch.number, "segments": batch.segments, "whole": batch.whole, "sha256": batch.sha256}
            self._write(line)

    def plan(self, batch: Batch) -> None:
        """Before a request that is not the batch's first, and when a task was begun."""
        self._write({"plan": batch.number, "state": batch.plan})

    def done(self, batch: Batch, totals: Totals, bad_size: int) -> None:
        """Miso has answered for all of it, and what it refused is in the bad file, of so many bytes now."""
        self._write({"done": batch.number, "totals": totals, "bad_size": bad_size})

    def end(self) -> None:
        """Every file was read to its end, and every batch is done."""
        if not self.ended:
            self._write({"end": True, "sources": self._sources})

    def close(self) -> None:
        self._file.close()
