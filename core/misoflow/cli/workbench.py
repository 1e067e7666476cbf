"""What ``misoflow dev`` works on: a connector's source, made anew whenever it is saved, in a folder that goes away."""

from __future__ import annotations

import importlib
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from misoflow.cli.explaining import filled, parse_settings
from misoflow.cli.init import toml_value
from misoflow.config import NAME, RESERVED, Settings, load
from misoflow.connector import Connector, Request
from misoflow.errors import ConfigError
from misoflow.instances import Instance
from misoflow.registry import GROUP, config_type, installed, load_connector

Seen = dict[Path, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a connector's code is: ``value`` is module:Class, ``name`` what its instance is called."""

    name: str
    value: str


def find(target: str) -> Source:
    """A distribution's folder, a module's file, or an installed name. ConfigError when there is no connector.

    From here on this process writes no bytecode: by it, two saves within a second look the same.
    """
    sys.dont_write_bytecode = True
    path = Path(target)
    if path.is_dir():
        return _of_folder(path.resolve())
    if path.suffix == ".py" and path.is_file():
        return _of_file(path.resolve())
    known = installed()
    if target not in known:
        raise ConfigError(
            target, f"is no folder with a pyproject.toml, no .py file, and not installed ({', '.join(known)})"
        )
    return Source(target, known[target].value)


def _of_folder(folder: Path) -> Source:
    file = folder / "pyproject.toml"
    try:
        points = tomllib.loads(file.read_text("utf-8")).get("project", {}).get("entry-points", {}).get(GROUP, {})
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(file), f"is not TOML: {error}") from None
    if len(points) != 1:
        found = f"{len(points)} connectors; name the file of one instead" if points else "no connector"
        raise ConfigError(str(file), f'[project.entry-points."{GROUP}"] names {found}')
    _look_first_in(folder / "src" if (folder / "src").is_dir() else folder)
    ((name, value),) = points.items()
    return Source(name, value)


def _of_file(file: Path) -> Source:
    _look_first_in(file.parent)
    try:
        module = importlib.import_module(file.stem)
    except Exception as error:
        raise ConfigError(file.name, f"cannot be loaded: {in_words(error)}") from None
    made = [
        one.__name__
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Connector) and one.__module__ == file.stem
    ]
    if len(made) != 1:
        raise ConfigError(file.name, f"has {len(made)} connectors ({', '.join(made) or 'no class X(Connector[…])'})")
    name = file.stem.lower().strip("_")
    return Source(name if NAME.fullmatch(name) else "dev", f"{file.stem}:{made[0]}")


def _look_first_in(folder: Path) -> None:
    """Before what is installed: the copy that is worked on is the one to run."""
    sys.path.insert(0, str(folder))


class Workbench:
    """One connector under work: its settings, its instance, and whether its source has changed since."""

    def __init__(self, source: Source, given: list[str], folder: Path) -> None:
        """``folder`` takes the settings file and the inbox. ConfigError when the connector cannot be used."""
        self.source = source
        self._given = parse_settings(given)
        self._folder = folder
        self.stand_ins: dict[str, str] = {}
        self._spec = find_spec(source.value.partition(":")[0].partition(".")[0])
        self._seen = self._fresh = self._look()
        self.settings = self._build()
        self.instance = self._instance()

    @property
    def takes_deliveries(self) -> bool:
        return type(self.instance.connector).events is not Connector.events

    def renewed(self) -> Settings | None:
        """The settings with new code behind them once files were saved; None while there is nothing new.

        Raises ConfigError for code that cannot be used; the code before stays.
        """
        now = self._look()
        settled, self._fresh = now == self._fresh, now
        if not settled or now == self._seen:
            return None
        self._seen = now
        before = self._forget()
        kept = self.settings, self.instance
        try:
            self.settings = self._build()
            self.instance = self._instance()
        except BaseException:
            self._forget()
            sys.modules.update(before)
            self.settings, self.instance = kept
            raise
        return self.settings

    def _build(self) -> Settings:
        """Settings with one instance; a secret that was not given gets a stand-in."""
        model = config_type(load_connector(self.source.value, self.source.name))
        own = {key: value for key, value in self._given.items() if key not in RESERVED}
        engine = {key: value for key, value in self._given.items() if key in RESERVED}
        values = filled(model, own, stand_in)
        self.stand_ins = {key: value for key, value in values.items() if value == stand_in(key) and key not in own}
        lines = [
            "[miso]",
            'api_key = "none is needed"',
            f"[instances.{self.source.name}]",
            f"connector = {toml_value(self.source.value)}",
            *(f"{key} = {toml_value(value)}" for key, value in {**engine, **values}.items()),
        ]
        file = self._folder / "plugins.toml"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n", "utf-8")
        try:
            return load(file, strict=True)
        except ConfigError as error:
            where = error.where.removeprefix(f"instances.{self.source.name}.")
            fix = f"; give it with --set {where}=…" if error.problem == "Field required" else ""
            raise ConfigError(where, f"{error.problem}{fix}") from error

    def _instance(self) -> Instance:
        name = self.source.name
        return Instance(name, self.settings.instances[name], self.settings.miso["default"])

    def _look(self) -> Seen:
        """Time and size of every file of the connector."""
        found = {}
        for file in self._files():
            try:
                facts = file.stat()
            except OSError:
                continue  # gone between listing and looking
            found[file] = (facts.st_mtime_ns, facts.st_size)
        return found

    def _files(self) -> Iterator[Path]:
        """All of the package; of a single module, the modules beside it."""
        spec = self._spec
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from (file for file in Path(folder).rglob("*") if "__pycache__" not in file.parts and file.is_file())
        if spec is not None and spec.submodule_search_locations is None and spec.origin:
            yield from Path(spec.origin).parent.glob("*.py")

    def _forget(self) -> dict[str, Any]:
        """Take the connector's modules out, so that they are read anew; what was taken."""
        ours = {str(file) for file in self._seen}
        taken = {name: module for name, module in sys.modules.items() if getattr(module, "__file__", None) in ours}
        for name in taken:
            del sys.modules[name]
        importlib.invalidate_caches()
        return taken


def stand_in(key: str) -> str:
    """For a secret that was not given; as long as connectors ask of real ones."""
    return f"dev-{key}-of-this-machine-only"


def in_words(error: BaseException) -> str:
    """What is wrong with the author's own code; its text too, unlike in logs, because it is shown to nobody else."""
    cause = error.__cause__
    if isinstance(error, ConfigError):
        return (
            str(error) if cause is None or isinstance(cause, ConfigError | SyntaxError) else f"{error} ({_said(cause)})"
        )
    return _said(error)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def curl(url: str, request: Request) -> str:
    """A delivery as a command for the shell."""
    from shlex import quote

    headers = {"content-type": "application/json", **request.headers}
    parts = [f"-H {quote(f'{name}: {value}')}" for name, value in headers.items()]
    path = f"{url}/{request.path}" if request.path else url
    method = [] if request.method == "POST" else [f"-X {request.method}"]
    return " ".join(["curl", *method, *parts, "-d", quote(request.body.decode("utf-8", "replace")), quote(path)])


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Where the inbox of one session lives."""
    return tempfile.TemporaryDirectory(prefix="misoflow-dev-")
