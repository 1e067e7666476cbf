"""docs/authors/kit.md names every contract test, attribute, option and fixture, and nothing that does not exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import misoflow_pytest
import pytest
from misoflow.testing import ConnectorContract
from misoflow.testing.base import Given

ACME = '''
from collections.abc import Iterator

from misoflow import AddToCart, Config, Connector, Event, Record, Request, check_hmac
from pydantic import Field, SecretStr


class AcmeConfig(Config):
    """Settings for one Acme shop."""

    shop: str = Field(description="The shop's domain.")
    signing_secret: SecretStr | list[SecretStr] = Field(description="Shown when the webhook is made.")


class Acme(Connector[AcmeConfig]):
    """Carts of one Acme shop."""

    topics = ("cart.added",)

    def verify(self, request: Request) -> None:
        check_hmac(request.body, request.header("x-acme-signature"), self.config.signing_secret)

    def events(self, request: Request) -> Iterator[Event]:
        item = request.json()
        yield Event(str(item["id"]), item["topic"], item)

    def translate(self, event: Event) -> Iterator[Record]:
        item = event.data
        if event.topic == "cart.added":
            yield AddToCart(
                product_ids=[item["sku"]], quantities=[item["qty"]], anonymous_id=item["visitor"], timestamp=item["at"]
            )
'''
pytest_plugins = "pytester"

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


def test_the_example_runs(pytester: pytest.Pytester, bare: Path) -> None:
    """The page's first test file and first sample, on a connector of that kind."""
    (test,) = re.findall(r"^```python\n(from.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    delivery, _ = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    pytester.makepyfile(misoflow_acme=ACME, test_acme=test)
    (bare / "samples").mkdir()
    (bare / "samples" / "cart.json").write_text(delivery)
    pytester.runpytest_inprocess("-k", "recorded", "--update-samples").assert_outcomes(passed=1)
    found = pytester.runpytest_inprocess().parseoutcomes()
    assert found.keys() == {"passed"}
    assert found["passed"] >= 25


def _fixture_type() -> type:
    return type(pytest.fixture(lambda: None))
