"""The good toy connector passes all of the contract, and nothing is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = "pytester"


@pytest.mark.usefixtures("toy")
def test_a_good_connector_passes_whole(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest()
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] >= 50
    result.stdout.fnmatch_lines(["TestAcme: * events/s over 4 sample events"])


def test_samples_are_written_anew(pytester: pytest.Pytester, toy: Path) -> None:
    sample = toy / "samples" / "cart.json"
    recorded = sample.read_text()
    sample.write_text(recorded.replace('"anonymous_id": "v-1"', '"anonymous_id": "v-2"'))
    assert sample.read_text() != recorded
    test = "translates_as_recorded"
    pytester.runpytest("-k", test).assert_outcomes(failed=1, passed=2)
    pytester.runpytest("-k", test, "--update-samples").assert_outcomes(passed=3)
    assert sample.read_text() == recorded
