"""Commands against a running misoflow with a sandbox behind it."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECRET = "s3cret-s3cret-s3cret"


class Site:
    """A folder with plugins.toml, a sandbox and perhaps a running misoflow."""

    def __init__(self, folder: Path, sandbox: str) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.configure("sandbox")

    def configure(self, key: str, api_url: str | None = None) -> None:
        (self.folder / "plugins.toml").write_text(
            f'[miso]\napi_key = "{key}"\napi_url = "{api_url or self.sandbox}"\n[engine]\nlinger_ms = 50\n'
            f'[instances.web]\nconnector = "segment"\nshared_secret = "{SECRET}"\n'
        )

    def misoflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "misoflow", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        done = self.misoflow(*arguments, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.json("status")["instances"]["web"]
        return counts

    def settle(self) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while (counts := self.counts())["pending"]:
            assert time.monotonic() < deadline, counts
            time.sleep(0.1)
        return counts

    def start(self) -> subprocess.Popen[str]:
        running = spawn(self.folder, "run", "--port", "0", "--admin-port", "0")
        ready(running)
        return running

    def send(self, body: dict[str, Any]) -> None:
        import hashlib
        import hmac

        raw = json.dumps(body).encode()
        url = json.loads((self.folder / "var" / "serve.json").read_text())["url"]
        headers = {"x-signature": hmac.new(SECRET.encode(), raw, hashlib.sha1).hexdigest()}
        request = urllib.request.Request(f"{url}/hooks/web", raw, {**headers, "content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


def spawn(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "misoflow", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 20)[0], "not ready"
    word, _, url = process.stdout.readline().strip().partition(" ")
    assert word == "ready", process.communicate()
    return url


def stop(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=45)
    return process.returncode, out, err


def viewed(number: int, **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"live-{number}",
        "anonymousId": "v1",
        "userId": "u-live",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "properties": properties,
    }


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    process = spawn(Path.cwd(), "sandbox", "--port", "0")
    try:
        yield ready(process)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def site(sandbox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Running, with a delivered event and a dead letter in it."""
    site = Site(tmp_path_factory.mktemp("site"), sandbox)
    running = site.start()
    try:
        site.send(viewed(1, product_id="p1"))
        site.send(viewed(2, product_id={"oops": 1}, email="jo@shop.example"))
        site.settle()
        yield site
    finally:
        stop(running)


def test_run_says_one_line_and_ends_gracefully(sandbox: str, tmp_path: Path) -> None:
    site = Site(tmp_path, sandbox)
    process = spawn(tmp_path, "run", "--port", "0", "--admin-port", "0")
    url = ready(process)
    with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        assert answer.status == 200
    code, out, err = stop(process)
    assert (code, out) == (0, "")
    assert "admin http://127.0.0.1:" in err
    assert site.folder.joinpath("var", "inbox.db").exists()


def test_run_can_start_again_at_once_after_a_kill(sandbox: str, tmp_path: Path) -> None:
    site = Site(tmp_path, sandbox)
    site.start().kill()
    again = site.start()
    site.send(viewed(1, product_id="p1"))
    assert site.settle()["delivered"] == 1
    assert stop(again)[0] == 0


def test_a_port_that_is_taken_is_said_and_ends_with_78(site: Site, tmp_path: Path) -> None:
    taken = json.loads((site.folder / "var" / "serve.json").read_text())["url"].rpartition(":")[2]
    Site(tmp_path, site.sandbox)
    process = spawn(tmp_path, "run", "--port", taken, "--admin-port", "0")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (78, "")
    assert f"cannot listen on 127.0.0.1, ports {taken}" in err


def test_status_holds_instances_and_miso(site: Site) -> None:
    figures = site.json("status")
    web = figures["instances"]["web"]
    states = ("delivered", "skipped", "suppressed", "erased", "dead", "pending")
    assert web["accepted"] == sum(web[state] for state in states) >= 2
    assert figures["miso"]["default"]["state"] == "sending"
    table = site.misoflow("status").stdout
    assert table.splitlines()[0].split()[:3] == ["instance", "platform", "state"]
    assert "web" in table
    assert "Miso default: sending, 0 batches waiting" in table
    assert site.misoflow("status", "nope").returncode == 2


