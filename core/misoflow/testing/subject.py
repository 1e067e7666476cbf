"""The connector under test, equipped as the engine would, but with stand-ins that wait for nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from misoflow.budget import Unmetered
from misoflow.connector import Config, Connector
from misoflow.http import Http
from misoflow.registry import config_type
from misoflow.rules import Rules
from misoflow.testing.base import Given, fail

SHORTEST = 6
"""A shorter secret is found by chance in what is searched for it."""


class MemoryState:
    """An instance's state, for as long as the object lives."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        return self._values.get(name)

    async def put(self, name: str, value: bytes | None, *, expected: bytes | None) -> bool:
        if self._values.get(name) != expected:
            return False
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value
        return True


class _NoNetwork(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fail(f"the connector called {request.url.host} in a test without a platform: give `upstream` or `cassette`")


def settings_of(contract: Given, **changes: Any) -> Config:
    """The settings in ``config``, with changes."""
    model = config_type(contract.connector)
    try:
        return model.model_validate({**contract.config, **changes})
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        fail(f"`config` of {type(contract).__name__} is refused by {model.__name__}:\n" + "\n".join(lines))


def make(
    contract: Given,
    *,
    changes: Mapping[str, Any] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    state: MemoryState | None = None,
) -> Connector[Any]:
    """A new connector with the contract's settings and rules."""
    connector = contract.connector(settings_of(contract, **(changes or {})))
    connector.rules = Rules.compile([dict(rule) for rule in contract.rules], where="rules")
    connector.http = Http(transport=transport or _NoNetwork())
    connector.budget = Unmetered()
    connector.state = state or MemoryState()
    return connector


def secrets_of(value: Any) -> Iterator[str]:
    """The secrets in settings, however deep; one that is empty is not set."""
    match value:
        case SecretStr():
            if value:
                yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_of(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from secrets_of(item)
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from secrets_of(item)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Time that a connector waits (for an export to be ready, say) passes at once."""
    import asyncio
    import time
    from unittest import mock

    real = asyncio.sleep

    async def at_once(delay: float, result: Any = None) -> Any:
        return await real(0, result)

    with mock.patch.object(asyncio, "sleep", at_once), mock.patch.object(time, "sleep"):
        yield
