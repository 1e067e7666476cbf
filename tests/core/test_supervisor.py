"""The parent of serve and work, with small children of its own: order, restarts, ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, signal, sys, time
from misoflow.supervisor import Parent
name, log, mode = sys.argv[1:4]
def note(text):
    with open(log, "a") as file:
        file.write(f"{name} {text} {os.getpid()}\\n")
def stop(*_):
    note("stopped")
    sys.exit(0)
if mode != "stubborn":
    signal.signal(signal.SIGTERM, stop)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
parent = Parent.from_environment()
parent.watch()
note("started")
if mode == "spoilt" and open(log).read().count(f"{name} started") == 2:
    parent.failed("plugins.toml: engine.port: is no number")
    sys.exit(78)
if mode == "ended" and open(log).read().count(f"{name} started") < 4:
    os._exit(78)
if mode == "misconfigured":
    parent.failed("plugins.toml: miso.api_key: the environment variable MISO_API_KEY is not set")
    sys.exit(78)
parent.ready(name=name)
while True:
    time.sleep(0.02)
"""

PARENT = """
import sys
from misoflow.supervisor import Child, Supervisor
child, log, *modes = sys.argv[1:]
children = [
    Child(name, lambda name=name, mode=mode: [sys.executable, child, name, log, mode])
    for name, mode in zip(("serve", "work"), modes)
]
supervisor = Supervisor(
    children,
    on_ready=lambda: print("ready", flush=True),
    say=lambda text: print(text, file=sys.stderr, flush=True),
    restart_seconds=(0.05, 0.05),
    grace_seconds=0.3,
)
sys.exit(supervisor.run())
"""


class Family:
    """A supervisor in its own process with two children of a given mode."""

    def __init__(self, folder: Path, *modes: str) -> None:
        self.log = folder / "log"
        self.log.touch()
        (folder / "child.py").write_text(CHILD)
        (folder / "parent.py").write_text(PARENT)
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "parent.py"), str(folder / "child.py"), str(self.log), *modes],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(self, word: str) -> list[tuple[str, int]]:
        """(name, pid) of the log's lines with that word."""
        parts = [line.split() for line in self.log.read_text().splitlines()]
        return [(name, int(pid)) for name, said, pid in parts if said == word]

    def wait_for(self, count: int, word: str) -> list[tuple[str, int]]:
        deadline = time.monotonic() + 15
        while len(found := self.lines(word)) < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        return found

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=15)
        return self.process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_serve_first_then_work_and_the_exit_code_is_0(tmp_path: Path, number: int) -> None:
    family = Family(tmp_path, "good", "good")
    family.ready()
    code, err = family.end(number)
    assert code == 0
    assert err == ""
    assert [name for name, _ in family.lines("stopped")] == ["serve", "work"]


def test_a_killed_child_is_started_again_and_the_other_stays(tmp_path: Path) -> None:
    family = Family(tmp_path, "good", "good")
    family.ready()
    pids = dict(family.lines("started"))
    os.kill(pids["work"], signal.SIGKILL)
    started = family.wait_for(3, "started")
    assert started[2][0] == "work"
    assert started[2][1] != pids["work"]
    code, err = family.end()
    assert code == 0
    assert "work: ended by SIGKILL; starting it again" in err
    assert dict(family.lines("stopped"))["serve"] == pids["serve"]


def test_ready_is_said_once_however_often_children_start(tmp_path: Path) -> None:
    family = Family(tmp_path, "good", "good")
    family.ready()
    os.kill(dict(family.lines("started"))["serve"], signal.SIGKILL)
    family.wait_for(3, "started")
    family.process.send_signal(signal.SIGTERM)
    rest, _ = family.process.communicate(timeout=15)
    assert rest == ""


def test_a_child_that_cannot_be_configured_ends_all_with_78_and_its_reason_once(tmp_path: Path) -> None:
    family = Family(tmp_path, "good", "misconfigured")
    out, err = family.process.communicate(timeout=15)
    assert family.process.returncode == 78
    assert out == ""
    assert err == "plugins.toml: miso.api_key: the environment variable MISO_API_KEY is not set\n"


def test_a_child_that_has_worked_before_is_tried_again_and_the_other_goes_on(tmp_path: Path) -> None:
    family = Family(tmp_path, "good", "spoilt")
    family.ready()
    os.kill(dict(family.lines("started"))["work"], signal.SIGKILL)
    family.wait_for(4, "started")
    code, err = family.end()
    assert code == 0
    assert "work: plugins.toml: engine.port: is no number; starting it again" in err
    assert [name for name, _ in family.lines("started")].count("serve") == 1


def test_an_exit_code_of_78_without_a_word_is_no_verdict(tmp_path: Path) -> None:
    family = Family(tmp_path, "good", "ended")
    family.ready()
    code, err = family.end()
    assert code == 0
    assert err.count("work: ended with exit code 78; starting it again") == 3


def test_a_child_that_does_not_stop_is_killed_and_the_exit_code_says_so(tmp_path: Path) -> None:
    family = Family(tmp_path, "stubborn", "good")
    family.ready()
    code, _ = family.end()
    assert code == 1
    assert [name for name, _ in family.lines("stopped")] == ["work"]


def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    family = Family(tmp_path, "good", "good")
    family.ready()
    family.process.kill()
    family.process.communicate(timeout=15)
    stopped = family.wait_for(2, "stopped")
    assert {name for name, _ in stopped} == {"serve", "work"}


def test_the_parent_imports_nothing_heavy() -> None:
    code = "import sys, misoflow.supervisor, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"asyncio", "pydantic", "httpx", "rich", "apsw", "msgspec"} & set(loaded)
