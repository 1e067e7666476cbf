"""A connector that goes wrong harms its own instances only, in real processes; ``check`` says what to do about it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.plugins import BROKEN, Knocking, Plugged, processes

RAISED = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "Outrage", "SelfStopped")
BACK_SECONDS = 2.0
OTHERS_SECONDS = 5.0
WATCHDOG_SECONDS = 5.0
PATIENCE = 20
"""For a machine that is busy with other things: deadlines of the tests, not of the promise."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Plugged]:
    with Plugged(tmp_path) as made:
        yield made


def failures(world: Plugged) -> dict[str, tuple[str, str]]:
    """Instance -> (what, what to do) of each finding of ``check`` that is a failure."""
    found = world.command("check", code=78)
    return {one["where"].split(".")[1]: (one["text"], one["fix"]) for one in found if one["level"] == "fail"}


def instances(world: Plugged) -> dict[str, Any]:
    """All of them as ``status`` tells them."""
    found: dict[str, Any] = world.command("status")[0]["instances"]
    return found


def test_connectors_that_cannot_be_used_break_their_own_instances(world: Plugged) -> None:
    world.configure(**{name: {"connector": f"{name}:X"} for name in BROKEN})
    found = failures(world)
    assert found.keys() == BROKEN.keys()
    for name, (text, fix) in found.items():
        assert name in text or "its connector" in text or "X does not say" in text
        assert fix
    assert "RuntimeError at breaks.py:1" in found["breaks"][0]
    assert found["leaves"][0] == "'leaves:X' cannot be loaded: SystemExit at leaves.py:2"
    assert found["needs"][1] == "install a_module_that_nobody_has"
    assert "must not be async" in found["welcoming"][0]
    world.start("run")
    assert {name: world.deliver(name, "e") for name in BROKEN} == dict.fromkeys(BROKEN, 503)
    assert world.deliver("good", "e") == 200
    world.wait_for("good", "delivered", 1)
    assert {instances(world)[name]["state"] for name in ("breaks", "leaves", "picky")} == {"broken"}


def test_a_name_that_two_distributions_claim_breaks_only_who_uses_it(world: Plugged) -> None:
    world.claim("twin", "first-twin", "second-twin")
    world.claim("single", "only-one")
    world.configure(twice={"connector": "twin"}, once={"connector": "single"})
    text, fix = failures(world)["twice"]
    assert text == "the name 'twin' is claimed by the distributions first-twin and second-twin"
    assert fix == "uninstall all of them but one"
    listed = {one["name"]: one for one in world.command("connectors")}
    assert (listed["twin"]["distribution"], listed["twin"]["rivals"]) == ("first-twin", ["second-twin"])
    assert "rivals" not in listed["single"]
    world.command("schema")
    world.start("run")
    assert [world.deliver(name, "e") for name in ("twice", "once", "good")] == [503, 200, 200]
    world.wait_for("once", "delivered", 1)
    world.wait_for("good", "delivered", 1)


def test_what_is_raised_in_any_verb_stays_in_its_instance(world: Plugged) -> None:
    answers = {"init": 503, "verify": 401, "tenant": 400, "answer": 200, "events": 200, "translate": 200, "fetch": 200}
    tables = {
        f"{where}-{what.lower()}": {"connector": "bad:Bad", "where": where, "what": what}
        for where in (*answers, "check")
        for what in RAISED
    }
    world.configure(**tables)
    found = failures(world)
    for name, table in tables.items():
        if table["where"] in ("init", "check"):
            assert table["what"] in found.pop(name)[0]
    assert not found
    world.start("run")
    before = processes(world, "serve"), processes(world, "work")
    for name, table in tables.items():
        assert world.deliver(name, "bad-1") == answers.get(table["where"], 200), name
    assert world.deliver("good", "e") == 200
    world.wait_for("good", "delivered", 1)
    dying = [name for name, table in tables.items() if table["where"] in ("events", "translate", "fetch")]
    deadline = time.monotonic() + 3 * PATIENCE
    while alive := [name for name, counts in instances(world).items() if name in dying and counts["dead"] != 1]:
        assert time.monotonic() < deadline, (alive, world.logs())
    kinds = {one["instance"]: (one["kind"], one["reason"]) for one in world.command("dead", "list")}
    for name, table in tables.items():
        if table["where"] in ("events", "translate"):
            assert kinds[name] == ("bug", f"{table['what']} at <string>:1")
    assert (processes(world, "serve"), processes(world, "work")) == before, world.logs()


@pytest.mark.parametrize("how", ["Past", "PastInThread"])
def test_what_is_raised_in_history_fails_its_slice_only(world: Plugged, how: str) -> None:
    names = {f"past-{what.lower()}": what for what in RAISED}
    world.configure(
        **{name: {"connector": f"bad:{how}", "where": "backfill", "what": what} for name, what in names.items()}
    )
    world.start("run")
    before = processes(world, "serve"), processes(world, "work")
    span = ("--from", "2026-11-01", "--to", "2026-11-02", "--config", str(world.config))
    pulls = [
        subprocess.Popen([sys.executable, "-m", "misoflow", "backfill", name, "-q", *span], cwd=world.folder)
        for name in names
    ]
    try:
        log = world.folder / "run.log"
        deadline = time.monotonic() + 3 * PATIENCE
        while missing := [
            name for name, what in names.items() if f"{what} at <string>:1" not in _lines_of(log, f"events of {name}")
        ]:
            assert time.monotonic() < deadline, (missing, world.logs())
            time.sleep(0.2)
        assert world.deliver("good", "e") == 200
        world.wait_for("good", "delivered", 1)
        assert (processes(world, "serve"), processes(world, "work")) == before, world.logs()
    finally:
        for pull in pulls:
            pull.kill()
            pull.wait()


