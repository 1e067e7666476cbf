"""The kit is tested through pytester: on a good toy connector, and on the same one with a bug planted in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

GOOD = Path(__file__).parent / "good"
collect_ignore = ["good"]


@pytest.fixture
def toy(pytester: pytest.Pytester) -> Path:
    """A copy of the good connector, with its contract and samples, where pytester runs."""
    shutil.copytree(GOOD, pytester.path, dirs_exist_ok=True)
    (pytester.path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.syspathinsert()
    return pytester.path
