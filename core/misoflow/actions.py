"""What a person can have done: each verb is one method, called by the CLI over the control socket or directly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from misoflow.backfill.dry import dry
from misoflow.clock import now_ms
from misoflow.control import ActionError
from misoflow.pipeline import event_hash
from misoflow.singer.feed import Feed
from misoflow.store import control, erase, events
from misoflow.store.values import DeadLetter

if TYPE_CHECKING:
    from misoflow.engine import Engine

PAGE = 500


class Actions:
    """Verbs over a running (or just opened) engine. ActionError says what a person got wrong."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "pause": self.pause,
            "resume": self.resume,
            "dead.retry": self.dead_retry,
            "dead.discard": self.dead_discard,
            "forget": self.forget,
            "erase.install": self.erase_install,
            "replay": self.replay,
            "recount": self.recount,
            "backfill.start": self.backfill_start,
            "backfill.stop": self.backfill_stop,
            "backfill.dry": self.backfill_dry,
            **Feed(engine).verbs,
        }

    async def call(self, verb: str, args: dict[str, Any]) -> Any:
        if verb not in self._verbs:
            raise ActionError(f"unknown action {verb!r}; the running work may be an older version")
        return await self._verbs[verb](**args)

    def _check(self, instance: str) -> None:
        if self._engine.instances.get(instance) is None:
            raise ActionError(f"plugins.toml has no instance {instance!r}")

    async def pause(self, instance: str, reason: str = "paused by a person") -> dict[str, Any]:
        """Stop translating an instance; deliveries are still taken in and wait."""
        self._check(instance)
        engine = self._engine
        await engine.store.run(control.pause, instance, reason, f"misoflow resume {instance}", now_ms())
        await engine.intake.refresh()
        return {"paused": instance}

    async def resume(self, instance: str | None = None, miso: str | None = None) -> dict[str, Any]:
        """Go on with a paused instance (and its open circuits), or with a halted Miso environment."""
        engine = self._engine
        if miso is not None:
            if miso not in engine.senders:
                raise ActionError(f"plugins.toml has no Miso environment {miso!r}")
            await engine.senders[miso].lift()
        if instance is not None:
            self._check(instance)
            await engine.store.run(control.resume, instance)
            engine.intake.circuit.close(instance)
            await engine.intake.refresh()
            engine.maintenance.released.add(instance)
        return {"resumed": instance or miso}

    async def dead_retry(self, ids: list[int] | None = None, instance: str | None = None) -> dict[str, Any]:
        """Dead letters through today's code: the numbers given, or all of an instance, or all.

        Naming a number agrees to what its reason asks about, such as the removal of many products.
        """
        states: dict[str, int] = {}
        tried = 0
        async for letters in self._letters(ids, instance):
            tried += len(letters)
            for state, n in (await self._engine.intake.retry(letters, agreed=ids is not None)).items():
                states[state] = states.get(state, 0) + n
        if ids is not None and tried < len(ids):
            raise ActionError(f"{len(ids) - tried} of these numbers are no dead letters; see: misoflow dead list")
        return {"tried": tried, "states": states}

    async def _letters(self, ids: list[int] | None, instance: str | None) -> Any:
        last = await self._engine.store.run(events.last_dead)
        after = 0
        while letters := await self._engine.store.run(
            events.dead_letters, ids=ids, instance=instance, limit=PAGE, after=after
        ):
            page: list[DeadLetter] = [letter for letter in letters if letter.id <= last]
            if not page:
                return
            after = page[-1].id
            yield page

    async def dead_discard(self, ids: list[int], reason: str = "discarded by a person") -> dict[str, Any]:
        """Give dead letters up; their events are skipped with that reason."""
        return {"discarded": await self._engine.store.run(events.discard, ids, reason)}

    async def forget(self, users: list[str], miso: str | None = None) -> dict[str, Any]:
        """Erase users here and at Miso; an id is as the platform knows it."""
        engine = self._engine
        names = [miso] if miso is not None else list(engine.settings.miso)
        erased: dict[str, int] = {}
        for name in names:
            if name not in engine.settings.miso:
                raise ActionError(f"plugins.toml has no Miso environment {name!r}")
            config = engine.settings.miso[name]
            for user in users:
                user_id = engine.instances.user_id(config, user)
                who = engine.vault.keyed_hash(b"u:" + user_id.encode())
                erased[name] = erased.get(name, 0) + await engine.store.run(_forget, name, who, user_id, now_ms())
            engine.senders[name].wake()
        return {"users": len(users), "erased_events": erased, "queued_at_miso": names}

    async def erase_install(self, instance: str) -> dict[str, Any]:
        """Erase an install, here and at Miso; it goes on by itself from here."""
        return {"erasing": instance, "erasure": await self._engine.purging.ask(instance)}

    async def replay(
        self, instance: str | None = None, start: int = 0, end: int = 2**62, dry_run: bool = False
    ) -> dict[str, Any]:
        """Skipped and dead events of stored deliveries, received in [start, end) ms, through today's code."""
        engine = self._engine
        states: dict[str, int] = {}
        count = 0
        after = engine.inbox.first() - 1
        while deliveries := engine.inbox.read(after, PAGE, 8 * 1024 * 1024):
            after = deliveries[-1].id
            chosen = [
                one
                for one in deliveries
                if start <= one.received_ms < end
                and instance in (None, one.instance)
                and one.id <= engine.intake.offset
            ]
            for one in chosen:
                made = engine.instances.get(one.instance)
                if made is None:
                    continue
                keys = [(made.name, event_hash(made.name, e.id)) for e in engine.intake.events_of(made, one)]
                known = await engine.store.run(events.known, keys)
                again = [k.row for k in known.values() if k.state in ("skipped", "dead")]
                count += len(again)
                if again and not dry_run:
                    for state, n in (await engine.intake.replay(made, one)).items():
                        states[state] = states.get(state, 0) + n
        return {"events": count, "states": states, "dry_run": dry_run}

    async def backfill_start(
        self, instance: str, streams: list[str] | None = None, start: int | None = None, end: int | None = None
    ) -> dict[str, Any]:
        """Pull history (times in ms); the jobs that do it. With none there is nothing to pull."""
        return {"jobs": await self._engine.backfills.start(instance, streams, start, end)}

    async def backfill_dry(
        self, instance: str, streams: list[str] | None = None, start: int | None = None, end: int | None = None
    ) -> dict[str, Any]:
        """Pull and translate, keep and send nothing; what each event would become."""
        made, names = self._engine.backfills.chosen(instance, streams)
        return await dry(self._engine, made, names, start, end)

    async def backfill_stop(self, jobs: list[int]) -> dict[str, Any]:
        """Stop these jobs; `misoflow backfill` goes on with them."""
        await self._engine.backfills.stop(jobs)
        return {"stopped": jobs}

    async def recount(self, settle: bool = False) -> dict[str, Any]:
        """Compare every counter with its rows; ``settle`` takes note of a loss, so that status stops saying it."""
        wrong = await self._engine.store.run(events.recount)
        lost = await self._engine.store.run(control.meta, "lost")
        if settle:
            await self._engine.store.run(control.set_meta, "lost", None)
        return {"wrong": [list(row) for row in wrong], "lost": lost}


def _forget(tx: Any, env: str, who: bytes, user_id: str, now: int) -> int:
    return erase.forget(tx, tx.envs.id(tx.db, env), who, user_id, at=now, now=now)
