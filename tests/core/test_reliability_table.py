"""docs/reliability.md keeps its word: every test that it names is there, and no row is without one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (P|L|P, L) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`([a-z_/]+\.py)(?:::(\w+))?`")
PROMISED = {
    *(f"D{n}" for n in range(1, 8)),
    *(f"M{n}" for n in range(1, 15)),
    *(f"R{n}" for n in range(1, 15)),
    *("S1", "S2", "S3", "S4", "S8", "S9", "S10", "S11", "S12", "S13", "B5", "B7", "B8", "C1", "C2", "C6", "C7"),
}


def test_every_scenario_has_its_row_and_its_tests() -> None:
    rows = {number: TEST.findall(tests) for number, _, _, tests in ROW.findall(PAGE)}
    assert rows.keys() >= PROMISED
    assert [number for number, tests in rows.items() if not tests] == []


def test_every_test_named_is_there() -> None:
    named = [pair for _, _, _, tests in ROW.findall(PAGE) for pair in TEST.findall(tests)]
    missing = []
    for file, test in named:
        path = ROOT / "tests" / file
        if not path.is_file() or (test and f"def {test}(" not in path.read_text()):
            missing.append(f"{file}::{test}")
    assert missing == []
