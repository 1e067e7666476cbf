"""Erasing a whole install."""

from __future__ import annotations

from misoflow.store.tx import Tx


def ask(tx: Tx, instance: str, before_ms: int, now: int) -> None:
    """Queue it."""
