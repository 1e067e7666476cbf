"""The kit is tested through pytester: on a good toy connector, and on the same one with a bug planted in it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import misoflow.testing  # noqa: F401 (stays loaded: pytester forgets what was first imported inside of it)
import pytest

GOOD = Path(__file__).parent / "good"
UNUSED = ("asyncio", "cacheprovider", "hypothesispytest", "schemathesis", "xdist", "anyio")
"""Plugins that an author need not have, and that take their time."""
collect_ignore = ["good"]


@pytest.fixture
def bare(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where pytester runs, with no plugin that an author need not have."""
    for name in ("acme", "test_acme"):  # another test of this process may have one of its own
        monkeypatch.delitem(sys.modules, name, raising=False)
    (pytester.path / "pytest.ini").write_text(f"[pytest]\naddopts = {' '.join(f'-p no:{name}' for name in UNUSED)}\n")
    pytester.syspathinsert()
    return pytester.path


@pytest.fixture
def toy(bare: Path) -> Path:
    """A copy of the good connector, with its contract and samples, where pytester runs."""
    shutil.copytree(GOOD, bare, dirs_exist_ok=True)
    return bare