def test_tail_shows_events_with_their_fate(site: Site) -> None:
    lines = [json.loads(line) for line in site.misoflow("tail", "--no-follow", "--json").stdout.splitlines()]
    assert {line["state"] for line in lines} == {"delivered", "dead"}
    dead = site.misoflow("tail", "--no-follow", "--state", "dead").stdout
    assert "Product Viewed" in dead
    assert "misoflow dead show" in dead
    assert "delivered" not in dead


def test_tail_follows(site: Site) -> None:
    process = spawn(site.folder, "tail", "--json", "-n", "0")
    try:
        assert process.stdout is not None
        for number in range(100, 160):  # it shows what comes after its start, and does not say when that was
            site.send(viewed(number, product_id="p1"))
            if select.select([process.stdout], [], [], 1)[0]:
                break
        seen = [json.loads(process.stdout.readline())]
        while seen[-1]["state"] == "pending":
            assert select.select([process.stdout], [], [], 15)[0], seen
            line = json.loads(process.stdout.readline())
            seen += [line] if line["row"] == seen[0]["row"] else []
        assert seen[-1]["state"] == "delivered"
        assert len({line["row"] for line in seen}) == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_simulate_sends_a_fresh_signed_sample(site: Site) -> None:
    before = site.counts()
    first = site.json("simulate", "web", "Product Viewed")
    assert first["status"] == 200
    assert site.json("simulate", "web", "Product Viewed")["status"] == 200
    after = site.settle()
    assert after["accepted"] - before["accepted"] == 2
    assert after["duplicates"] == before["duplicates"]
    assert site.misoflow("simulate", "web", "No Such Event").returncode == 2
    nowhere = ("--url", "http://127.0.0.1:9", "--wait", "0")
    assert site.misoflow("simulate", "web", "Product Viewed", *nowhere).returncode == 69


def test_simulate_waits_for_a_receiver_that_is_just_starting(sandbox: str, tmp_path: Path) -> None:
    site = Site(tmp_path, sandbox)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    simulating = spawn(tmp_path, "simulate", "web", "--url", f"http://127.0.0.1:{port}", "--wait", "30")
    assert simulating.stderr is not None
    assert "waiting for" in simulating.stderr.readline()
    running = spawn(tmp_path, "run", "--port", port, "--admin-port", "0")
    try:
        out, _ = simulating.communicate(timeout=30)
        assert (simulating.returncode, "200" in out) == (0, True)
        assert site.settle()["accepted"] == 1
    finally:
        stop(running)


def test_status_reads_a_store_whose_tables_are_just_being_made(sandbox: str, tmp_path: Path) -> None:
    site = Site(tmp_path, sandbox)
    assert site.counts()["accepted"] == 0  # and the key is made
    (tmp_path / "var" / "store.db").touch(mode=0o600)
    (tmp_path / "var" / "inbox.db").touch(mode=0o600)
    assert site.counts()["accepted"] == 0
    assert site.misoflow("tail", "--no-follow").returncode == 0
    assert site.misoflow("dead", "list").returncode == 0


def test_dead_letters_are_listed_shown_scrubbed_and_tried_again(site: Site) -> None:
    listed = [json.loads(line) for line in site.misoflow("dead", "list", "--json").stdout.splitlines()]
    (letter,) = listed
    number = str(letter["id"])
    assert (letter["instance"], letter["topic"], letter["kind"]) == ("web", "Product Viewed", "reject")
    shown = site.misoflow("dead", "show", number).stdout
    assert letter["reason"] in shown
    assert f"misoflow dead retry {number}" in shown
    assert "jo@shop.example" not in shown
    facts = site.json("dead", "show", number)
    assert facts["event_id"] == "live-2"
    assert "raw" not in facts
    assert "jo@shop.example" in site.misoflow("dead", "show", number, "--raw").stdout
    sample = site.misoflow("dead", "show", number, "--as-sample").stdout
    assert "jo@shop.example" not in sample
    assert json.loads(sample)["event"]["data"]["properties"]["product_id"] == {"oops": 1}
    again = site.json("dead", "retry", number, code=1)
    assert again == {"tried": 1, "states": {"dead": 1}}
    assert site.misoflow("dead", "show", "99999").returncode == 2
    assert site.misoflow("dead", "retry").returncode == 2


