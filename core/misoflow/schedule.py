"""When history is pulled by itself: APScheduler as a clock, jobs declared anew from plugins.toml at each start.

https://apscheduler.readthedocs.io/en/3.x/: UTC only, so that no change of the clocks skips or doubles a run; a
run that was missed, because the machine slept or misoflow was not running, happens once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from misoflow.clock import now_ms, pause
from misoflow.crontab import crontab
from misoflow.errors import MisoflowError
from misoflow.installable import Installable
from misoflow.pipeline import from_ms
from misoflow.store import StoreUnavailable, budgets, installs, slices
from misoflow.streams import StreamConfig, stream_of

if TYPE_CHECKING:
    from misoflow.engine import Engine

log = logging.getLogger("misoflow.work")
logging.getLogger("apscheduler").setLevel(logging.WARNING)

LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Timed:
    """One job: ``name`` is instance/stream, with ``repull`` at its end for the pull of what came late."""

    name: str
    instance: str
    stream: str
    trigger: BaseTrigger
    repull: timedelta | None = None


def timed(instance: str, stream: str, config: StreamConfig, every: timedelta | None = None) -> list[Timed]:
    """The jobs of one stream; ``every`` is what the connector wants where the settings say nothing."""
    name = f"{instance}/{stream}"
    found = []
    trigger = trigger_of(config)
    if trigger is None and every is not None:
        trigger = IntervalTrigger(seconds=int(every.total_seconds()), timezone=UTC)
    if trigger is not None:
        found.append(Timed(name, instance, stream, trigger))
    if config.repull is not None:
        every = IntervalTrigger(seconds=int(config.repull_every.total_seconds()), timezone=UTC)
        found.append(Timed(f"{name}/repull", instance, stream, every, config.repull))
    return found


def trigger_of(config: StreamConfig) -> BaseTrigger | None:
    """When a stream is pulled; None when only by hand."""
    if config.every is not None:
        return IntervalTrigger(seconds=int(config.every.total_seconds()), timezone=UTC)
    if config.at is not None:
        hour, _, minute = config.at.partition(":")
        return CronTrigger(hour=int(hour), minute=int(minute), timezone=UTC)
    if config.cron is not None:
        return crontab(config.cron)
    return None


def first_run(trigger: BaseTrigger, last: int | None, now: datetime) -> datetime | None:
    """When the job runs after a start: at once when it never ran or a run was missed, else at its time."""
    due: datetime | None
    if last is None:
        due = now if isinstance(trigger, IntervalTrigger) else trigger.get_next_fire_time(None, now)
        return due
    before = from_ms(last)
    if isinstance(trigger, IntervalTrigger):
        after: datetime = max(now, before + trigger.interval)
        return after
    due = trigger.get_next_fire_time(before, before)
    return max(now, due) if due is not None else None


class Schedule:
    """The clock of one ``work``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self.jobs = [job for name in engine.settings.instances for job in self._jobs(name)]

    def _jobs(self, name: str) -> list[Timed]:
        """Of what the settings say, and of what the connector wants by itself."""
        wanted = self._engine.settings.instances[name].backfill
        instance = self._engine.instances.get(name)
        streams = {} if instance is None else instance.connector.streams
        found = []
        for stream in sorted({*wanted, *streams}):
            every = stream_of(instance.connector, stream).every if instance is not None and stream in streams else None
            found += timed(name, stream, wanted.get(stream) or StreamConfig(), every)
        return found

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep time until the engine stops."""
        for job in self.jobs:
            last = await self._last_run(job.name, stopping)
            due = first_run(job.trigger, last, datetime.now(UTC))
            self._scheduler.add_job(self._fire(job), job.trigger, id=job.name, next_run_time=due)
        self._scheduler.start()
        try:
            while not stopping.is_set():
                await self._tell()
                await pause(stopping, LOOK_SECONDS)
        finally:
            self._scheduler.shutdown(wait=False)

    async def _last_run(self, name: str, stopping: asyncio.Event) -> int | None:
        while not stopping.is_set():
            try:
                return await self._engine.store.run(budgets.last_run, name)
            except StoreUnavailable as error:
                self._engine.trouble.say(error)
                await pause(stopping, 1)
        return None

    def _fire(self, job: Timed) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            try:
                note = await self.due(job)
                await self._engine.store.run(budgets.ran, job.name, now_ms(), note)
            except StoreUnavailable as error:
                self._engine.trouble.say(error)
            await self._tell()

        return run

    async def due(self, job: Timed) -> str | None:
        """Do what is due; the reason when nothing can be done. Idempotent: what is known is not sent again.

        A template's job is done for each of its installs.
        """
        engine = self._engine
        instance = engine.instances.get(job.instance)
        if instance is None:
            return "the instance cannot start; run: misoflow check"
        if "/" not in job.instance and isinstance(instance.connector, Installable) and instance.connector.template:
            for one in await engine.store.run(installs.everyone):
                if (
                    one.state == "installed"
                    and one.name.startswith(job.instance + "/")
                    and job.stream not in one.without
                ):
                    await self.due(replace(job, instance=one.name))
            return None
        if engine.intake.is_paused(job.instance):
            return "the instance is paused"
        going = [one for one in await engine.store.run(slices.open_jobs, job.instance) if one.stream == job.stream]
        if job.repull is not None:
            if any(one.purpose == "repull" for one in going):
                return "the pull before is not finished"
            await engine.backfills.repull(instance, job.stream, job.repull)
            return None
        if going and stream_of(instance.connector, job.stream).poll:
            return "the run before is not finished"
        try:
            await engine.backfills.start(job.instance, [job.stream])
        except MisoflowError as error:
            return str(error)
        return None

    async def _tell(self) -> None:
        """For `misoflow status`: when what runs next."""
        times: dict[str, int | None] = {
            job.id: int(job.next_run_time.timestamp() * 1000) for job in self._scheduler.get_jobs()
        }
        try:
            await self._engine.store.run(budgets.planned, times)
        except StoreUnavailable as error:
            self._engine.trouble.say(error)
