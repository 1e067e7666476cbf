"""``misoflow new``: what it writes is green, clean and installable at once; what cannot be is refused."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from misoflow.cli import app
from misoflow.scaffold import LONGEST, Refused, Scaffold, check_name
from typer.testing import CliRunner, Result

from tests.authors.kit import Author

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"both": ("--webhook", "--backfill"), "webhook": ("--webhook",), "backfill": ("--backfill",), "neither": ()}


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    return Author(tmp_path_factory.mktemp("author"))


def new(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new", *arguments])


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_connector_is_installed_green_and_clean(kind: str, author: Author, tmp_path: Path) -> None:
    name = f"acme_{kind}"
    author.run("misoflow", "new", name, *KINDS[kind], cwd=tmp_path)
    folder = tmp_path / f"misoflow-acme-{kind}"
    author.install(folder)
    result = author.pytest(folder)
    assert result.keys() == {"passed"}
    assert result["passed"] >= 25
    python = str(author.venv / "bin" / "python")
    author.run(python, "-m", "ruff", "check", ".", cwd=folder)
    author.run(python, "-m", "ruff", "format", "--check", ".", cwd=folder)
    author.run(python, "-m", "mypy", "--strict", "--cache-dir", str(author.venv / "mypy"), ".", cwd=folder)
    assert f"{name} 0.1.0: Bronze" in author.run("misoflow", "connectors", name, "--tier", cwd=tmp_path)
    listed = [json.loads(line) for line in author.run("misoflow", "connectors", "--json", cwd=tmp_path).splitlines()]
    assert {"name": name, "version": "0.1.0", "distribution": folder.name, "instances": []} in listed


def test_the_longest_name_is_formatted_too(tmp_path: Path) -> None:
    folder = Scaffold("a" * LONGEST, webhook=True, backfill=True).write(tmp_path)
    for command in (("check",), ("format", "--check")):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_its_sample_is_genuine_and_its_files_are_samples(author: Author, tmp_path: Path) -> None:
    author.run("misoflow", "new", "acme", "--webhook", cwd=tmp_path)
    folder = tmp_path / "misoflow-acme"
    author.install(folder)
    for topic in ("product.saved", "cart.added"):
        told = author.run("misoflow", "explain", "acme", "--topic", topic, cwd=folder)
        assert "translated" in told
    told = author.run("misoflow", "explain", "acme", "tests/samples/cart-added.json", cwd=folder)
    assert "cart.added  e2  translated" in told


def test_a_broken_line_turns_it_red(author: Author, tmp_path: Path) -> None:
    """That it is green at once says nothing unless it can be red."""
    author.run("misoflow", "new", "acme_red", "--webhook", "--backfill", cwd=tmp_path)
    folder = tmp_path / "misoflow-acme-red"
    author.install(folder)
    code = folder / "misoflow_acme_red" / "__init__.py"
    good = code.read_text()
    check = "check_hmac(request.body, signature, self.config.signing_secret)"
    for right, wrong in (
        (check, "pass"),
        ('quantities=[item["qty"]]', "quantities=[1]"),
        ('item["sku"]]', 'item.get("sku", "none")]'),
    ):
        assert right in good
        code.write_text(good.replace(right, wrong))
        assert author.pytest(folder, code=1)["failed"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Acme", ": acme"),
        ("my shop", ": my_shop"),
        ("9lives", ": lives"),
        ("", ": acme"),
        ("a" * 31, "at most 30"),
        ("acme__x", ": acme_x"),
        ("../acme", ": acme"),
        ("segment", "installed already"),
        ("webhooks", "installed already"),
        ("pytest", "installed already"),
        ("product", "reserved"),
        ("iterator", "reserved"),
    ],
)
def test_names_that_cannot_be(name: str, said: str, tmp_path: Path) -> None:
    result = new("--dir", str(tmp_path), "--", name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_every_class_that_the_templates_import_is_reserved() -> None:
    imported = set()
    for path, text in Scaffold("acme", webhook=True, backfill=True).files().items():
        if path.endswith(".py"):
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
            imported |= {alias.name for node in nodes for alias in node.names if alias.name[0].isupper()}
    assert {"Iterator", "SecretStr", "Connector", "ConnectorContract"} <= imported
    for name in imported - {"Acme"}:
        with pytest.raises(Refused, match="reserved"):
            check_name(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "misoflow-acme"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    result = new("acme", "--dir", str(tmp_path))
    assert (result.exit_code, "stays as it is" in result.stderr) == (2, True)
    assert [file.name for file in folder.iterdir()] == ["mine"]


def test_what_was_written_is_said(tmp_path: Path) -> None:
    told = json.loads(new("acme", "--dir", str(tmp_path), "--json").stdout)
    folder = tmp_path / "misoflow-acme"
    assert told["folder"] == str(folder)
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert set(told["files"]) == files
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["misoflow.connectors"] == {"acme": "misoflow_acme:Acme"}


def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if name.startswith("misoflow/scaffold/")}
    here = {
        file.relative_to(ROOT / "core").as_posix()
        for file in (ROOT / "core" / "misoflow" / "scaffold").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(here) > 6
    assert inside == here
