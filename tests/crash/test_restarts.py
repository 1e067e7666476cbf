"""Orderly restarts under load (M14): no sender hears of them, nothing is sent twice, the exit code is 0."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from tests.crash.test_kills import assert_sound
from tests.harness.judge import judge
from tests.harness.world import World


def test_ten_restarts_under_load(tmp_path: Path) -> None:
    with World(tmp_path, seed=14) as world:
        world.start("serve")
        world.start("work")
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                world.load(5)
                time.sleep(0.01)

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(10):
            time.sleep(0.2)
            assert world.kill("work", signal.SIGTERM) == 0, world.logs()
            world.start("work")
        stop.set()
        sender.join()
        assert not world.refusals
        assert_sound(world)
        assert judge(world).resent_requests == 0


def test_the_parent_stops_both_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with World(tmp_path, seed=15) as world:
        world.start("run")
        world.load(200)
        assert world.kill("run", signal.SIGTERM) == 0, world.logs()
        world.start("run")
        assert_sound(world)
        assert judge(world).resent_requests == 0
