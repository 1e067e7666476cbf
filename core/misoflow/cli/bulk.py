"""The commands of files: upload and validate; those about what Miso holds stand in ``cli.held``."""

from __future__ import annotations

import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from misoflow.cli.app import CONFIG, DEFAULT_CONFIG, OK, PART, USAGE, AsJson, ConfigFile, Quiet, app, fail, load
from misoflow.cli.bars import Bars
from misoflow.cli.output import Output, plural

if TYPE_CHECKING:
    from misoflow.bulk.journal import Totals
    from misoflow.bulk.reading import File
    from misoflow.bulk.upload import Upload
    from misoflow.config import MisoConfig, Settings

LOOK_SECONDS = 0.25
SHOWN = 20
"""Bad records that ``validate`` prints."""


class Kind(StrEnum):
    """What is uploaded."""

    interactions = "interactions"
    products = "products"
    users = "users"


class FileFormat(StrEnum):
    """Of a file."""

    jsonl = "jsonl"
    json = "json"
    csv = "csv"
    parquet = "parquet"


KindOf = Annotated[Kind, typer.Argument(metavar="KIND", help="interactions, products or users.")]
Paths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs or s3:// and gs:// URLs.")]
Formatted = Annotated[
    FileFormat | None, typer.Option("--format", metavar="FORMAT", help="jsonl, json, csv or parquet; default by name.")
]
Mapped = Annotated[
    Path | None,
    typer.Option("--map", metavar="RULES.toml", help="A TOML file of rules that make interactions of rows."),
]
MisoName = Annotated[str | None, typer.Option("--miso", metavar="ENV", help="The Miso environment.")]
BadTo = Annotated[
    Path | None, typer.Option("--bad", metavar="FILE", help="Where bad records go, replaced; default in the data.")
]


@app.command()
def upload(
    kind: KindOf,
    paths: Paths,
    file_format: Formatted = None,
    miso: MisoName = None,
    bad: BadTo = None,
    mapping: Mapped = None,
    restart: Annotated[bool, typer.Option("--restart", help="Send everything again, what had arrived too.")] = False,
    patience: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for Miso to answer.")] = 900.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check, send and keep nothing.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Files straight to Miso: checked first, bad records set aside. The same command goes on where one ended."""
    import asyncio

    settings = load(config)
    environment = environment_of(settings, miso)
    out = Output(as_json=as_json, quiet=quiet)
    files = files_of(paths, kind, file_format, mapping, environment)
    if dry_run:
        raise typer.Exit(looked(out, kind, files, file_format, f"for Miso {environment.name}, had it been sent"))
    from misoflow.bulk.upload import Upload, Wanted, check_bad_file

    check_bad_file(bad, files)
    rules = mapping.read_bytes() if mapping else b""
    wanted = Wanted(
        kind=kind.value,
        files=files,
        miso=environment,
        folder=settings.data / "uploads",
        format=file_format.value if file_format else None,
        rules=rules,
        bad=bad,
        restart=restart,
        patience=patience,
    )
    started = time.monotonic()
    running = asyncio.run(run_upload(out, Upload, wanted))
    summary = summary_of(kind, files, running, environment.name, time.monotonic() - started)
    if as_json:
        out.json(summary)
    raise typer.Exit(told(out, kind, files, running, summary))


def environment_of(settings: Settings, name: str | None) -> MisoConfig:
    """The Miso environment of a command: the one that is named, the default, or the only one."""
    from misoflow.config import DEFAULT

    wanted = name or (DEFAULT if DEFAULT in settings.miso or len(settings.miso) > 1 else next(iter(settings.miso)))
    if wanted not in settings.miso:
        fail(f"--miso {wanted}: there is no such environment (known: {', '.join(settings.miso)})", USAGE)
    return settings.miso[wanted]


def files_of(
    paths: list[str], kind: Kind, file_format: FileFormat | None, mapping: Path | None, miso: MisoConfig | None
) -> list[File]:
    """The files behind the paths, each with what is done to its rows."""
    from misoflow.bulk.cells import typed
    from misoflow.bulk.check import checker
    from misoflow.bulk.reading import File
    from misoflow.files import expand, format_of
    from misoflow.instances import user_key

    if mapping is not None and kind is not Kind.interactions:
        fail("--map makes interactions; products and users are uploaded as they are", USAGE)
    rules = _rules(mapping) if mapping else None
    key = user_key(miso) if miso else None
    sources = expand("/dev/stdin" if path == "-" else path for path in paths)
    nameless = [one.name for one in sources if not (file_format or format_of(one.path))]
    if nameless:
        more = f" (and {len(nameless) - 1} more)" if len(nameless) > 1 else ""
        where = f"{nameless[0]}{more}"
        fail(f"{where}: its name does not say which format it has; say it with --format, or name others", USAGE)
    records = checker(kind.value, rules=rules, user_key=key)
    texts = checker(kind.value, rules=rules, user_key=key, convert=typed)
    return [File(one, texts if (file_format or format_of(one.path)) == "csv" else records) for one in sources]


def _rules(path: Path) -> Any:
    import tomllib

    from misoflow.errors import ConfigError
    from misoflow.rules import Rules

    try:
        tree = tomllib.loads(path.read_text("utf-8"))
        if set(tree) != {"rules"}:
            fail(f"{path}: must hold [[rules]] and nothing else", CONFIG)
        return Rules.compile(tree["rules"], where="rules")
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}", CONFIG)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fail(f"{path}: is not TOML: {error}", CONFIG)
    except ConfigError as error:
        fail(f"{path}: {error}", CONFIG)