def test_a_sample_of_a_dead_letter_is_explained_as_it_died(site: Site) -> None:
    number = str(site.json("dead", "list")["id"])
    sample = site.folder / "sample.json"
    sample.write_text(site.misoflow("dead", "show", number, "--as-sample").stdout)
    (event,) = site.json("explain", "segment", str(sample))["events"]
    assert event["outcome"] == "rejected"
    assert event["reason"] == site.json("dead", "show", number)["reason"]


def test_pause_holds_and_resume_delivers(site: Site) -> None:
    assert site.json("pause", "web", "--reason", "spring cleaning") == {"paused": "web"}
    site.send(viewed(200, product_id="p1"))
    counts = site.counts()
    assert (counts["state"], counts["reason"], counts["pending"]) == ("paused", "spring cleaning", 1)
    table = site.misoflow("status").stdout
    assert "web: spring cleaning" in table
    assert "do: misoflow resume web" in table
    site.json("resume", "web")
    assert site.settle()["state"] == "live"
    assert site.misoflow("resume").returncode == 2
    assert site.misoflow("pause", "nope").returncode == 2


def test_replay_counts_first_and_takes_times(site: Site) -> None:
    assert site.json("replay", "--dry-run") == {"events": 1, "states": {}, "dry_run": True}
    assert site.json("replay", "--dry-run", "--to", "2001-01-01")["events"] == 0
    assert site.misoflow("replay", "--from", "yesterday").returncode == 2


def test_discard_and_forget(site: Site) -> None:
    number = str(site.json("dead", "list")["id"])
    assert site.json("dead", "discard", number, "--reason", "of no use") == {"discarded": 1}
    assert site.misoflow("dead", "list", "--json").stdout == ""
    done = site.json("forget", "u-live")
    assert done["queued_at_miso"] == ["default"]
    deadline = time.monotonic() + 15
    while "u-live" not in state(site)["forgotten"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state(site: Site) -> dict[str, Any]:
    with urllib.request.urlopen(f"{site.sandbox}/_sandbox/state", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_commands_work_without_a_running_work_too(sandbox: str, tmp_path: Path) -> None:
    site = Site(tmp_path, sandbox)
    assert site.json("pause", "web") == {"paused": "web"}
    assert site.counts()["state"] == "paused"
    assert site.json("repair")["wrong_counters"] == []
    assert site.misoflow("dead", "retry", "--all").stdout == "0 dead letters tried again: nothing to do\n"


class TestCheck:
    def test_all_is_well(self, sandbox: str, tmp_path: Path) -> None:
        done = Site(tmp_path, sandbox).misoflow("check")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ok    miso:" in done.stdout

    def test_a_wrong_key_is_said_with_its_place_and_the_exit_code_is_78(self, sandbox: str, tmp_path: Path) -> None:
        site = Site(tmp_path, sandbox)
        site.configure("wrong")
        done = site.misoflow("check")
        assert done.returncode == 78
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
        assert line.startswith("fail  miso.api_key: ")
        assert "wrong" not in line.partition(": ")[2].replace("wrong key", "")

    def test_a_miso_that_does_not_answer_is_69(self, sandbox: str, tmp_path: Path) -> None:
        site = Site(tmp_path, sandbox)
        site.configure("sandbox", "http://127.0.0.1:9")
        done = site.misoflow("check", "--json")
        assert done.returncode == 69
        assert "fail" in [json.loads(line)["level"] for line in done.stdout.splitlines()]


def test_with_a_wrong_key_intake_goes_on_and_the_right_key_delivers_all(sandbox: str, tmp_path: Path) -> None:
    site = Site(tmp_path, sandbox)
    site.configure("wrong")
    running = site.start()
    try:
        for number in range(3):
            site.send(viewed(300 + number, product_id="p1"))
        deadline = time.monotonic() + 20
        while (miso := site.json("status")["miso"]["default"])["state"] != "halted":
            assert time.monotonic() < deadline, miso
            time.sleep(0.1)
        assert miso["fix"]
        site.send(viewed(310, product_id="p1"))
        assert "halted" in site.misoflow("status").stdout
    finally:
        code, _, _ = stop(running)
    assert code == 0
    site.configure("sandbox")
    running = site.start()
    try:
        assert site.settle()["delivered"] == 4
    finally:
        stop(running)
