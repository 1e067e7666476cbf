"""The tests see the mistakes that matter (C7): with each of these bugs planted, a named test goes red.

Two of the twelve are looked for elsewhere: `==` on a digest by tests/core/test_imports.py, which reads the
code, and a slice closed without its count belongs to history.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLANTS = {
    "ack_before_commit": "tests/crash/test_kills.py::test_a_kill_at_a_named_point[inbox.before_commit-0]",
    "normal_sync": "tests/core/test_inbox.py::test_a_power_cut_after_the_acknowledgement_loses_nothing",
    "drop_on_422": "tests/core/test_delivery.py::"
    "test_m6_m7_named_records_are_dead_and_the_rest_needs_one_more_request[1-10000]",
    "resend_with_a_new_timestamp": "tests/crash/test_kills.py::test_a_kill_at_a_named_point[send.after-0]",
    "no_crc": "tests/core/test_inbox.py::test_one_bit_of_one_payload_costs_one_row",
    "follow_redirects": "tests/core/test_http.py::test_a_redirect_is_not_followed",
    "cursor_before_its_page": "tests/crash/test_kills.py::test_a_kill_at_a_named_point[commit.inside-0]",
    "dead_letter_outside_the_transaction": "tests/crash/test_kills.py::test_a_kill_at_a_named_point[dead.written-0]",
    "a_wrong_key_is_a_dead_letter": "tests/core/test_delivery.py::"
    "test_a_wrong_key_halts_without_a_dead_letter_and_the_next_start_delivers",
    "seen_before_the_commit": "tests/crash/test_kills.py::test_a_kill_at_a_named_point[commit.inside-0]",
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_caught(plant: str, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent / "plants"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}", PLANTS[plant]],
        env={**os.environ, "MISOFLOW_PLANT": plant, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, f"{plant} was not caught: {done.stdout[-2000:]}{done.stderr[-1000:]}"
    assert "1 failed" in done.stdout, done.stdout[-2000:]