def _lines_of(log: Path, words: str) -> str:
    return "".join(line for line in log.read_text().splitlines() if words in line)


def new_worker(world: Plugged, old: list[int], seconds: float) -> float:
    """Wait until the old ``work`` is gone and another one answers; returns how long that took, in seconds."""
    deadline = time.monotonic() + seconds
    while set(old) & set(processes(world, "work")):
        assert time.monotonic() < deadline, world.logs()
        time.sleep(0.02)
    gone = time.monotonic()
    while not answers(world.folder / "var" / "work.sock"):
        assert time.monotonic() < deadline, world.logs()
        time.sleep(0.02)
    return time.monotonic() - gone


def answers(place: Path) -> bool:
    """Whether a worker answers there; one that is just ending still takes connections."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(os.path.relpath(place))
            client.sendall(b'{"do": "nothing"}\n')
            return bool(client.recv(1))
        except OSError:
            return False


@pytest.mark.parametrize("where", ["translate", "events"])
def test_a_hang_ends_one_worker_and_the_culprit_is_a_dead_letter(world: Plugged, where: str) -> None:
    world.configure(bad={"connector": "bad:Bad", "where": where, "what": "hang"})
    world.start("run")
    assert world.deliver("bad", "fine-1") == 200
    world.wait_for("bad", "delivered", 1)
    old = processes(world, "work")
    with Knocking(world) as knocking:
        began = time.monotonic()
        assert world.deliver("bad", "bad-1") == 200
        assert world.deliver("bad", "fine-2") == 200
        sent = len(knocking.answers)
        back = new_worker(world, old, WATCHDOG_SECONDS + PATIENCE)
        while world.taken() < sent + 2:
            assert time.monotonic() < began + WATCHDOG_SECONDS + PATIENCE, world.logs()
            time.sleep(0.02)
        others = time.monotonic() - began - WATCHDOG_SECONDS
        world.wait_for("bad", "dead", 1)
        world.wait_for("bad", "delivered", 2)
    assert (world.folder / "run.log").read_text().count("starting it again") == 1
    assert set(knocking.answers) == {200}
    (letter,) = world.command("dead", "list")
    assert letter["instance"] == "bad"
    assert letter["kind"] == ("poison" if where == "translate" else "bug")
    world.wait_for("good", "delivered", len(knocking.answers))
    assert world.taken() == len(knocking.answers) + 2  # nothing twice, nothing lost
    print(
        f"\nhang in {where}: back in {back:.2f} s (goal {BACK_SECONDS:g}), others on {others:.2f} s after the watchdog"
    )
    print(f"(goal {OTHERS_SECONDS:g}); {len(knocking.answers)} deliveries, at most {knocking.slowest:.2f} s each")


@pytest.mark.parametrize("what", ["segfault", "exit"])
def test_a_connector_that_ends_the_process_is_found_after_two_ends(world: Plugged, what: str) -> None:
    world.configure(bad={"connector": "bad:Bad", "where": "translate", "what": what})
    world.start("run")
    with Knocking(world) as knocking:
        began = time.monotonic()
        for event in ("bad-1", "bad-2", "fine"):  # two culprits in one chunk
            assert world.deliver("bad", event) == 200
        world.wait_for("bad", "dead", 2)
        world.wait_for("bad", "delivered", 1)
        others = time.monotonic() - began
    assert set(knocking.answers) == {200}
    world.wait_for("good", "delivered", len(knocking.answers))
    assert {one["kind"] for one in world.command("dead", "list")} == {"poison"}
    assert world.taken() == len(knocking.answers) + 1
    log = (world.folder / "run.log").read_text()
    assert 2 <= log.count("starting it again") <= 4
    print(f"\n{what}: two culprits found and others on after {others:.2f} s")


def test_a_topic_whose_events_keep_ending_the_worker_is_held(world: Plugged) -> None:
    world.configure(bad={"connector": "bad:Bad", "where": "translate", "what": "exit"})
    world.start("serve")
    for number in range(6):
        assert world.deliver("bad", f"bad-{number}") == 200
    assert world.deliver("good", "e") == 200
    for _ in range(12):
        world.start("work", must_be_ready=False)
        if world.wait_dead("work", 6) is None:
            break
    world.wait_for("good", "delivered", 1)
    counts = world.counts("bad")
    assert (counts["dead"], counts["pending"]) == (3, 3), world.logs()


def test_a_person_can_try_a_culprit_again_and_it_takes_nobody_along(world: Plugged) -> None:
    world.configure(bad={"connector": "bad:Bad", "where": "translate", "what": "hang"})
    world.start("run")
    assert world.deliver("bad", "bad-1") == 200
    world.wait_for("bad", "dead", 1)
    old = processes(world, "work")
    world.command("dead", "retry", "--all", code=None)
    new_worker(world, old, WATCHDOG_SECONDS + PATIENCE)
    assert world.deliver("good", "e") == 200
    world.wait_for("good", "delivered", 1)
    world.configure(bad={"connector": "plain:Plain"})  # mended
    world.kill("run", 15)
    world.start("run")
    world.command("dead", "retry", "--all")
    world.wait_for("bad", "delivered", 1)
