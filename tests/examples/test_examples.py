"""The examples keep what they were written to show: small, public names only, strictly typed, green under the kit."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import misoflow
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if (path / "pyproject.toml").exists())
MOST_LINES = 120
SECTIONS = ("What it takes", "Install", "Settings", "Mapping", "Personal data", "Test")
ALLOWED = {"misoflow", "pydantic", *sys.stdlib_module_names}
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def module_of(example: Path) -> Path:
    return example / f"{example.name.replace('-', '_')}.py"


def test_there_are_two() -> None:
    assert [path.name for path in EXAMPLES] == ["misoflow-ga4", "misoflow-stripe"]


@each
def test_a_connector_has_at_most_120_lines(example: Path) -> None:
    assert len(module_of(example).read_text().splitlines()) <= MOST_LINES


@each
def test_only_public_names_are_imported(example: Path) -> None:
    for file in example.rglob("*.py"):
        own = {module_of(example).stem, "pytest"} if "tests" in file.parts else set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name.split(".")[0] for name in node.names} <= ALLOWED | own, file
                assert all(name.name != "misoflow" for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                if node.module == "misoflow.testing" and own:
                    continue
                assert str(node.module).split(".")[0] in ALLOWED | own, (file, node.module)
                if node.module == "misoflow":
                    assert {name.name for name in node.names} <= set(misoflow.__all__), file


@each
def test_its_distribution_names_its_connector_and_its_readme_says_all(example: Path) -> None:
    project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
    assert project["name"] == example.name
    ((name, value),) = project["entry-points"]["misoflow.connectors"].items()
    assert value.split(":")[0] == module_of(example).stem
    readme = (example / "README.md").read_text()
    assert re.findall(r"^## (.+)$", readme, re.MULTILINE) == list(SECTIONS)
    assert f'connector = "{name}"' in readme


@each
def test_its_readme_names_every_setting_and_topic(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from misoflow.registry import config_type, load_connector

    monkeypatch.syspath_prepend(str(example))
    value = tomllib.loads((example / "pyproject.toml").read_text())["project"]["entry-points"]["misoflow.connectors"]
    connector = load_connector(next(iter(value.values())))
    readme = (example / "README.md").read_text()
    for name in (*config_type(connector).model_fields, *connector.topics):
        assert f"`{name}`" in readme or name in ("other", "unreadable"), name


@each
def test_it_is_strictly_typed(example: Path, tmp_path: Path) -> None:
    options = ("--strict", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'examples'}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(module_of(example))],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(ROOT / "core")},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout


@each
def test_it_is_green_under_the_kit(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(example)},
        cwd=example,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) >= 60, done.stdout[-500:]
    assert "skipped" not in done.stdout.splitlines()[-1]


@each
def test_the_figures_of_the_page_are_true(example: Path) -> None:
    page = (ROOT / "docs" / "authors" / "why.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    at = next(row.index(f"`{example.name}`") for row in rows if f"`{example.name}`" in row)
    said = {row[0]: row[at] for row in rows if len(row) == 3}
    lines = module_of(example).read_text().splitlines()
    (test,) = (example / "tests").glob("test_*.py")
    assert int(said["lines of the connector, imports and blank lines with them"]) == len(lines)
    assert int(said["of these with code"]) == sum(bool(line.partition("#")[0].strip()) for line in lines)
    assert said["lines of the test file"].split(",")[0] == str(len(test.read_text().splitlines()))
    assert int(said["samples"]) == len(list((example / "tests" / "samples").glob("*.json")))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests", "-q", "--collect-only", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(example)},
        cwd=example,
    )
    assert int(said["tests from the contract"]) <= sum("::Test" in line for line in done.stdout.splitlines())
