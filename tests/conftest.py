"""What all tests share: the repository's root, and an eye on every record that any test encodes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import misoflow.encode
import pytest
from misoflow.records import INTERACTIONS, Product, User

from tests.harness.world import World

ROOT = Path(__file__).resolve().parents[1]
OPENAPI = ROOT.parent / "shared" / "miso" / "openapi-ingest.json"
FALLBACK = ROOT / "webhooks" / "misoflow_sandbox" / "schema.json"
IN_CI = os.environ.get("CI") == "true"


@cache
def miso_validators() -> dict[str, Any]:
    """A JSON Schema validator for each kind: an interaction type, ``product`` and ``user``.

    The schemas are those of Miso's own OpenAPI document. Without it (a clone outside of the project's
    workplace) the sandbox's copy of its schemas stands in; under CI that is an error.
    """
    if OPENAPI.is_file():
        schemas = json.loads(OPENAPI.read_text())["components"]["schemas"]
        names = {_interaction_type(schema): name for name, schema in schemas.items() if _interaction_type(schema)}
        refs = {kind: f"#/components/schemas/{name}" for kind, name in names.items()}
        refs |= {"product": "#/components/schemas/ProductRecord", "user": "#/components/schemas/UserRecord"}
        whole: dict[str, Any] = {"components": {"schemas": schemas}}
    elif IN_CI:
        raise FileNotFoundError(f"{OPENAPI} is missing: under CI every record is held against it")
    else:
        copy = json.loads(FALLBACK.read_text())
        refs = {kind: f"#/$defs/{name}" for kind, name in copy["interactions"].items()}
        refs |= {"product": f"#/$defs/{copy['product']}", "user": f"#/$defs/{copy['user']}"}
        whole = {"$defs": copy["$defs"]}
    build = partial(jsonschema_rs.Draft202012Validator, validate_formats=True)
    return {kind: build({**whole, "$ref": ref}) for kind, ref in refs.items()}


def _interaction_type(schema: dict[str, Any]) -> str:
    """The Miso type that an interaction's schema fixes; "" for any other schema."""
    kind = schema.get("properties", {}).get("type", {})
    allowed = kind.get("enum") or ([kind["const"]] if "const" in kind else [])
    return allowed[0] if len(allowed) == 1 and allowed[0] in INTERACTIONS else ""


def complaint(body: bytes, kind: str) -> str:
    """Why Miso's schema of ``kind`` refuses this record; "" when it takes it."""
    error = next(miso_validators()[kind].iter_errors(json.loads(body)), None)
    if error is None:
        return ""
    return f"{kind} {'/'.join(map(str, error.instance_path))}: {error.message} in {body[:300]!r}"


class Watch:
    """Stands where ``misoflow.encode.encode`` stood and holds what it returns against Miso's schema.

    What is refused is kept here and fails the test afterwards: raised inside of the pipeline, it would
    become a dead letter like any other.
    """

    def __init__(self, encode: Callable[..., bytes]) -> None:
        self._encode = encode
        self._kinds: dict[type, str] = {cls: kind for kind, cls in INTERACTIONS.items()}
        self._kinds |= {Product: "product", User: "user"}
        self.seen = 0
        self.complaints: list[str] = []

    def __call__(self, record: Any, **options: Any) -> bytes:
        body = self._encode(record, **options)
        kind = self._kinds.get(type(record))
        if kind is not None:
            self.seen += 1
            why = complaint(body, kind)
            if why:
                self.complaints.append(why)
        return body


# a runner in the background may have these ignored, and every process under test would inherit that
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL if _number != signal.SIGINT else signal.default_int_handler)

# before any test imports a module that does `from misoflow.encode import encode`
WATCH = Watch(misoflow.encode.encode)
misoflow.encode.encode = WATCH


@pytest.fixture(autouse=True)
def records_are_miso_s() -> Iterator[Watch]:
    """Fails a test during which a record was encoded that Miso's published schema refuses."""
    WATCH.complaints.clear()
    yield WATCH
    assert not WATCH.complaints, "encoded, but not valid for Miso:\n" + "\n".join(WATCH.complaints)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of planted bugs and the contract tests that killed them (tests/kit)."""
    killed = [
        found
        for report in terminalreporter.getreports("passed")
        for name, found in report.user_properties
        if name == "planted_bug"
    ]
    if killed:
        terminalreporter.section(f"{len(killed)} planted bugs, each killed by its contract test", sep="-")
        for bug, test in killed:
            terminalreporter.line(f"{bug:<62} {test}")


StartWorld = Callable[..., World]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWorld]:
    """Starts the Miso sandbox and ``misoflow run`` as real processes; takes TOML to add to plugins.toml.

    At the end of the module everything that the sandbox took is held against Miso's schema.
    """
    worlds: list[World] = []

    def start(more_toml: str = "") -> World:
        world = World(tmp_path_factory.mktemp("live")).__enter__()
        worlds.append(world)
        world.config.write_text(world.config.read_text() + more_toml)
        world.start("run")
        return world

    yield start
    for world in worlds:
        refused = [why for kind in ("interactions", "users", "products") for why in _refused(world, kind)]
        world.__exit__()
        assert refused == []


def _refused(world: World, kind: str) -> Iterator[str]:
    for line in world.get(f"/_sandbox/records?kind={kind}").splitlines():
        why = complaint(line, json.loads(line)["type"] if kind == "interactions" else kind.removesuffix("s"))
        if why:
            yield why
