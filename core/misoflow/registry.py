"""Which connectors are installed, and loading one: installed is not enabled, so nothing else is imported."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from misoflow.connector import Config, Connector, Event, Route, Stream
from misoflow.contain import Interrupts
from misoflow.errors import ConfigError

GROUP = "misoflow.connectors"
REPORT = "mend the connector, or report it to its author"
Hook = Callable[[Event], Event | Iterable[Event] | None]


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """What is known of a connector without importing it."""

    name: str
    distribution: str
    version: str
    value: str
    rivals: tuple[str, ...] = ()
    """Other distributions that claim the same name; as long as there are any, it means none of them."""


def installed() -> dict[str, ConnectorInfo]:
    """Every connector by name; imports none of them."""
    found: dict[str, ConnectorInfo] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, _distribution(point)[0])):
        info = ConnectorInfo(point.name, *_distribution(point), point.value)
        other = found.setdefault(point.name, info)
        if replace(other, rivals=()) != info:
            found[point.name] = replace(other, rivals=(*other.rivals, info.distribution))
    return found


def _distribution(point: EntryPoint) -> tuple[str, str]:
    """Its name and version."""
    return (point.dist.name, point.dist.version) if point.dist is not None else ("unknown", "0")


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
        if known[name].rivals:
            claim = " and ".join((known[name].distribution, *known[name].rivals))
            raise ConfigError(
                where, f"the name {name!r} is claimed by the distributions {claim}", "uninstall all of them but one"
            )
    found = _attribute(value, name, where)
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise ConfigError(where, f"{value!r} is not a Connector")
    return found


def make(connector: type[Connector[Any]], config: Config, where: str) -> Connector[Any]:
    """The connector with these settings, looked over before anything relies on it; ConfigError at ``where``."""
    with Interrupts() as interrupts:
        try:
            made = connector(config)
            wrong = _misshapen(made)
        except ConfigError:
            raise
        except BaseException as error:
            if interrupts.meant(error):
                raise
            raise ConfigError(where, f"its connector cannot start: {fault(error)}", REPORT) from None
    if wrong:
        raise ConfigError(where, f"its connector is no good: {wrong}", REPORT)
    return made


def _misshapen(made: Connector[Any]) -> str:
    """What the engine could not work with; "" for a sound connector."""
    if not _holds(made.routes, Route):
        return "routes must be a tuple of Route"
    if not _holds(made.topics, str):
        return "topics must be a tuple of texts"
    if not isinstance(made.streams, Mapping) or not _holds(tuple(made.streams.values()), timedelta | Stream):
        return "streams must name a Stream or timedelta each"
    if type(made.dedup_days) is not int or made.dedup_days < 1:
        return "dedup_days is no number of days"
    for verb in ("verify", "events", "translate", "tenant", "answer"):
        if inspect.iscoroutinefunction(getattr(made, verb)) or inspect.isasyncgenfunction(getattr(made, verb)):
            return f"{verb} must not be async: it would never be awaited"
    return ""


def _holds(value: Any, kind: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(one, kind) for one in value)


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
    with Interrupts() as interrupts:
        try:
            found = importlib.import_module(module)
            if hasattr(found, attribute):
                return getattr(found, attribute)
        except ModuleNotFoundError as error:
            fix = f"pip install 'misoflow[{name}]'"
            if ":" in name:
                fix = f"put {error.name}.py beside plugins.toml" if error.name == module else f"install {error.name}"
            raise ConfigError(where, f"{name!r} needs the module {error.name!r}", fix) from error
        except BaseException as error:
            if interrupts.meant(error):
                raise
            raise ConfigError(where, f"{name!r} cannot be loaded: {fault(error)}", REPORT) from error
    raise ConfigError(where, f"{name!r} cannot be loaded: the module {module!r} has no {attribute!r}")


def fault(error: BaseException) -> str:
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
