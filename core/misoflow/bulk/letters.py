"""The bad file: one JSON line for each row that does not arrive, to be mended and uploaded again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from misoflow.bulk.batches import Refused

_BYTE = re.compile(r" \(byte \d+\)$")
_INDEX = re.compile(r"\[\d+\]")


class BadFile:
    """Made when the first row is bad. ``keep``: its first so many bytes are of this upload already."""

    def __init__(self, path: Path, names: Sequence[str], keep: int = 0) -> None:
        self.path = path
        self.size = 0
        if path.exists():
            self.size = min(keep, path.stat().st_size)
            os.truncate(path, self.size)
        self._names = names
        self._file: IO[bytes] | None = None

    def add(self, refused: Sequence[Refused]) -> None:
        """On disk when this returns."""
        if not refused:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            self._file.seek(self.size)
        for one in refused:
            self.size += self._file.write(line(self._names[one.source], one))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def line(name: str, refused: Refused) -> bytes:
    """file, line, reason, path and the record: as JSON where it is JSON, else as text."""
    try:
        record = msgspec.json.format(refused.raw, indent=-1)
        record.decode()
        msgspec.json.decode(record, type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        record = msgspec.json.encode(refused.raw.decode(errors="replace"))
    head = msgspec.json.encode(
        {"file": name, "line": refused.row, "reason": refused.reason, "path": refused.path, "record": None}
    )
    return head.removesuffix(b"null}") + record + b"}\n"


def reason_of(reason: str, path: str = "$") -> str:
    """A reason with the field it is about, without numbers of places, so that equal ones are counted together."""
    head, _, rest = reason.partition(" ")
    parts = head.split(".", 2)
    if parts[0] == "data" and len(parts) > 1 and parts[1].isdigit():  # Miso's own words
        return f"{parts[2] if len(parts) > 2 else 'record'} {rest}"
    reason = _BYTE.sub("", reason)
    return reason if path == "$" else f"{_INDEX.sub('[]', path.removeprefix('$.'))}: {reason}"
