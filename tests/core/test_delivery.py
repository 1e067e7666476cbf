"""Sending to Miso: what each answer does to each record, counted in requests and in dead letters.

The Miso here is a small scripted one in the same process, all-or-nothing as documented; the real client
against the sandbox is tested in tests/core/test_engine.py. Rows M1, M6 to M13 of the reliability table.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from misoflow import miso as answers
from misoflow.delivery import Sender
from misoflow.store import Store, control, events
from misoflow.store.values import Chunk, Outcome, Part, Piece
from misoflow.vault import Vault

from tests.core.virtual import run

NOW = 1_700_000_000_000
numbers = itertools.count(1)


class ScriptedMiso:
    """All-or-nothing uploads; ``faults`` are answers given instead, one each."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.requests: list[bytes] = []
        self.at: list[float] = []
        self.faults: list[Any] = []
        self.bad: Callable[[dict[str, Any]], bool] = lambda record: False
        self.name_bad: Callable[[list[int]], list[int]] = lambda indices: indices
        self.down = False
        self.stuck = False
        self.most = 10**9
        self.tasks: list[Any] = []
        self.deleted: list[tuple[str, list[str]]] = []

    async def close(self) -> None:
        pass

    async def upload(self, kind: str, body: bytes, *, dry_run: bool = False) -> Any:
        self.requests.append(body)
        self.at.append(asyncio.get_running_loop().time())
        if self.down:
            return answers.Later("503", None, False)
        if self.faults:
            fault = self.faults.pop(0)
            if fault is not None:
                return fault
        records = json.loads(body)["data"]
        if len(records) > self.most:
            return answers.TooLarge()
        wrong = [index for index, record in enumerate(records) if self.bad(record)]
        if wrong:
            named = self.name_bad(wrong)
            bad = [answers.BadRecord(i, "$.x", f"data.{i}.x is invalid. Said Miso.") for i in named]
            return answers.Bad(bad, 0 if named else 1)
        self.taken += records
        return answers.Done(None if kind == "interactions" else f"task-{len(self.requests)}", [])

    async def delete(self, kind: str, ids: list[str]) -> Any:
        self.deleted.append((kind, ids))
        return answers.Done(None, [])

    async def task(self, kind: str, task_id: str) -> Any:
        if self.stuck and len(self.requests) < 2:
            return answers.TaskPending()
        return self.tasks.pop(0) if self.tasks else answers.TaskDone([])


def piece_event(n: int | None = None, **more: Any) -> Outcome:
    n = next(numbers) if n is None else n
    body = json.dumps({"type": "like", "n": n}).encode()
    piece = Piece(body)
    return Outcome("web", "default", n.to_bytes(16, "big"), "t", NOW, 1, at=NOW, pieces=[piece], **more)


def user_event(user: str, version: int, **fields: Any) -> Outcome:
    part = Part("user", user.encode().ljust(16), user, "traits", version, {"user_id": user, **fields})
    return Outcome("web", "default", next(numbers).to_bytes(16, "big"), "t", NOW, 1, at=NOW, parts=[part])


