"""``misoflow demo``: the sandbox, the engine and a Segment shop session on this machine, and whether all adds up."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from misoflow import demo_history
from misoflow.config import Settings, load
from misoflow.connector import Request
from misoflow.errors import MisoflowError
from misoflow.pipeline import event_hash
from misoflow.session import Step, departure, visit
from misoflow.simulate import send
from misoflow.status import recent, status
from misoflow.vault import Vault

READY_SECONDS = 15.0
SETTLE_SECONDS = 15.0
STOP_SECONDS = 25.0
STATES = ("delivered", "skipped", "suppressed", "erased", "dead", "pending")
INSTANCE = "web"
SETTINGS = """\
[miso]
api_key = {{ file = "miso.key" }}
api_url = "{sandbox}"

[engine]
linger_ms = 100

[instances.web]
connector = "segment"
shared_secret = {{ file = "segment.secret" }}
"""


class DemoFailed(MisoflowError):
    """A part of the demo did not start or did not finish; the text says which."""


@dataclass(slots=True)
class Fate:
    """What became of one delivery."""

    step: Step
    answer: int
    state: str = ""
    topic: str = ""
    reason: str = ""


@dataclass(slots=True)
class Result:
    """Everything the demo saw. ``checks`` are (what should hold, whether it does)."""

    fates: list[Fate] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)
    checks: list[tuple[str, bool]] = field(default_factory=list)
    history: demo_history.History = field(default_factory=demo_history.History)

    @property
    def good(self) -> bool:
        return bool(self.checks) and all(held for _, held in self.checks)


def play(*, quiet: bool = True) -> Result:
    """Run all of it in a temporary folder, which is gone afterwards. Raises MisoflowError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="misoflow-demo-")))
        key, secret = secrets.token_hex(16), secrets.token_hex(16)
        _write_secret(folder / "miso.key", key)
        _write_secret(folder / "segment.secret", secret)
        sandbox = stack.enter_context(started(folder, "sandbox", "--port", "0", "--api-key", key))
        size = ("--days", str(demo_history.DAYS), "--per-day", str(demo_history.PER_DAY))
        mixpanel = stack.enter_context(started(folder, "sandbox", "mixpanel", "--port", "0", *size))
        _write_secret(folder / "mixpanel.secret", demo_history.SECRET)
        config = folder / "plugins.toml"
        text = SETTINGS.format(sandbox=sandbox) + demo_history.SETTINGS.format(mixpanel=mixpanel)
        config.write_text(text, "utf-8")
        ports = ("--port", "0", "--admin-port", "0")
        receiver = stack.enter_context(started(folder, "run", "--config", str(config), *ports))
        settings = load(config)
        result = Result()
        for act in (visit(), departure()):
            result.fates += _deliver(receiver, secret, act)
            _settled(settings)
        result.counts = status(settings)["instances"][INSTANCE]
        _read_fates(settings, result.fates)
        result.held = held_by(sandbox)
        result.history = demo_history.pull(config, settings, quiet=quiet)
        result.history.uploaded = demo_history.upload(folder, config, quiet=quiet)
        result.history.held = held_by(sandbox)["interactions"] - result.held["interactions"]
        result.checks = [*checks(result), *demo_history.checks(result.history)]
        return result


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")


@contextmanager
def started(folder: Path, *command: str) -> Iterator[str]:
    """A misoflow command as a process of its own; gives the URL of its ``ready`` line."""
    log = folder / f"{'-'.join(word for word in command[:2] if word[0] != '-')}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 (a command of ours)
            [sys.executable, "-m", "misoflow", *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            process_group=0,
            env={**os.environ, "NO_COLOR": "1"},
        )
    try:
        assert process.stdout is not None
        yield _ready_url(process.stdout, command[0], log)
    finally:
        _stop(process)


def _ready_url(output: IO[bytes], name: str, log: Path) -> str:
    readable, _, _ = select.select([output], [], [], READY_SECONDS)
    word, _, url = (output.readline() if readable else b"").decode().strip().partition(" ")
    if word != "ready":
        last = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise DemoFailed(f"misoflow {name} did not get ready: {' / '.join(last) or 'it said nothing'}")
    return url


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _deliver(receiver: str, secret: str, steps: Iterable[Step]) -> list[Fate]:
    """Each step as Segment's webhook sends it: https://segment.com/docs/connections/destinations/catalog/webhooks/."""
    fates = []
    for step in steps:
        body = json.dumps(step.body).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
        request = Request(body, {"content-type": "application/json", "x-signature": signature})
        fates.append(Fate(step, send(receiver, INSTANCE, request).status))
    return fates


def _settled(settings: Settings) -> None:
    """Wait until nothing is pending, nor on its way to Miso, such as the deletion of a user."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        figures = status(settings)
        waiting = sum(env["waiting_batches"] for env in figures["miso"].values())
        if figures["instances"][INSTANCE]["pending"] == 0 and not waiting:
            return
        time.sleep(0.05)
    raise DemoFailed(f"events were still pending after {SETTLE_SECONDS:g} s")


def _read_fates(settings: Settings, fates: list[Fate]) -> None:
    """Look each event up by the hash of its id, as ``tail`` shows it."""
    seen = {event["event"]: event for event in recent(settings, Vault.from_settings(settings), limit=1000)}
    told = set()
    for fate in fates:
        event = seen.get(event_hash(INSTANCE, fate.step.body["messageId"]).hex(), {})
        fate.topic = event.get("topic", "")
        fate.state = "duplicate" if fate.step.body["messageId"] in told else event.get("state", "lost")
        fate.reason = "" if fate.state == "duplicate" else event.get("reason") or ""
        told.add(fate.step.body["messageId"])


def held_by(sandbox: str) -> dict[str, Any]:
    """What the sandbox says it holds."""
    with urllib.request.urlopen(f"{sandbox}/_sandbox/state", timeout=5) as answer:  # noqa: S310 (on this machine)
        held: dict[str, Any] = json.load(answer)
    return held


def checks(result: Result) -> Iterator[tuple[str, bool]]:
    fates, counts = result.fates, result.counts
    states = Counter(fate.step.state for fate in fates)
    yield "every delivery was answered 200", all(fate.answer == 200 for fate in fates)
    yield "every event ended as it should", all(fate.state == fate.step.state for fate in fates)
    yield "accepted is the sum of the states", counts["accepted"] == sum(counts[state] for state in STATES)
    yield "accepted is what was sent, without the duplicate", counts["accepted"] == len(fates) - states["duplicate"]
    for state in (*STATES, "duplicate"):
        counted = counts["duplicates" if state == "duplicate" else state]
        yield f"{state}: {states[state]}", counted == states[state]
    expected = Counter(record for fate in fates for record in fate.step.records)
    forgotten = expected.pop("forget_user")
    users = expected.pop("user")
    expected["product_detail_page_view"] -= forgotten  # the forgotten customer's one interaction
    held = result.held
    yield "the sandbox holds each interaction once, none of the forgotten customer", held["by_type"] == +expected
    yield f"the sandbox holds {users} user", len(held["users"]) == users