async def run_upload(out: Output, make: Any, wanted: Any) -> Upload:
    """The upload, shown while it goes; Ctrl-C ends it without a loss."""
    import asyncio

    running: Upload = make(wanted)
    loop = asyncio.get_running_loop()
    whole = asyncio.current_task()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set() and whole is not None:
            whole.cancel()
            return
        stopping.set()
        running.stop()
        out.say("stopping when Miso has answered; once more ends it at once, nothing is lost either")

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)
    task = asyncio.create_task(running.run())
    total = sum(file.source.size or 0 for file in wanted.files)
    try:
        with Bars(out) as bars:
            while not (await asyncio.wait([task], timeout=LOOK_SECONDS))[0]:
                bars.show([_row(running, wanted.kind, total, "open")], time.monotonic())
            if task.exception() is None:
                bars.show([_row(running, wanted.kind, total, "done")], time.monotonic())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    await task
    return running


def _row(running: Upload, kind: str, total: int, state: str) -> dict[str, Any]:
    progress = running.progress
    return {
        "job": 0,
        "instance": "upload",
        "stream": kind,
        "purpose": "",
        "noun": "record",
        "state": state,
        "read": progress.totals.read,
        "share": 1.0 if state == "done" else min(progress.bytes_read / total, 1.0) if total else 0.0,
        "now": None,
        "waits": f"waiting: {progress.waiting}" if progress.waiting else "",
        "error": "",
    }


def told(out: Output, kind: str, files: list[File], running: Upload, summary: dict[str, Any]) -> int:
    """Say what became of an upload; returns its exit code."""
    progress = running.progress
    totals = progress.totals
    if not out.as_json:
        out.text(f"{kind}: {counted(totals)}")
        _reasons(out, totals)
    _files_told(out, files, totals)
    if any(file.later for file in files):
        out.say("when it is whole, the same command sends the rest")
    if summary["bad_file"]:
        out.say(f"bad records: {summary['bad_file']}")
    if progress.ended_before:
        out.say("an earlier upload of these files is finished, nothing was sent; --restart sends them again")
    if progress.stopped:
        pipe = any(file.source.once for file in files)
        out.say(f"stopped; nothing is lost. The same command {'sends all of a pipe again' if pipe else 'goes on'}")
    return PART if totals.bad or progress.stopped or not all(file.whole for file in files) else OK


def summary_of(kind: str, files: list[File], running: Upload, miso: str, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    progress = running.progress
    return {
        "kind": kind,
        "miso": miso,
        **{name: getattr(progress.totals, name) for name in ("read", "delivered", "skipped", "bad", "reasons")},
        "bad_file": str(progress.bad_file) if progress.totals.bad else None,
        "resumed": progress.resumed,
        "finished_before": progress.ended_before,
        "stopped": progress.stopped,
        "seconds": round(seconds, 3),
        "files": described(files),
    }


def counted(totals: Totals, arrived: str = "delivered") -> str:
    """The counts in words; they add up."""
    parts = [f"{totals.read:,} read", f"{totals.delivered:,} {arrived}"]
    parts += [f"{totals.skipped:,} skipped by the rules"] if totals.skipped else []
    return ", ".join([*parts, f"{totals.bad:,} bad"])


def _files_told(out: Output, files: list[File], totals: Totals) -> None:
    for file in files:
        if file.problem:
            out.say(f"not complete: {file.problem}")
    if not totals.read and all(file.whole for file in files):
        out.say(f"{'this file holds' if len(files) == 1 else 'these files hold'} no records")


def _reasons(out: Output, totals: Totals) -> None:
    for reason, count in sorted(totals.reasons.items(), key=lambda item: -item[1])[:SHOWN]:
        out.text(f"  {count:,} × {reason}")


def described(files: list[File]) -> list[dict[str, Any]]:
    """Each file for ``--json``: whether it was read to its end, and why not."""
    return [{"file": one.source.name, "whole": one.whole, "problem": one.problem or None} for one in files]


@app.command()
def validate(
    kind: KindOf,
    paths: Paths,
    file_format: Formatted = None,
    mapping: Mapped = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check files as `upload` would, without any network. Exit code 1 when anything in them is bad."""
    files = files_of(paths, kind, file_format, mapping, None)
    raise typer.Exit(looked(Output(as_json=as_json, quiet=quiet), kind, files, file_format, "good"))


def looked(out: Output, kind: Kind, files: list[File], file_format: FileFormat | None, good: str) -> int:
    """Read and check the files, and say what was found; returns the exit code."""
    from misoflow.bulk.look import look

    first: list[Any] = []

    def keep(bad: Any) -> None:
        if len(first) < SHOWN:
            first.append(bad)

    totals = look(files, file_format.value if file_format else None, keep)
    shown = [
        {"file": files[one.source].source.name, "line": one.row, "reason": one.reason, "path": one.path}
        for one in first
    ]
    if out.as_json:
        counts = {"read": totals.read, "good": totals.delivered, "skipped": totals.skipped, "bad": totals.bad}
        out.json({"kind": kind, **counts, "reasons": totals.reasons, "first": shown, "files": described(files)})
    else:
        for one in shown:
            out.text(
                f"{one['file']}:{one['line']}: {one['reason']}" + (f" ({one['path']})" if one["path"] != "$" else "")
            )
        out.text(f"{plural(len(files), 'file')}: {counted(totals, good)}")
        _reasons(out, totals)
    _files_told(out, files, totals)
    return PART if totals.bad or not all(file.whole for file in files) else OK
