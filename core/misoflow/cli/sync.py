"""``misoflow sync``: products at Miso as they are in the files."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from misoflow.cli.act import sure
from misoflow.cli.app import DEFAULT_CONFIG, OK, PART, USAGE, AsJson, ConfigFile, Quiet, app, fail, load
from misoflow.cli.bulk import (
    BadTo,
    Formatted,
    Kind,
    MisoName,
    Paths,
    environment_of,
    files_of,
    run_upload,
    summary_of,
    told,
)
from misoflow.cli.held import deletion_told
from misoflow.cli.output import Output

if TYPE_CHECKING:
    from misoflow.bulk.upload import Wanted
    from misoflow.config import MisoConfig
    from misoflow.files import Format


@app.command()
def sync(
    kind: Annotated[Kind, typer.Argument(metavar="products", help="Only products can be synchronized.")],
    paths: Paths,
    prefix: Annotated[str | None, typer.Option(metavar="P", help="The files are all products with such ids.")] = None,
    type_: Annotated[str | None, typer.Option("--type", metavar="T", help="The files are all products of it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The files are all products there are.")] = False,
    max_delete: Annotated[
        str, typer.Option(metavar="SHARE", help="Delete no more than this share, or number.")
    ] = "20%",
    file_format: Formatted = None,
    bad: BadTo = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent and deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete even more than --max-delete.")] = False,
    miso: MisoName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Upload products, then delete those of --prefix, --type or --all that are gone from the files."""
    import asyncio

    from misoflow.bulk.look import look
    from misoflow.bulk.sync import Scope
    from misoflow.bulk.upload import Wanted, check_bad_file

    if kind is not Kind.products:
        fail("only products can be synchronized", USAGE)
    if (prefix is not None) + (type_ is not None) + everything != 1:
        fail("say which products these files are all of: --prefix P, --type T, or --all", USAGE)
    settings = load(config)
    environment = environment_of(settings, miso)
    out = Output(as_json=as_json, quiet=quiet)
    scope = Scope(prefix or "", type_)
    files = files_of(paths, kind, file_format, None, environment)
    if any(file.source.once for file in files):
        fail("sync reads its files twice; give files, not a pipe", USAGE)
    for file in files:
        file.check = scope.within(file.check)
    chosen: Format | None = file_format.value if file_format else None
    here: set[str] = set()
    looked = look(files, chosen, lambda _: None, here.update)
    if not looked.read and all(file.whole for file in files):
        why = "the files hold no records, so a sync would delete everything: nothing was changed"
        fail(f"{why}. To delete all of them: misoflow ids, misoflow delete --ids-file", PART)
    # listed before the upload, so that what others add meanwhile is never taken for gone
    there = asyncio.run(_held(environment, type_))
    gone = scope.gone(there, here)
    size = scope.size(there)
    counts = {"scope": str(scope), "held": size, "gone": len(gone), "allowed": _most(max_delete, size), "deleted": 0}
    if dry_run:
        whole = not looked.bad and all(file.whole for file in files)
        raise typer.Exit(_foretold(out, counts, looked.delivered, looked.bad, whole=whole))
    check_bad_file(bad, files)
    folder = settings.data / "uploads"
    wanted = Wanted("products", files, environment, folder, format=chosen, bad=bad, again=True)
    code, summary = _uploaded(out, wanted)
    refusal = "nothing is deleted: the upload is not whole" if code != OK else ""
    refusal = refusal or _too_many(counts, yes, environment.name)
    if not refusal:
        _take_away(out, environment, gone)
        counts["deleted"] = len(gone)
    if as_json:
        out.json({**summary, "sync": counts})
    else:
        out.text(f"{_many(counts)} {'are gone' if refusal else 'deleted'}")
    if refusal:
        fail(refusal, PART)


async def _held(miso: MisoConfig, type_: str | None) -> list[str]:
    from misoflow.bulk import remote

    return [key async for key in remote.ids(miso, "products", type_)]


def _most(text: str, size: int) -> int:
    from misoflow.bulk.sync import allowed

    try:
        return allowed(text, size)
    except ValueError:
        fail(f"--max-delete {text!r}: write a share such as 20%, or a number", USAGE)


def _many(counts: dict[str, Any]) -> str:
    return f"{counts['gone']:,} of {counts['held']:,} {counts['scope']}"


def _foretold(out: Output, counts: dict[str, Any], good: int, bad: int, *, whole: bool) -> int:
    """What a dry run says; returns its exit code."""
    if out.as_json:
        out.json({"good": good, "bad": bad, "whole": whole, "sync": counts})
    else:
        out.text(f"{good:,} products would be sent, {bad:,} are bad")
        out.text(f"{_many(counts)} would be deleted, {counts['allowed']:,} may be")
    return OK if whole and counts["gone"] <= counts["allowed"] else PART


def _uploaded(out: Output, wanted: Wanted) -> tuple[int, dict[str, Any]]:
    """The upload's exit code and summary."""
    import asyncio

    from misoflow.bulk.upload import Upload

    for file in wanted.files:
        file.whole, file.problem = False, ""
    started = time.monotonic()
    running = asyncio.run(run_upload(out, Upload, wanted))
    summary = summary_of(wanted.kind, wanted.files, running, wanted.miso.name, time.monotonic() - started)
    return told(out, wanted.kind, wanted.files, running, summary), summary


def _too_many(counts: dict[str, Any], yes: bool, miso: str) -> str:
    """Why nothing may be deleted, or ""; a person at a terminal is asked."""
    if yes or counts["gone"] <= counts["allowed"]:
        return ""
    if sys.stdin.isatty():
        sure(f"Delete {_many(counts)} at Miso {miso}?", yes)
        return ""
    return f"nothing is deleted: {counts['allowed']:,} may be (--max-delete), or any number with --yes"


def _take_away(out: Output, miso: MisoConfig, gone: list[str]) -> None:
    import asyncio

    from misoflow.bulk import remote

    asyncio.run(remote.delete(miso, "products", gone, lambda done: deletion_told(out, done, len(gone))))
