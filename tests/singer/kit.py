"""What the tests of Singer share: a folder with a config.json, the sandbox it names, and messages of a tap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from misoflow_sandbox.miso import MisoSandbox

SMALL = """
import misoflow.singer.target as t
import misoflow.singer.tap as tap
t.PAGE_RECORDS, t.CUT_SECONDS, tap.WAITS = 10, 0.2, (0.01,)
from misoflow.cli import main
main()
"""
"""The command line with small pages, so that a few records are several of them, and short waits."""
TIME = "2026-10-01T00:00:00.000Z"
LIKES = {
    "kind": "interactions",
    "fields": {"type": "like", "user_id": "$.user", "product_ids": "$.item", "timestamp": "$.at"},
}
ITEMS = {"kind": "products", "fields": {"product_id": "$.id", "title": "$.name"}}


def schema(stream: str, properties: dict[str, Any] | None = None, keys: list[str] | None = None) -> dict[str, Any]:
    wanted = properties or {"id": {"type": "integer"}}
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": wanted},
        "key_properties": ["id"] if keys is None else keys,
    }


def record(stream: str, **fields: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": stream, "record": fields}


def like(number: int, **more: Any) -> dict[str, Any]:
    return record("likes", id=number, user=f"u{number % 5}", item=f"p{number}", at=TIME, **more)


def state(value: Any) -> dict[str, Any]:
    return {"type": "STATE", "value": value}


def likes(many: range, every: int = 10) -> list[dict[str, Any]]:
    """Their schema, the records, and a state after each ``every`` of them."""
    messages = [schema("likes")]
    for number in many:
        messages.append(like(number))
        if (number + 1) % every == 0:
            messages.append(state({"likes": number + 1}))
    return messages


def text(messages: list[Any]) -> bytes:
    return b"".join((one if isinstance(one, bytes) else msgspec.json.encode(one)) + b"\n" for one in messages)


class Done(subprocess.CompletedProcess[str]):
    """A run's end."""

    @property
    def states(self) -> list[Any]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class Given:
    """What a tap wrote."""

    def __init__(self, done: Done) -> None:
        self.lines = done.stdout
        self.messages = done.states
        self.said = done.stderr

    @property
    def state(self) -> Any:
        """The last one."""
        return [one["value"] for one in self.messages if one["type"] == "STATE"][-1]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [one["record"] for one in self.messages if one["type"] == "RECORD" and one["stream"] == stream]


class Place:
    """A folder where ``singer-target`` runs, and the sandbox."""

    def __init__(self, folder: Path, sandbox: MisoSandbox, url: str) -> None:
        self.folder, self.sandbox, self.url = folder, sandbox, url
        self.configure()

    def configure(self, **more: Any) -> None:
        streams = {"likes": LIKES, "items": ITEMS}
        config = {"api_key": "key", "api_server": self.url, "streams": streams, **more}
        self.write("config.json", config)

    def write(self, name: str, value: Any) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(value))
        return path

    def start(self, *arguments: str, crash: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SMALL, *arguments],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "MISOFLOW_CRASH_AT": crash},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, crash: str = "", stdin: bytes = b"") -> Done:
        process = self.start(*arguments, crash=crash)
        out, err = process.communicate(stdin.decode("utf-8", "surrogateescape"), timeout=120)
        assert process.returncode == code, f"{process.returncode}: {out[-2000:]}{err[-4000:]}"
        return Done(arguments, code, out, err)

    def target(self, messages: list[Any], *, code: int = 0, crash: str = "", config: str = "config.json") -> Done:
        return self.run("singer-target", "--config", config, code=code, crash=crash, stdin=text(messages))

    def tap(self, connector: str, *more: str, code: int = 0, config: str = "tap.json") -> Given:
        return Given(self.run("singer-tap", connector, "--config", config, *more, code=code))

    def fault(self, **rule: Any) -> None:
        self.sandbox.faults.add(msgspec.json.encode(rule))

    def interactions(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(bytes(raw)) for raw, *_ in self.sandbox.held.interactions.kept.values()]

    def liked(self) -> list[str]:
        """The products of all likes, sorted; a record that came twice stands there twice."""
        return sorted(one["product_ids"][0] for one in self.interactions())

    def held(self, kind: str) -> dict[str, Any]:
        return {key: msgspec.json.decode(bytes(raw)) for key, raw in self.sandbox.held.datasets[kind].records.items()}

    def posts(self) -> int:
        return sum(one.method == "POST" for one in self.sandbox.held.wire)
