"""Whom to blame when a worker ends in somebody's code, so that the next one does not end there too.

Before an event is translated (or a delivery split) its hash is written to ``work.mark``. That file is mapped into
memory, because it is written twice an event; it has to survive the process, not the machine. The watchdog leaves its
traceback in ``work.hang``, and what is known of earlier ends stands in ``work.suspects``.
"""

from __future__ import annotations

import faulthandler
import logging
import mmap
import os
from pathlib import Path

import msgspec

log = logging.getLogger("misoflow.work")

NOBODY = bytes(16)
CRASHES = 2
"""Ends of the worker at one event before it is condemned: a first one may have been a ``kill -9`` by chance."""


class Suspects:
    """Owns the three files. ``at`` and ``done`` enclose somebody's code; ``condemned`` says whom to leave out."""

    def __init__(self, data: Path) -> None:
        self._list = data / "work.suspects"
        self._crashes = self._read()
        mark = os.open(data / "work.mark", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(mark, len(NOBODY))
        self._mark = mmap.mmap(mark, len(NOBODY))
        os.close(mark)
        self._hang = os.open(data / "work.hang", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._look_back()

    def _read(self) -> dict[str, int]:
        """Event hash in hex -> how often a worker ended there."""
        try:
            return msgspec.json.decode(self._list.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError):
            return {}

    def _look_back(self) -> None:
        """How the last worker ended, and at what."""
        trace = os.pread(self._hang, 64 * 1024, 0).decode("utf-8", "replace").strip()
        if trace:
            log.error("the last worker made no progress and was ended by the watchdog:\n%s", trace)
            os.ftruncate(self._hang, 0)
        last = self._mark[:]
        if last != NOBODY:
            self.done()
            self._crashes[last.hex()] = CRASHES if trace else self._crashes.get(last.hex(), 0) + 1
            self._write()

    def _write(self) -> None:
        if not self._crashes:
            self._list.unlink(missing_ok=True)
            return
        new = self._list.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self._crashes))
        new.replace(self._list)

    def at(self, digest: bytes) -> None:
        """Somebody's code begins with this event or delivery (16 bytes)."""
        self._mark[:] = digest

    def done(self) -> None:
        """It came back, in whatever way."""
        self._mark[:] = NOBODY

    def condemned(self, digest: bytes) -> bool:
        """Whether it ended a worker before, by hanging once or crashing repeatedly."""
        return bool(self._crashes) and self._crashes.get(digest.hex(), 0) >= CRASHES

    def settled(self, digests: list[bytes]) -> None:
        """These are accounted for in the store, so nothing has to be remembered of them."""
        gone = [digest.hex() for digest in digests if digest.hex() in self._crashes] if self._crashes else []
        for digest in gone:
            del self._crashes[digest]
        if gone:
            self._write()

    def watch(self, seconds: int) -> None:
        """A sign of life: without another one within ``seconds`` the process ends, in a thread of C's own."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._hang)

    @staticmethod
    def rest() -> None:
        """No sign of life is owed any more."""
        faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        self.rest()
        self._mark.close()
        os.close(self._hang)
