"""What the plugin's fixtures give; imported when one is asked for."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

API_KEY = "sandbox"


class Sandbox:
    """The stand-in of Miso, in a thread of this process."""

    def __init__(self, sandbox: Any, url: str) -> None:
        self.url = url
        self.api_key = API_KEY
        self._sandbox = sandbox

    def records(self, kind: str = "interactions") -> list[dict[str, Any]]:
        """What it holds of ``interactions``, ``products`` or ``users``."""
        lines = importlib.import_module("misoflow_sandbox.control").records(self._sandbox.held, kind)
        return [json.loads(line) for line in lines.body.splitlines()]

    def reset(self) -> None:
        """Hold nothing again."""
        self._sandbox.reset()


def recorder(folder: Path, *, record: bool) -> Any:
    """vcrpy with the kit's scrubbing; cassettes stand in cassettes/ below the folder."""
    import vcr

    from misoflow.testing.tape import vcr_config

    return vcr.VCR(cassette_library_dir=str(folder / "cassettes"), **vcr_config(record=record))


def samples_beside(folder: Path) -> dict[str, Any]:
    """Every sample below samples/ of the folder, by its file's name."""
    from misoflow.testing.samples import load

    return {path.stem: load(path) for path in sorted((folder / "samples").rglob("*.json"))}


@contextlib.contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    miso = importlib.import_module("misoflow_sandbox.miso")
    sandbox = miso.MisoSandbox(API_KEY)
    with miso.served(sandbox) as url:
        yield Sandbox(sandbox, url)
