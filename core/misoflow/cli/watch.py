"""The commands that look on: status and tail. They read, and disturb nothing."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from misoflow.cli.app import DEFAULT_CONFIG, USAGE, AsJson, ConfigFile, Quiet, app, fail, instance_names, load
from misoflow.cli.bars import why
from misoflow.cli.output import Output, ago, moment, plural, span

STATES = ("delivered", "skipped", "suppressed", "erased", "dead", "pending")
RARE = ("suppressed", "erased", "duplicates")
FOLLOW_SECONDS = 0.5
TAIL_ROWS = 1000


@app.command()
def status(
    instance: Annotated[str | None, typer.Argument(help="Only this instance.", autocompletion=instance_names)] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Every instance's figures: accepted is the sum of the states."""
    settings = load(config)
    from misoflow.status import status as read

    out = Output(as_json=as_json, quiet=quiet)
    figures = read(settings)
    if instance is not None:
        chosen = {name: one for name, one in figures["instances"].items() if _belongs(name, instance)}
        if not chosen:
            fail(f"no instance {instance!r} in {config.name}", USAGE)
        figures = {**figures, "instances": chosen}
    if as_json:
        out.json(figures)
        return
    import asyncio

    from misoflow.control import running

    _status_table(out, settings, figures, works=asyncio.run(running(settings)))


def _belongs(name: str, wanted: str) -> bool:
    """The instance itself, or an install of that template."""
    return name == wanted or name.startswith(wanted + "/")


def _status_table(out: Output, settings: Any, figures: dict[str, Any], *, works: bool) -> None:
    now = time.time_ns() // 1_000_000
    instances: dict[str, dict[str, Any]] = figures["instances"]
    rare = [name for name in RARE if any(one.get(name) for one in instances.values())]
    columns = ["accepted", "delivered", "skipped", "dead", "pending", *rare]
    rows = []
    for name, one in instances.items():
        known = settings.instances.get(name.partition("/")[0])
        platform = known.connector if known is not None else ""
        last = ago(one.get("last_event"), now)
        rows.append([name, platform, one["state"], last, *(int(one.get(column, 0)) for column in columns)])
    out.table(["instance", "platform", "state", "last event", *columns], rows)
    for name, env in figures["miso"].items():
        out.text(f"Miso {name}: {_miso_line(env)}")
        _problem(out, None, env)
    for name, one in instances.items():
        _problem(out, name, one)
        _history(out, name, one, now, works=works)
    if figures["store"]["degraded"]:
        _problem(out, "store", {"reason": figures["store"]["degraded"], "fix": "misoflow repair"})


def _miso_line(env: dict[str, Any]) -> str:
    line = f"{env.get('state', 'sending')}, {plural(env.get('waiting_batches', 0), 'batch', 'batches')} waiting"
    oldest = env.get("oldest_seconds")
    return line if oldest is None else f"{line}, oldest {span(oldest)}"


def _history(out: Output, name: str, one: dict[str, Any], now: int, *, works: bool) -> None:
    """Jobs under way or with gaps and what they wait for, and what runs next."""
    unfinished = [job for job in one["history"] if job["state"] in ("open", "failed", "stopped")]
    for job in unfinished:
        gap = f", {plural(job['failed'], 'slice')} missing: misoflow slices {name} --failed" if job["failed"] else ""
        word = {"open": "being pulled" if works else "not finished", "failed": "not whole", "stopped": "stopped"}
        said = f"{word[job['state']]}, {job['share']:.0%}, {plural(job['read'], 'event')} read{gap}"
        out.text(f"{name}/{job['stream']}: {said}")
        if job["state"] == "open" and works and why(job):
            out.text(f"     {why(job)}")
    if any(job["state"] == "stopped" or not works for job in unfinished):
        out.text(f"     do: misoflow backfill {name}" + ("" if works else ", or misoflow run"))
    for job in one["schedule"]:
        due = "now" if not job["next"] or job["next"] <= now else f"in {span((job['next'] - now) / 1000)}"
        said = f" (last time: {job['note']})" if job["note"] else ""
        out.text(f"{job['job']}: next pull {due if works else 'when misoflow runs'}{said}")


def _problem(out: Output, name: str | None, one: dict[str, Any]) -> None:
    if one.get("reason"):
        out.text(f"{name}: {one['reason']}" if name else f"     {one['reason']}")
        out.text(f"     do: {one['fix']}")


@app.command()
def tail(
    instance: Annotated[str | None, typer.Option(help="Only this instance.", autocompletion=instance_names)] = None,
    state: Annotated[str | None, typer.Option(help=f"Only this state: {', '.join(STATES)}.")] = None,
    follow: Annotated[bool, typer.Option(help="Go on showing what comes.")] = True,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Start with this many of the last events.")] = 20,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Events with their fate, as they come: a line when one arrives, and one when its state changes."""
    if state is not None and state not in STATES:
        fail(f"--state {state!r}: choose one of {', '.join(STATES)}", USAGE)
    settings = load(config)
    if instance is not None and instance.partition("/")[0] not in settings.instances:
        fail(f"no instance {instance!r} in {config.name}", USAGE)
    from misoflow.vault import Vault

    out = Output(as_json=as_json, quiet=quiet)
    feed = Feed(settings, Vault.from_settings(settings), instance)
    try:
        for event in feed.first(lines):
            _event_line(out, event, state)
        while follow:
            time.sleep(FOLLOW_SECONDS)
            for event in feed.news():
                _event_line(out, event, state)
    except KeyboardInterrupt:
        sys.exit(0)


class Feed:
    """What changed since the last look: new events, and settled ones that were pending."""

    def __init__(self, settings: Any, vault: Any, instance: str | None) -> None:
        self._settings = settings
        self._vault = vault
        self._instance = instance
        self._last = 0
        self._pending: dict[int, str] = {}

    def first(self, lines: int) -> list[dict[str, Any]]:
        """The last events, to begin with; what comes after them is news, also when there are none to show."""
        found = self._noted(self._read(0, max(lines, 1)))
        return found if lines else []

    def news(self) -> list[dict[str, Any]]:
        oldest = min(self._pending, default=self._last + 1) - 1
        fresh = [
            event
            for event in self._read(oldest, TAIL_ROWS)
            if event["row"] > self._last or self._pending.get(event["row"], event["state"]) != event["state"]
        ]
        return self._noted(fresh)

    def _read(self, after: int, limit: int) -> list[dict[str, Any]]:
        from misoflow.status import recent

        return recent(self._settings, self._vault, after=after, limit=limit, instance=self._instance)

    def _noted(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for event in found:
            self._last = max(self._last, event["row"])
            if event["state"] == "pending":
                self._pending[event["row"]] = "pending"
            else:
                self._pending.pop(event["row"], None)
        for row in sorted(self._pending)[:-TAIL_ROWS]:
            del self._pending[row]
        return found


def _event_line(out: Output, event: dict[str, Any], state: str | None) -> None:
    if state is not None and event["state"] != state:
        return
    if out.as_json:
        out.json(event)
        return
    where = f" at {event['path']}" if event["path"] not in (None, "$") else ""
    why = f"  {event['reason']}{where}" if event["reason"] else ""
    number = f"  (misoflow dead show {event['dead']})" if event["dead"] else ""
    line = f"{moment(event['received'])}  {event['instance']}  {event['state']:<10} {event['topic']}"
    out.text(f"{line}  {event['event'][:8]}{why}{number}")
