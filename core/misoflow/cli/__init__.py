"""The command line. Modules of commands import only what ``--help`` needs; the rest comes inside commands."""

from __future__ import annotations

from misoflow.cli import (  # noqa: F401 (each adds its commands)
    act,
    author,
    bulk,
    held,
    history,
    init,
    installs,
    letters,
    process,
    setup,
    singer,
    suggesting,
    sync,
    trial,
    watch,
)
from misoflow.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """The console script."""
    app(prog_name="misoflow")
