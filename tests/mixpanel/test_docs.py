"""The page about the connector says what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from misoflow.config import load
from misoflow_mixpanel.config import MixpanelConfig
from pydantic import ValidationError

from tools.generate_mapping_docs import DOCS, filled

PAGE = DOCS / "mixpanel.md"


def test_the_tables_are_those_of_the_code() -> None:
    assert filled(PAGE) == PAGE.read_text(), "run: python -m tools.generate_mapping_docs"


def test_the_examples_are_one_settings_file_that_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"^( *)```toml\n(.*?)^ *```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = ["\n".join(line.removeprefix(indent) for line in body.splitlines()) for indent, body in blocks]
    tables = {block.split("\n")[0]: block for block in found}
    zones = next(block for head, block in tables.items() if head.startswith("timezone"))
    whole = tables.pop("[instances.mix]") + "\n" + zones
    whole += "\n" + "\n".join(block for block in tables.values() if block is not zones)
    whole = '[miso]\napi_key = "k"\n' + re.sub(r'\{ env = "\w+" \}', '"a-password-of-the-tests"', whole)
    (tmp_path / "plugins.toml").write_text(whole)
    settings = load(tmp_path / "plugins.toml", strict=True)
    assert list(settings.instances) == ["mix"]
    assert len(settings.instances["mix"].rules) == 1
    assert set(tomllib.loads(whole)["instances"]["mix"]) >= {"cohorts", "backfill", "rules", "tz_history"}


@pytest.mark.parametrize("setting", ["properties", "profile_attributes", "url_query_keys"])
def test_personal_names_are_refused_at_load_in_any_spelling(setting: str) -> None:
    for name in ("phone", "$email", "Customer Name", "$ios_devices", "sessionToken", "$transactions"):
        with pytest.raises(ValidationError, match="personal data"):
            MixpanelConfig.model_validate({"project_id": 1, "secret": "s", setting: ["plan", name]})
    MixpanelConfig.model_validate({"project_id": 1, "secret": "s", setting: ["plan", "store_name", "$city"]})
