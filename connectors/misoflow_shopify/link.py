"""What the client side needs of its connector: settings, HTTP, state, a clock, and waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
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
        self._ahead = 0.0

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

    def heard(self, date: str, asked_at: float) -> None:
        """Take in the ``Date`` of an answer to what was asked at ``asked_at``: Shopify's clock decides what is older.

        It has whole seconds: that clock is not behind this second now, nor was it beyond it when we asked.
        """
        try:
            there = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        least, most = there - self.now(), there + 1 - asked_at
        self._ahead = min(max(self._ahead, least), max(least, most))

    def there_ms(self, at_ms: int | None = None) -> int:
        """What Shopify's clock shows now, or when ours showed ``at_ms``."""
        return (self.now_ms() if at_ms is None else at_ms) + round(self._ahead * 1000)

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
