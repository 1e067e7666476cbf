"""What an author gives about a connector, and how the contract's tests come by it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import httpx
import pytest

from misoflow.connector import Connector

DELIVERIES, HISTORY = "deliveries", "history"

F = TypeVar("F", bound=Callable[..., Any])


class Given:
    """The attributes of a contract class. ``connector`` and ``config`` are always needed; see each of the others."""

    connector: ClassVar[type[Connector[Any]]]
    """The class under test."""
    config: Mapping[str, Any] = {}
    """Its settings as in plugins.toml, references resolved. Secrets need at least six characters."""
    rules: Sequence[Mapping[str, Any]] = ()
    """``[[instances.X.rules]]``, a dict each."""
    samples: ClassVar[str] = "samples"
    """The folder with the sample files, beside the test file."""
    topics: ClassVar[tuple[str, ...] | None] = None
    """The connector's topics that this class has samples of; None is all of them."""
    channels: ClassVar[tuple[str, ...]] = (DELIVERIES, HISTORY)
    """What this class is about, where another one is about the rest."""
    signature_headers: ClassVar[tuple[str, ...] | None] = None
    """The headers that prove the sender; () where something else does (the body, the query)."""
    signs_body: ClassVar[bool] = True
    """False: the platform proves only who sends (Basic, bearer), so a changed body is not noticed."""
    tolerance: ClassVar[float | None] = None
    """Seconds that a signed timestamp may be old; None: the platform signs none."""
    rotated: Mapping[str, Any] | None = None
    """Settings in which the secret that ``sign`` uses stands second; {} where the connector takes only one."""
    history: Mapping[str, int] | int | None = None
    """How many events the source holds in ``period``; by stream where there are several."""
    period: ClassVar[tuple[date, date] | None] = None
    """[start, end) of the history that is pulled, within one slice; dates are UTC."""
    cassette: ClassVar[str] = ""
    """A vcrpy cassette beside the test file that answers for the platform."""

    def sign(self, body: bytes, at: float) -> dict[str, str]:
        """Headers that make a delivery of ``body`` genuine at ``at``, in Unix seconds."""
        raise NotImplementedError

    def upstream(self, request: httpx.Request) -> httpx.Response:
        """The platform: answers what the connector asks through ``self.http``."""
        raise NotImplementedError


def fail(text: str) -> NoReturn:
    """End the test with this sentence alone: the author's code is at fault, not a line of the kit."""
    pytest.fail(text, pytrace=False)


_connectors: dict[type[Given], Connector[Any] | None] = {}


def signed(contract: Given, body: bytes, at: float) -> dict[str, str]:
    """The headers that ``sign`` gives, names in lower case."""
    try:
        return {name.lower(): value for name, value in contract.sign(body, at).items()}
    except NotImplementedError:
        fail("give `sign(self, body, at)`: the headers that make a delivery genuine ({} where none do)")


def folder_of(contract: type[Given]) -> Path:
    """The folder of the test file."""
    return Path(inspect.getfile(contract)).resolve().parent


def only_if(*conditions: Callable[[type[Given]], bool]) -> Callable[[F], F]:
    """Collect a contract test only for contract classes of which all of this is true."""

    def mark(test: F) -> F:
        test.__dict__["applies"] = conditions
        return test

    return mark


def applies(test: object, contract: type[Given]) -> bool:
    """Whether ``only_if`` lets the test be collected for this class."""
    return all(condition(contract) for condition in getattr(test, "applies", ()))


def takes_deliveries(contract: type[Given]) -> bool:
    """The connector verifies, and with these settings has a route to verify at."""
    if DELIVERIES not in contract.channels or contract.connector.verify is Connector.verify:
        return False
    connector = _built(contract)
    return connector is None or bool(connector.routes)


def has_history(contract: type[Given]) -> bool:
    """The connector pulls, and with these settings has a stream to pull; or its author says that it should."""
    if HISTORY not in contract.channels or contract.connector.backfill is Connector.backfill:
        return False
    connector = _built(contract)
    return connector is None or bool(connector.streams) or contract.history is not None


def _built(contract: type[Given]) -> Connector[Any] | None:
    """The connector, to see what its settings switch on; None where it cannot be made, which its tests will say."""
    from misoflow.testing.subject import make

    if contract not in _connectors:
        try:
            _connectors[contract] = make(contract())
        except (Exception, pytest.fail.Exception):
            _connectors[contract] = None
    return _connectors[contract]


def has_upstream(contract: type[Given]) -> bool:
    """Whether the history comes from a platform that can fail."""
    return has_history(contract) and (bool(contract.cassette) or contract.upstream is not Given.upstream)


def has_own_upstream(contract: type[Given]) -> bool:
    """``upstream`` answers whatever it is asked; a cassette knows its own questions only."""
    return has_history(contract) and contract.upstream is not Given.upstream


def has_cassette(contract: type[Given]) -> bool:
    return has_history(contract) and bool(contract.cassette)


def has_own_samples(contract: type[Given]) -> bool:
    return takes_deliveries(contract) and contract.connector.sample is not Connector.sample


def signs(contract: type[Given]) -> bool:
    return takes_deliveries(contract) and (contract.signature_headers is None or bool(contract.signature_headers))
