"""The commands of Singer: a target for any tap, and any connector as a tap."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from misoflow.cli import app as cli
from misoflow.cli.app import CONFIG, DATA, LATER, OK, PART, UNAVAILABLE, AsJson, Quiet, app, fail
from misoflow.cli.output import Output, plural

if TYPE_CHECKING:
    from misoflow.config import Settings
    from misoflow.singer.running import Told
    from misoflow.singer.settings import Shared
    from misoflow.singer.target import Summary

T = TypeVar("T")
STATE = b'{"type":"STATE"'
SHOWN = 20
"""Dead letters of a run that are told one by one."""
ConfigJson = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The settings, as Singer's config.json.")
]
About = Annotated[bool, typer.Option("--about", help="Only print what it can do and which settings it takes.")]


@app.command("singer-tap")
def singer_tap(
    connector: Annotated[str, typer.Argument(metavar="CONNECTOR", help="An installed connector, or module:Class.")],
    config: ConfigJson = None,
    discover: Annotated[bool, typer.Option("--discover", help="Only print the catalog.")] = False,
    catalog: Annotated[Path | None, typer.Option(metavar="FILE", help="What is wanted of it; default all.")] = None,
    state: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to go on: the last state.")] = None,
    about: About = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Give a connector's history as a Singer tap: interactions, products and users, oldest first, with states."""
    from misoflow.registry import load_connector, look_in
    from misoflow.singer.catalog import discovered

    look_in(Path.cwd())
    if about:
        from misoflow.singer.about import tap_about

        _about(tap_about(connector), as_json)
        return
    if discover:
        load_connector(connector, "the connector")
        _emit(_indented(discovered()))
        return
    if config is None:
        fail("name the settings: --config config.json", cli.USAGE)
    from misoflow.errors import Reject

    try:
        told: Told = _pull(connector, config, catalog, state)
    except Reject as error:
        fail(error.reason, PART)
    except BrokenPipeError:
        _unplug()
        fail("the target has ended; run both again with its last state", LATER)
    raise typer.Exit(_pulled(Output(quiet=quiet), told))


def _pull(connector: str, config: Path, catalog: Path | None, state: Path | None) -> Any:
    import asyncio

    from misoflow.singer.bookmarks import Bookmarks
    from misoflow.singer.catalog import Selection
    from misoflow.singer.running import Wanted, folder_of, pulled
    from misoflow.singer.settings import TAP, read, tap_settings

    cli.about(config)
    tree = read(config)
    with folder_of(tree.get("data")) as folder:
        settings, ours = tap_settings(connector, config, tree, folder)
        _logs(settings)
        chosen = _read(catalog, Selection)
        marks = _read(state, Bookmarks)
        cli.about(config)
        return asyncio.run(pulled(Wanted(settings, TAP, ours.pull, chosen, marks), _write))


def _read(path: Path | None, make: Callable[[dict[str, Any] | None], T]) -> T:
    from misoflow.singer.settings import read

    if path is None:
        return make(None)
    cli.about(path)
    return make(read(path))


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    if line.startswith(STATE):
        sys.stdout.buffer.flush()


def _indented(value: Any) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _unplug() -> None:
    """Nobody reads any more; the interpreter would complain about what is left when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _pulled(out: Output, told: Told) -> int:
    """What a tap gave, on standard error; returns the exit code."""
    records = ", ".join(f"{n:,} {stream}" for stream, n in sorted(told.records.items())) or "nothing new"
    out.say(f"{records}; {plural(told.skipped, 'event')} skipped")
    rejected = told.rejected.total()
    for reason, n in told.rejected.most_common(SHOWN):
        out.say(f"{n:,} × {reason}")
    if told.stopped:
        fail("stopped; go on with the last state", LATER)
    if rejected:
        fail(
            f"{plural(rejected, 'event')} could not be translated; mend the mapping, then go back to an older state",
            PART,
        )
    return OK


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
