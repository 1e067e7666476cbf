"""The commands of history: backfill and slices."""

from __future__ import annotations

import contextlib
import signal
import time
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from misoflow.cli.act import act
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
from misoflow.cli.bars import Bars
from misoflow.cli.output import Output, moment, plural

LOOK_SECONDS = 0.25
GONE_SECONDS = 15.0
"""A work that crashed is started again by its parent; after this long it has not been."""


@app.command()
def backfill(
    instance: Annotated[str, typer.Argument(help="Name of the instance.", autocompletion=instance_names)],
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be given again.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day; default 90 days ago.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Day after the last; default now.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Pull and translate, send and keep nothing.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Pull an instance's history, and wait until all of it has arrived. Ctrl-C stops it; the same command goes on."""
    settings = load(config)
    if instance.partition("/")[0] not in settings.instances:
        fail(f"no instance {instance!r} in {config.name}", USAGE)
    out = Output(as_json=as_json, quiet=quiet)
    span = (_ms(start, "--from"), _ms(end, "--to"))
    if None not in span and span[0] >= span[1]:  # type: ignore[operator]
        fail("--from must be before --to", USAGE)
    if span[0] is not None and span[0] > time.time() * 1000:
        out.say("--from lies in the future")
    if dry_run:
        out.say("pulling and translating; nothing is sent or kept")
        args = {"instance": instance, "streams": stream or None, "start": span[0], "end": span[1]}
        _dry_told(out, act(settings, "backfill.dry", **args))
        raise typer.Exit(OK)
    import asyncio

    raise typer.Exit(asyncio.run(_pull(settings, out, instance, stream, span)))


def _ms(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        moment_ = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} {text!r}: write a date such as {date.today():%Y-%m-%d}", USAGE)
    moment_ = moment_ if moment_.tzinfo is not None else moment_.replace(tzinfo=UTC)
    return int(moment_.timestamp() * 1000)


async def _pull(
    settings: Any, out: Output, instance: str, streams: list[str] | None, span: tuple[int | None, int | None]
) -> int:
    """In the running ``work``, or in one of our own that ends when all has arrived."""
    import asyncio

    from misoflow import control
    from misoflow.engine import Engine

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    engine, task = None, None
    if not await control.running(settings):
        engine = Engine(settings)
        up = asyncio.Event()
        task = asyncio.create_task(engine.run(up.set))
        await asyncio.wait([task, asyncio.create_task(up.wait())], return_when=asyncio.FIRST_COMPLETED)
    args = {"instance": instance, "streams": streams or None, "start": span[0], "end": span[1]}
    try:
        jobs = (await control.call(settings, "backfill.start", **args))["jobs"]
        if not jobs:
            out.say("nothing is missing; name --from and --to to pull a range again")
        await _watch(settings, out, jobs, stop, task)
        if stop.is_set():
            out.say("stopping when Miso has answered for what is on its way")
            with contextlib.suppress(ConnectionError):
                await control.call(settings, "backfill.stop", jobs=jobs)
    except control.ActionError as error:
        fail(str(error), USAGE)
    finally:
        if engine is not None and task is not None:
            engine.stopping.set()
            await task
    return _ended(out, _rows(settings, jobs))


def _rows(settings: Any, jobs: list[int]) -> list[dict[str, Any]]:
    from misoflow.status import history
    from misoflow.vault import Vault

    return [row for row in history(settings, Vault.from_settings(settings))["jobs"] if row["job"] in jobs]


async def _watch(settings: Any, out: Output, jobs: list[int], stop: Any, work: Any) -> None:
    """Show the jobs until they are finished, go on only with a person's help, or a person has enough."""
    from misoflow.clock import pause
    from misoflow.control import running

    alive = time.monotonic()
    with Bars(out) as bars:
        while True:
            rows = _rows(settings, jobs)
            bars.show(rows, now := time.monotonic())
            going = [row for row in rows if row["state"] == "open"]
            if stop.is_set() or all(row["stuck"] for row in going):
                return
            if work is not None and work.done():
                work.result()
                return
            if await running(settings):
                alive = now
            elif now - alive > GONE_SECONDS:
                instance = going[0]["instance"]
                fail(f"misoflow has ended; nothing is lost. Go on with: misoflow backfill {instance}", LATER)
            await pause(stop, LOOK_SECONDS)


def _ended(out: Output, rows: list[dict[str, Any]]) -> int:
    stopped = [row for row in rows if row["state"] in ("open", "stopped") and not row["stuck"]]
    if out.as_json:
        out.json({"jobs": rows, "stopped": bool(stopped)})
    failed = sum(row["failed"] for row in rows)
    stuck = [row for row in rows if row["stuck"]]
    read = sum(row["read"] for row in rows)
    for row in rows if not out.as_json else []:
        counts = [f"{n:,} {state}" for state, n in sorted(row["counts"].items())]
        counts += [f"{row['started']:,} of unfinished slices"] if row["started"] else []
        known = "all known; what was skipped before was tried again" if row["repeats"] else "nothing new"
        said = ", ".join(counts) or known
        out.text(f"{row['instance']} {row['stream']}: {plural(row['read'], 'event')} read, {said}")
    if stopped:
        out.say(f"stopped; nothing is lost. Go on with: misoflow backfill {stopped[0]['instance']}")
    if failed:
        out.say(f"{plural(failed, 'slice')} did not come whole; see: misoflow slices --failed")
    for row in stuck:
        out.say(f"{row['instance']} {row['stream']} waits for you: {row['waits']}")
    if stuck:
        out.say(f"nothing is lost; afterwards go on with: misoflow backfill {stuck[0]['instance']}")
    elif read and not (stopped or failed):
        out.say("every event read has arrived or is accounted for: misoflow status")
    return PART if failed or stuck or stopped else OK


def _dry_told(out: Output, found: dict[str, Any]) -> None:
    if out.as_json:
        out.json(found)
        return
    out.table(
        ["stream", "outcome", "events"],
        [[stream, what, n] for stream, counts in found["streams"].items() for what, n in counts.items()],
    )
    for reason, n in found["reasons"].items():
        out.text(f"{n:,} × {reason}")


@app.command()
def slices(
    instance: Annotated[str | None, typer.Argument(help="Only this instance.", autocompletion=instance_names)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that did not come whole.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Every slice of history with its audit: read = new + known (seen before, also by an earlier try of the slice).

    Delivered, skipped and dead are counted once a slice is done, with what earlier tries of it brought.
    """
    settings = load(config)
    if instance is not None and instance.partition("/")[0] not in settings.instances:
        fail(f"no instance {instance!r} in {config.name}", USAGE)
    from misoflow.status import history
    from misoflow.vault import Vault

    out = Output(as_json=as_json, quiet=quiet)
    found = history(settings, Vault.from_settings(settings))["slices"]
    found = [one for one in found if instance in (None, one["instance"]) and (not failed or one["state"] == "failed")]
    if as_json:
        out.json({"slices": found})
        return
    if not found:
        out.say("no slice failed" if failed else f"nothing was pulled yet: misoflow backfill {instance or 'INSTANCE'}")
        return
    columns = ["stream", "from", "to", "state", "tries", "read", "new", "known", "delivered", "skipped", "dead", "note"]
    rows = []
    for one in found:
        counts = one["counts"] or {}
        rest = {state: n for state, n in counts.items() if state not in ("delivered", "skipped", "dead")}
        note = one["error"] or ", ".join(f"{n} {state}" for state, n in rest.items())
        span = [moment(one["start"]), moment(one["end"])]
        figures = [counts.get(state, 0) for state in ("delivered", "skipped", "dead")]
        name = f"{one['instance']}/{one['stream']}"
        state = "whole" if one["state"] == "pulled" else one["state"]
        read = [one[of] + one[f"open_{of}"] for of in ("read", "taken", "repeats")]
        rows.append([name, *span, state, one["attempts"], *read, *figures, note])
    out.table(columns, rows)
