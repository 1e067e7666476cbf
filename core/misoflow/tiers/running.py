"""Runs the contract tests of one connector in a process of their own, because nothing of a plugin is loaded here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import msgspec

from misoflow.tiers.facts import Facts
from misoflow.tiers.places import Place, Unusable

SECONDS = 600
KIT = ("pytest", "time_machine", "vcr")
LAST_LINES = 20


def facts_of(place: Place) -> Facts:
    """What the run tells. Raises Unusable when there is nothing to run or it comes to no end."""
    if missing := [module for module in KIT if find_spec(module) is None]:
        raise Unusable(f"the test kit needs {', '.join(missing)}; pip install 'misoflow[testing]'")
    if not place.tests:
        raise Unusable(
            f"{place.name}: no file test_*.py under {place.folder / 'tests'} holds a ConnectorContract; write one "
            "(docs/authors/kit.md), or name the right folder with --dir"
        )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "facts.json"
        printed = _run(place, report)
        if not report.is_file():
            raise Unusable(f"{place.name}: its contract tests cannot be run:\n{_end_of(printed)}")
        return msgspec.json.decode(report.read_bytes(), type=Facts)


def _run(place: Place, report: Path) -> str:
    """What pytest printed; its exit code says nothing that the report does not say better."""
    roots = [str(place.folder), str(place.folder / "src"), os.environ.get("PYTHONPATH", "")]
    command = [
        *(sys.executable, "-m", "pytest", "-p", "misoflow.testing.telling", "-p", "no:cacheprovider"),
        *("--tier-report", str(report), "--tier-connector", place.value),
        *(["-n0"] if find_spec("xdist") else []),
        *map(str, place.tests),
    ]
    try:
        done = subprocess.run(  # noqa: S603 (this Python, on files of the author's own)
            command,
            cwd=place.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(root for root in roots if root)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unusable(f"{place.name}: its contract tests took longer than {SECONDS} s") from None
    return done.stdout


def _end_of(printed: str) -> str:
    return "\n".join(printed.strip().splitlines()[-LAST_LINES:])
