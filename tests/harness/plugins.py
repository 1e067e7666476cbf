"""Connectors that go wrong in every way, written beside a plugins.toml, and the world of processes they live in."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.harness.world import World

TOML = """
[miso]
api_url = "{miso}"
api_key = "sandbox"

[engine]
linger_ms = 50
watchdog_seconds = 5

[instances.good]
connector = "plain:Plain"
"""
PLAIN = '''
"""A connector that works: each delivery is one event, each event a like."""
from pydantic import Field
from misoflow import Config, Connector, Event, Like, Unauthorized


class Settings(Config):
    """What goes wrong, if anything."""

    where: str = Field(default="", description="In which verb.")
    what: str = Field(default="", description="Which deed.")


class Plain(Connector[Settings]):
    """Likes."""

    topics = ("like",)

    def verify(self, request):
        if request.header("x-key") != "right":
            raise Unauthorized("wrong key")

    def events(self, request):
        item = request.json()
        yield Event(item["id"], "like", item)

    def translate(self, event):
        yield Like(product_ids=["p"], user_id=event.id, timestamp="2026-11-01T10:00:00Z")
'''
BAD = '''
"""A connector that does ``what`` ``where``, and otherwise works."""
import asyncio, ctypes, os, time
from datetime import timedelta

from misoflow import Fetch, Page
from plain import Plain


class Outrage(BaseException):
    """Nobody expects it."""


class SelfStopped(BaseException):
    def __str__(self):
        raise SystemExit(78)


def hang():
    while True:
        time.sleep(1)


DEEDS = {
    "SystemExit": lambda: exec("raise SystemExit(78)"),
    "KeyboardInterrupt": lambda: exec("raise KeyboardInterrupt"),
    "GeneratorExit": lambda: exec("raise GeneratorExit"),
    "CancelledError": lambda: exec("raise asyncio.CancelledError"),
    "Outrage": lambda: exec("raise Outrage('secret-of-a-shopper')"),
    "SelfStopped": lambda: exec("raise SelfStopped"),
    "hang": hang,
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(78),
}


class Bad(Plain):
    """Likes, mostly."""

    def __init__(self, config):
        super().__init__(config)
        self._do("init")

    def _do(self, here):
        if self.config.where == here:
            DEEDS[self.config.what]()

    def verify(self, request):
        super().verify(request)
        self._do("verify")

    def events(self, request):
        if request.json()["id"].startswith("bad"):
            self._do("events")
        return super().events(request)

    def translate(self, event):
        if event.id.startswith("bad"):
            self._do("translate")
            if self.config.where == "fetch":
                yield Fetch("thing", event.id)
                return
        yield from super().translate(event)

    async def check(self):
        self._do("check")
        return []

    async def fetch(self, kind, ref):
        await asyncio.sleep(0)
        self._do("fetch")

    def tenant(self, request):
        self._do("tenant")
        return ""

    def answer(self, request):
        self._do("answer")
        return {"fine": True}


class Past(Bad):
    """With history by an asynchronous generator."""

    streams = {"events": timedelta(days=1)}

    async def backfill(self, part):
        await asyncio.sleep(0)
        self._do("backfill")
        yield Page([], None)


class PastInThread(Bad):
    """With history by a plain generator."""

    streams = {"events": timedelta(days=1)}

    def backfill(self, part):
        self._do("backfill")
        yield Page([], None)
'''
BROKEN = {
    "breaks": "raise RuntimeError('secret-of-the-author')\n",
    "leaves": "import sys\nsys.exit(78)\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "outrages": "class Outrage(BaseException): pass\nraise Outrage\n",
    "needs": "import a_module_that_nobody_has\n",
    "garbles": "def (:\n",
    "hides": "def __getattr__(name):\n    raise SystemExit(78)\n",
    "empty": "",
    "unfinished": "from misoflow import Connector\nclass X(Connector):\n    pass\n",
    "untyped": "from misoflow import Connector\nclass X(Connector):\n    def translate(self, event):\n        pass\n",
    "picky": (
        "from misoflow import Config\nfrom pydantic import model_validator\nfrom plain import Plain\n"
        "class Settings(Config):\n    @model_validator(mode='after')\n    def _v(self):\n        raise SystemExit(78)\n"
        "class X(Plain):\n    pass\nX.__orig_bases__ = (__import__('misoflow').Connector[Settings],)\n"
    ),
    "crooked": "from plain import Plain\nclass X(Plain):\n    routes = 5\n",
    "streamless": "from plain import Plain\nclass X(Plain):\n    streams = {'events': 'daily'}\n",
    "welcoming": "from plain import Plain\nclass X(Plain):\n    async def verify(self, request):\n        pass\n",
}
"""Modules whose class X no instance can use."""


class Plugged(World):
    """A world whose plugins.toml names one connector that works, and those that the test adds."""

    def configure(self, **instances: dict[str, str]) -> None:
        """Write the modules, and an instance for each table beside ``good``."""
        (self.folder / "plain.py").write_text(PLAIN)
        (self.folder / "bad.py").write_text(BAD)
        for name, text in BROKEN.items():
            (self.folder / f"{name}.py").write_text(text)
        tables = [
            f"[instances.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in instances.items()
        ]
        self.config.write_text(TOML.format(miso=self.miso) + "\n".join(tables))

    def claim(self, name: str, *distributions: str) -> None:
        """Distributions in the folder, each with a connector of that name."""
        for one in distributions:
            info = self.folder / f"{one.replace('-', '_')}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {one}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[misoflow.connectors]\n{name} = plain:Plain\n")
        self.env["PYTHONPATH"] = str(self.folder)

    def deliver(self, instance: str, event: str, seconds: float = 10) -> int:
        """The status of one delivery; 0 when no answer came."""
        body = json.dumps({"id": event}).encode()
        request = urllib.request.Request(f"{self.hooks}/hooks/{instance}", body, {"x-key": "right"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                status: int = answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
        return status

    def command(self, *words: str, code: int | None = 0) -> list[dict[str, Any]]:
        """The JSON lines of a command."""
        import os

        done = subprocess.run(
            [sys.executable, "-m", "misoflow", *words, "--json", "--config", str(self.config)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.env},
            timeout=60,
        )
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "secret-of" not in done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def counts(self, instance: str) -> dict[str, Any]:
        """Its states as ``status`` tells them."""
        found: dict[str, Any] = self.command("status")[0]["instances"][instance]
        return found

    def wait_for(self, instance: str, state: str, number: int, seconds: float = 60) -> float:
        """Wait until so many of its events are in that state; returns how long that took, in seconds."""
        began = time.monotonic()
        while (found := self.counts(instance))[state] < number:
            assert time.monotonic() < began + seconds, (found, self.logs())
            time.sleep(0.1)
        return time.monotonic() - began

    def taken(self) -> int:
        """How many interactions the sandbox holds."""
        return len(self.get("/_sandbox/records?kind=interactions").splitlines())


class Knocking:
    """Delivers to the working instance all the time, in a thread. Use as a context manager."""

    def __init__(self, world: Plugged) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: list[int] = []
        self.slowest = 0.0

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            began = time.monotonic()
            self.answers.append(self._world.deliver("good", f"knock-{len(self.answers)}"))
            self.slowest = max(self.slowest, time.monotonic() - began)


def processes(world: World, what: str) -> list[int]:
    """Process ids of ``misoflow what`` that use the world's settings file."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if what.encode() in words and str(world.config).encode() in words:
            found.append(int(place.name))
    return found
