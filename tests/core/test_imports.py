"""The rules of who may import what, and what may stand only in one place, read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import misoflow
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("core", "webhooks", "connectors")

# module of core → the modules of ours that it may import when it is loaded; what is not named here is free
MAY_IMPORT = {
    "errors": set(),
    "records": set(),
    "clock": set(),
    "crash": set(),
    "effects": {"records"},
    "paths": {"errors"},
    "conditions": {"errors", "paths"},
    "rules": {"conditions", "errors", "paths", "records"},
    "signing": {"errors"},
    "http": {"errors", "retry"},
    "rawjson": {"errors"},
    "connector": {"errors", "records", "effects", "rules", "rawjson"},
    "encode": {"errors", "narrow", "records"},
    "narrow": {"records"},
    "outputs": {"connector", "effects", "encode", "errors", "instances", "records", "store", "vault"},
    "pipeline": {"connector", "effects", "errors", "instances", "outputs", "records", "store", "vault", "hashing"},
}
# a layer of core → the layers above it, which it must not know
MUST_NOT_IMPORT = {
    "store": {"pipeline", "intake", "delivery", "engine", "actions", "fetches", "maintenance", "cli", "connector"},
    "inbox": {"pipeline", "intake", "delivery", "engine", "actions", "fetches", "maintenance", "cli", "store"},
    "delivery": {"inbox", "intake", "engine", "actions", "fetches", "cli"},
    "intake": {"delivery", "engine", "actions", "cli"},
    "engine": {"cli"},
    "actions": {"cli"},
    "status": {"cli", "engine"},
}
FORBIDDEN_IN_CONNECTORS = {"starlette", "uvicorn", "apscheduler", "apsw", "sqlite3", "httpx", "requests"}
MAY_HOLD_SQL = ("core/misoflow/store/", "core/misoflow/inbox/", "core/misoflow/status.py")
SQL = ("SELECT ", "INSERT INTO", "INSERT OR", "UPDATE ", "DELETE FROM", "CREATE TABLE", "PRAGMA ", "BEGIN IMMEDIATE")
DIGEST_NAMES = ("digest", "signature", "hmac", "hexdigest", "mac")
# content hashes that the store made itself from what it holds: nobody sends them, so time tells nothing
MAY_COMPARE_DIGESTS = ("core/misoflow/store/",)


@dataclass(frozen=True)
class Import:
    """``name`` of ``module`` (whole modules have no name), imported in ``line`` of ``path``."""

    path: str
    line: int
    module: str
    name: str
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}{'.' if self.name else ''}{self.name}"


@cache
def sources() -> dict[str, ast.Module]:
    """Path from the repository's root → syntax tree, of every module that ships."""
    files = sorted(file for root in ROOTS for file in (ROOT / root).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text()) for file in files}


def imports(path: str, tree: ast.Module) -> Iterator[Import]:
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, "", id(node) in typing_only)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = Path(path).with_suffix("").parts[1 : -node.level]
                module = ".".join((*package, module)).rstrip(".")
            for alias in node.names:
                yield Import(path, node.lineno, module, alias.name, id(node) in typing_only)


def all_imports(prefix: str = "") -> Iterator[Import]:
    for path, tree in sources().items():
        if path.startswith(prefix):
            yield from imports(path, tree)


def core_part(found: Import) -> str:
    """The module of core that an import brings in: ``misoflow.store.tx`` and ``from misoflow import store``
    are both ``store``; "" for the package itself and for what is not core's."""
    first, _, rest = found.module.partition(".")
    if first != "misoflow":
        return ""
    if rest:
        return rest.split(".")[0]
    home = ROOT / "core" / "misoflow" / found.name
    return found.name if found.name and (home.is_dir() or home.with_suffix(".py").is_file()) else ""


def part_of(path: str) -> str:
    """The part of core that a file belongs to: ``core/misoflow/store/tx.py`` is ``store``."""
    return Path(path).with_suffix("").parts[2]


