"""docs/authors/kit.md names every contract test, attribute, option and fixture, and nothing that does not exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import misoflow_pytest
import pytest
from misoflow.testing import ConnectorContract
from misoflow.testing.base import Given

TEXT = (Path(__file__).parents[2] / "docs/authors/kit.md").read_text()
ROWS = re.findall(r"^\| `(--)?(\w[\w-]*)(?:\([^`]*\))?` \|(.*)\|$", TEXT, re.MULTILINE)
NAMES = [name for _, name, _ in ROWS]


def contract_tests() -> list[str]:
    return [name for name, _ in inspect.getmembers(ConnectorContract, inspect.isfunction) if name.startswith("test_")]


def test_every_contract_test_has_a_row() -> None:
    assert sorted(name for name in NAMES if name.startswith("test_")) == sorted(contract_tests())


def test_every_row_says_what_to_do() -> None:
    empty = [name for _, name, rest in ROWS if name.startswith("test_") and not rest.rpartition("|")[2].strip()]
    assert empty == ["test_reports_its_throughput"]


def test_every_attribute_has_a_row() -> None:
    own = {*Given.__annotations__, "sign", "upstream"}
    documented = TEXT[TEXT.index("## Attributes") : TEXT.index("## Samples")]
    assert set(re.findall(r"^\| `(\w+)", documented, re.MULTILINE)) == own


def test_every_option_and_fixture_has_a_row() -> None:
    class Options:
        names: list[str] = []  # noqa: RUF012

        def getgroup(self, _: str) -> Options:
            return self

        def addoption(self, name: str, **_: object) -> None:
            self.names.append(name.removeprefix("--"))

    misoflow_pytest.pytest_addoption(Options())  # type: ignore[arg-type]
    fixtures = [name for name, value in vars(misoflow_pytest).items() if isinstance(value, _fixture_type())]
    documented = TEXT[TEXT.index("## Options and fixtures") : TEXT.index("## The contract")]
    assert set(re.findall(r"^\| `(?:--)?([\w-]+)", documented, re.MULTILINE)) == {*Options.names, *fixtures}


def _fixture_type() -> type:
    return type(pytest.fixture(lambda: None))
