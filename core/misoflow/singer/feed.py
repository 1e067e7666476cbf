"""The side of ``singer-target`` that is in ``work``: pages of a tap's records into the store, and how they stand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from misoflow.backfill.pull import BACKLOG
from misoflow.clock import now_ms
from misoflow.connector import Event
from misoflow.control import ActionError
from misoflow.singer.connector import Singer
from misoflow.store import control, fed, slices
from misoflow.store.tx import Tx
from misoflow.store.values import PageMark

if TYPE_CHECKING:
    from misoflow.engine import Engine
    from misoflow.instances import Instance

Stuck = tuple[str, str]
"""(why nothing moves until a person acts, what to do)."""


class Feed:
    """Verbs of the control socket; ActionError says what is wrong."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "singer.begin": self.begin,
            "singer.page": self.page,
            "singer.cut": self.cut,
            "singer.look": self.look,
            "singer.end": self.end,
        }

    def _instance(self, name: str) -> Instance:
        instance = self._engine.instances.get(name)
        if instance is None:
            raise ActionError(f"there is no instance {name!r} that can start; run: misoflow check")
        if not isinstance(instance.connector, Singer):
            raise ActionError(f'{name!r} takes no records of taps: set connector = "singer" there')
        return instance

    async def begin(self, instance: str) -> dict[str, Any]:
        """A new run: its ``job``, the moment ``since`` (ms), and the ``last`` slice of the runs before."""
        self._instance(instance)
        now = now_ms()
        last = await self._engine.store.run(fed.last, instance)
        return {"job": await self._engine.store.run(fed.begin, instance, now), "since": now, "last": last}

    async def page(self, instance: str, job: int, events: list[list[Any]]) -> dict[str, Any]:
        """Some records: [id, stream, record, [key, digest] or null]. ``full``: try again when Miso has taken some.

        A row whose key and digest are those that were taken in last is a repeat: nothing is made of it.
        """
        engine = self._engine
        made = self._instance(instance)
        if await engine.store.run(slices.backlog, made.env) > BACKLOG:
            return {"full": True}
        await engine.backfills.puller.turn()
        piece = await engine.store.run(fed.open_slice, job, now_ms())
        rows = [None if row is None else (str(row[0]), bytes.fromhex(row[1])) for *_, row in events]
        same = await engine.store.run(fed.unchanged, instance, rows)
        found = [Event(one[0], one[1], one[2]) for one, known in zip(events, same, strict=True) if not known]
        await engine.intake.pulled(made, found, PageMark(piece, len(events), moved=True))
        await engine.store.run(fed.remember, instance, rows)
        return {"full": False}

    async def cut(self, job: int) -> dict[str, Any]:
        """The slice that all pages so far of this run are in, or before; the next page begins another."""
        now = now_ms()

        def step(tx: Tx) -> int:
            piece = fed.open_slice(tx, job, now)
            fed.cut(tx, piece, now)
            return piece

        return {"slice": await self._engine.store.run(step)}

    async def look(self, instance: str, since: int) -> dict[str, Any]:
        """``undone``: the oldest slice that is not accounted for, or null; ``counts`` of what is since then.

        ``stuck`` is [why, what to do] when it waits for a person, ``waits`` why Miso takes nothing for the moment.
        """
        made = self._instance(instance)

        def step(tx: Tx) -> dict[str, Any]:
            undone = fed.first_undone(tx, instance)
            stuck = None if undone is None else self._stuck(tx, made)
            return {"undone": undone, "counts": fed.counts(tx, instance, since), "stuck": stuck}

        found = await self._engine.store.run(step)
        return {**found, "waits": self._engine.senders[made.env].down}

    def _stuck(self, tx: Tx, instance: Instance) -> Stuck | None:
        for stop in control.paused(tx):
            if stop.name == instance.name:
                return f"the instance is paused: {stop.reason}", stop.fix
        for stop in control.halted(tx):
            if stop.name == instance.env:
                return f"sending to Miso has stopped: {stop.reason}", stop.fix
        held = [(topic, why) for name, topic, why, _ in control.circuits(tx) if name == instance.name]
        if held and not slices.backlog(tx, instance.env):
            streams = ", ".join(sorted(topic for topic, _ in held))
            text = f"records of {streams} are held, as too many were rejected; last reason: {held[0][1]}"
            return text, f"mend the mapping, then: misoflow resume {instance.name}"
        return None

    async def end(self, job: int) -> dict[str, Any]:
        """The run is over."""
        await self._engine.store.run(fed.end, job, now_ms())
        return {}
