"""The shops (or other tenants) that installed a template's app, and how each stands."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from misoflow.cli.app import DEFAULT_CONFIG, AsJson, ConfigFile, Quiet, app, instance_names, load
from misoflow.cli.output import Output, ago


@app.command()
def installs(
    instance: Annotated[
        str | None, typer.Argument(help="Only of this template, or only this install.", autocompletion=instance_names)
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Who has installed an app: state, history, and what is missing."""
    settings = load(config)
    import msgspec

    from misoflow.standing import standings
    from misoflow.vault import Vault

    out = Output(as_json=as_json, quiet=quiet)
    found = standings(settings, Vault.from_settings(settings), instance)
    if as_json:
        for name, one in found.items():
            facts = msgspec.to_builtins(one)
            facts.pop("tenant")
            out.json({"instance": name, **facts})
        return
    if not found:
        out.text("nobody has installed anything yet")
        return
    now = time.time_ns() // 1_000_000
    rows = [
        [name, one.state, ago(one.installed_at, now), ago(one.last_event, now), one.counts["accepted"], _pulls(one)]
        for name, one in found.items()
    ]
    out.table(["install", "state", "installed", "last event", "events", "history"], rows)
    for name, one in found.items():
        if one.reason:
            out.text(f"{name}: {one.reason}" + (f"; do: {one.fix}" if one.fix else ""))
        for problem in one.problems:
            out.text(f"{name}: {problem.text}; do: {problem.fix}")


def _pulls(one: Any) -> str:
    """Each stream in a few words."""
    words = []
    for stream in one.streams:
        share = f" {stream.share:.0%}" if stream.state == "pulling" and stream.share is not None else ""
        words.append(f"{stream.name} {stream.state}{share} ({stream.read:,})")
    return ", ".join(words)
