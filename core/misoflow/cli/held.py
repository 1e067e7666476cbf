"""The commands about what Miso holds: get, ids, delete."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from misoflow.cli.act import Yes, sure
from misoflow.cli.app import DEFAULT_CONFIG, PART, USAGE, AsJson, ConfigFile, Quiet, app, fail, load
from misoflow.cli.bulk import Kind, KindOf, MisoName, environment_of
from misoflow.cli.output import Output, plural

if TYPE_CHECKING:
    from misoflow.config import MisoConfig

DatasetOf = Annotated[Kind, typer.Argument(metavar="KIND", help="products or users.")]


def _dataset(kind: Kind) -> None:
    if kind is Kind.interactions:
        fail("Miso gives no interactions back; name products or users", USAGE)


def _id_sent(environment: MisoConfig, kind: Kind, key: str) -> str:
    """The id as Miso knows it: users of an environment that hashes them are named plainly."""
    from misoflow.instances import hashed, user_key

    secret = user_key(environment) if kind is not Kind.products else None
    return hashed(secret, key) if secret else key


@app.command()
def get(
    kind: DatasetOf,
    key: Annotated[str, typer.Argument(metavar="ID", help="Its id.")],
    miso: MisoName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """One product or user as Miso holds it, as JSON."""
    import asyncio

    _dataset(kind)
    environment = environment_of(load(config), miso)
    from misoflow.bulk import remote

    found = asyncio.run(remote.get(environment, kind.value, _id_sent(environment, kind, key)))
    if found is None:
        fail(f"Miso {environment.name} has no such {kind.removesuffix('s')}: {key}", PART)
    print(json.dumps(found, indent=2 if sys.stdout.isatty() and not as_json else None))


@app.command()
def ids(
    kind: DatasetOf,
    type_: Annotated[str | None, typer.Option("--type", help="Only products of this type.")] = None,
    miso: MisoName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Every id that Miso holds, one a line."""
    import asyncio

    _dataset(kind)
    if type_ is not None and kind is not Kind.products:
        fail("--type is for products", USAGE)
    environment = environment_of(load(config), miso)
    from misoflow.bulk import remote

    async def show(found: AsyncIterator[str]) -> None:
        start = "[" if as_json else ""
        async for key in found:
            print(f"{start}{json.dumps(key)}" if as_json else line_of(key), end="" if as_json else "\n")
            start = ",\n"
        if as_json:
            print("[]" if start == "[" else "]")

    asyncio.run(show(remote.ids(environment, kind.value, type_)))


def line_of(key: str) -> str:
    """An id on a line of its own; what would not be one line is a JSON string, which ``--ids-file`` reads too."""
    return key if key.isprintable() and key == key.strip() and not key.startswith('"') else json.dumps(key)


def id_of(line: str) -> str:
    """The id that ``line_of`` wrote."""
    if line.startswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(line))
    return line


@app.command()
def delete(
    kind: KindOf,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Ids; interactions: user ids.")] = None,
    ids_file: Annotated[Path | None, typer.Option("--ids-file", metavar="FILE", help="Ids, one a line.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    yes: Yes = False,
    miso: MisoName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Delete products, users, or all interactions of users at Miso. It cannot be undone."""
    import asyncio

    wanted = list(dict.fromkeys([*(keys or []), *_listed(ids_file)]))
    if not wanted:
        fail("name the ids, or a file of them with --ids-file", USAGE)
    environment = environment_of(load(config), miso)
    what = f"the interactions of {plural(len(wanted), 'user')}"
    if kind is not Kind.interactions:
        what = plural(len(wanted), kind.removesuffix("s"))
    out = Output(as_json=as_json, quiet=quiet)
    if not dry_run:
        sure(f"Delete {what} at Miso {environment.name}? This cannot be undone.", yes)
        from misoflow.bulk import remote

        sent = [_id_sent(environment, kind, key) for key in wanted]
        asyncio.run(remote.delete(environment, kind.value, sent, lambda done: deletion_told(out, done, len(sent))))
    if as_json:
        out.json({"kind": kind, "miso": environment.name, "ids": len(wanted), "deleted": not dry_run})
    else:
        out.text(f"{what}: {'would be deleted' if dry_run else 'deleted'}")


def _listed(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}", USAGE)
    return [id_of(line.strip()) for line in text.split("\n") if line.strip()]


def deletion_told(out: Output, done: int, total: int) -> None:
    if done < total:
        out.say(f"{done:,} of {total:,} deleted")
