"""What an open job waits for, so that nobody has to guess why nothing moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from misoflow.pipeline import from_ms
from misoflow.store import control, slices
from misoflow.store.slices import Job
from misoflow.store.tx import Tx

if TYPE_CHECKING:
    from misoflow.engine import Engine

SHORT_MS = 5000
"""Shorter waits for a turn are not worth saying."""


class Wait(NamedTuple):
    """``stuck``: it goes on only when a person acts."""

    text: str | None = None
    stuck: bool = False


class Waits:
    """Keeps the note of each open job true."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: dict[int, Wait] = {}

    async def forget(self, job: int) -> None:
        """A person has acted: what was noted before may no longer be so."""
        self._told.pop(job, None)
        await self._engine.store.run(slices.note, job, None, False)

    async def tell(self, jobs: list[Job], now: int) -> None:
        """Write down what is new; ``now`` in ms."""
        if not jobs:
            self._told = {}
            return
        found = await self._engine.store.run(self._found, jobs, now)
        for job, wait in found.items():
            if self._told.get(job) != wait:
                await self._engine.store.run(slices.note, job, *wait)
        self._told = found

    def _found(self, tx: Tx, jobs: list[Job], now: int) -> dict[int, Wait]:
        paused = {stop.name: stop for stop in control.paused(tx)}
        halted = {stop.name: stop for stop in control.halted(tx)}
        held: dict[str, list[str]] = {}
        for name, topic, _, _ in control.circuits(tx):
            held.setdefault(name, []).append(topic)
        return {job.id: self._why(tx, job, jobs, paused, halted, held, now) for job in jobs}

    def _why(
        self,
        tx: Tx,
        job: Job,
        jobs: list[Job],
        paused: dict[str, control.Stop],
        halted: dict[str, control.Stop],
        held: dict[str, list[str]],
        now: int,
    ) -> Wait:
        instance = self._engine.instances.get(job.instance)
        stop = paused.get(job.instance) or paused.get(job.instance.partition("/")[0])
        if instance is None:
            return Wait("the instance cannot start; run: misoflow check", True)
        if job.stream not in instance.connector.streams:
            return Wait(f"the connector has no stream {job.stream} as it is set up now; see its guide", True)
        if stop is not None:
            return Wait(f"the instance is paused: {stop.reason}. {stop.fix}", True)
        if instance.env in halted:
            stop = halted[instance.env]
            return Wait(f"sending to Miso has stopped: {stop.reason}. {stop.fix}", True)
        if job.instance in held and slices.is_all_read(tx, job) and not slices.backlog(tx, instance.env):
            topics = ", ".join(sorted(held[job.instance]))
            text = f"events of {topics} are held, as too many were rejected"
            return Wait(f"{text}; mend the mapping, then: misoflow resume {job.instance}", True)
        due = self._engine.budgets.waiting.get(job.id, 0)
        if due - now > SHORT_MS:
            return Wait(f"the hour's calls are used up; goes on by itself at {from_ms(due):%H:%M} UTC")
        first = self._engine.backfills.first(instance, job, jobs)
        if first:
            return Wait(f"waits for {', '.join(sorted(first))}")
        down = self._engine.senders[instance.env].down
        return Wait(f"Miso cannot take records now ({down}); goes on by itself" if down else None)
