"""Answers of routes that ask what became of a delivery: inbox and store are only looked at, in a thread."""

from __future__ import annotations

import asyncio

from misoflow.config import Settings
from misoflow.connector import Fate
from misoflow.instances import Instances
from misoflow.vault import Vault


class Ledger:
    """Knows a delivery for as long as the inbox holds it."""

    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._settings = settings
        self._vault = vault
        self._instances = Instances(settings)

    async def fates(self, name: str, number: int) -> tuple[Fate, ...] | None:
        """The fates of a delivery's events; None when the instance ``name`` has no such delivery."""
        return await asyncio.to_thread(self._read, name, number)

    def _read(self, name: str, number: int) -> tuple[Fate, ...] | None:
        from misoflow.fates import fates  # needs the whole pipeline, which `serve` does not otherwise load

        instance = self._instances.get(name)
        return None if instance is None else fates(self._settings, self._vault, instance, number)
