"""The author's guide keeps its word: its Python runs, its settings load, its certification names tests that exist."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from misoflow import Checkout, Product, RemoveProduct, Request, Skip, sign_hmac
from misoflow.config import load
from misoflow.encode import encode

from tests.conftest import ROOT
from tests.core.test_docs import FENCE

AUTHORS = ROOT / "docs" / "authors"


def run(page: str) -> dict[str, Any]:
    """Every Python block of a page in its order, as one module; its names."""
    blocks = [body for language, body in FENCE.findall((AUTHORS / page).read_text()) if language == "python"]
    assert len(blocks) > 1
    module = ModuleType(page)
    for number, code in enumerate(blocks, 1):
        exec(compile(code, f"{page}, block {number}", "exec", dont_inherit=True), vars(module))
    return vars(module)


@pytest.mark.parametrize("page", ["index.md", "errors.md"])
def test_the_blocks_run(page: str) -> None:
    asserts = [node for node in ast.walk(ast.parse("\n".join(code(page)))) if isinstance(node, ast.Assert)]
    assert asserts, "a block that asserts nothing proves little"
    run(page)


@pytest.mark.parametrize("page", ["index.md", "errors.md"])
def test_the_blocks_are_as_wide_as_their_place_on_the_site(page: str) -> None:
    assert [line for line in "\n".join(code(page)).splitlines() if len(line) > 85] == []


def code(page: str) -> list[str]:
    return [body for language, body in FENCE.findall((AUTHORS / page).read_text()) if language == "python"]


def test_the_guides_connectors_make_valid_records() -> None:
    names = run("index.md")
    config = names["acme"].config
    cart = {"sku": "p1", "qty": 2, "visitor": "v1", "at": "2026-09-01T10:00:00Z"}
    line = {"sku": "p1", "qty": 1}
    order = {"number": 7, "lines": [line], "total": 9.5, "customer": "u1", "at": "2026-09-01T10:00:00Z"}
    event, shopping = names["Event"], names["shopping"]
    (added,) = names["acme"].translate(event("e", "cart.added", cart))
    assert json.loads(encode(added))["quantities"] == [2]
    (once,) = shopping.translate(event("e", "order.paid", order))
    assert (once.key, type(once.record)) == ("order:7", Checkout)
    encode(once.record)
    for topic, record in (("product.changed", Product), ("product.gone", RemoveProduct)):
        (latest,) = shopping.translate(event("e", topic, {"sku": "p1", "version": 3, "name": "Lamp"}))
        assert (latest.key, latest.version, type(latest.record)) == ("p1", 3, record)
    (merged,) = shopping.translate(event("e", "profile.saved", {"customer": "u1", "city": "Rome", "saved_ms": 5}))
    assert (merged.source, merged.version) == ("profile", 5)
    encode(merged.part)
    assert list(shopping.translate(event("e", "ping", {}))) == [Skip("a test of the connection")]
    with pytest.raises(Exception, match="does not match"):
        names["WithPixel"](config).verify(Request(b"{}", {"x-acme-signature": sign_hmac(b"", "another")}))


class Platform:
    """Stands where the engine puts HTTP and state; in the state somebody else was faster."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.saved: list[bytes | None] = [None, b"theirs"]
        self.body = b"ours"

    def json(self) -> Any:
        return {"sku": "p1", "version": 3, "name": "Lamp"}

    async def get(self, url: str) -> Any:
        """Of ``http`` for a URL, of ``state`` for a name."""
        return self if url.startswith("https://") else self.saved.pop(0)

    async def post(self, url: str) -> Any:
        return self

    async def put(self, name: str, value: bytes, *, expected: bytes | None) -> bool:
        return False


def test_the_guides_fetch() -> None:
    shopping = run("index.md")["shopping"]
    shopping.http = Platform(200)
    (event,) = asyncio.run(shopping.fetch("product", "p1"))
    assert (event.id, event.topic) == ("p1:3", "product.changed")
    assert len(list(shopping.translate(event))) == 1
    shopping.http = Platform(404)
    assert asyncio.run(shopping.fetch("product", "p1")) == []


def test_the_guides_token_is_the_one_of_whoever_was_faster() -> None:
    names = run("index.md")
    reader = names["WithToken"](names["acme"].config)
    reader.http = reader.state = Platform(200)
    assert asyncio.run(reader.token()) == b"theirs"


def test_the_guides_rules_are_asked_first() -> None:
    from misoflow.rules import Rules

    names = run("index.md")
    mapped = names["Mapped"](names["acme"].config)
    rule = {"match": "lamp.liked", "type": "like", "product_ids": "$.sku"}
    mapped.rules = Rules.compile([rule], where="rules")
    data = {"sku": "p1", "visitor": "v1", "at": "2026-09-01T10:00:00Z", "name": "Lamp"}
    (like,) = mapped.translate(names["Event"]("e", "lamp.liked", data))
    assert json.loads(encode(like))["type"] == "like"
    assert len(list(mapped.translate(names["Event"]("e", "product.saved", data)))) == 1


def test_the_guides_settings_load_beside_its_connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toml,) = [body for kind, body in FENCE.findall((AUTHORS / "index.md").read_text()) if kind == "toml"]
    monkeypatch.setenv("MISO_API_KEY", "k")
    monkeypatch.setenv("ACME_SECRET", "s")
    monkeypatch.delitem(sys.modules, "acme", raising=False)
    (tmp_path / "acme.py").write_text(code("index.md")[0])
    (tmp_path / "plugins.toml").write_text(toml)
    settings = load(tmp_path / "plugins.toml", strict=True)
    assert settings.warnings == []
    assert type(settings.instances["shop"].config).__name__ == "AcmeConfig"
    del sys.modules["acme"]


def certified() -> list[tuple[str, str]]:
    """(number, what holds it) of each line of the certification."""
    rows = re.findall(r"^\| (\d+) \| .+? \| (.+?) \|$", (AUTHORS / "certification.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    return rows


def test_the_certification_is_numbered_and_every_line_says_what_holds_it() -> None:
    assert [int(number) for number, _ in certified()] == list(range(1, len(certified()) + 1))
    loose = [row for row in certified() if not re.match(r"`test_\w+`|the tier rule `|by a person", row[1])]
    assert loose == []


def test_the_certification_names_every_rule_of_the_tiers() -> None:
    tiers = AUTHORS / "tiers.md"
    if not tiers.is_file():
        pytest.skip("there are no tiers yet")
    rules = set(re.findall(r"^\| `(\w+)` \| (?:Bronze|Silver|Gold) ", tiers.read_text(), re.MULTILINE))
    held = " ".join(held.partition("tier rule")[2] for _, held in certified())
    assert set(re.findall(r"`(\w+)`", held)) == rules


def test_the_certification_names_every_test_of_the_kit() -> None:
    contract = pytest.importorskip("misoflow.testing").ConnectorContract
    kit = {name for name in dir(contract) if name.startswith("test_")}
    named = set(re.findall(r"`(test_\w+)`", (AUTHORS / "certification.md").read_text()))
    assert sorted(named - kit) == [], "the certification names tests that the kit does not have"
    assert sorted(kit - named) == [], "the kit has tests that no line of the certification names"


def test_the_home_page_shows_commands_that_the_readme_runs() -> None:
    home, readme = (ROOT / "docs" / "index.md").read_text(), (ROOT / "README.md").read_text()
    shown = "\n".join(body for kind, body in FENCE.findall(home) if kind == "sh").splitlines()
    run = "\n".join(body for kind, body in FENCE.findall(readme) if kind == "sh").splitlines()
    assert shown
    assert [line for line in shown if line not in run] == []
