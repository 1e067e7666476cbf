"""The pytest plugin of a tier's run: keeps the contract tests of one connector, and writes down what they tell.

Loaded by name, in the process that ``running`` starts; see ``facts`` for what it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from misoflow.connector import Connector
from misoflow.registry import config_type, load_connector
from misoflow.testing import ConnectorContract, speed
from misoflow.testing.asking import said
from misoflow.testing.base import Given, folder_of, has_history, has_upstream, takes_deliveries
from misoflow.testing.subject import make
from misoflow.testing.whole import contract_tests
from misoflow.tiers.facts import Contract, Facts, Ran

METHODS = ("verify", "events", "backfill", "check", "fetch", "sample", "tenant", "answer", "install", "uninstall")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Set by ``running`` only."""
    group = parser.getgroup("misoflow tiers")
    group.addoption("--tier-report", help="where to write the facts")
    group.addoption("--tier-connector", help="module:Class of the connector")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Collector(config), "misoflow-tier")


class _Collector:
    """One run."""

    def __init__(self, config: pytest.Config) -> None:
        self._report = Path(config.getoption("--tier-report"))
        self._connector = load_connector(config.getoption("--tier-connector"))
        self._facts = _about(self._connector)
        self._classes: set[type[ConnectorContract]] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Other tests of the same files tell nothing about the contract."""
        kept, others = [], []
        for item in items:
            cls = getattr(item, "cls", None)
            if cls is not None and self._is_contract(cls):
                self._classes.add(cls)
                kept.append(item)
            else:
                others.append(item)
        config.hook.pytest_deselected(items=others)
        items[:] = kept

    def _is_contract(self, cls: type) -> bool:
        tested = getattr(cls, "connector", None)
        return issubclass(cls, ConnectorContract) and isinstance(tested, type) and issubclass(tested, self._connector)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            last = str(report.longrepr).strip().splitlines()[-1]
            self._facts.errors.append(f"{report.nodeid}: {last.removeprefix('E').strip()}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line a test; a set-up or tear-down is told only where it is what went wrong."""
        if report.when == "call" or report.outcome != "passed":
            self._facts.tests.append(_told(report))

    def pytest_sessionfinish(self) -> None:
        self._facts.speeds = {name: figure for name, (figure, _) in speed.figures.items()}
        self._facts.errors += self._left_out()
        self._facts.contracts = [_contract(cls) for cls in sorted(self._classes, key=lambda one: one.__name__)]
        self._report.write_bytes(msgspec.json.encode(self._facts))

    def _left_out(self) -> list[str]:
        """Contract tests that options of the project keep from running: what does not run proves nothing."""
        ran = {test.name.partition("[")[0] for test in self._facts.tests}
        wanted = (f"{cls.__name__}::{name}" for cls in self._classes for name in contract_tests(cls))
        return [f"{name} was not run: see addopts" for name in wanted if ran and name not in ran]


def _about(connector: type[Connector[Any]]) -> Facts:
    return Facts(
        topics=list(connector.topics),
        streams=list(connector.streams),
        settings=list(config_type(connector).model_fields),
        overrides=[name for name in METHODS if getattr(connector, name, None) is not getattr(Connector, name, None)],
    )


def _told(report: pytest.TestReport) -> Ran:
    name = report.nodeid.partition("::")[2]
    expected = getattr(report, "wasxfail", None)
    if expected is not None and report.skipped:
        return Ran(name, "xfailed", str(expected).removeprefix("reason: "))
    if report.skipped and isinstance(report.longrepr, tuple):
        return Ran(name, "skipped", str(report.longrepr[2]).removeprefix("Skipped: "))
    return Ran(name, report.outcome)


def _contract(cls: type[Given]) -> Contract:
    """What one contract class gives to the kit. Settings that cannot be used are the contract's own to report."""
    contract, name = cls(), cls.__name__
    try:
        made = make(contract)
    except (Exception, pytest.fail.Exception):
        return Contract(name, "", verifies=False)
    streams = list(made.streams) if has_history(cls) else []
    asks = has_upstream(cls)
    return Contract(
        name,
        str(folder_of(cls) / cls.samples),
        verifies=takes_deliveries(cls) and bool(made.routes),
        rotated=list(cls.rotated or {}),
        streams=streams,
        counted=_counted(cls.history, streams),
        asks=asks,
        cassette=bool(cls.cassette),
        refused=said(contract, 401) if asks else "",
        outage=said(contract, 500) if asks else "",
    )


def _counted(history: Mapping[str, int] | int | None, streams: list[str]) -> list[str]:
    if isinstance(history, Mapping):
        return [stream for stream in streams if stream in history]
    return streams if history is not None else []
