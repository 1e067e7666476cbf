"""The page about the connector says what the code does, and the function that ships with it is understood."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import misoflow_segment
import pytest
from misoflow import Unauthorized
from misoflow_segment import Segment, SegmentConfig

from tests.segment.kit import SECRET, delivery, segment, track
from tools.generate_mapping_docs import DOCS, filled

PAGE = DOCS / "segment.md"

FUNCTION = Path(misoflow_segment.__file__).parent / "destination_function.js"


def test_the_tables_are_those_of_the_code() -> None:
    assert filled(PAGE) == PAGE.read_text(), "run: python -m tools.generate_mapping_docs"


def test_the_settings_in_the_examples_exist() -> None:
    found: dict[str, Any] = {}
    for block in PAGE.read_text().split("```toml\n")[1:]:
        parsed = tomllib.loads("\n".join(line.strip() for line in block.split("```")[0].splitlines()))
        found |= parsed.get("instances", {}).get("web", parsed)
    for name in set(found) - {"connector", "rules"}:
        assert name in SegmentConfig.model_fields
    pages = segment(pages=found["pages"]).config.pages
    assert pages[0].path == "/products/{id}"


RUN = r"""
const fs = require("fs");
const sent = [];
let status = 200;
class RetryError extends Error {}
class ValidationError extends Error {}
const fetch = async (url, request) => {
  sent.push({url, headers: request.headers, body: request.body});
  if (status === 0) throw new Error("connection refused");
  return {status, ok: status < 400, json: async () => [{status: 200}, {status: 200}]};
};
const source = fs.readFileSync(process.argv[1], "utf8") + "\nreturn {onTrack, onDelete, onBatch};";
const handlers = new Function("crypto", "fetch", "RetryError", "ValidationError", source)(
  require("crypto"), fetch, RetryError, ValidationError);
const settings = {endpoint: "https://misoflow.example/hooks/web", sharedSecret: "shared-secret"};
(async () => {
  const event = JSON.parse(process.argv[2]), kinds = [];
  await handlers.onTrack(event, settings);
  const answer = await handlers.onBatch([event, {...event, messageId: "m-2", n: 1e-7}], settings);
  for (status of [500, 429, 0, 400]) {
    await handlers.onDelete(event, settings).catch((error) => kinds.push(error.constructor.name));
  }
  console.log(JSON.stringify({sent, answer, kinds}));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed, and the function is JavaScript")
def test_the_destination_function_signs_as_verify_expects() -> None:
    event = json.dumps(track("Product Viewed", {"product_id": "p", "name": "Caf\u00e9 \u2028"}))
    done = subprocess.run(["node", "-e", RUN, str(FUNCTION), event], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    connector: Segment = segment()
    for one, count in zip(told["sent"][:2], (1, 2), strict=True):
        headers = {name.lower(): value for name, value in one["headers"].items()}
        request = delivery(one["body"].encode(), **headers)
        connector.verify(request)
        assert len(list(connector.events(request))) == count
        with pytest.raises(Unauthorized):
            segment(shared_secret="another").verify(request)
    assert told["kinds"] == ["RetryError", "RetryError", "RetryError", "ValidationError"]
    assert [one["status"] for one in told["answer"]] == [200, 200]
    assert SECRET not in json.dumps(told)
