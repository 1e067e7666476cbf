"""What the tests of bulk commands share: a place with settings, a sandbox whose ledger can be read, and records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from misoflow_sandbox.miso import MisoSandbox

SMALL = "import misoflow.bulk.batches as b; b.FULL_BYTES = 2000; from misoflow.cli import main; main()"
"""The command line with batches of some 15 interactions."""


def interaction(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "like",
        "user_id": f"u{number % 7}",
        "product_ids": [f"p{number}"],
        "timestamp": "2026-10-01T00:00:00.000Z",
        "context": {"custom_context": {"uuid": f"n{number}"}},
        **more,
    }


def lines(records: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in records)


class Place:
    """A folder with plugins.toml, and the sandbox it names."""

    def __init__(self, folder: Path, sandbox: MisoSandbox, url: str) -> None:
        self.folder = folder
        self.sandbox = sandbox
        (folder / "plugins.toml").write_text(f'[miso]\napi_key = "key"\napi_url = "{url}"\n')

    def file(self, name: str, content: bytes | list[Any]) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else lines(content))
        return path

    def start(self, *arguments: str, crash: str = "", stdin: Any = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SMALL, *arguments],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1", "MISOFLOW_CRASH_AT": crash},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def misoflow(
        self, *arguments: str, code: int = 0, crash: str = "", stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; ``stdin``, a few KiB at most, comes through a pipe."""
        piped: int = subprocess.DEVNULL
        if stdin is not None:
            piped, ours = os.pipe()
            os.write(ours, stdin)
            os.close(ours)
        process = self.start(*arguments, crash=crash, stdin=piped)
        if stdin is not None:
            os.close(piped)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, out + err
        return subprocess.CompletedProcess(arguments, code, out, err)

    def json(self, *arguments: str, code: int = 0, stdin: bytes | None = None) -> Any:
        return json.loads(self.misoflow(*arguments, "--json", code=code, stdin=stdin).stdout)

    def fault(self, **rule: Any) -> None:
        self.sandbox.faults.add(msgspec.json.encode(rule))

    def held(self) -> Counter[str]:
        """How often the sandbox took each interaction, by its uuid."""
        taken = [msgspec.json.decode(bytes(raw)) for raw, *_ in self.sandbox.held.interactions.kept.values()]
        return Counter(one["context"]["custom_context"]["uuid"] for one in taken)

    def posts(self) -> list[Any]:
        return [one for one in self.sandbox.held.wire if one.method == "POST"]

    def journal(self, absent: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Its lines that are whole; ``absent`` where there is none yet."""
        found = [one for one in (self.folder / "var" / "uploads").glob("*.jsonl") if "bad" not in one.name]
        if absent is not None and not found:
            return absent
        [path] = found
        text = path.read_bytes()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def bad(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]
