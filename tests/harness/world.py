"""A small world for crash tests: the Miso sandbox and misoflow as real processes, and an oracle that judges them.

Whatever is acknowledged is an obligation. When the faults have stopped, ``judge`` holds the sandbox's records
against the pure translation of what was sent, and misoflow's own counts against both.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "harness-shared-secret"
TOKEN = "harness-batch-token-0123456789abcdef"
TOML = """
[miso]
api_url = "{miso}"
api_key = "sandbox"

[engine]
data = "var"
linger_ms = 50
watchdog_seconds = 20

[instances.web]
connector = "segment"
shared_secret = "{secret}"
batch_token = "{token}"
"""


def event(number: int, rng: random.Random, run: str) -> dict[str, Any]:
    """One Segment event of a mixed load; ``number`` makes it unique."""
    user = f"user-{rng.randrange(40)}"
    common = {
        "messageId": f"{run}-{number}",
        "userId": user,
        "anonymousId": f"anon-{rng.randrange(60)}",
        "timestamp": f"2026-11-{rng.randrange(1, 20):02d}T10:{rng.randrange(60):02d}:00.{number % 1000:03d}Z",
        "receivedAt": "2026-11-20T00:00:00.000Z",
    }
    dice = rng.random()
    if dice < 0.1:
        return {**common, "type": "identify", "traits": {"age": rng.randrange(18, 90), "plan": "pro"}}
    if dice < 0.2:
        products = [{"product_id": f"p{rng.randrange(500)}", "quantity": 1, "price": 10}]
        properties = {"order_id": f"o-{run}-{number}", "total": 10, "products": products}
        return {**common, "type": "track", "event": "Order Completed", "properties": properties}
    if dice < 0.25:
        return {**common, "type": "page", "name": "About", "properties": {"url": "https://shop.example/about"}}
    if dice < 0.254:
        return {**common, "type": "track", "event": "Product Added", "properties": {"product_id": {"bad": 1}}}
    name = "Product Viewed" if dice < 0.8 else "Product Added"
    return {
        **common,
        "type": "track",
        "event": name,
        "properties": {"product_id": f"p{rng.randrange(500)}", "quantity": 1},
    }


def sign(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()


@dataclass
class World:
    """One temporary folder with its processes. Use as a context manager."""

    folder: Path
    seed: int = 0
    env: dict[str, str] = field(default_factory=dict)
    fsync_free: bool = False
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    number: int = 0
    forgotten: set[str] = field(default_factory=set)
    _processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.miso = ""
        self.hooks = ""

    def __enter__(self) -> World:
        self.miso = self._start(
            "sandbox", [sys.executable, "-m", "misoflow_sandbox", "--port", "0", "--api-key", "sandbox"]
        )
        self.config = self.folder / "plugins.toml"
        self.config.write_text(TOML.format(miso=self.miso, secret=SECRET, token=TOKEN))
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._processes.values()):
            if process.poll() is None:
                process.kill()
            process.wait()

    def _start(
        self, name: str, command: list[str], env: dict[str, str] | None = None, *, must_be_ready: bool = True
    ) -> str:
        """Start a process that prints ``ready URL``; returns the URL."""
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
                env={**os.environ, **self.env, **(env or {})},
            )
        self._processes[name] = process
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready") and must_be_ready:
            raise RuntimeError(f"{name} did not start: {line!r}\n{(self.folder / f'{name}.log').read_text()[-3000:]}")
        return line.split()[1] if len(line.split()) > 1 else ""

    def start(self, what: str, env: dict[str, str] | None = None, *, must_be_ready: bool = True) -> None:
        """Start ``serve``, ``work`` or ``run``."""
        command = [sys.executable, "-m", "misoflow", what, "--config", str(self.config)]
        if what != "work":
            port = self.hooks.rsplit(":", 1)[1] if self.hooks else "0"
            command += ["--port", port, "--admin-port", "0"]
        url = self._start(what, command, env, must_be_ready=must_be_ready)
        if what != "work":
            self.hooks = url

    def kill(self, what: str, signum: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        process = self._processes.pop(what)
        process.send_signal(signum)
        return process.wait(timeout=40)

    def wait_dead(self, what: str, seconds: float = 20) -> int | None:
        """Wait until a process ends by itself; None when it does not."""
        try:
            code = self._processes[what].wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        del self._processes[what]
        return code

    def post(self, events: list[dict[str, Any]] | dict[str, Any]) -> int:
        """One signed delivery; what is answered 2xx is owed. 0: no answer came."""
        body = json.dumps(events).encode()
        many = events if isinstance(events, list) else [events]
        first = body if isinstance(events, dict) else json.dumps(events[0]).encode()
        headers = {"X-Signature": sign(first), "Content-Type": "application/json", "Authorization": TOKEN}
        request = urllib.request.Request(f"{self.hooks}/hooks/web", body, headers)
        with self._lock:
            self.sent.update({e["messageId"]: e for e in many})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError:
            status = 0
        with self._lock:
            if 200 <= status < 300:
                self.acknowledged.update({e["messageId"]: e for e in many})
            else:
                self.refusals[str(status)] += 1
        return status

    def load(self, n: int, batch: int = 20, run: str = "e") -> None:
        """Send ``n`` events, one by one and as signed batches; what got no answer is sent again, as Segment does."""
        end = self.number + n
        while self.number < end:
            size = min(self.rng.choice([1, 1, 1, batch]), end - self.number)
            events = [event(self.number + k, self.rng, run) for k in range(size)]
            self.number += size
            delivery: Any = events[0] if size == 1 else events
            for _ in range(200):
                if self.post(delivery) not in (0, 503, 429):
                    break
                time.sleep(0.05)

    def forget(self, user: str) -> int:
        """A signed ``delete`` of one user, who is the judge's blind spot from then on."""
        self.forgotten.add(user)
        message = {"type": "delete", "userId": user, "messageId": f"delete-{user}", "timestamp": "2026-11-24T00:00:00Z"}
        for _ in range(200):
            status = self.post(message)
            if status not in (0, 503, 429):
                break
            time.sleep(0.05)
        return status

    def logs(self) -> str:
        """The ends of what the processes wrote to standard error."""
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "misoflow", "status", "--json", "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def settle(self, seconds: float = 30) -> dict[str, Any]:
        """Wait until nothing is pending; returns the counts of ``web``."""
        deadline = time.monotonic() + seconds
        while True:
            counts: dict[str, Any] = self.status()["instances"]["web"]
            if counts["pending"] == 0 or time.monotonic() > deadline:
                return counts
            time.sleep(0.2)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.miso}{path}", timeout=30) as answer:
            return answer.read()

    def faults(self, rules: list[dict[str, Any]]) -> None:
        body = json.dumps(rules).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.miso}/_sandbox/faults", body), timeout=10).close()
