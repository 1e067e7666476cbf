"""docs/connectors/shopify-failures.md keeps its word: every failure has its row, every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "connectors" / "shopify-failures.md").read_text()
ROW = re.compile(r"^\| ([A-Z]?\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([a-z_/]+\.py)(?:::(\w+))?`")
PROMISED = [*(str(number) for number in range(1, 52)), "S1", "S2", "S3", "S8", "S12", "B5", "B7", "B8"]


def test_every_failure_has_its_row_and_its_tests() -> None:
    rows = {number: TEST.findall(tests) for number, _, _, tests in ROW.findall(PAGE)}
    assert list(rows) == PROMISED
    assert [number for number, tests in rows.items() if not tests] == []


def test_every_test_named_is_there() -> None:
    named = [pair for *_, tests in ROW.findall(PAGE) for pair in TEST.findall(tests)]
    missing = []
    for file, test in named:
        path = ROOT / "tests" / file
        if not path.is_file() or (
            test and not re.search(rf"^\s*(async )?def {test}\(", path.read_text(), re.MULTILINE)
        ):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_a_test_that_bears_the_number_of_a_failure_stands_in_its_row() -> None:
    rows = {number: {test for _, test in TEST.findall(tests)} for number, _, _, tests in ROW.findall(PAGE)}
    strangers = []
    for path in sorted(Path(__file__).parent.glob("test_engine_*.py")):
        for test, numbers in re.findall(r"def (test_((?:\d\d_)+)\w+)\(", path.read_text()):
            strangers += [test for number in numbers.split("_") if number and test not in rows[str(int(number))]]
    assert strangers == []
