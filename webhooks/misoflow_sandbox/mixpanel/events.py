"""The rows of a day as an export holds them, and the ledger: what truly happened that day."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from typing import NamedTuple

from misoflow_sandbox.mixpanel.templates import HOT_USER, kinds_of_slots
from misoflow_sandbox.mixpanel.world import FLOAT_TIME, HOT, LINKED, TWICE, Day, MixpanelWorld, moments

CHUNK = 1024
PAUSE = 8192
"""After so many events a list is yielded even if it is empty, so that a server can turn to other requests."""
AGAIN_MS = 60_000
"""A row that is stored twice is received again so much later."""


class Row(NamedTuple):
    """A line of an export, with what requests filter by."""

    line: bytes
    name: str
    processed_ms: int


class LedgerEvent(NamedTuple):
    """One event that truly happened.

    ``name`` is the one it was tracked with, also where a hot shard hides it. ``user``: the user id it was tracked
    with; ``device``: the device id, without prefix; None where it had none. ``person`` is who it was: where that
    differs from ``user``, Mixpanel joins the ids later and rows read after that may name the person.
    ``insert_id`` is "" where the row has none.
    """

    insert_id: str
    time_ms: int
    name: str
    user: str | None
    device: str | None
    person: str | None
    processed_ms: int
    """When it becomes visible, apart from ``visible_seconds``."""
    subject: str
    """What it is about: the product's id, the words searched for; "" where it is about nothing of the kind."""


class Events:
    """The events of a world, made on the fly."""

    def __init__(self, world: MixpanelWorld) -> None:
        self.world = world
        self._kinds = kinds_of_slots(world)
        self._flags = [one.flags for one in self._kinds]

    def has(self, day: date) -> bool:
        return 0 <= (day - self.world.start).days < self.world.days

    def names(self) -> list[str]:
        """Event names in use, most frequent first."""
        found = [one.name for one in self._kinds]
        return sorted(set(found), key=lambda name: (-found.count(name), name))

    def rows(
        self, day: date, now_ms: int, *, in_ms: bool = True, only: Collection[str] | None = None
    ) -> Iterator[list[Row]]:
        """What an export at ``now_ms`` (UTC ms) shows of a day, in lists of about a thousand rows;
        some may be empty.

        ``in_ms``: ``time`` in ms, else in whole seconds. ``only``: these event names.
        """
        if not self.has(day):
            return
        world, there = self.world, Day(self.world, day)
        kinds, link_ms, shown_ms = self._kinds, world.link_seconds * 1000, now_ms - world.visible_seconds * 1000
        number, users, products, unit = there.number, world.users, world.products, 1 if in_ms else 1000
        switch, early, late = there.switch_ms, there.offset_ms, there.later_offset_ms
        hot_so_far = 0
        found: list[Row] = []
        again: list[Row] = []
        for i, slot, t, mixed, received, processed in moments(world, there, self._flags):
            kind = kinds[slot]
            flags, name, template = kind.flags, kind.name, kind.before
            when: float = (t + (early if t < switch else late)) // unit
            if flags:
                if flags & LINKED and now_ms >= t + link_ms:
                    template = kind.after
                if flags & HOT:
                    hot_so_far += 1
                    if hot_so_far > world.hot_after:
                        name, template = "$hotshard_events", kind.hot
                if flags & FLOAT_TIME:
                    when = (t + (early if t < switch else late)) / 1000
            if processed <= shown_ms and (only is None or name in only):
                u, p = mixed % users, mixed % products
                found.append(
                    Row(
                        template % (when, u, u, u, u, number, i, processed, received, p, mixed & 127, mixed % 100),
                        name,
                        processed,
                    )
                )
                if flags & TWICE and processed + AGAIN_MS <= shown_ms:
                    args = (when, u, u, u, u, number, i, processed + AGAIN_MS, received + AGAIN_MS)
                    line = template % (*args, p, mixed & 127, mixed % 100)
                    again.append(Row(line, name, processed + AGAIN_MS))
            if len(found) >= CHUNK or not (i + 1) % PAUSE:
                yield found + again
                found, again = [], []
        if found or again:
            yield found + again

    def ledger(self, day: date) -> Iterator[LedgerEvent]:
        """Every event of a day once, also those that are not visible yet."""
        if not self.has(day):
            return
        there, users, products = Day(self.world, day), self.world.users, self.world.products
        for i, slot, t, mixed, _, processed in moments(self.world, there, self._flags):
            kind, u = self._kinds[slot], mixed % users
            yield LedgerEvent(
                _filled(kind.insert_id, (there.number, i)),
                t,
                kind.name,
                _person(kind.user, u),
                _person(kind.device, u),
                _person(kind.person, u),
                processed,
                kind.subject % (mixed % products) if kind.subject else "",
            )


def ledger(world: MixpanelWorld, day: date) -> list[LedgerEvent]:
    """The ledger of one day of a world."""
    return list(Events(world).ledger(day))


def _filled(pattern: str, values: tuple[int, int]) -> str:
    return pattern % values if pattern else ""


def _person(pattern: str | None, number: int) -> str | None:
    return pattern if pattern is None or pattern == HOT_USER else pattern % number
