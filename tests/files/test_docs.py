"""The guide says what the code does, and its settings are ones that work."""

from __future__ import annotations

import tomllib
from pathlib import Path

from misoflow.config import load

from tools.generate_mapping_docs import DOCS, filled

PAGE = DOCS / "files.md"


def test_the_tables_are_those_of_the_code() -> None:
    assert filled(PAGE) == PAGE.read_text(), "run: python -m tools.generate_mapping_docs"


def test_the_settings_of_the_guide_can_be_loaded(tmp_path: Path) -> None:
    blocks = [block.split("```")[0] for block in PAGE.read_text().split("```toml\n")[1:]]
    (tmp_path / "plugins.toml").write_text("\n".join(['[miso]\napi_key = "k"', *blocks]))
    assert tomllib.loads(blocks[0])["instances"]["orders"]["paths"] == ["s3://bucket/exports/"]
    assert "files" in load(tmp_path / "plugins.toml").instances["orders"].backfill
