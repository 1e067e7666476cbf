"""The things of a shop by id: computed when asked for, kept only once they were changed.

So a hundred thousand orders cost nothing until somebody changes one, and stream from a few kilobytes. Ids are
``first + number * step``; things that computing made have the numbers below ``base``, in the order of ``created``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

LAG_MS = 10 * 86_400_000
"""No computed thing was updated later than this after its creation, so a range of updates is a range of creations."""
FOREVER = 1 << 62
RECENT = 2048
"""Computed things that are held for the next who asks, since orders name the same products again and again."""


class Thing(Protocol):
    id: int
    created_at: int
    updated_at: int


T = TypeVar("T", bound=Thing)


class Entities(Generic[T]):
    """All products, customers or orders of a shop."""

    def __init__(
        self, first: int, step: int, base: int, make: Callable[[int], T], created: Callable[[int], int]
    ) -> None:
        self._first, self._step, self._base = first, step, base
        self._make, self._created = make, created
        self._kept: dict[int, T] = {}
        self._recent: dict[int, T] = {}
        self._gone: set[int] = set()
        self._next = base

    def __len__(self) -> int:
        return self._next - len(self._gone)

    def __iter__(self) -> Iterator[T]:
        return self.between()

    def number(self, id_: int) -> int | None:
        """The number of an id, if one can have it."""
        number, rest = divmod(id_ - self._first, self._step)
        return number if not rest and 0 <= number < self._next else None

    def get(self, id_: int) -> T | None:
        """A thing as it is now. What was computed is not kept: ``keep`` it to change it."""
        number = self.number(id_)
        if number is None or number in self._gone:
            return None
        return self._kept.get(number) or self._computed(number)

    def _computed(self, number: int) -> T:
        found = self._recent.get(number)
        if found is None:
            if len(self._recent) >= RECENT:
                self._recent = {}
            found = self._recent[number] = self._make(number)
        return found

    def keep(self, id_: int) -> T:
        """A thing to change. Raises KeyError."""
        number, found = self.number(id_), self.get(id_)
        if number is None or found is None:
            raise KeyError(id_)
        return self._kept.setdefault(number, found)

    def next_id(self) -> int:
        return self._first + self._next * self._step

    def add(self, thing: T) -> T:
        """Add a thing that took ``next_id``."""
        self._kept[self._next] = thing
        self._next += 1
        return thing

    def remove(self, id_: int) -> None:
        """Raises KeyError."""
        number = self.number(id_)
        if number is None or number in self._gone:
            raise KeyError(id_)
        self._gone.add(number)
        self._kept.pop(number, None)

    def between(self, created: tuple[int, int] | None = None, updated: tuple[int, int] | None = None) -> Iterator[T]:
        """Things in order of their ids, created and updated from the first until before the second, in ms."""
        low, high = created or (0, FOREVER)
        least, most = updated or (0, FOREVER)
        start = bisect_left(range(self._base), max(low, least - LAG_MS), key=self._created)
        end = bisect_left(range(self._base), min(high, most), key=self._created)
        changed = sorted(number for number in list(self._kept) if not start <= number < end)
        before = [number for number in changed if number < start]
        after = [number for number in changed if number >= end]
        for numbers in (before, range(start, end), after):
            for number in numbers:
                if number in self._gone:
                    continue
                found = self._kept.get(number) or self._make(number)
                if low <= found.created_at < high and least <= found.updated_at < most:
                    yield found
