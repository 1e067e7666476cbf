"""A place of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from misoflow_sandbox.miso import MisoSandbox, served

from tests.singer.kit import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    sandbox = MisoSandbox("key")
    with served(sandbox) as url:
        yield Place(tmp_path, sandbox, url)
