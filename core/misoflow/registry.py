"""Which connectors are installed, and loading one: installed is not enabled, so nothing else is imported."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from misoflow.connector import Config, Connector, Event
from misoflow.errors import ConfigError

GROUP = "misoflow.connectors"
Hook = Callable[[Event], Event | Iterable[Event] | None]


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

    Such a module may stand beside plugins.toml (``look_in``).

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
    found = _attribute(value, name, where)
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise ConfigError(where, f"{value!r} is not a Connector")
    return found


def load_hook(spec: str, where: str) -> Hook:
    """An instance's own ``module:function``; ConfigError at the TOML path ``where`` when it cannot be had."""
    found = _attribute(spec, spec, where)
    if not callable(found):
        raise ConfigError(where, f"{spec!r} is not a function")
    hook: Hook = found
    return hook


def look_in(folder: Path) -> None:
    """Modules of connectors and hooks that are not installed may stand in this folder; installed ones go first."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)


def _attribute(value: str, name: str, where: str) -> Any:
    """What ``module:attribute`` names. ConfigError whatever its module does: it may break its own instances only."""
    module, _, attribute = value.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        fix = f"pip install 'misoflow[{name}]'"
        if ":" in name:
            fix = f"put {error.name}.py beside plugins.toml" if error.name == module else f"install {error.name}"
        raise ConfigError(where, f"{name!r} needs the module {error.name!r}; {fix}") from error
    except Exception as error:
        raise ConfigError(where, f"{name!r} cannot be loaded: {fault(error)}") from error
    if not hasattr(found, attribute):
        raise ConfigError(where, f"{name!r} cannot be loaded: the module {module!r} has no {attribute!r}")
    return getattr(found, attribute)


def fault(error: Exception) -> str:
    """What is wrong with somebody's code and where. Only texts of Python's own are shown: others may hold a secret."""
    if isinstance(error, ImportError | SyntaxError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def config_type(connector: type[Connector[Any]]) -> type[Config]:
    """The settings class of ``Connector[MyConfig]``; TypeError when the class names none."""
    for base in getattr(connector, "__orig_bases__", ()):
        for argument in typing.get_args(base):
            if isinstance(argument, type) and issubclass(argument, Config):
                return argument
    raise TypeError(f"{connector.__name__} does not say which settings it takes: class X(Connector[MyConfig])")
