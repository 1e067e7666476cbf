"""The demo's second part: a month of Mixpanel history with its progress bar, and a file uploaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from misoflow.config import Settings
from misoflow.errors import MisoflowError
from misoflow.status import history, status
from misoflow.vault import Vault

INSTANCE = "mix"
DAYS = 30
PER_DAY = 400
ROWS = 500
SECONDS = 120
SETTINGS = """
[instances.mix]
connector = "mixpanel"
project_id = 1234567
username = "misoflow.sandbox"
secret = {{ file = "mixpanel.secret" }}
api_url = "{mixpanel}"
profiles = false
"""
SECRET = "sandbox-secret"  # noqa: S105 (the stand-in's)


@dataclass(slots=True)
class History:
    """What came of the history and of the file."""

    counts: dict[str, Any] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    uploaded: int = 0
    held: int = 0
    """Interactions at the sandbox because of both."""


def pull(config: Path, settings: Settings, *, quiet: bool) -> History:
    """`misoflow backfill mix` as a person types it; raises MisoflowError when it fails."""
    _command(["backfill", INSTANCE, "--config", str(config), *(["-q"] if quiet else [])], quiet=quiet)
    found = history(settings, Vault.from_settings(settings))
    jobs = [job for job in found["jobs"] if job["instance"] == INSTANCE]
    slices = [one for one in found["slices"] if one["instance"] == INSTANCE]
    return History(status(settings)["instances"][INSTANCE], jobs, slices)


def upload(folder: Path, config: Path, *, quiet: bool) -> int:
    """`misoflow upload interactions FILE`; how many rows it had."""
    path = folder / "likes.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in rows():
            file.write(json.dumps(row) + "\n")
    arguments = ["upload", "interactions", str(path), "--config", str(config), *(["-q"] if quiet else [])]
    _command(arguments, quiet=quiet)
    return ROWS


def rows() -> Iterator[dict[str, Any]]:
    """Likes of last week."""
    start = datetime.now(UTC) - timedelta(days=7)
    for number in range(ROWS):
        moment = start + timedelta(minutes=number)
        yield {
            "type": "like",
            "user_id": f"reader-{number % 40}",
            "product_ids": [f"book-{number}"],
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        }


def _command(arguments: list[str], *, quiet: bool) -> None:
    command = [sys.executable, "-m", "misoflow", *arguments]
    done = subprocess.run(  # noqa: S603 (a command of ours)
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else None,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise MisoflowError(f"misoflow {arguments[0]} ended with {done.returncode}")


def checks(seen: History) -> Iterator[tuple[str, bool]]:
    """(what should hold, whether it does)."""
    counts = seen.counts
    done = counts["delivered"] + counts["skipped"] + counts["dead"]
    yield "history: every event of the month is accounted for", counts["accepted"] == done == DAYS * PER_DAY
    yield "history: nothing is pending or dead", counts["pending"] == counts["dead"] == 0
    yield (
        "history: every slice is done and adds up",
        bool(seen.slices)
        and all(one["state"] == "done" and one["read"] == one["taken"] + one["repeats"] for one in seen.slices),
    )
    wanted = counts["delivered"] + seen.uploaded
    yield "the sandbox holds the month and the file, once each", seen.held == wanted
