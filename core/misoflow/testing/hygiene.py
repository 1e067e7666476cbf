"""Contract tests of the code itself: secrets stay where they are, and only what is public is used."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import misoflow
from misoflow.testing import speed
from misoflow.testing.base import Given, fail, has_upstream, only_if
from misoflow.testing.exercising import exercise
from misoflow.testing.samples import all_events, all_samples, has_samples
from misoflow.testing.subject import make

FORBIDDEN = {
    **dict.fromkeys(("starlette", "fastapi", "flask", "uvicorn"), "the receiver is the engine's"),
    **dict.fromkeys(("apscheduler", "celery"), "the schedule is the engine's: declare `streams`"),
    **dict.fromkeys(("apsw", "sqlite3", "sqlalchemy", "psycopg", "psycopg2"), "keep what you must in `self.state`"),
    **dict.fromkeys(
        ("httpx", "requests", "aiohttp", "urllib3", "http.client", "urllib.request"),
        "use `self.http`, which classifies answers, has deadlines and keeps credentials out of errors",
    ),
    **dict.fromkeys(("pytest", "misoflow_pytest", "misoflow_sandbox"), "tests stand beside the package"),
    "misoflow_webhooks": "the receiver is the engine's",
}
"""Module → what to do instead of importing it."""
DIGESTS = ("digest", "signature", "hmac", "hexdigest", "mac")


class HygieneContract(Given):
    """Secrets and the engine's insides are left alone."""

    def test_no_secret_in_logs(self) -> None:
        """Nothing that is logged, at DEBUG, or printed holds a secret."""
        seen = exercise(self)
        leak = seen.leak([*seen.logs, *seen.printed])
        if leak is not None:
            fail(f"a secret is logged or printed: {leak}")

    def test_no_secret_in_errors(self) -> None:
        """No exception, nor one behind it, and no finding of ``check`` holds a secret."""
        seen = exercise(self)
        leak = seen.leak(seen.errors)
        if leak is not None:
            fail(f"a secret is in the text of an error, which is logged and shown: {leak}")

    @only_if(has_upstream)
    def test_no_secret_in_urls(self) -> None:
        """No URL that is asked for holds a secret: URLs are logged on the way. Send it in a header."""
        seen = exercise(self)
        leak = seen.leak(seen.urls)
        if leak is not None:
            fail(f"a secret is in a URL, which proxies and servers log; send it in a header: {leak}")

    def test_imports_only_public_names(self) -> None:
        """Of misoflow the connector uses names in ``misoflow.__all__`` only, and nothing that is the engine's."""
        wrong = [f"  {where}: {why}" for where, why in _wrong_imports(self)]
        if wrong:
            fail("imports that a connector must not use:\n" + "\n".join(wrong))

    def test_signatures_are_compared_in_constant_time(self) -> None:
        """No signature or digest is compared with ``==``, whose time tells how much of a guess is right."""
        wrong = [
            f"{path.name}:{node.lineno}"
            for path, tree in _sources(self)
            for node in ast.walk(tree)
            if isinstance(node, ast.Compare) and _compares_digests(node)
        ]
        if wrong:
            fail(f"a digest is compared with == at {', '.join(wrong)}: use misoflow.check_hmac or hmac.compare_digest")

    @only_if(has_samples)
    def test_reports_its_throughput(self) -> None:
        """Prints how many events a second ``translate`` and encoding take, at the end of the run; fails nothing."""
        connector = make(self)
        events = [event for sample in all_samples(self) for event in all_events(sample, connector)]
        used = speed.useful(connector, events)
        if used:
            speed.figures[type(self).__name__] = (speed.measure(connector, used), len(used))


def _sources(contract: Given) -> Iterator[tuple[Path, ast.Module]]:
    """The modules of the connector's package, or its one module."""
    name = contract.connector.__module__
    if name == type(contract).__module__:
        pytest.skip("the connector stands in the test file: give it a module of its own, so that its code can be read")
    top = sys.modules.get(name.partition(".")[0])
    if top is not None and hasattr(top, "__path__"):
        paths = sorted(path for folder in top.__path__ for path in Path(folder).rglob("*.py"))
    else:
        paths = [Path(inspect.getfile(contract.connector))]
    for path in paths:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _wrong_imports(contract: Given) -> Iterator[tuple[str, str]]:
    own = contract.connector.__module__.partition(".")[0]
    public = set(misoflow.__all__)
    for path, tree in _sources(contract):
        for node in ast.walk(tree):
            for module, name in _imported(node):
                where = f"{path.name}:{getattr(node, 'lineno', 0)} imports {module}{'.' if name else ''}{name}"
                known = next((known for known in FORBIDDEN if f"{module}.{name}.".startswith(f"{known}.")), None)
                if known is not None and module.partition(".")[0] != own:
                    yield where, FORBIDDEN[known]
                elif module.partition(".")[0] == "misoflow" and (module != "misoflow" or name not in public):
                    yield where, "only names in misoflow.__all__ stay as they are: from misoflow import …"


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        yield from ((node.module or "", alias.name) for alias in node.names)


def _compares_digests(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    equal = any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops)
    return equal and any(map(_is_digest, sides)) and not any(isinstance(side, ast.Constant) for side in sides)


def _is_digest(side: ast.expr) -> bool:
    if isinstance(side, ast.Call):
        side = side.func
    name = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
    return any(word in DIGESTS for word in name.lower().split("_"))
