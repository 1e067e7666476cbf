"""Commands that change something: the running ``work`` does it, or this process where none runs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from misoflow.cli.app import (
    DEFAULT_CONFIG,
    LATER,
    OK,
    PART,
    USAGE,
    AsJson,
    ConfigFile,
    Quiet,
    app,
    fail,
    instance_names,
    load,
)
from misoflow.cli.output import Output, moment, plural

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]


def act(settings: Any, verb: str, **args: Any) -> Any:
    """Have an action done and return what it says; ends the command when it cannot be done."""
    import asyncio

    from misoflow import control

    try:
        return asyncio.run(control.call(settings, verb, **args))
    except ConnectionError as error:
        fail(f"work ended before it answered ({error.strerror or error}); try again", LATER)
    except control.ActionError as error:
        fail(str(error), USAGE)


def sure(question: str, yes: bool) -> None:
    """Ask a person at a terminal; anybody else has decided already."""
    if not yes and sys.stdin.isatty() and not typer.confirm(question, err=True):
        fail("nothing was changed", PART)


@app.command()
def pause(
    instance: Annotated[str, typer.Argument(help="Name of the instance.", autocompletion=instance_names)],
    reason: Annotated[str, typer.Option(help="Why; `status` shows it.")] = "paused by a person",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Stop translating an instance; its deliveries are still taken in and wait."""
    done = act(load(config), "pause", instance=instance, reason=reason)
    _told(Output(as_json=as_json, quiet=quiet), done, f"{instance} is paused; go on with: misoflow resume {instance}")


@app.command()
def resume(
    instance: Annotated[str | None, typer.Argument(help="Name of the instance.", autocompletion=instance_names)] = None,
    miso: Annotated[str | None, typer.Option(metavar="ENV", help="A halted Miso environment.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a paused instance and its held topics, or with a halted Miso environment."""
    if instance is None and miso is None:
        fail("name an instance, or --miso ENV", USAGE)
    done = act(load(config), "resume", instance=instance, miso=miso)
    _told(Output(as_json=as_json, quiet=quiet), done, f"{instance or f'Miso {miso}'} goes on")


def _told(out: Output, done: Any, text: str) -> None:
    if out.as_json:
        out.json(done)
    else:
        out.text(text)


@app.command()
def forget(
    users: Annotated[list[str], typer.Argument(metavar="USER_ID...", help="User ids as the platform knows them.")],
    miso: Annotated[str | None, typer.Option(metavar="ENV", help="Only in this Miso environment.")] = None,
    yes: Yes = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Erase users: what waits here, what Miso holds, and what comes again of their past."""
    settings = load(config)
    sure(f"Erase {plural(len(users), 'user')} here and at Miso?", yes)
    done = act(settings, "forget", users=users, miso=miso)
    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        out.json(done)
        return
    for name, erased in done["erased_events"].items():
        out.text(
            f"Miso {name}: {plural(erased, 'waiting event')} erased, deletion of {plural(len(users), 'user')} queued"
        )


@app.command()
def erase(
    instance: Annotated[str, typer.Argument(metavar="INSTALL", help="Name of the install, such as shop/demo.example.")],
    yes: Yes = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Erase an install of a template, here and at Miso: its products, its people, and all that was kept of it."""
    settings = load(config)
    sure(f"Erase all of {instance} here, and its products and people at Miso? There is no way back.", yes)
    done = act(settings, "erase.install", instance=instance)
    text = f"{instance} is being erased; `misoflow status` names it erased#{done['erasure']}"
    _told(Output(as_json=as_json, quiet=quiet), done, text)


@app.command()
def replay(
    instance: Annotated[str | None, typer.Option(help="Only this instance.", autocompletion=instance_names)] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Received at or after (ISO, UTC).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Received before (ISO, UTC).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Stored deliveries through today's code: events that were skipped or dead get another try."""
    bounds = {"start": _ms(start, "--from"), "end": _ms(end, "--to")}
    args = {key: value for key, value in bounds.items() if value is not None}
    done = act(load(config), "replay", instance=instance, dry_run=dry_run, **args)
    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        out.json(done)
    elif dry_run:
        out.text(f"{plural(done['events'], 'event')} would be tried again")
    else:
        states = ", ".join(f"{n:,} {state}" for state, n in sorted(done["states"].items()))
        out.text(f"{plural(done['events'], 'event')} tried again: {states or 'nothing to do'}")
    raise typer.Exit(PART if done["states"].get("dead") else OK)


def _ms(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} {text!r}: give a time such as 2026-05-01 or 2026-05-01T12:00:00Z", USAGE)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


@app.command()
def repair(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Recover what can be read of a damaged inbox, and hold the counters against the rows. Stop misoflow first."""
    settings = load(config)
    from misoflow import inbox
    from misoflow.vault import Vault

    vault = Vault.from_settings(settings)
    report = inbox.repair(settings.data, vault)
    spans = [_received(settings.data, vault, *lost) for lost in report.lost]
    counted = act(settings, "recount", settle=True)
    wrong = counted["wrong"]
    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        lost = [{"first": a, "last": b, **span} for (a, b), span in zip(report.lost, spans, strict=True)]
        names = ("instance", "state", "counter", "rows")
        counters = [dict(zip(names, row, strict=True)) for row in wrong]
        kept = str(report.kept) if report.kept else None
        out.json(
            {
                "recovered": report.recovered,
                "lost": lost,
                "damaged_files": kept,
                "wrong_counters": counters,
                "store_lost": counted["lost"],
            }
        )
    else:
        out.text(report.text)
        for span in spans:
            until = moment(span["before"]) or "now"
            out.text(f"pull again what was received from {moment(span['after']) or 'the start'} to {until}:")
            out.text("     do: ask the platform to send it again (Segment: a Replay), or load it from its archive")
        if counted["lost"]:
            out.text(f"{counted['lost']}; status says so no longer")
        for name, state, counter, rows in wrong:
            out.text(f"{name}: the counter of {state} says {counter}, the rows say {rows}")
    raise typer.Exit(PART if report.lost or wrong or counted["lost"] else OK)


def _received(data: Any, vault: Any, first: int, last: int) -> dict[str, int | None]:
    """When the neighbours of a lost range were received, in ms; None where there is none."""
    from misoflow.inbox import InboxReader

    reader = InboxReader(data, vault)
    try:
        found = {one.id: one.received_ms for one in reader.get([first - 1, last + 1])}
    finally:
        reader.close()
    return {"after": found.get(first - 1), "before": found.get(last + 1)}
