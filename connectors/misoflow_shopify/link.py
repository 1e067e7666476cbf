"""What the client side needs of its connector: settings, HTTP, state, a clock, and waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from misoflow_shopify.config import ShopifyConfig

if TYPE_CHECKING:
    from misoflow_shopify.connector import Shopify

T = Any


class Link:
    """One connector as its clients see it. ``now`` (seconds since 1970) and ``sleep`` may be replaced in tests."""

    def __init__(self, connector: Shopify) -> None:
        self._connector = connector
        self.config: ShopifyConfig = connector.config
        self.now: Callable[[], float] = time.time
        self.sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep

    @property
    def http(self) -> Any:
        """The engine gives it to the connector after it was made."""
        return self._connector.http

    @property
    def state(self) -> Any:
        """Likewise."""
        return self._connector.state

    def now_ms(self) -> int:
        """The time in ms since 1970."""
        return int(self.now() * 1000)

    async def remembered(self, name: str, kind: type[T]) -> Any:
        """The value of that name in the state, None if there is none."""
        saved = await self.state.get(name)
        return None if saved is None else msgspec.json.decode(saved, type=kind)

    async def remember(self, name: str, value: Any) -> None:
        """Put a value whoever else changes it; None removes it."""
        wanted = None if value is None else msgspec.json.encode(value)
        while True:
            saved = await self.state.get(name)
            if saved == wanted or await self.state.put(name, wanted, expected=saved):
                return
