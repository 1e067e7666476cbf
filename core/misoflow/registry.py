"""Which connectors are installed, and loading one: installed is not enabled, so nothing else is imported."""

from __future__ import annotations

import difflib
import importlib
import typing
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from misoflow.connector import Config, Connector
from misoflow.errors import ConfigError

GROUP = "misoflow.connectors"


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """What is known of a connector without importing it."""

    name: str
    distribution: str
    version: str
    value: str


def installed() -> dict[str, ConnectorInfo]:
    """Every connector by name; imports none of them. ConfigError when two distributions claim one name."""
    found: dict[str, ConnectorInfo] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        info = _info(point)
        other = found.get(point.name)
        if other is not None and other != info:
            raise ConfigError(
                f"connector {point.name!r}",
                f"is claimed by {other.distribution} and {info.distribution}; uninstall one of them",
            )
        found[point.name] = info
    return found


def _info(point: EntryPoint) -> ConnectorInfo:
    distribution = point.dist
    name = distribution.name if distribution is not None else "unknown"
    version = distribution.version if distribution is not None else "0"
    return ConnectorInfo(point.name, name, version, point.value)


def load_connector(name: str, where: str = "connector") -> type[Connector[Any]]:
    """The class behind an installed name, or behind ``module:Class`` for a plugin that is not installed.

    ConfigError at the TOML path ``where`` when it is unknown or cannot be imported.
    """
    if ":" in name:
        value = name
    else:
        known = installed()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(where, f"{name!r} is not installed (installed: {', '.join(known) or 'none'}){hint}")
        value = known[name].value
    module, _, attribute = value.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(where, f"{name!r} needs the module {error.name!r}; pip install 'misoflow[{name}]'") from error
    except (ImportError, AttributeError) as error:
        raise ConfigError(where, f"{name!r} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise ConfigError(where, f"{value!r} is not a Connector")
    return found


def config_type(connector: type[Connector[Any]]) -> type[Config]:
    """The settings class of ``Connector[MyConfig]``; TypeError when the class names none."""
    for base in getattr(connector, "__orig_bases__", ()):
        for argument in typing.get_args(base):
            if isinstance(argument, type) and issubclass(argument, Config):
                return argument
    raise TypeError(f"{connector.__name__} does not say which settings it takes: class X(Connector[MyConfig])")
