"""The pytest plugin of the conformance kit: loaded by every pytest run on the machine, so it imports only pytest.

What it does stands in ``misoflow.testing``, which is imported when a test file asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("misoflow")
    group.addoption(
        "--update-samples", action="store_true", help="write what each sample of a connector's contract gives, anew"
    )
    group.addoption(
        "--record-cassettes", action="store_true", help="let a connector's contract write its cassette, anew"
    )


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> Any:
    kit = sys.modules.get("misoflow.testing.collecting")
    return None if kit is None else kit.make_item(collector, name, obj)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    kit = sys.modules.get("misoflow.testing.speed")
    if kit is not None:
        kit.summary(terminalreporter)


@pytest.fixture(scope="session")
def miso_sandbox() -> Iterator[Any]:
    """The stand-in of Miso on a free port: ``.url``, ``.api_key``, ``.records(kind)``, ``.reset()``."""
    from misoflow.testing.fixtures import running_sandbox

    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def misoflow_vcr(request: pytest.FixtureRequest) -> Any:
    """A ``vcr.VCR`` that writes nothing secret, with cassettes/ beside the test; plays, or records if told to."""
    from misoflow.testing.fixtures import recorder

    return recorder(request.path.parent, record=request.config.getoption("--record-cassettes"))


@pytest.fixture
def misoflow_samples(request: pytest.FixtureRequest) -> Any:
    """The sample files beside the test by name: ``.body``, ``.request(connector, headers)``, ``.events(connector)``."""
    from misoflow.testing.fixtures import samples_beside

    return samples_beside(request.path.parent)
