"""kill -9 at random moments of a pull: nothing lost, nothing twice, nothing confirmed sent again.

A month of 20,000 events a day in `make test-all`, a twentieth of it in `make test`.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
from misoflow_sandbox.mixpanel import Action, MixpanelSandbox, Options, Rule
from misoflow_sandbox.serving import sandbox_process, served
from msgspec import structs

from tests.mixpanel.kit import MONTH, SETTINGS, expected, key_of, long_after

SEED = 20261124
KILLS = 20
SHARE = 0.15
"""Of the month's rows: how many may go by, at most, from a start to the next kill."""
SLOTS = 4
"""Requests to Miso that may be under way when a kill comes."""
FAULTS = (
    Action(status=429, headers={"Retry-After": "1"}),
    Action(status=500),
    *(Action(ends="cut", after_rows=n) for n in (1, 700)),
    *(Action(ends="clean", after_rows=n) for n in (700, 10**9)),
    Action(ends="terminated", after_rows=1500),
    Action(ends="error_tail", after_rows=900),
    Action(members=300),
    Action(identity=True),
)


def asked(url: str, path: str) -> bytes:
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        found: bytes = answer.read()
    return found


def pull(folder: Path, *dates: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "misoflow", "backfill", "mix", "--from", dates[0], "--to", dates[1], "-q"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_month_survives_20_kills(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    world = structs.replace(MONTH, seed=SEED % 1000)
    sandbox = MixpanelSandbox(world, Options(now=long_after(world) / 1000, limits="off"))
    sandbox.faults.add(*(Rule(rng.choice(FAULTS), after=rng.randrange(6)) for _ in range(8)))
    dates = (f"{world.start}", f"{world.start + timedelta(days=world.days)}")
    kills: list[float] = []
    with served(sandbox, date_header=False) as url, sandbox_process("key") as miso:
        (tmp_path / "plugins.toml").write_text(
            f'[miso]\napi_key = "key"\napi_url = "{miso}"\n[engine]\nlinger_ms = 50\n'
            + SETTINGS.format(world=world, url=url, more="")
        )
        deadline = time.monotonic() + 3600
        while True:
            assert time.monotonic() < deadline, f"{len(kills)} kills so far"
            an_hour_passes(tmp_path / "var" / "store.db")
            pulling = pull(tmp_path, *dates)
            if len(kills) == KILLS:
                assert pulling.wait(1800) == 0
                break
            if under_way(pulling, sandbox, rng):
                pulling.send_signal(signal.SIGKILL)
                pulling.wait()
                kills.append(time.time())
            else:  # all is there already: what is known is pulled again, under more kills
                sandbox.faults.add(rng.choice(FAULTS))
        records = asked(miso, "/_sandbox/records?kind=interactions").splitlines()
        sent, wanted = Counter(key_of(json.loads(line)) for line in records), expected(world)
        assert not wanted - sent, f"{(wanted - sent).total()} lost"
        assert set(sent) == set(wanted)
        repeated = judge_wire(json.loads(asked(miso, "/_sandbox/wire")), kills)
        assert (sent - wanted).total() == repeated, "records that came again in other bytes"
        told = subprocess.run(
            [sys.executable, "-m", "misoflow", "status", "--json"], cwd=tmp_path, capture_output=True, check=True
        )
        counts = json.loads(told.stdout)["instances"]["mix"]
        assert counts["pending"] == counts["dead"] == 0
        assert counts["delivered"] == wanted.total()
        assert counts["accepted"] == counts["delivered"] + counts["skipped"] == world.days * world.events_per_day


def under_way(pulling: subprocess.Popen[bytes], sandbox: MixpanelSandbox, rng: random.Random) -> bool:
    """Wait for the moment of the next kill: some rows further, and a little later; whether it still runs then."""
    month = sandbox.world.days * sandbox.world.events_per_day
    target = sum(call.rows for call in sandbox.calls) + rng.randrange(int(month * SHARE))
    while pulling.poll() is None and sum(call.rows for call in sandbox.calls) < target:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.3))
    return pulling.poll() is None


def an_hour_passes(store: Path) -> None:
    """Mixpanel gives 60 exports an hour; the kills happen within minutes."""
    if store.exists():
        with contextlib.suppress(apsw.SQLError):
            apsw.Connection(str(store)).execute("DELETE FROM budgets")


def judge_wire(wire: list[dict[str, Any]], kills: list[float]) -> int:
    """How many records Miso took once too often: those of requests whose answer a kill kept from us.

    Between a request and its repetition lies a kill, and of the requests before a kill no more come again than can be
    under way; so none that was confirmed is sent again.
    """
    posts: dict[str, list[dict[str, Any]]] = {}
    for one in wire:
        if one["path"] == "/v1/interactions":
            posts.setdefault(one["sha256"], []).append(one)
    cut: Counter[float] = Counter()
    repeated = 0
    for same in posts.values():
        for first, again in pairwise(same):
            between = [kill for kill in kills if first["at"] <= kill <= again["at"]]
            assert between, "a request was repeated without a kill"
            cut[between[0]] += 1
            repeated += first["records"] if first["status"] == 200 else 0
    assert all(n <= SLOTS for n in cut.values()), cut
    return repeated