def test_the_three_roots_are_no_packages() -> None:
    assert [root for root in ROOTS if (ROOT / root / "__init__.py").exists()] == []


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_the_authors_api_imports_only_what_its_row_allows(part: str) -> None:
    assert (ROOT / f"core/misoflow/{part}.py").is_file(), "the rule names a module that is gone"
    wrong = [
        str(found)
        for found in all_imports(f"core/misoflow/{part}.py")
        if not found.typing_only and core_part(found) and core_part(found) not in MAY_IMPORT[part]
    ]
    assert wrong == []


@pytest.mark.parametrize("part", MUST_NOT_IMPORT)
def test_a_layer_does_not_know_the_layers_above(part: str) -> None:
    known = [found for found in all_imports("core/misoflow/") if part_of(found.path) == part]
    assert known, "the rule names a part that is gone"
    assert [str(found) for found in known if core_part(found) in MUST_NOT_IMPORT[part]] == []


def test_core_knows_neither_webhooks_nor_connectors() -> None:
    ours = {package.name for root in ("webhooks", "connectors") for package in (ROOT / root).iterdir()}
    assert {"misoflow_webhooks", "misoflow_segment"} <= ours
    wrong = [str(found) for found in all_imports("core/") if found.module.split(".")[0] in ours]
    assert wrong == []


def test_connectors_import_only_public_names() -> None:
    public = set(misoflow.__all__)
    wrong = []
    for found in all_imports("connectors/"):
        package = Path(found.path).parts[1]
        first = found.module.split(".")[0]
        if first in FORBIDDEN_IN_CONNECTORS:
            wrong.append(str(found))
        if first.startswith("misoflow") and first != package:
            allowed = found.module == "misoflow" and found.name in public
            wrong += [] if allowed else [str(found)]
    assert wrong == []


def test_nothing_that_ships_imports_the_tests_kit() -> None:
    own = ("core/misoflow/testing/", "core/misoflow_pytest.py")
    wrong = [str(found) for found in all_imports() if core_part(found) == "testing" and not found.path.startswith(own)]
    assert wrong == []


def test_httpx_stands_behind_one_module() -> None:
    users = {
        found.path
        for found in all_imports()
        if found.module.split(".")[0] == "httpx" and not found.path.startswith("core/misoflow/testing/")
    }
    # Mixpanel's stand-in calls webhooks as Mixpanel does, with a client that its tests put in
    assert users <= {"core/misoflow/http.py", "webhooks/misoflow_sandbox/mixpanel/cohort.py"}


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every string that is no docstring."""
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
            yield node


def test_sql_stands_only_in_the_stores() -> None:
    wrong = [
        f"{path}:{text.lineno}"
        for path, tree in sources().items()
        if not path.startswith(MAY_HOLD_SQL)
        for text in texts(tree)
        if str(text.value).lstrip().startswith(SQL)
    ]
    assert wrong == []


def digest_comparisons(tree: ast.AST) -> Iterator[ast.Compare]:
    """``a == b`` and ``a != b`` where a side is named like a digest and the other is not a literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            sides = [node.left, *node.comparators]
            if any(_is_digest(side) for side in sides) and not any(isinstance(s, ast.Constant) for s in sides):
                yield node


def _is_digest(side: ast.expr) -> bool:
    if isinstance(side, ast.Call):
        side = side.func
    name = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
    return any(word in DIGEST_NAMES for word in name.lower().split("_"))


@pytest.mark.parametrize(
    ("code", "hits"),
    [
        ("digest == sent", 1),
        ("sent != h.hexdigest()", 1),
        ("hmac.new(k, b, s).digest() == x", 1),
        ("self.signature == other", 1),
        ("compare_digest(a, b)", 0),
        ("signature == ''", 0),
        ("machine == other", 0),
    ],
)
def test_the_search_for_digest_comparisons(code: str, hits: int) -> None:
    assert len(list(digest_comparisons(ast.parse(code)))) == hits


def test_no_digest_is_compared_with_equals() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path, tree in sources().items()
        if not path.startswith(MAY_COMPARE_DIGESTS)
        for node in digest_comparisons(tree)
    ]
    assert wrong == []
