"""Sending to one Miso environment: seal, POST, and decide by the answer what each record's fate is.

An outage burns no attempts: nothing ages out, and while the circuit is open one probe at a time goes out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from misoflow import plan
from misoflow.clock import now_ms
from misoflow.crash import point
from misoflow.encode import encode
from misoflow.errors import Reject
from misoflow.miso import (
    Answer,
    Bad,
    Done,
    Envelope,
    Later,
    Miso,
    Stop,
    TaskDone,
    TaskFailed,
    TaskGone,
    TaskPending,
    TooLarge,
)
from misoflow.miso_lines import BadRecord, without_values
from misoflow.pace import FLOOR_RECORDS, Pace
from misoflow.records import Product, User
from misoflow.store import Store, StoreUnavailable, batches, control, erase, keyed
from misoflow.store.tx import Tx
from misoflow.store.values import Batch

log = logging.getLogger("misoflow.work")

MAX_BYTES = 8 * 1024 * 1024
SLOTS = {"interactions": 4, "other": 8}
PARSED_ROUNDS = 3
MOST_REQUESTS = 1000
DRIFT_SHARE = 0.2
DRIFT_LEAST = 50
AGREED = 1_000_000
"""``rounds`` of a batch whose many refusals a person has seen: it goes on without asking again."""
PROBE_SECONDS = 300
TASK_STUCK_MS = 15 * 60 * 1000
TASK_POLL_SECONDS = (0.2, 10.0)
LEAST_PAUSE = 0.02
IDLE_PAUSE = 1.0

RawsOf = Callable[[list[int]], Awaitable[dict[int, bytes]]]
"""event rows -> packed events, for the dead letters of records that Miso refuses."""


class NotNow(Exception):
    """The request stays owed; the circuit decides when it is tried again."""


class Halted(Exception):
    """A person has to act before anything is sent again."""


class Sender:
    """One Miso environment. ``run`` ends when ``stop`` was called and nothing is in flight."""

    def __init__(
        self,
        store: Store,
        miso: Miso,
        env: str,
        raws_of: RawsOf,
        *,
        linger_ms: int = 500,
        jitter: random.Random,
    ) -> None:
        self.env = env
        self._store = store
        self._miso = miso
        self._raws_of = raws_of
        self._linger_ms = linger_ms
        self._pace = Pace(jitter)
        self._row = 0
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._kinds: dict[int, str] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self.halted: str | None = None
        self.down: str | None = None
        """Why Miso cannot take records for the moment."""
        self._probe_at = 0.0

    def wake(self) -> None:
        """There may be something to send, or a halt was lifted."""
        self._wake.set()

    async def lift(self) -> None:
        """Go on after a halt."""
        self.halted = None
        self._pace.reset()
        await self._store.run(control.lift, self.env)
        self.wake()

    async def run(self) -> None:
        """Send until stopped. A start lifts a halt: the key may have been mended."""
        while not self._stopping:
            self._wake.clear()
            try:
                if not self._row:
                    self._row = await self._store.run(lambda tx: tx.envs.id(tx.db, self.env))
                    await self.lift()
                pause = await self._turn()
            except StoreUnavailable:  # the intake says so
                pause = IDLE_PAUSE
            waiters = [asyncio.ensure_future(self._wake.wait()), *self._busy.values()]
            await asyncio.wait(waiters, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            waiters[0].cancel()
            self._reap()
        if self._busy:
            await asyncio.wait(self._busy.values())
            self._reap()

    def stop(self) -> None:
        """No new batches; ``run`` returns when those in flight are answered."""
        self._stopping = True
        self._wake.set()

    async def cancel(self) -> None:
        """Give up waiting for answers: their batches are sent again, byte for byte, after the next start."""
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def close(self) -> None:
        await self._miso.close()

    async def _turn(self) -> float:
        """Seal and start what may be sent now; returns how long to wait for more, in seconds."""
        now = self._now()
        if self.halted is not None and now < self._probe_at:
            return min(self._probe_at - now, PROBE_SECONDS)
        if now < self._pace.open_until:
            return self._pace.open_until - now
        self._pace.grow(now)
        probing = self.halted is not None or self._pace.failures > 0
        if probing and self._busy:
            return 1.0
        for event, why in await self._store.run(self._seal):
            await self._kill(event, why)
        for batch, kind in await self._store.run(batches.open_batches, self._row, sum(SLOTS.values())):
            slot = "interactions" if kind == "interactions" else "other"
            if batch in self._busy or list(self._kinds.values()).count(slot) >= SLOTS[slot]:
                continue
            self._kinds[batch] = slot
            self._busy[batch] = asyncio.create_task(self._work(batch), name=f"batch {batch}")
            if probing:
                self._probe_at = now + PROBE_SECONDS
                break
        waiting = await self._store.run(batches.any_open_part, self._row)
        return max(self._linger_ms / 1000, LEAST_PAUSE) if waiting else IDLE_PAUSE

    def _seal(self, tx: Tx) -> list[tuple[int, str]]:
        now = now_ms()
        point("seal.before")
        while len(batches.open_batches(tx, self._row, SLOTS["interactions"])) < SLOTS["interactions"]:
            older = now - self._linger_ms
            if batches.seal_interactions(tx, self._row, self._pace.limit, MAX_BYTES, older, now) is None:
                break
        refused: list[tuple[int, str]] = []
        for kind in keyed.UPLOAD:
            refused += keyed.seal(tx, self._row, kind, full_record_problem, now)
        point("seal.after")
        return refused

    def _reap(self) -> None:
        for batch, task in list(self._busy.items()):
            if not task.done():
                continue
            del self._busy[batch], self._kinds[batch]
            if not task.cancelled() and task.exception() is not None:
                raise task.exception() or RuntimeError("unreachable")

    async def _work(self, number: int) -> None:
        """Bring one batch as far as it goes: to its end, to the circuit, or to a halt."""
        try:
            batch = await self._store.run(batches.take, number)
            while batch.todo:
                await self._request(batch)
            await self._store.run(_finish, batch)
            point("outcome.after")
        except (NotNow, Halted):
            return
        except StoreUnavailable:  # what was sent meanwhile goes out again, byte for byte
            self._pace.open_until = self._now() + IDLE_PAUSE

    async def _request(self, batch: Batch) -> None:
        """Send the first request still owed, or follow its task, and act on the answer."""
        request = batch.todo[0]
        if batch.task is None:
            batch.requests += 1
            await self._store.run(batches.save_plan, batch)
            point("send.before")
            answer = await self._send(batch, request)
            point("send.after")
        else:
            answer = await self._follow(batch)
        await self._act(batch, request, answer)

    async def _send(self, batch: Batch, request: plan.Request) -> Answer:
        records = batch.records
        match batch.kind:
            case "interactions" | "products" | "users":
                return await self._miso.upload(batch.kind, plan.body(records, request))
            case "delete_products" | "delete_users":
                ids = [records[index].decode() for index in plan.indices(request)]
                return await self._miso.delete(batch.kind.removeprefix("delete_"), ids)
            case _:
                users = [erase.user_id_of(records[index]) for index in plan.indices(request)]
                first = await self._miso.delete("interactions", users)
                return await self._miso.delete("users", users) if isinstance(first, Done) else first

    async def _act(self, batch: Batch, request: plan.Request, answer: Answer) -> None:
        match answer:
            case Done(task_id, bad):
                await self._succeeded()
                if task_id is not None and batch.task is None and batch.kind != "interactions":
                    batch.task, batch.task_at = task_id, now_ms()
                    await self._store.run(batches.save_plan, batch)
                    point("task.saved")
                    return
                await self._taken(batch, {**batch.suspects, **_named(batch, request, bad)})
            case Bad(bad, _):
                await self._succeeded()
                await self._refused(batch, request, _named(batch, request, bad))
            case TooLarge():
                self._pace.shrink(self._now())
                await self._too_large(batch, request)
            case Later(reason, after, unknown):
                if unknown and plan.size(request) > FLOOR_RECORDS:
                    self._pace.shrink(self._now())
                self._failed(reason, after)
                raise NotNow
            case Envelope(reason):
                await self._halt(f"Miso refuses the request itself: {reason}", "update misoflow, then resume")
            case Stop(reason, fix):
                await self._halt(reason, fix)

    async def _taken(self, batch: Batch, bad: dict[int, tuple[str, str]]) -> None:
        """Miso has the first request; what it named on the way is a dead letter now."""
        raws = await self._raws(batch, bad)
        point("outcome.before")

        def step(tx: Tx) -> None:
            batches.refuse(tx, batch, bad, lambda event: raws.get(event, b""), now_ms())
            point("dead.written")
            batch.todo.pop(0)
            rest = batch.todo[0] if batch.todo else []
            if not bad and rest == batch.other_half and plan.size(rest) > 1:
                _halve(batch, rest)
            batch.task, batch.task_at, batch.suspects = None, None, {}
            batch.rounds = batch.rounds if batch.rounds >= AGREED else 0
            if batch.todo:
                batches.save_plan(tx, batch)
            else:
                batches.finish(tx, batch, now_ms())

        await self._store.run(step)

    async def _refused(self, batch: Batch, request: plan.Request, fresh: dict[int, tuple[str, str]]) -> None:
        """A 422: leave out what it names and send the rest; where that does not help, halve."""
        every = plan.indices(request)
        if len(every) == 1:
            await self._taken(batch, fresh or {every[0]: ("Miso refuses this record without saying why", "$")})
            return
        await self._drift(batch, len(batch.bad) + len(batch.suspects) + len(fresh))
        rest = plan.without(request, set(fresh))
        bisecting = len(batch.todo) > 1 or batch.rounds % AGREED >= PARSED_ROUNDS
        if fresh and rest and not bisecting:
            batch.suspects.update(fresh)
            batch.todo[0] = rest
        elif fresh and not rest and not bisecting:
            await self._taken(batch, {**batch.suspects, **fresh})
            return
        else:
            whole = plan.joined(request, batch.suspects)
            batch.suspects = {}
            _halve(batch, whole)
        batch.rounds += 1
        await self._store.run(batches.save_plan, batch)

    async def _drift(self, batch: Batch, bad: int) -> None:
        """So many refusals are no poison but a mapping that went wrong: a person should look first."""
        many = bad >= DRIFT_LEAST and bad > DRIFT_SHARE * len(batch.records)
        if batch.rounds >= AGREED or not (many or batch.requests > MOST_REQUESTS):
            return
        batch.rounds += AGREED
        await self._store.run(batches.save_plan, batch)
        await self._halt(
            f"Miso refuses {bad} or more of {len(batch.records)} records of a batch",
            f"look at the mapping; `misoflow resume --miso {self.env}` makes dead letters of the refused ones",
            probe=False,
        )

    async def _too_large(self, batch: Batch, request: plan.Request) -> None:
        if plan.size(request) == 1:
            await self._taken(batch, {request[0][0]: ("Miso refuses this record as too large", "$")})
            return
        batch.todo[0:1] = list(plan.halves(request))
        await self._store.run(batches.save_plan, batch)

    async def _follow(self, batch: Batch) -> Answer:
        """Ask for the task until it is clean, failed, or stuck; a stuck one is sent again, byte for byte."""
        wait = TASK_POLL_SECONDS[0]
        kind = "products" if batch.kind in ("products", "delete_products") else "users"
        while True:
            state = await self._miso.task(kind, batch.task or "")
            match state:
                case TaskDone(bad):
                    point("task.clean")
                    return Done(None, bad)
                case TaskGone() | TaskFailed():
                    return await self._resend(batch, "Miso lost or failed the task")
                case TaskPending():
                    if now_ms() - (batch.task_at or 0) > TASK_STUCK_MS:
                        return await self._resend(batch, "Miso's task is stuck")
                case Later() | Stop():
                    return state
            if self._stopping:  # the task is kept in the store, the next process asks on
                raise NotNow
            await asyncio.sleep(wait)
            wait = min(wait * 2, TASK_POLL_SECONDS[1])

    async def _resend(self, batch: Batch, reason: str) -> Answer:
        batch.task, batch.task_at = None, None
        await self._store.run(batches.save_plan, batch)
        return Later(reason, None, False)

    async def _raws(self, batch: Batch, bad: dict[int, tuple[str, str]]) -> dict[int, bytes]:
        if not bad:
            return {}
        if batch.kind == "interactions":
            return await self._raws_of([batch.members[index] for index in bad])
        if batch.kind == "forget":
            return await self._raws_of(await self._store.run(erase.asked, self.env, batch.id))
        return await self._raws_of(await self._store.run(keyed.events_of, batch.id, set(bad)))

    async def _kill(self, event: int, why: str) -> None:
        raws = await self._raws_of([event])
        await self._store.run(batches.kill, event, "reject", why, "$", lambda row: raws.get(row, b""), now_ms())

    async def _halt(self, reason: str, fix: str, *, probe: bool = True) -> None:
        if self.halted is None:
            log.error("sending to Miso %s is halted: %s. Do: %s", self.env, reason, fix)
        self.halted = reason
        self._probe_at = self._now() + (PROBE_SECONDS if probe else float("inf"))
        await self._store.run(control.halt, self.env, reason, fix, now_ms())
        raise Halted

    async def _succeeded(self) -> None:
        self.down = None
        if self._pace.failures or self.halted is not None:
            log.warning("Miso %s takes records again", self.env)
            await self.lift()

    def _failed(self, reason: str, after: float | None) -> None:
        self.down = reason
        if self._pace.failed(self._now(), after):
            log.warning("Miso %s cannot take records now: %s", self.env, reason)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _named(batch: Batch, request: plan.Request, bad: list[BadRecord]) -> dict[int, tuple[str, str]]:
    """Record number in the batch -> Miso's sentence, without the record's values, and the path."""
    every = plan.indices(request)
    numbered = [(every[one.index], one) for one in bad if one.index < len(every)]
    return {number: (without_values(one.sentence, batch.records[number]), one.path) for number, one in numbered}


def _halve(batch: Batch, request: plan.Request) -> None:
    """Put two halves in the first request's place."""
    first, second = plan.halves(request)
    batch.todo[0:1] = [first, second]
    batch.other_half = second


def _finish(tx: Tx, batch: Batch) -> None:
    if not batches.is_done(tx, batch.id):
        batches.finish(tx, batch, now_ms())


def full_record_problem(kind: str, record: dict[str, Any]) -> str | None:
    """Why Miso would refuse a merged product or user; None when it is fine."""
    try:
        encode(Product(**record) if kind == "product" else User(**record))
    except (Reject, TypeError) as error:
        return f"the merged {kind} is invalid: {error}"
    return None
