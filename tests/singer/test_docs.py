"""The guide is run as it stands: its files are written, its commands run, and what it says of the end is true."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

from misoflow.config import load
from misoflow.singer.connector import SingerConfig
from misoflow.singer.settings import TapOptions, TargetConfig

from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "connectors" / "singer.md").read_text()
BLOCK = re.compile(r"^```(\w+) ?([\w.]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BEGIN = """
set -euo pipefail
sandbox() {
  misoflow sandbox --port 8600 > ready &
  for _ in $(seq 200); do if grep -q ready ready; then return; fi; sleep 0.1; done
  exit 1
}
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
"""
END = """
cat states.jsonl > was.jsonl
python - <<'PY'
import urllib.request
open("held.json", "wb").write(urllib.request.urlopen("http://127.0.0.1:8600/_sandbox/state").read())
PY
"""


def test_the_guide_runs(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as one:
        port = str(one.getsockname()[1])
    script = BEGIN
    for language, name, body in BLOCK.findall(GUIDE):
        if name:
            (tmp_path / name).write_text(body.replace("8600", port))
        elif language == "sh":
            script += body.replace("misoflow sandbox &", "sandbox")
    done = subprocess.run(
        ["bash", "-c", (script + END).replace("8600", port)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "was.jsonl").read_text().splitlines()[-1] == '{"orders": 7}'
    held = json.loads((tmp_path / "held.json").read_text())
    assert held["by_type"] == {"checkout": 1, "like": 1}
    assert held["products"]["1"]["title"] == "Desk lamp"
    assert '"RECORD"' not in done.stdout, "with the state nothing is new"


def test_the_instance_of_the_guide_loads(tmp_path: Path) -> None:
    (toml,) = [body for language, _, body in BLOCK.findall(GUIDE) if language == "toml"]
    (tmp_path / "plugins.toml").write_text('[miso]\napi_key = "k"\n' + toml)
    settings = load(tmp_path / "plugins.toml", strict=True)
    assert isinstance(settings.instances["warehouse"].config, SingerConfig)
    assert list(tomllib.loads(toml)["instances"]) == ["warehouse"]


def test_what_the_guide_calls_a_setting_is_one() -> None:
    for name in ("api_key", "api_server", "use_async", "streams", "rules", "validate_records", "dead_letters",
                 "patience_seconds", "user_ids", "user_id_key", "drop", "dedup", "data"):  # fmt: skip
        assert name in TargetConfig.model_fields
        assert f"`{name}`" in GUIDE or f'"{name}"' in GUIDE
    assert {"start_date", "end_date", "rules", "drop", "data"} <= TapOptions.model_fields.keys()
