"""A flood of Segment events through everything: signed batches → ``misoflow run`` → the Miso sandbox.

All are real processes on this machine: the load, serve, work, their parent, the sandbox. Printed are the events
a second until the last one was delivered, and the resident memory of serve and work over that time. The goal: the
sandbox holds every event exactly once, and memory is flat: its peak of the last half is at most a tenth above that
of the first half. ``python -m bench.flood``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.events import event

EVENTS = 200_000
BATCH = 500
SECRET = "bench-shared-secret"
TOKEN = "bench-batch-token-0123456789abcdef"
TOML = """
[miso]
api_url = "{miso}"
api_key = "sandbox"

[engine]
data = "var"

[instances.web]
connector = "segment"
shared_secret = "{secret}"
batch_token = "{token}"
"""
GROWTH = 1.10
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024
PATIENCE_SECONDS = 600


def load(address: str, count: int) -> None:
    """Post ``count`` events in signed batches over one connection; prints seconds and the number of retries."""
    rng = random.Random(7)
    link = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    started, retries = time.monotonic(), 0
    for start in range(0, count, BATCH):
        batch = [orjson.dumps(event(number, rng, "flood")) for number in range(start, min(start + BATCH, count))]
        body = b"[" + b",".join(batch) + b"]"
        headers = {
            "content-type": "application/json",
            "authorization": TOKEN,
            "x-signature": hmac.new(SECRET.encode(), batch[0], hashlib.sha1).hexdigest(),
        }
        while (status := _post(link, body, headers)) in (429, 503):
            retries += 1
            time.sleep(0.2)
        if status != 200:
            raise SystemExit(f"the receiver answered {status}")
    print(time.monotonic() - started, retries)


def _post(link: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> int:
    link.request("POST", "/hooks/web", body, headers)
    answer = link.getresponse()
    answer.read()
    return answer.status


@dataclass
class Sample:
    """Resident memory in MiB at ``at`` seconds, and how many events the sandbox held."""

    at: float
    serve: float
    work: float
    held: int


def children(parent: int) -> dict[str, int]:
    """``serve`` and ``work`` → the process ids of these children of ``misoflow run``."""
    found: dict[str, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            for name in ("serve", "work"):
                if int(fields[1]) == parent and name in words:
                    found[name] = int(folder.name)
    return found


def resident(process: int) -> float:
    """MiB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / MIB


@contextlib.contextmanager
def started(name: str, command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that prints ``ready URL``, and the URL; stopped in the end."""
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready "):
            raise SystemExit(f"{name} did not start:\n{(folder / f'{name}.log').read_text()[-2000:]}")
        yield process, line.split()[1]
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def watch(miso: str, engine: int, count: int, loader: subprocess.Popen[str]) -> list[Sample]:
    """Sample once a second until the sandbox holds ``count`` events."""
    samples: list[Sample] = []
    pids = children(engine)
    began = time.monotonic()
    while (now := time.monotonic() - began) < PATIENCE_SECONDS:
        held = orjson.loads(_get(f"{miso}/_sandbox/state"))["interactions"]
        samples.append(Sample(now, resident(pids["serve"]), resident(pids["work"]), held))
        if held >= count or loader.poll() not in (None, 0):
            break
        time.sleep(1.0)
    return samples


def growth(values: list[float]) -> float:
    """The peak of the last half over the peak of the first half."""
    half = max(1, len(values) // 2)
    return max(values[half:] or values) / max(values[:half])


def report(samples: list[Sample], count: int, sent: str) -> bool:
    """Print the figures; whether memory was flat."""
    for sample in samples[:: max(1, len(samples) // 12)]:
        print(
            f"{sample.at:6.1f} s: serve {sample.serve:6.1f} MiB, work {sample.work:6.1f} MiB, {sample.held:,} delivered"
        )
    seconds = samples[-1].at
    taken, retries = sent.split()
    print(f"taken in: {count:,} events in {float(taken):.1f} s, {count / float(taken):,.0f}/s, {retries} retries")
    print(f"delivered: {samples[-1].held:,} events in {seconds:.1f} s, {samples[-1].held / seconds:,.0f}/s end to end")
    flat = True
    for name in ("serve", "work"):
        values = [getattr(sample, name) for sample in samples]
        print(f"memory of {name}: peak {max(values):.1f} MiB, last half / first half {growth(values):.2f}")
        flat = flat and growth(values) <= GROWTH
    return flat


def check(miso: str, config: Path, count: int) -> bool:
    """Whether the sandbox holds each event exactly once, and misoflow's own counts say the same."""
    lines = _get(f"{miso}/_sandbox/records?kind=interactions").splitlines()
    contexts: list[dict[str, Any]] = [orjson.loads(line)["context"]["custom_context"] for line in lines]
    distinct = len({context["uuid"] for context in contexts})
    command = [sys.executable, "-m", "misoflow", "status", "--json", "--config", str(config)]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    counts: dict[str, int] = orjson.loads(said)["instances"]["web"]
    told = {name: counts[name] for name in ("accepted", "delivered", "pending", "dead", "duplicates")}
    print(f"the sandbox holds {len(lines):,} interactions, {distinct:,} distinct; misoflow says {told}")
    return len(lines) == distinct == count == counts["accepted"] == counts["delivered"]


def flood(count: int) -> bool:
    """Whether all goals were reached."""
    python = [sys.executable, "-m"]
    with tempfile.TemporaryDirectory(prefix="misoflow-flood-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        sandbox = [*python, "misoflow_sandbox", "--port", "0", "--api-key", "sandbox"]
        _, miso = stack.enter_context(started("sandbox", sandbox, folder))
        config = folder / "plugins.toml"
        config.write_text(TOML.format(miso=miso, secret=SECRET, token=TOKEN))
        run = [*python, "misoflow", "run", "--config", str(config), "--port", "0", "--admin-port", "0"]
        engine, hooks = stack.enter_context(started("run", run, folder))
        command = [*python, "bench.flood", "--load", hooks, "--events", str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loader:
            samples = watch(miso, engine.pid, count, loader)
            sent, _ = loader.communicate()
        if loader.returncode:
            raise SystemExit("the load did not finish")
        time.sleep(1.0)  # the outcome is committed just after the sandbox has it
        flat = report(samples, count, sent)
        exact = check(miso, config, count)
    print(f"flood: {'exactly once' if exact else 'NOT exactly once'}, memory {'flat' if flat else 'NOT flat'}")
    return exact and flat


def main() -> int:
    """Exit code 0 when the goals are reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--load", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load, options.events)
        return 0
    return 0 if flood(options.events) else 1


if __name__ == "__main__":
    sys.exit(main())
