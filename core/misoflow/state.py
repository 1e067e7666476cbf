"""A connector's own small memory: encrypted, per instance, with compare-and-set; unreadable in translate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from misoflow.store import control

if TYPE_CHECKING:
    from misoflow.store import Store


class State(Protocol):
    """Values are bytes; names are short texts. Works only where the engine runs (fetch, backfill, install)."""

    async def get(self, name: str) -> bytes | None:
        """The value, or None."""
        ...

    async def put(self, name: str, value: bytes | None, *, expected: bytes | None) -> bool:
        """Set (or with None remove) it if it still is ``expected``; False when somebody was faster."""
        ...


class StoredState:
    """The state of one instance, in the store."""

    def __init__(self, store: Store, instance: str) -> None:
        self._store = store
        self._instance = instance

    async def get(self, name: str) -> bytes | None:
        return await self._store.run(control.get, self._instance, name)

    async def put(self, name: str, value: bytes | None, *, expected: bytes | None) -> bool:
        return await self._store.run(control.put, self._instance, name, value, expected)
