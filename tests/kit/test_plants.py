"""Each planted bug is killed by the contract test that is there for it; the table is printed at the end of the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from misoflow.testing import ConnectorContract

from tests.kit.plants import ALL, GET, TEST, Plant, guarded_get

pytest_plugins = "pytester"


UNFILLED = re.compile(r"\{\w+(?:\.\w+)*(?:![rs])?\}")
"""A sentence that lost the f before its quotes prints braces."""


def plant(folder: Path, bug: Plant) -> None:
    """Change one place of the toy; a plant that fits nowhere, or everywhere, is an error."""
    file = folder / bug.file
    if bug.old is None:
        file.unlink()
        return
    text = file.read_text()
    assert bug.old == "" or text.count(bug.old) == 1, "the toy has changed, and the plant fits it no more"
    file.write_text(f"{text}\n{bug.new}" if bug.old == "" else text.replace(bug.old, bug.new))


@pytest.mark.parametrize("bug", ALL, ids=[bug.bug for bug in ALL])
def test_a_planted_bug_is_killed(
    bug: Plant, toy: Path, pytester: pytest.Pytester, record_property: Callable[[str, object], None]
) -> None:
    plant(toy, bug)
    result = pytester.runpytest_inprocess("-k", bug.killed_by)
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed"), f"{bug.killed_by} let it live"
    assert "errors" not in outcomes
    assert bug.says in result.stdout.str()
    assert not UNFILLED.findall(result.stdout.str())
    record_property("planted_bug", (bug.bug, bug.killed_by))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("test_the_contract_is_whole = None", "test_the_contract_is_whole was removed"),
        ("def test_the_contract_is_whole(self): pass", "test_the_contract_is_whole was replaced"),
        ("pytestmark = __import__('pytest').mark.skip('later')", "marked skip as a whole"),
        ("pytestmark = [__import__('pytest').mark.xfail(reason='all of it')]", "marked xfail as a whole"),
        ("def pytest_generate_tests(self, metafunc): pass", "pytest_generate_tests was replaced"),
    ],
)
def test_the_guard_cannot_be_taken_away(line: str, says: str, toy: Path, pytester: pytest.Pytester) -> None:
    plant(toy, Plant("", "", "", "", f"    {line}\n", TEST))
    result = pytester.runpytest_inprocess()
    assert result.parseoutcomes().keys() >= {"error"} or "errors" in result.parseoutcomes()
    assert says in result.stdout.str()


def test_a_contract_test_is_waived_with_a_reason(toy: Path, pytester: pytest.Pytester) -> None:
    waived = '    @__import__("pytest").mark.xfail(reason="ids are hashed")\n    def test_no_email_in_records(self):\n'
    plant(toy, Plant("", "", "", "", f"{waived}        raise AssertionError\n", TEST))
    outcomes = pytester.runpytest_inprocess().parseoutcomes()
    assert outcomes.keys() == {"passed", "xfailed"}


UNPLANTED = {
    "test_records_are_valid": "encode would have to be wrong: see test_parts",
    "test_cassette_is_clean_and_recent": "the toy has no cassette: see test_cassettes",
    "test_reports_its_throughput": "it fails nothing",
}


def test_every_contract_test_has_a_bug_to_kill() -> None:
    assert len(ALL) >= 20
    assert len({bug.bug for bug in ALL}) == len(ALL)
    tests = {name for name in dir(ConnectorContract) if name.startswith("test_")}
    assert {bug.killed_by for bug in ALL} == tests - UNPLANTED.keys()


def test_what_is_asked_again_and_comes_is_no_failure(toy: Path, pytester: pytest.Pytester) -> None:
    again = guarded_get(f"except Retry:\n                {GET}")
    plant(toy, Plant("", "", "", GET, f"from misoflow import Retry\n            {again}"))
    pytester.runpytest_inprocess("-k", "failures_are").assert_outcomes(passed=6)


def test_a_class_without_a_connector_says_so(toy: Path, pytester: pytest.Pytester) -> None:
    plant(toy, Plant("", "", "", "    connector = Acme\n", "", TEST))
    result = pytester.runpytest_inprocess()
    assert "TestAcme names no connector" in result.stdout.str()
    result.assert_outcomes(errors=1)
