"""The store's high-water mark: a small fsynced file beside store.db that knows how many commits there were.

SQLite recovers what its log holds and says nothing of what a damaged or missing log no longer holds
(https://www.sqlite.org/wal.html#the_wal_file); the mark makes such a loss visible.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

_BODY = struct.Struct("<8sQ")
_CRC = struct.Struct("<I")
_MAGIC = b"misostor"


def mark_path(store: Path) -> Path:
    return store.with_suffix(".mark")


def read_mark(store: Path) -> int | None:
    """The number of the last commit that was certainly on the disk; None without a (sound) mark."""
    try:
        raw = mark_path(store).read_bytes()
    except OSError:
        return None
    if len(raw) != _BODY.size + _CRC.size or _CRC.unpack(raw[_BODY.size :])[0] != zlib.crc32(raw[: _BODY.size]):
        return None
    magic, commits = _BODY.unpack(raw[: _BODY.size])
    return int(commits) if magic == _MAGIC else None


class Mark:
    """The owner's handle on the mark."""

    def __init__(self, store: Path) -> None:
        self._handle = os.open(mark_path(store), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, commits: int) -> None:
        """Durable on return; the same few bytes are overwritten, so a full disk does not matter."""
        body = _BODY.pack(_MAGIC, commits)
        os.pwrite(self._handle, body + _CRC.pack(zlib.crc32(body)), 0)
        os.fdatasync(self._handle)

    def close(self) -> None:
        os.close(self._handle)
