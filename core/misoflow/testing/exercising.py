"""Running all of a connector while everything that it logs, prints, raises and asks for is kept, to be searched."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from misoflow.connector import Connector, Request
from misoflow.testing.base import Given, has_history, has_upstream, signed, takes_deliveries
from misoflow.testing.pulling import Fault, Pulled, equipped, pull, streams_of
from misoflow.testing.samples import all_samples
from misoflow.testing.subject import make, secrets_of, settings_of
from misoflow.testing.tape import forms_of

FAULTS = (
    None,
    Fault(status=401),
    Fault(status=404),
    Fault(status=500),
    Fault(lost=True),
    Fault(cut=True),
    Fault(body=b"<html>"),
)
CREDENTIALS = ("authorization", "proxy-authorization", "x-api-key", "cookie")
"""Request headers that are secret as they are sent."""


@dataclass
class Seen:
    """What came out of a connector: log lines, prints, texts of exceptions and of ``check``, URLs that it asked for."""

    logs: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def leak(self, texts: list[str]) -> str | None:
        """The first text that holds a secret in one of the forms that secrets travel in, with the secret struck out."""
        forms = sorted({form for secret in self.secrets for form in forms_of(secret)}, key=len, reverse=True)
        found = next((text for text in texts if any(form in text for form in forms)), None)
        for form in forms:
            found = found and found.replace(form, "<the secret>")
        return found

    def pulled(self, found: Pulled) -> None:
        """What one pull asked for and raised."""
        self.urls += [str(request.url) for request in found.requests]
        for request in found.requests:
            self.secrets |= {request.headers[name].split(" ", 1)[-1] for name in CREDENTIALS if name in request.headers}
        if found.error is not None:
            self.raised(found.error)

    def raised(self, error: BaseException) -> None:
        """All texts of an exception, of those it came from and of those it is a group of."""
        chain: BaseException | None = error
        while chain is not None:
            self.errors.append(" ".join([str(chain), repr(chain), *getattr(chain, "__notes__", ())]))
            if isinstance(chain, BaseExceptionGroup):
                for one in chain.exceptions:
                    self.raised(one)
            chain = chain.__cause__ or chain.__context__


_done: dict[type[Given], Seen] = {}


def exercise(contract: Given) -> Seen:
    """Deliveries, genuine and not; history and its failures; ``check``. Once for all tests of a contract class."""
    if type(contract) not in _done:
        _done[type(contract)] = _exercised(contract)
    return _done[type(contract)]


def _exercised(contract: Given) -> Seen:
    seen = Seen(secrets=set(secrets_of(settings_of(contract))))
    printed = io.StringIO()
    with _all_logs(seen.logs), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if takes_deliveries(type(contract)):
            _deliveries(contract, seen)
        if has_history(type(contract)):
            for stream in streams_of(contract):
                for fault in FAULTS if has_upstream(type(contract)) else (None,):
                    seen.pulled(pull(contract, stream, fault=fault, at=1))
        if has_upstream(type(contract)):
            _check(contract, seen)
    seen.printed = printed.getvalue().splitlines()
    return seen


def _deliveries(contract: Given, seen: Seen) -> None:
    connector = make(contract)
    for sample in all_samples(contract):
        if sample.is_delivery:
            genuine = signed(contract, sample.body, time.time())
            for headers in (genuine, {}, dict.fromkeys(genuine, "garbage")):
                _tried(seen, partial(connector.verify, sample.request(connector, headers)))
            for body in (sample.body, b"[]", b"not JSON"):
                _tried(seen, partial(_translated, connector, sample.stored(connector, body)))


def _translated(connector: Connector[Any], request: Request) -> None:
    for event in connector.events(request):
        list(connector.translate(event))


def _tried(seen: Seen, call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:
        seen.raised(error)


def _check(contract: Given, seen: Seen) -> None:
    """``check`` says more than anything else; it may ask for what ``upstream`` does not know."""
    for fault in FAULTS:
        found = Pulled()

        _tried(seen, partial(asyncio.run, _checked(contract, seen, found, fault)))
        seen.pulled(found)


async def _checked(contract: Given, seen: Seen, found: Pulled, fault: Fault | None) -> None:
    async with equipped(contract, found, fault, 1) as connector:
        seen.errors += [f"{problem.text} {problem.fix}" for problem in await connector.check()]


class _Keeper(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{self.format(record)} {record.args or ''}")


@contextlib.contextmanager
def _all_logs(lines: list[str]) -> Iterator[None]:
    """Every logger at DEBUG, as an operator in trouble would set it; but vcrpy, which tells at length what it plays."""
    known = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    loggers = [logging.getLogger(), *known]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    keeper = _Keeper(lines)
    for logger in loggers:
        if logger is logging.getLogger() or not logger.propagate:
            logger.addHandler(keeper)
        logger.setLevel(logging.DEBUG if logger.name.partition(".")[0] != "vcr" else logging.WARNING)
        logger.disabled = False
    try:
        yield
    finally:
        for logger, level, disabled in before:
            logger.removeHandler(keeper)
            logger.setLevel(level)
            logger.disabled = disabled
