"""The state of a tap: how far each of the connector's streams has been read, and what is in hand. Pure.

{"bookmarks": {"export": {"to": ms, "slice": {"start": ms, "end": ms, "cursor": "…"}},
               "files": {"cursor": "…"}}}
"""

from __future__ import annotations

from typing import Any

import msgspec

from misoflow.errors import ConfigError


class Part(msgspec.Struct, omit_defaults=True):
    """A slice that was begun, times in ms, and the cursor that a page of it proved."""

    start: int
    end: int
    cursor: str | None = None


class Bookmark(msgspec.Struct, omit_defaults=True):
    """``to``: everything before is read (ms). ``cursor``: where a polled stream goes on."""

    to: int | None = None
    cursor: str | None = None
    slice: Part | None = None


class Bookmarks:
    """Those of a run. What is in a state beside ours is kept as it is."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        """ConfigError when it is no state of ours."""
        self._rest = dict(state or {})
        bookmarks = self._rest.pop("bookmarks", {})
        try:
            self._of = msgspec.convert(bookmarks, dict[str, Bookmark])
        except msgspec.ValidationError as error:
            raise ConfigError("bookmarks", f"this is no state that this tap wrote: {error}") from None

    def of(self, stream: str) -> Bookmark:
        return self._of.setdefault(stream, Bookmark())

    def value(self) -> dict[str, Any]:
        """The state to write."""
        empty = Bookmark()
        told = {name: msgspec.to_builtins(one) for name, one in self._of.items() if one != empty}
        return {**self._rest, "bookmarks": told}