class Bench:
    """A store, a sender and a scripted Miso."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.miso = ScriptedMiso()
        self.sender = self.make()
        self.task: asyncio.Task[None] | None = None

    def make(self) -> Sender:
        miso: Any = self.miso
        return Sender(self.store, miso, "default", self.raws, linger_ms=0, jitter=random.Random(1))

    async def raws(self, rows: list[int]) -> dict[int, bytes]:
        return dict.fromkeys(rows, b"raw")

    async def put(self, *outcomes: Outcome) -> None:
        for start in range(0, len(outcomes), 2000):
            await self.store.commit(Chunk(list(outcomes[start : start + 2000]), now=NOW))
        self.sender.wake()

    def start(self) -> None:
        self.task = asyncio.create_task(self.sender.run())

    async def until(
        self, done: Callable[[dict[str, int]], bool], turns: int = 3000, pause: float = 0.05
    ) -> dict[str, int]:
        for _ in range(turns):
            if self.task is not None and self.task.done():
                self.task.result()
            counts = await self.counts()
            if done(counts):
                return counts
            await asyncio.sleep(pause)
        raise AssertionError(f"did not get there: {counts}")

    async def until_halted(self) -> None:
        for _ in range(100):
            if await self.store.run(control.halted):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("sending was not halted")

    async def settled(self) -> dict[str, int]:
        return await self.until(lambda counts: not counts["pending"])

    async def counts(self) -> Counter[str]:
        rows = await self.store.run(lambda tx: list(tx.db.execute("SELECT state, n FROM counts")))
        return Counter({state: n for state, n in rows if n})

    async def stop(self) -> None:
        self.sender.stop()
        if self.task is not None:
            await asyncio.wait([self.task], timeout=5)
        await self.sender.cancel()


@contextlib.asynccontextmanager
async def bench(tmp_path: Any) -> AsyncIterator[Bench]:
    store = Store(tmp_path, Vault(b"k" * 32, None))
    made = Bench(store)
    try:
        yield made
        assert await store.run(events.recount) == []
    finally:
        await made.stop()
        await store.close()


def bad_numbers(*wanted: int) -> Callable[[dict[str, Any]], bool]:
    return lambda record: record.get("n") in wanted


@pytest.mark.parametrize(("bad", "size"), [(1, 10_000), (50, 10_000), (500, 10_000)])
async def test_m6_m7_named_records_are_dead_and_the_rest_needs_one_more_request(tmp_path, bad, size):
    async with bench(tmp_path) as b:
        wrong = set(random.Random(bad).sample(range(1, size + 1), bad))
        b.miso.bad = bad_numbers(*wrong)
        await b.put(*(piece_event(n) for n in range(1, size + 1)))
        b.start()
        counts = await b.settled()
        assert counts == {"accepted": size, "delivered": size - bad, "dead": bad}
        assert len(b.miso.requests) == 2
        assert Counter(r["n"] for r in b.miso.taken) == Counter(set(range(1, size + 1)) - wrong)
        (letter, *_) = await b.store.run(events.dead_letters)
        assert letter.reason.endswith("Said Miso.")
        assert letter.path == "$.x"


@pytest.mark.parametrize(("bad", "most"), [(1, 29), (5, 117), (50, 815)])
async def test_m8_an_unreadable_422_is_halved_within_its_bound(tmp_path, bad, most):
    async with bench(tmp_path) as b:
        wrong = set(random.Random(bad).sample(range(1, 10_001), bad))
        b.miso.bad = bad_numbers(*wrong)
        b.miso.name_bad = lambda indices: []
        await b.put(*(piece_event(n) for n in range(1, 10_001)))
        b.start()
        counts = await b.settled()
        assert counts == {"accepted": 10_000, "delivered": 10_000 - bad, "dead": bad}
        assert len(b.miso.requests) <= most
        assert not wrong & {r["n"] for r in b.miso.taken}


@pytest.mark.parametrize(
    "naming",
    [lambda i: i[:1], lambda i: [k + 1 for k in i], lambda i: i[:100], lambda i: [0], lambda i: [99_999]],
    ids=["only one", "shifted", "first 100", "always the first", "beyond the end"],
)
async def test_m8_a_wrong_or_partial_list_condemns_nobody(tmp_path, naming):
    async with bench(tmp_path) as b:
        wrong = set(random.Random(7).sample(range(1, 1001), 12))
        b.miso.bad = bad_numbers(*wrong)
        b.miso.name_bad = naming
        await b.put(*(piece_event(n) for n in range(1, 1001)))
        b.start()
        counts = await b.settled()
        assert counts == {"accepted": 1000, "delivered": 988, "dead": 12}
        assert Counter(r["n"] for r in b.miso.taken) == Counter(set(range(1, 1001)) - wrong)


async def test_m8_a_fifth_of_a_batch_bad_is_drift_and_waits_for_a_person(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.bad = lambda record: record["n"] <= 300
        await b.put(*(piece_event(n) for n in range(1, 1001)))
        b.start()
        await b.until_halted()
        assert (await b.counts())["pending"] == 1000
        assert len(b.miso.requests) == 1
        await b.sender.lift()
        assert await b.settled() == {"accepted": 1000, "delivered": 700, "dead": 300}


async def test_m9_a_refused_envelope_halts_and_never_halves(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.faults = [answers.Envelope("field required: data")]
        await b.put(*(piece_event() for _ in range(10)))
        b.start()
        await b.until_halted()
        assert len(b.miso.requests) == 1
        assert (await b.counts()) == {"accepted": 10, "pending": 10}


async def test_a_wrong_key_halts_without_a_dead_letter_and_the_next_start_delivers(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.faults = [answers.Stop("invalid api key", "set miso.api_key")] * 9
        await b.put(*(piece_event() for _ in range(10)))
        b.start()
        await b.until_halted()
        (stop,) = await b.store.run(control.halted)
        assert (stop.reason, stop.fix) == ("invalid api key", "set miso.api_key")
        await b.stop()
        b.miso.faults = []
        b.sender = b.make()
        b.start()
        assert await b.settled() == {"accepted": 10, "delivered": 10}
        assert await b.store.run(control.halted) == []


async def test_m10_a_too_large_batch_is_halved_and_later_ones_are_smaller(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.most = 300
        await b.put(*(piece_event() for _ in range(1000)))
        b.start()
        assert (await b.settled())["delivered"] == 1000
        assert len(b.miso.taken) == 1000
        assert b.sender._pace.limit < 10_000


async def test_m10_one_record_that_is_too_large_is_a_dead_letter(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.most = 0
        await b.put(piece_event())
        b.start()
        assert await b.settled() == {"accepted": 1, "dead": 1}


async def test_an_unknown_outcome_is_sent_again_with_the_same_bytes(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.faults = [answers.Later("no answer", 0.05, True)]
        await b.put(*(piece_event() for _ in range(20)))
        b.start()
        await b.until(lambda counts: len(b.miso.requests) >= 1)
        await b.put(*(piece_event() for _ in range(5)))
        await b.settled()
        assert b.miso.requests[0] == b.miso.requests[1]


def test_m1_a_long_outage_loses_nothing_and_makes_no_burst(tmp_path):
    """72 hours in `make test-all`, a twentieth of it otherwise, on a virtual clock."""
    hours = 72 if os.environ.get("MISOFLOW_FULL") else 4

    async def main() -> None:
        async with bench(tmp_path) as b:
            b.miso.down = True
            await b.put(*(piece_event() for _ in range(500)))
            b.start()
            loop = asyncio.get_running_loop()
            start = loop.time()
            while loop.time() - start < hours * 3600:
                await asyncio.sleep(600)
            assert await b.counts() == {"accepted": 500, "pending": 500}
            waits = [later - earlier for earlier, later in itertools.pairwise(b.miso.at)]
            assert min(waits[1:]) >= 0.9, "never two probes at once"
            assert max(waits) <= 40, "it keeps asking"
            b.miso.down = False
            await asyncio.sleep(60)
            assert (await b.counts())["delivered"] == 500

    assert run(main) >= hours * 3600


@pytest.mark.parametrize("after", [3.0, 900.0])
def test_m2_retry_after_wins_over_the_back_off(tmp_path, after):
    async def main() -> None:
        async with bench(tmp_path) as b:
            b.miso.faults = [answers.Later("429", after, False)]
            await b.put(*(piece_event() for _ in range(5)))
            b.start()
            await asyncio.sleep(after + 40)
            assert (await b.counts())["delivered"] == 5
            assert after <= b.miso.at[1] - b.miso.at[0] <= after * 1.1 + 1

    run(main)


async def test_m11_delivered_only_with_a_clean_task(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.tasks = [answers.TaskPending()] * 3
        await b.put(user_event("u1", 1, age=3))
        b.start()
        await b.until(lambda counts: len(b.miso.tasks) < 3)
        assert (await b.counts())["delivered"] == 0
        assert await b.settled() == {"accepted": 1, "delivered": 1}


async def test_m11_a_partial_task_is_a_dead_letter_for_its_records_only(tmp_path):
    async with bench(tmp_path) as b:
        b.miso.tasks = [answers.TaskDone([answers.BadRecord(0, "$.custom_attributes.a", "type clash")])]
        await b.put(user_event("u1", 1, age=3), user_event("u2", 1, age=4))
        b.start()
        assert await b.settled() == {"accepted": 2, "delivered": 1, "dead": 1}
        (letter,) = await b.store.run(events.dead_letters)
        assert (letter.reason, letter.raw) == ("type clash", b"raw")


@pytest.mark.parametrize("lost", [answers.TaskGone(), answers.TaskFailed("worker died")])
def test_m11_a_lost_or_failed_task_is_uploaded_again_unchanged(tmp_path, lost):
    async def main() -> None:
        async with bench(tmp_path) as b:
            b.miso.tasks = [lost]
            await b.put(user_event("u1", 1, age=3))
            b.start()
            await b.settled()
            assert len(b.miso.requests) == 2
            assert b.miso.requests[0] == b.miso.requests[1]

    run(main)


def test_m11_a_stuck_task_is_uploaded_again_after_15_minutes(tmp_path, monkeypatch):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr("misoflow.delivery.now_ms", lambda: int(loop.time() * 1000))
        async with bench(tmp_path) as b:
            b.miso.stuck = True
            await b.put(user_event("u1", 1, age=3))
            b.start()
            await b.until(lambda counts: not counts["pending"], pause=10)
            assert b.miso.at[1] - b.miso.at[0] >= 15 * 60

    run(main)


async def test_m12_newest_wins_whatever_the_answers(tmp_path):
    async with bench(tmp_path) as b:
        rng = random.Random(12)
        b.miso.faults = [answers.Later("500", 0.01, True) if rng.random() < 0.3 else None for _ in range(60)]
        updates = [(f"u{user}", version) for user in range(50) for version in range(40)]
        rng.shuffle(updates)
        b.start()
        for start in range(0, len(updates), 200):
            chunk = updates[start : start + 200]
            await b.put(*(user_event(user, version, age=version) for user, version in chunk))
            await asyncio.sleep(0.02)
        counts = await b.settled()
        assert counts == {"accepted": 2000, "delivered": 2000}
        last = {record["user_id"]: record["age"] for record in b.miso.taken}
        assert last == {f"u{user}": 39 for user in range(50)}
        seen: dict[str, int] = {}
        for record in b.miso.taken:
            assert record["age"] >= seen.get(record["user_id"], -1), "a stale update overwrote a newer one"
            seen[record["user_id"]] = record["age"]


async def test_m13_a_dead_environment_does_not_hold_up_another(tmp_path):
    async with bench(tmp_path) as b:
        other: Any = ScriptedMiso()
        second = Sender(b.store, other, "second", b.raws, linger_ms=0, jitter=random.Random(2))
        b.miso.down = True
        await b.put(*(piece_event() for _ in range(50)))
        theirs = [piece_event() for _ in range(50)]
        for outcome in theirs:
            outcome.env = "second"
        await b.put(*theirs)
        b.start()
        task = asyncio.create_task(second.run())
        await b.until(lambda counts: counts["delivered"] == 50)
        assert len(other.taken) == 50
        second.stop()
        await task


async def test_m14_a_stop_waits_for_what_is_in_flight(tmp_path):
    async with bench(tmp_path) as b:
        gate = asyncio.Event()
        upload = b.miso.upload

        async def slow(kind: str, body: bytes, *, dry_run: bool = False) -> Any:
            await gate.wait()
            return await upload(kind, body)

        b.miso.upload = slow  # type: ignore[method-assign]
        await b.put(*(piece_event() for _ in range(5)))
        b.start()
        while not b.sender._busy:
            await asyncio.sleep(0.01)
        b.sender.stop()
        await asyncio.sleep(0.05)
        assert b.task is not None
        assert not b.task.done()
        gate.set()
        await b.task
        assert await b.counts() == {"accepted": 5, "delivered": 5}


async def test_forgetting_deletes_interactions_and_the_user(tmp_path):
    async with bench(tmp_path) as b:
        await b.put(Outcome("web", "default", b"f" * 16, "delete", NOW, 1, at=NOW, forget=[(b"w" * 16, "u7")] * 2))
        assert (await b.counts()) == {"accepted": 1, "pending": 1}, "it is delivered when Miso has deleted"
        b.start()
        await b.until(lambda counts: counts.get("delivered") == 1 and len(b.miso.deleted) == 4)
        assert b.miso.deleted == [("interactions", ["u7"]), ("users", ["u7"])] * 2
        assert (await b.counts()) == {"accepted": 1, "delivered": 1}
