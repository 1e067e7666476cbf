"""Nothing public is undocumented: every name that a connector may import, and every setting of core and connectors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import misoflow
import pytest
from misoflow import errors
from misoflow.config import RESERVED, Common, EngineConfig, Limits, MisoConfig
from misoflow.registry import config_type, installed, load_connector
from misoflow.streams import StreamConfig
from pydantic import BaseModel

from tests.conftest import ROOT
from tools import generate_reference as reference

DOCS = ROOT / "docs"
OURS = sorted(name for name, info in installed().items() if info.distribution == "misoflow")
MODULES = ("files", "privacy", "values")


def test_the_reference_is_that_of_the_code() -> None:
    assert reference.page() == reference.PAGE.read_text(), "run: python -m tools.generate_reference"


@pytest.mark.parametrize("name", sorted(set(misoflow.__all__) - set(MODULES)))
def test_every_public_name_is_in_the_reference(name: str) -> None:
    text = reference.PAGE.read_text()
    assert f"\n### {name}\n" in text or f"\n| `{name}` |" in text


def public_names(module: str) -> Iterator[tuple[str, Any]]:
    """What a helper module offers: what it lists, or else what it defines without an underscore."""
    home = getattr(misoflow, module)
    for name, value in vars(home).items():
        defined = getattr(value, "__module__", home.__name__) == home.__name__ and not inspect.ismodule(value)
        offered = name in home.__all__ if hasattr(home, "__all__") else defined and name[0] != "_"
        if offered and name not in ("annotations", "Json"):
            yield name, value


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_a_public_module_is_in_the_reference(module: str) -> None:
    text = reference.PAGE.read_text()
    names = dict(public_names(module))
    assert len(names) > 10
    missing = [one for one in names if f"### {module}.{one}\n" not in text and f"`{module}.{one}`" not in text]
    assert missing == []


def undocumented(value: Any) -> bool:
    """Whether a class or function has no docstring of its own; dataclasses make one up."""
    text = inspect.getdoc(value) or ""
    return not text or text.startswith(f"{getattr(value, '__name__', '')}(")


@pytest.mark.parametrize("module", [*MODULES, ""])
def test_every_public_function_and_class_says_what_it_is(module: str) -> None:
    names = dict(public_names(module)) if module else {name: getattr(misoflow, name) for name in misoflow.__all__}
    silent = []
    for name, value in names.items():
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        own = {f"{name}.{part}": one for part, one in vars(value).items() if part[0] != "_" and inspect.isfunction(one)}
        silent += [one for one, what in {name: value, **own}.items() if undocumented(what)]
    assert silent == []


def test_every_error_is_explained() -> None:
    text = (DOCS / "authors" / "errors.md").read_text()
    known = {name for name in misoflow.__all__ if isinstance(getattr(misoflow, name), type)}
    named = [name for name in known if issubclass(getattr(misoflow, name), errors.MisoflowError)]
    assert len(named) >= 6
    assert [name for name in named if f"`{name}" not in text] == []


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model, and those of its fields."""
    yield model
    for field in model.model_fields.values():
        for inner in parts(field.annotation):
            if inspect.isclass(inner) and issubclass(inner, BaseModel):
                yield from models(inner)


def parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for one in get_args(annotation):
        yield from parts(one)


def settings(model: type[BaseModel]) -> set[str]:
    """The keys as they stand in plugins.toml, nested ones too."""
    return {
        field.alias or name for one in models(model) for name, field in one.model_fields.items() if not field.exclude
    }


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_connector_is_in_its_guide(name: str) -> None:
    text = (DOCS / "connectors" / f"{name}.md").read_text()
    keys = settings(config_type(load_connector(name)))
    assert keys
    assert sorted(key for key in keys if not re.search(rf"`(?:\w+\.)*{key}\b[^`\n]*`", text)) == []


SECTIONS = {
    "[miso]": settings(MisoConfig),
    "[engine]": settings(EngineConfig),
    "[instances.NAME]": {*settings(Common), *RESERVED} - settings(Limits),
    "[instances.NAME.backfill]": settings(StreamConfig),
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_setting_of_core_is_in_its_section(heading: str) -> None:
    page = (DOCS / "configuration.md").read_text()
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert sorted(key for key in SECTIONS[heading] if f"`{key}`" not in rows) == []


def test_every_key_of_an_instances_limits_is_shown() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert all(re.search(rf"`\{{[^`]*\b{key}\b[^`]*\}}`", page) for key in settings(Limits))


@pytest.mark.parametrize("name", OURS)
def test_every_connector_of_ours_has_a_guide_that_the_readme_names(name: str) -> None:
    assert f"docs/connectors/{name}.md" in Path(ROOT / "README.md").read_text()
