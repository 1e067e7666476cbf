"""``misoflow backfill`` and ``slices`` as a user runs them: alone, beside a running misoflow, stopped, looked at."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.test_cli_live import ready, spawn

HISTORY = '''
import asyncio, os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from misoflow import Config, Connector, Event, Halt, Like, Page, Reject, Retry, Skip, Slice, Stream

class Past(Connector[Config]):
    """An hourly like, of which every eighth is of no use and every ninth broken."""
    streams = {"likes": Stream(timedelta(days=2), step=timedelta(days=1))}

    async def backfill(self, part: Slice) -> AsyncIterator[Page]:
        if os.path.exists("trouble"):
            raise Halt("the key is refused", "make a new one")
        while os.path.exists("slow"):
            await asyncio.sleep(0.05)
        moment, events = part.start, []
        while moment < part.end:
            events.append(Event(moment.isoformat(), "like", {"at": moment.isoformat()}))
            moment += timedelta(hours=1)
        yield Page(events, "end")

    def translate(self, event):
        hour = datetime.fromisoformat(event.data["at"]).hour
        if hour == 8:
            yield Skip("nobody is up")
        elif hour == 9:
            raise Reject("no coffee yet", "$.at")
        else:
            yield Like(product_ids=["p"], user_id="u", timestamp=event.data["at"])
'''
DATES = ("--from", "2026-10-01", "--to", "2026-10-11")


class Place:
    def __init__(self, folder: Path, sandbox: str) -> None:
        self.folder = folder
        (folder / "past.py").write_text(HISTORY)
        (folder / "plugins.toml").write_text(
            f'[miso]\napi_key = "sandbox"\napi_url = "{sandbox}"\n[engine]\nlinger_ms = 50\n'
            '[instances.past]\nconnector = "past:Past"\n'
        )
        self.env = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"}

    def misoflow(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "misoflow", *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.misoflow(*arguments, "--json", code=code).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "misoflow", *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    process = spawn(tmp_path, "sandbox", "--port", "0", "--api-key", "sandbox")
    try:
        yield Place(tmp_path, ready(process))
    finally:
        process.terminate()
        process.wait(20)


def test_alone_it_pulls_delivers_and_ends(place: Place) -> None:
    done = place.misoflow("backfill", "past", *DATES)
    assert done.stdout == "past likes: 240 events read, 10 dead, 220 delivered, 10 skipped\n"
    assert "100%" in done.stderr or "events read has arrived" in done.stderr.replace("every event", "events")
    counts = place.json("status")["instances"]["past"]
    assert {name: counts[name] for name in ("accepted", "delivered", "skipped", "dead", "pending")} == {
        "accepted": 240,
        "delivered": 220,
        "skipped": 10,
        "dead": 10,
        "pending": 0,
    }
    slices = place.json("slices", "past")["slices"]
    assert sum(one["read"] for one in slices) == 240
    assert all(one["read"] == one["taken"] + one["repeats"] and one["state"] == "done" for one in slices)
    table = place.misoflow("slices").stdout.splitlines()
    assert table[0].split()[:4] == ["stream", "from", "to", "state"]
    assert len(table) == len(slices) + 1
    again = place.json("backfill", "past", *DATES)
    assert (again["jobs"][0]["read"], again["jobs"][0]["repeats"], again["jobs"][0]["counts"]) == (240, 240, {})


def test_beside_a_running_misoflow_it_is_the_running_one_that_pulls(place: Place) -> None:
    running = place.start("run", "--port", "0", "--admin-port", "0")
    try:
        assert running.stdout is not None
        readable, _, _ = select.select([running.stdout], [], [], 20)
        assert readable
        assert running.stdout.readline().startswith("ready")
        found = place.json("backfill", "past", *DATES)
        assert (found["jobs"][0]["state"], found["jobs"][0]["read"], found["stopped"]) == ("done", 240, False)
    finally:
        running.terminate()
        running.wait(30)


def test_ctrl_c_stops_and_the_same_command_goes_on(place: Place) -> None:
    (place.folder / "slow").touch()
    pulling = place.start("backfill", "past", *DATES)
    deadline = time.monotonic() + 20
    while not place.json("slices")["slices"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pulling.send_signal(signal.SIGINT)
    _, errors = pulling.communicate(timeout=30)
    assert pulling.returncode == 1
    assert "Go on with: misoflow backfill past" in errors
    status = place.misoflow("status").stdout
    assert "past/likes: stopped, 0%, 0 events read" in status
    assert "do: misoflow backfill past" in status
    (place.folder / "slow").unlink()
    found = place.json("backfill", "past", "--from", "2026-10-01", "--to", "2026-10-02")
    assert {job["state"] for job in found["jobs"]} == {"done"}
    assert place.json("status")["instances"]["past"]["accepted"] == 240


def test_a_dry_run_sends_and_keeps_nothing(place: Place) -> None:
    found = place.json("backfill", "past", *DATES, "--dry-run")
    assert found["streams"] == {"likes": {"like": 220, "skipped": 10, "dead": 10}}
    assert found["reasons"] == {"like: nobody is up": 10, "like: no coffee yet at $.at": 10}
    assert "220" in place.misoflow("backfill", "past", *DATES, "--dry-run").stdout
    assert place.json("status")["instances"]["past"]["accepted"] == 0
    assert place.json("slices")["slices"] == []


def test_a_dry_run_says_what_is_wrong(place: Place) -> None:
    (place.folder / "trouble").touch()
    done = place.misoflow("backfill", "past", *DATES, "--dry-run", code=78)
    assert "the key is refused; make a new one" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "no instance 'nobody'"),
        (("past", "--stream", "nope"), "no stream 'nope' (known: likes)"),
        (("past", "--from", "yesterday"), "--from 'yesterday': write a date"),
        (("past", "--from", "2026-10-02", "--to", "2026-10-01"), "--from must be before --to"),
    ],
)
def test_wrong_arguments_are_said(place: Place, arguments: tuple[str, ...], said: str) -> None:
    assert said in place.misoflow("backfill", *arguments, code=2).stderr


def test_slices_of_nobody_and_of_nothing(place: Place) -> None:
    assert "no instance 'nobody'" in place.misoflow("slices", "nobody", code=2).stderr
    assert "nothing was pulled yet: misoflow backfill past" in place.misoflow("slices", "past").stderr


def test_an_engine_that_ends_is_not_waited_for(place: Place) -> None:
    (place.folder / "slow").touch()
    work = place.start("work")
    deadline = time.monotonic() + 20
    while not (place.folder / "var" / "work.sock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    patient = "import misoflow.cli.history as h, misoflow.cli as c; h.GONE_SECONDS = 0.5; c.main()"
    watching = subprocess.Popen(
        [sys.executable, "-c", patient, "backfill", "past", *DATES],
        cwd=place.folder,
        env=place.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not place.json("slices")["slices"]:
        assert time.monotonic() < deadline + 20
        time.sleep(0.1)
    work.kill()
    work.wait(10)
    _, errors = watching.communicate(timeout=30)
    assert watching.returncode == 75
    assert "misoflow has ended; nothing is lost. Go on with: misoflow backfill past" in errors
    assert "past/likes: not finished, 0%" in place.misoflow("status").stdout


def test_a_second_engine_says_who_holds_the_folder(place: Place) -> None:
    running = place.start("work")
    try:
        deadline = time.monotonic() + 20
        while not (place.folder / "var" / "work.sock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = place.misoflow("work", code=78)
        assert f"process {running.pid}" in done.stderr
    finally:
        running.terminate()
        running.wait(30)


def test_a_source_that_refuses_the_key_ends_it_with_what_to_do(place: Place) -> None:
    (place.folder / "trouble").touch()
    done = place.misoflow("backfill", "past", *DATES, code=1)
    assert "past likes waits for you: the instance is paused: the key is refused. make a new one" in done.stderr
    assert "go on with: misoflow backfill past" in done.stderr
    (place.folder / "trouble").unlink()
    place.misoflow("resume", "past")
    assert "240 events read" in place.misoflow("backfill", "past", *DATES).stdout


def test_a_miso_that_refuses_the_key_ends_it_and_loses_nothing(place: Place) -> None:
    settings = place.folder / "plugins.toml"
    settings.write_text(settings.read_text().replace('api_key = "sandbox"', 'api_key = "wrong"'))
    done = place.misoflow("backfill", "past", *DATES, code=1)
    assert "waits for you: sending to Miso has stopped" in done.stderr
    settings.write_text(settings.read_text().replace('api_key = "wrong"', 'api_key = "sandbox"'))
    place.misoflow("backfill", "past", *DATES)
    assert place.json("status")["instances"]["past"]["delivered"] == 220
