"""One sandbox behind a real server, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from misoflow_sandbox.miso import MisoSandbox, Options, served


class Clock:
    """Seconds that pass only when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def running(clock: Clock) -> Iterator[tuple[MisoSandbox, str]]:
    sandbox = MisoSandbox("key", clock=clock)
    with served(sandbox) as url:
        yield sandbox, url


@pytest.fixture
def sandbox(running: tuple[MisoSandbox, str]) -> MisoSandbox:
    found = running[0]
    found.reset()
    for name, value in vars_of(Options()).items():
        setattr(found.options, name, value)
    return found


@pytest.fixture
def client(sandbox: MisoSandbox, running: tuple[MisoSandbox, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running[1], headers={"X-API-KEY": "key"}, timeout=10) as found:
        yield found


def vars_of(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__struct_fields__}
