"""The guide says what the code does, and its examples are ones that work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from misoflow import Request
from misoflow.config import Settings, load
from misoflow.instances import Instances
from misoflow_http.samples import proof

from tests.http.kit import NOW, records
from tools.generate_mapping_docs import DOCS, filled

PAGE = DOCS / "http.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of all examples together, each variable set."""
    text = "\n".join(
        re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in ['[miso]\napi_key = "k"', *blocks(" *toml")]
    )
    for name in set(re.findall(r'env = "(\w+)"', text)):
        monkeypatch.setenv(name, f"the-secret-in-{name}")
    (tmp_path / "plugins.toml").write_text(text)
    return load(tmp_path / "plugins.toml", strict=True)


def test_the_tables_are_those_of_the_code() -> None:
    assert filled(PAGE) == PAGE.read_text(), "run: python -m tools.generate_mapping_docs"


def test_the_settings_of_the_guide_can_be_loaded(settings: Settings) -> None:
    assert settings.instances.keys() == {"site", "page", "crm", "github", "slack", "billing"}


def test_the_guides_delivery_becomes_what_it_says(settings: Settings) -> None:
    instance = Instances(settings).get("crm")
    assert instance is not None
    given, wanted = blocks("json")
    request = Request(given.encode(), proof(instance.connector.config, given.encode(), 0), received_at=NOW)
    instance.connector.verify(request)
    (made,) = records(instance.connector, request)  # type: ignore[arg-type]
    del made["is"]
    assert made == json.loads(wanted)


def test_every_proof_and_call_is_in_the_guide() -> None:
    text = PAGE.read_text()
    for way in ("hmac", "standard-webhooks", "bearer", "basic", "none"):
        assert f"| `{way}` |" in text
    for call in ("/v1/interactions", "/v1/products", "/v1/users", "_delete", "_status"):
        assert call in text
