"""kill -9 at random moments of a pull: nothing lost, nothing twice, nothing confirmed sent again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import apsw
import pytest
from misoflow_sandbox.mixpanel import MixpanelSandbox, World
from misoflow_sandbox.serving import sandbox_process, served

from tests.mixpanel.kit import SETTINGS, _key, expected

ALL = bool(os.environ.get("MISOFLOW_TEST_ALL"))
PER_DAY = 20_000 if ALL else 1000
KILLS = 20
SLOTS = 4
"""Requests to Miso that may be under way when a kill comes."""
FAULTS = ("429_retry_after", "500", "cut_socket", "cut_gzip", "abort", "multi_member", "error_tail")


def asked(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        return answer.read()


def pull(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "misoflow", "backfill", "mix", "--from", "2026-10-01", "--to", "2026-10-31", "-q"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("seed", [20261124])
def test_a_month_survives_20_kills(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    world = World(start=date(2026, 10, 1), days=30, per_day=PER_DAY, odd=0.02, repeats=0.01, seed=seed % 1000)
    sandbox = MixpanelSandbox(world)
    sandbox.faults = [{"fault": rng.choice(FAULTS), "after": rng.randrange(6)} for _ in range(8)]
    with served(sandbox) as url, sandbox_process("key") as miso:
        (tmp_path / "plugins.toml").write_text(
            f'[miso]\napi_key = "key"\napi_url = "{miso}"\n[engine]\nlinger_ms = 50\n'
            + SETTINGS.format(world=world, url=url, more="")
        )
        killed = 0
        deadline = time.monotonic() + (3600 if ALL else 400)
        while True:
            assert time.monotonic() < deadline, f"{killed} kills so far"
            an_hour_passes(tmp_path / "var" / "store.db")
            pulling = pull(tmp_path)
            try:
                code = pulling.wait(rng.uniform(0.8, 3.0 if not ALL else 20.0) if killed < KILLS else 300)
            except subprocess.TimeoutExpired:
                pulling.send_signal(signal.SIGKILL)
                pulling.wait()
                killed += 1
                continue
            if code == 0 and killed >= KILLS:
                break
            if code == 0:  # all is there already: what is known is pulled again, under more kills
                sandbox.faults.append({"fault": rng.choice(FAULTS)})
        sent = Counter(
            _key(json.loads(line)) for line in asked(miso, "/_sandbox/records?kind=interactions").splitlines()
        )
        wanted = expected(world)
        assert not wanted - sent, f"{(wanted - sent).total()} lost"
        assert set(sent) == set(wanted)
        doubled = (sent - wanted).total()
        again, explained = judge_wire(json.loads(asked(miso, "/_sandbox/wire")))
        assert doubled <= explained
        assert again <= killed * SLOTS
        status = subprocess.run(
            [sys.executable, "-m", "misoflow", "status", "--json"], cwd=tmp_path, capture_output=True, check=True
        )
        counts = json.loads(status.stdout)["instances"]["mix"]
        assert counts["pending"] == 0
        assert counts["accepted"] == counts["delivered"] + counts["skipped"] + counts["dead"]
        assert counts["accepted"] == world.days * world.per_day


def an_hour_passes(store: Path) -> None:
    """Mixpanel gives 60 exports an hour; the kills happen within minutes."""
    if store.exists():
        with contextlib.suppress(apsw.SQLError):
            apsw.Connection(str(store)).execute("DELETE FROM budgets")


def judge_wire(wire: list[dict[str, Any]]) -> tuple[int, int]:
    """(requests sent again, records in them): only the same bytes, of an answer that a kill kept from us."""
    posts = Counter(one["sha256"] for one in wire if one["path"] == "/v1/interactions")
    records = {one["sha256"]: one["records"] for one in wire}
    return sum(n - 1 for n in posts.values()), sum((n - 1) * records[sha] for sha, n in posts.items())
