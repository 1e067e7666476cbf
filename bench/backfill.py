"""History end to end: Mixpanel's raw export (gzip, JSON lines over HTTP) → ``misoflow backfill`` → a Miso sink.

The floor is one process that reads the same export, inflates it, decodes and encodes every event and posts it
in batches to the same sink: no ids, no store, no proof, no mapping. Printed are events a second, CPU seconds, peak
memory and the ratio of the CPU seconds. The goals: at least half of the floor, less than 300 MiB. The peers that are
installed read the same export: mixpanel-utils, tap-mixpanel, mixpanel-import (``bench/peers.sh`` sets them up).
``python -m bench.backfill [--events N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
from isal import isal_zlib
from misoflow_sandbox.mixpanel import MixpanelSandbox, MixpanelWorld, Options
from misoflow_sandbox.serving import serve_forever

from bench.flood import resident, started

EVENTS = 300_000
PER_DAY = 20_000
MOST_DAYS = 100
"""Then the days get fuller: an export of days to come is refused."""
GOAL = 0.5
MOST_MIB = 300
BATCH = 10_000
START = date(2026, 6, 1)
MIB = 1024 * 1024
TOML = """
[miso]
api_url = "{sink}"
api_key = "bench"
[instances.mix]
connector = "mixpanel"
project_id = {world.project_id}
username = "{world.username}"
secret = "{world.secret}"
api_url = "{source}"
id_merge = "simplified"
profiles = false
rate_reserve_per_hour = 0
"""


@dataclass
class Run:
    """One side's figures."""

    name: str
    seconds: float
    cpu: float
    peak: float

    def line(self, events: int) -> str:
        rate = f"{events / self.seconds:,.0f}/s"
        return f"{self.name:<22} {self.seconds:7.1f} s  {rate:>12}  CPU {self.cpu:6.1f} s  peak {self.peak:6.1f} MiB"


def world(events: int) -> MixpanelWorld:
    """Ordinary rows only: some peers stumble over the odd ones, and count each repeat."""
    days = min(MOST_DAYS, max(1, events // PER_DAY))
    per_day = events // days
    return MixpanelWorld(start=START, days=days, events_per_day=per_day, odd_share=0, late_share=0, duplicate_share=0)


async def sink(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Takes every upload, looks at none."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"message":"success"}'})


class Sink:
    app = staticmethod(sink)


def floor(source: str, target: str, made: MixpanelWorld) -> None:
    """Read, inflate, decode, encode, post: what nobody can do without."""
    last = made.start + timedelta(days=made.days - 1)
    params = {"from_date": f"{made.start}", "to_date": f"{last}", "time_in_ms": "true"}
    params["project_id"] = str(made.project_id)
    unpack = isal_zlib.decompressobj(wbits=31)
    rest, batch = b"", list[bytes]()
    with httpx.Client(timeout=600, headers={"Accept-Encoding": "gzip"}) as client:
        auth = (made.username, made.secret)
        with client.stream("GET", f"{source}/api/2.0/export", params=params, auth=auth) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_raw(65536):
                lines = (rest + unpack.decompress(chunk)).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    batch.append(orjson.dumps(orjson.loads(line)))
                    if len(batch) == BATCH:
                        _post(client, target, batch)
                        batch = []
        _post(client, target, batch)


def _post(client: httpx.Client, target: str, batch: list[bytes]) -> None:
    if batch:
        body = b'{"data":[' + b",".join(batch) + b"]}"
        client.post(f"{target}/v1/interactions", content=body, headers={"content-type": "application/json"})


def timed(name: str, command: list[str], folder: Path) -> Run:
    """Run it to its end; CPU of it and its children, peak resident memory by sampling."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, peak = time.monotonic(), 0.0
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                peak = max(peak, resident(process.pid))
            time.sleep(0.2)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{name} failed:\n{(folder / f'{name}.log').read_text()[-2000:]}")
    return Run(name, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak)


def bench(events: int) -> bool:
    """Whether the goals were reached."""
    made = world(events)
    python = [sys.executable, "-m", "bench.backfill", "--events", str(events)]
    with tempfile.TemporaryDirectory(prefix="misoflow-backfill-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        _, source = stack.enter_context(started("source", [*python, "--serve", "source"], folder))
        _, target = stack.enter_context(started("sink", [*python, "--serve", "sink"], folder))
        (folder / "plugins.toml").write_text(TOML.format(sink=target, source=source, world=made))
        end = made.start + timedelta(days=made.days)
        command = [sys.executable, "-m", "misoflow", "backfill", "mix", "--stream", "events"]
        runs = [
            timed("floor", [*python, "--floor", source, target], folder),
            timed("misoflow", [*command, "--from", f"{made.start}", "--to", f"{end}", "-q"], folder),
        ]
        count = made.days * made.events_per_day
        for run in runs:
            print(run.line(count), flush=True)
        told = subprocess.run(
            [sys.executable, "-m", "misoflow", "status", "--json"], cwd=folder, capture_output=True, check=True
        )
        counts = orjson.loads(told.stdout)["instances"]["mix"]
        whole = counts["accepted"] == counts["delivered"] + counts["skipped"] == count
        ratio = runs[0].cpu / runs[1].cpu
        print(f"misoflow says {counts['delivered']:,} delivered, {counts['skipped']:,} skipped of {count:,}")
        print(
            f"CPU seconds, floor / misoflow: {ratio:.2f} (goal {GOAL}); peak {runs[1].peak:.0f} MiB (goal {MOST_MIB})"
        )
        for peer in peers(source, made, folder):
            print(peer.line(count), flush=True)
        return whole and ratio >= GOAL and runs[1].peak < MOST_MIB


def peers(source: str, made: MixpanelWorld, folder: Path) -> list[Run]:
    """The other tools on the same export, as far as MISOFLOW_PEERS names a folder that bench/peers.sh filled."""
    root = os.environ.get("MISOFLOW_PEERS")
    if not root:
        print("no peers: bench/peers.sh FOLDER sets them up, MISOFLOW_PEERS=FOLDER names them")
        return []
    found = []
    for script in sorted((Path(__file__).parent / "peers").glob("mixpanel_*")):
        command = [str(Path(root) / "bin" / "python"), str(script)]
        if script.suffix == ".mjs":
            command = ["node", str(script), str(Path(root) / "node")]
        last = made.start + timedelta(days=made.days - 1)
        arguments = [source, str(made.project_id), made.username, made.secret, f"{made.start}", f"{last}"]
        try:
            found.append(timed(script.stem, [*command, *arguments], folder))
        except (SystemExit, OSError) as error:
            print(f"{script.stem}: {str(error).splitlines()[-1]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.backfill", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--serve", choices=("source", "sink"), help=argparse.SUPPRESS)
    parser.add_argument("--floor", nargs=2, metavar=("SOURCE", "SINK"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        mixpanel = given.serve == "source"
        app: Any = MixpanelSandbox(world(given.events), Options(limits="off")) if mixpanel else Sink()
        say: Callable[[str], None] = lambda url: print(f"ready {url}", flush=True)  # noqa: E731
        serve_forever(app, "127.0.0.1", 0, say, date_header=not mixpanel)
        return 0
    if given.floor:
        source, sink_url = given.floor
        floor(source, sink_url, world(given.events))
        return 0
    return 0 if bench(given.events) else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(main())
