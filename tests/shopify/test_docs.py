"""The page about the connector says what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from misoflow.config import load
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.mapping import ROWS

from tools.generate_mapping_docs import DOCS, filled

PAGE = DOCS / "shopify.md"
BLOCKS = [body for _, body in re.findall(r"^( *)```toml\n(.*?)^ *```", PAGE.read_text(), re.MULTILINE | re.DOTALL)]


def test_the_tables_are_those_of_the_code() -> None:
    assert filled(PAGE) == PAGE.read_text(), "run: python -m tools.generate_mapping_docs"


def test_every_topic_and_setting_is_on_the_page() -> None:
    text = PAGE.read_text()
    assert [topic for topic in ROWS if f"| {topic} |" not in text] == []
    assert [name for name in ShopifyConfig.model_fields if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_examples_load(block: str, tmp_path: Path) -> None:
    whole = "\n".join(line.strip() for line in block.splitlines())
    whole = '[miso]\napi_key = "k"\n' + re.sub(r'\{ env = "\w+" \}', '"a-secret-of-the-tests"', whole)
    whole = whole.replace('"shopify"', '"misoflow_shopify:Shopify"')  # the same, installed or not
    (tmp_path / "plugins.toml").write_text(whole)
    found = load(tmp_path / "plugins.toml", strict=True)
    assert set(tomllib.loads(whole)["instances"]) == set(found.instances) == {"shop"}
