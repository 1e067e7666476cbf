"""Where the source of a connector is: its folder, its contract tests, its guide and its exemptions."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from misoflow.errors import MisoflowError
from misoflow.registry import GROUP

MARK = "ConnectorContract"
"""A file without this name holds no contract, so it need not be collected."""


class Unusable(MisoflowError):
    """A tier cannot be computed; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """The source of one connector."""

    name: str
    version: str
    distribution: str
    value: str
    """``module:Class``."""
    folder: Path
    """Of the distribution, where its pyproject.toml is."""
    tests: tuple[Path, ...] = ()
    guide: Path | None = None
    exempt: dict[str, str] = field(default_factory=dict)
    """Rule -> reason."""


def installed_places(name: str = "") -> Iterator[Place | tuple[str, Unusable]]:
    """Every installed connector, or the named one; those whose source is not here come with the reason."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    if name and name not in {point.name for point in points}:
        raise unknown(name, [point.name for point in points], "installed")
    for point in points:
        if name in ("", point.name):
            try:
                yield _of(point)
            except Unusable as error:
                yield point.name, error


def _of(point: EntryPoint) -> Place:
    folder = _source_of(point)
    if folder is None:
        raise Unusable(
            f"{point.name}: its tests are not installed with it; name the folder of its source: "
            f"misoflow connectors {point.name} --tier --dir FOLDER"
        )
    return _place(folder, _project(folder), point.name, point.value)


def _source_of(point: EntryPoint) -> Path | None:
    """The folder from which an editable distribution is installed."""
    told = point.dist.read_text("direct_url.json") if point.dist is not None else None
    found = json.loads(told) if told else {}
    if not found.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(found["url"]).path))


def in_folder(folder: Path, name: str = "") -> list[Place]:
    """The connectors of the distribution in this folder, or the named one of them. Raises Unusable."""
    folder = folder.resolve()
    project = _project(folder)
    points = project.get("project", {}).get("entry-points", {}).get(GROUP, {})
    if not points:
        raise Unusable(f'{folder / "pyproject.toml"}: names no connector under [project.entry-points."{GROUP}"]')
    if name and name not in points:
        raise unknown(name, list(points), f"in {folder}")
    return [_place(folder, project, one, str(value)) for one, value in points.items() if name in ("", one)]


def unknown(name: str, known: list[str], where: str) -> Unusable:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Unusable(f"there is no connector {name!r} ({where}: {', '.join(known) or 'none'}){hint}")


def _project(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    except OSError:
        raise Unusable(f"{folder}: there is no pyproject.toml in it; name the folder of the distribution") from None
    except ValueError as error:
        raise Unusable(f"{folder / 'pyproject.toml'}: {error}") from None


def _place(folder: Path, project: dict[str, Any], name: str, value: str) -> Place:
    about = project.get("project", {})
    distribution, version = str(about.get("name", folder.name)), str(about.get("version", ""))
    return Place(
        *(name, version, distribution, value, folder),
        tests=tuple(_contracts(folder / "tests", name)),
        guide=_guide(folder, name),
        exempt=_exempt(project, name, folder),
    )


def _contracts(tests: Path, name: str) -> list[Path]:
    """Test files that hold a contract: in the connector's own folder where it has one."""
    own = tests / name
    files = sorted((own if own.is_dir() else tests).rglob("test_*.py"))
    return [file for file in files if MARK in file.read_text("utf-8", "replace")]


def _guide(folder: Path, name: str) -> Path | None:
    """What users of the connector read: a page of its own, else the README."""
    pages = (folder / "docs" / "connectors" / f"{name}.md", folder / "docs" / f"{name}.md", folder / "README.md")
    return next((page for page in pages if page.is_file()), None)


def _exempt(project: dict[str, Any], name: str, folder: Path) -> dict[str, str]:
    """``[tool.misoflow.exempt.<connector>]``, rule = reason."""
    tables = project.get("tool", {}).get("misoflow", {}).get("exempt", {})
    where = f"{folder / 'pyproject.toml'}: tool.misoflow.exempt.{name}"
    own = tables.get(name, {}) if isinstance(tables, dict) else None
    if not isinstance(own, dict):
        raise Unusable(f'{where}: write rule = "reason"')
    for rule, reason in own.items():
        if not (isinstance(reason, str) and reason.strip()):
            raise Unusable(f"{where}.{rule}: an exemption needs its reason")
    return own
