"""Our commands as a tap and a target of Meltano's SDK, so that its test suites run against them.

Runs in the environment of ``requirements/singer.txt``, where misoflow is not installed: everything goes through the
command line, whose path is in ``MISOFLOW``, as it would in a Meltano project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from singer_sdk import Stream, Tap, Target
from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException

MISOFLOW = os.environ["MISOFLOW"]
ERRORS = {"before its SCHEMA": RecordsWithoutSchemaException, "lacks its key property": MissingKeyPropertiesError}


def misoflow(*arguments: str, config: Any = None, stdin: str = "") -> str:
    """What a command prints; the SDK's own error for what it says on standard error when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        more = []
        if config is not None:
            (Path(folder) / "config.json").write_text(json.dumps(config))
            more = ["--config", f"{folder}/config.json"]
        done = subprocess.run([MISOFLOW, *arguments, *more], input=stdin, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise next((error for text, error in ERRORS.items() if text in done.stderr), RuntimeError)(done.stderr)
    return done.stdout


OURS = json.loads(misoflow("singer-target", "--about", "--json"))["settings"]
KEYS = set(OURS["properties"])


class MisoTarget(Target):
    """``misoflow singer-target``."""

    name = "misoflow-singer-target"
    config_jsonschema = OURS

    def process_lines(self, file_input: Iterable[str]) -> Any:
        own = {key: self.config[key] for key in self.config if key in KEYS}  # the SDK has added settings of its own
        sys.stdout.write(misoflow("singer-target", config=own, stdin="".join(file_input)))

    def process_endofpipe(self) -> None:
        """It has ended with its input."""


class MisoStream(Stream):
    """One stream of ``misoflow singer-tap``; the others are not selected."""

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:
        catalog = {"streams": [{"tap_stream_id": self.name, "metadata": []}]}
        path = Path(self._tap.config["_folder"]) / f"{self.name}.json"
        path.write_text(json.dumps(catalog))
        own = {key: value for key, value in self.config.items() if not key.startswith("_")}
        lines = misoflow("singer-tap", self.config["_connector"], "--catalog", str(path), config=own).splitlines()
        yield from (m["record"] for m in map(json.loads, lines) if m["type"] == "RECORD")


class MisoTap(Tap):
    """``misoflow singer-tap`` of the connector that its settings name."""

    name = "misoflow-singer-tap"
    config_jsonschema = {"properties": {"_connector": {"type": "string"}}}  # noqa: RUF012

    def discover_streams(self) -> list[Stream]:
        catalog = json.loads(misoflow("singer-tap", self.config["_connector"], "--discover"))
        streams = []
        for one in catalog["streams"]:
            stream = MisoStream(self, name=one["stream"], schema=one["schema"])
            stream.primary_keys = one["key_properties"]
            streams.append(stream)
        return streams
