"""Meltano's own test suites, and a tap on its SDK, against singer-target, singer-tap and the sandbox."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from misoflow_sandbox.mixpanel import MixpanelSandbox, MixpanelWorld, Options
from misoflow_sandbox.serving import served as serving

from tests.mixpanel.kit import long_after
from tests.singer.environments import environment
from tests.singer.kit import TIME, Place

pytestmark = pytest.mark.real
SDK = Path(__file__).parent / "sdk"
MISOFLOW = Path(sys.executable).with_name("misoflow")
REFUSED = ("invalid_schema", "record_before_schema", "record_missing_key_property")
"""Of the suite's streams those that a target must not take."""
NOT_RUN = ("multiple_state_messages", "record_missing_required_property", "user_location")
"""Files of the SDK that its suite does not use (yet)."""


@pytest.fixture(scope="session")
def meltano(request: pytest.FixtureRequest) -> Path:
    """The python of an environment with the SDK."""
    return environment(request, "singer") / "python"


def target_files(python: Path) -> list[Path]:
    """The streams that the SDK's target suite feeds."""
    code = "import singer_sdk.testing.target_test_streams as s; print(list(s.__path__)[0])"
    where = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return [path for path in sorted(Path(where).glob("*.singer")) if not path.stem.startswith(NOT_RUN)]


def expected(files: list[Path]) -> Counter[str]:
    """Stream → records that are told apart by their keys, in what a target must take."""
    found: dict[str, set[str]] = {}
    for path in files:
        keys: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            message = json.loads(line)
            if message["type"] == "SCHEMA":
                keys[message["stream"]] = message.get("key_properties", [])
            elif message["type"] == "RECORD" and path.stem not in REFUSED and path.stem != "no_primary_keys_append":
                record = message["record"]
                own = [record[key] for key in keys[message["stream"]]] or record
                found.setdefault(message["stream"], set()).add(json.dumps(own, sort_keys=True))
    return Counter({stream: len(many) for stream, many in found.items()})


def target_config(place: Place, streams: set[str]) -> dict[str, Any]:
    """Each stream as interactions that are named after it."""
    fields = {"type": "custom", "user_id": "singer", "timestamp": TIME}
    return {
        "api_key": "key",
        "api_server": place.url,
        "data": str(place.folder / "singer"),
        "streams": {
            name: {"kind": "interactions", "fields": {**fields, "custom_action_name": name}} for name in streams
        },
    }


def test_meltano_s_suites_pass_against_the_sandbox(meltano: Path, place: Place) -> None:
    files = target_files(meltano)
    names = {json.loads(line).get("stream", "") for path in files for line in path.read_text().splitlines()} - {""}
    items = place.folder / "items.jsonl"
    items.write_text("".join(json.dumps({"product_id": f"p{n}", "title": f"Item {n}"}) + "\n" for n in range(20)))
    world = MixpanelWorld(events_per_day=40, days=3)
    mixpanel = MixpanelSandbox(world, Options(now=long_after(world) / 1000, limits="off"))
    with serving(mixpanel, date_header=False) as url:
        events = {"project_id": world.project_id, "username": world.username, "secret": world.secret, "api_url": url}
        last = world.start + timedelta(days=world.days)
        start = {"start_date": str(world.start), "end_date": str(last), "pull": ["events", "profiles"]}
        folder = {"_folder": str(place.folder)}
        configs = {
            "target": target_config(place, names),
            "events": {"_connector": "mixpanel", **folder, **events, **start},
            "products": {"_connector": "files", **folder, "paths": [str(items)], "kind": "products"},
        }
        sdk = shutil.copytree(SDK, place.folder / "sdk")  # away from our own conftest and settings of pytest
        done = subprocess.run(
            [meltano, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "suites.py"],
            cwd=sdk,
            env={
                **os.environ,
                "MISOFLOW": str(MISOFLOW),
                "SINGER_CONFIGS": json.dumps(configs),
                "PYTHONPATH": str(sdk),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=400,
        )
    said = done.stdout[-12_000:] + done.stderr[-2000:]
    print(said)
    assert done.returncode == 0, said
    for suite, least in (("TestMisoTarget", 15), ("TestEventsTap", 20), ("TestProductsTap", 20)):
        assert done.stdout.count(f"PASSED suites.py::{suite}::") >= least, said
    # not a no-op: what the suite fed stands in the sandbox, each record once
    assert Counter(one["custom_action_name"] for one in place.interactions()) == expected(files)


ORDERS = {
    "kind": "interactions",
    "fields": {
        "type": "checkout",
        "user_id": "$.buyer",
        "product_ids": "$.items",
        "revenue": "$.total",
        "timestamp": "$.at",
    },
}


class Pipeline:
    """The small tap, piped into our target."""

    def __init__(self, python: Path, place: Place, orders: int) -> None:
        self.place = place
        self._tap = [str(python), str(SDK / "small_tap.py"), "--config", "tap.json"]
        place.configure(streams={"orders": ORDERS})
        place.write("tap.json", {"orders": orders})

    def start(self, state: Any = None, crash: str = "") -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        more = [] if state is None else ["--state", str(self.place.write("state.json", state))]
        where = {"cwd": self.place.folder, "text": True}
        tap = subprocess.Popen([*self._tap, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **where)  # type: ignore[call-overload]
        target = subprocess.Popen(
            [MISOFLOW, "singer-target", "--config", "config.json"],
            stdin=tap.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "MISOFLOW_CRASH_AT": crash},
            **where,
        )
        tap.stdout.close()
        return tap, target

    def run(self, state: Any = None, *, crash: str = "", code: int = 0) -> list[Any]:
        """The states that were told."""
        tap, target = self.start(state, crash)
        out, err = target.communicate(timeout=120)
        tap.wait(timeout=60)
        assert target.returncode == code, out + err
        return [json.loads(line) for line in out.splitlines()]


def test_a_tap_on_the_sdk_fills_the_sandbox_through_a_422_and_an_outage(meltano: Path, place: Place) -> None:
    pipeline = Pipeline(meltano, place, orders=5000)
    place.fault(reject_marker='"item-1234"')
    place.fault(status=503, times=3, after=1, match={"method": "POST"}, headers={"Retry-After": "0"})
    states = pipeline.run(code=1)
    assert states[-1]["bookmarks"]["orders"]["replication_key_value"] == 4999
    had = sorted(one["product_ids"][0] for one in place.interactions())
    assert had == sorted(f"item-{number}" for number in range(5000) if number != 1234)


def test_a_killed_pipeline_goes_on_with_its_last_state(meltano: Path, place: Place) -> None:
    pipeline = Pipeline(meltano, place, orders=5000)
    states = pipeline.run(crash="singer.taken:3", code=-signal.SIGKILL)
    states = pipeline.run(states[-1] if states else None)
    assert states[-1]["bookmarks"]["orders"]["replication_key_value"] == 4999
    had = sorted(one["product_ids"][0] for one in place.interactions())
    assert had == sorted(f"item-{number}" for number in range(5000))
