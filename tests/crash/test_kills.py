"""kill -9, at random moments and at named ones: what was acknowledged arrives, once, whatever happens (D1, D2).

`make test` runs 30 random kills and each named point once; `make test-all` 500 and five times.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from tests.harness.judge import judge
from tests.harness.world import World

FULL = bool(os.environ.get("MISOFLOW_FULL"))
KILLS = 500 if FULL else 30
SERVE_POINTS = (
    "serve.body_read",
    "inbox.before_commit",
    "inbox.after_commit",
    "inbox.after_mark",
    "inbox.prune",
    "inbox.rewrite",
    "serve.before_answer",
)
WORK_POINTS = (
    "work.start",
    "work.read",
    "work.split",
    "work.before_commit",
    "commit.inside",
    "work.after_commit",
    "seal.before",
    "seal.inside",
    "seal.after",
    "send.before",
    "send.after",
    "task.saved",
    "task.clean",
    "outcome.before",
    "dead.written",
    "finish.inside",
    "outcome.after",
    "forget.inside",
    "scrub.before",
    "retention.inside",
)
POISON = "p-poison"


def poison_event(number: int) -> dict[str, object]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"{POISON}-{number}",
        "userId": "poisoner",
        "timestamp": "2026-11-01T00:00:00.000Z",
        "properties": {"product_id": POISON},
    }


def assert_sound(world: World) -> None:
    counts = world.settle()
    verdict = judge(world, ignore=POISON)
    states = sum(counts[s] for s in ("delivered", "skipped", "suppressed", "erased", "dead", "pending"))
    assert counts["pending"] == 0, (counts, world.logs())
    assert counts["accepted"] == states
    assert counts["accepted"] >= len(world.acknowledged)
    assert verdict.sound(), (verdict, world.logs())


def test_random_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("MISOFLOW_SEED", "20261124"))
    print(f"seed {seed}")
    rng = random.Random(seed)
    with World(tmp_path, seed=seed) as world:
        world.start("serve")
        world.start("work")
        world.faults(
            [
                {"match": {"path": "/v1/interactions"}, "after": 2, "times": 3, "action": {"reset": "after"}},
                {"match": {"path": "/v1/"}, "after": 9, "times": 3, "action": {"status": 503}},
            ]
        )
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                world.load(10)

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.02, 0.5))
            for what in rng.choice([("serve",), ("work",), ("serve", "work")]):
                world.kill(what)
                world.start(what)
        stop.set()
        sender.join()
        assert len(world.acknowledged) > KILLS
        assert_sound(world)


@pytest.mark.parametrize("attempt", range(5 if FULL else 1))
@pytest.mark.parametrize("point", [*SERVE_POINTS, *WORK_POINTS])
def test_a_kill_at_a_named_point(tmp_path: Path, point: str, attempt: int) -> None:
    what = "serve" if point in SERVE_POINTS else "work"
    with World(tmp_path, seed=attempt) as world:
        world.faults([{"match": {"path": "/v1/interactions"}, "times": -1, "action": {"reject_marker": POISON}}])
        for name in ("serve", "work"):
            first = "ready expected" if point != "work.start" or name != "work" else ""
            env = {"MISOFLOW_CRASH_AT": f"{point}:{attempt + 1 if attempt else 1}"} if name == what else {}
            world.start(name, env, must_be_ready=bool(first))
        sender = threading.Thread(target=lambda: (world.load(30), world.post(poison_event(1)), world.forget("user-7")))
        sender.start()
        assert world.wait_dead(what) == -9, f"{point} was not reached; {world.logs()}"
        world.start(what)
        sender.join()
        assert_sound(world)
