"""The commands of Singer: a target for any tap, and any connector as a tap."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from misoflow.cli import app as cli
from misoflow.cli.app import CONFIG, DATA, LATER, OK, PART, UNAVAILABLE, AsJson, Quiet, app, fail
from misoflow.cli.output import Output, plural

if TYPE_CHECKING:
    from misoflow.config import Settings
    from misoflow.singer.settings import Shared
    from misoflow.singer.target import Summary

SHOWN = 20
"""Dead letters of a run that are told one by one."""
ConfigJson = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The settings, as Singer's config.json.")
]
About = Annotated[bool, typer.Option("--about", help="Only print what it can do and which settings it takes.")]


@app.command("singer-target")
def singer_target(
    config: ConfigJson = None, about: About = False, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Bring a Singer tap's messages on standard input to Miso; print each state once Miso has all before it."""
    if about:
        from misoflow.singer.about import target_about

        _about(target_about(), as_json)
        return
    if config is None:
        fail("name the settings: --config config.json", cli.USAGE)
    from misoflow.errors import Halt, Retry
    from misoflow.singer.settings import target_settings

    cli.about(config)
    settings, name, own = target_settings(config)
    _logs(settings)
    out = Output(quiet=quiet)
    import asyncio

    try:
        summary = asyncio.run(_target(settings, name, own, out))
    except Retry as error:
        fail(f"{error.reason}; nothing is lost: run it again with the last state", UNAVAILABLE)
    except Halt as error:
        fail(f"{error.reason}. {error.fix}. Nothing is lost: then run it again with the last state", CONFIG)
    raise typer.Exit(_told(out, settings, name, own, summary))


async def _target(settings: Settings, name: str, own: Shared, out: Output) -> Summary:
    import asyncio

    from misoflow.singer.lines import blocks
    from misoflow.singer.settings import connector_of
    from misoflow.singer.target import Options, Target
    from misoflow.singer.working import working

    stopping = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    options = Options(validate=own.validate_records, patience=own.patience_seconds)
    async with working(settings) as ask:
        target = Target(ask, name, connector_of(settings, name), _emit, out.say, options)
        return await target.run(blocks(sys.stdin.buffer, stopping), stopping)


def _emit(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _told(out: Output, settings: Settings, name: str, own: Shared, summary: Summary) -> int:
    """What became of the run, on standard error; returns the exit code."""
    states = {state: n for state, n in summary.counts.items() if state not in ("read", "repeats") and n}
    said = ", ".join(f"{n:,} {state}" for state, n in sorted(states.items())) or "nothing new"
    repeats = summary.counts.get("repeats", 0)
    out.say(f"{plural(summary.counts.get('read', 0), 'record')}: {said}, {repeats:,} known before")
    dead = states.get("dead", 0)
    if dead:
        _dead(out, settings, name, summary.since)
    if summary.error is not None:
        fail(f"{summary.error}; what came before it has arrived", DATA)
    if summary.stopped:
        fail("stopped; nothing is lost: run it again with the last state", LATER)
    return PART if dead and own.dead_letters == "fail" else OK


def _dead(out: Output, settings: Settings, name: str, since: int) -> None:
    from misoflow.status import dead_letters
    from misoflow.vault import Vault

    found = dead_letters(settings, Vault.from_settings(settings), instance=name, limit=10_000)
    fresh = [letter for letter in found if letter.created >= since]
    for letter in fresh[:SHOWN]:
        out.say(f"dead letter {letter.id}: {letter.topic}: {letter.reason} at {letter.path}")
    if len(fresh) > SHOWN:
        out.say(f"and {plural(len(fresh) - SHOWN, 'other')}")


def _logs(settings: Settings) -> None:
    from misoflow.cli.process import start_logs

    start_logs(settings, quiet=True)


def _about(found: dict[str, Any], as_json: bool) -> None:
    out = Output(as_json=as_json)
    if as_json:
        out.json(found)
        return
    out.text(f"{found['name']} {found['version']}: {found['description']}")
    out.text(f"capabilities: {', '.join(found['capabilities'])}")
    properties = found["settings"].get("properties", {})
    required = found["settings"].get("required", [])
    out.table(
        ["setting", "needed", "is"],
        [[name, "yes" if name in required else "", one.get("description", "")] for name, one in properties.items()],
    )
