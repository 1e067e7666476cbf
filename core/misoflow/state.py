"""A connector's own small memory: encrypted, per instance, with compare-and-set; unreadable in translate."""

from __future__ import annotations

from typing import Protocol


class State(Protocol):
    """Values are bytes; names are short texts. Works only where the engine runs (fetch, backfill, install)."""

    async def get(self, name: str) -> bytes | None:
        """The value, or None."""
        ...

    async def put(self, name: str, value: bytes | None, *, expected: bytes | None) -> bool:
        """Set (or with None remove) it if it still is ``expected``; False when somebody was faster."""
        ...
