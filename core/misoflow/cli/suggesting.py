"""The command that proposes a mapping; nothing that it writes is in use before a person has moved it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from misoflow.cli.app import DEFAULT_CONFIG, USAGE, AsJson, ConfigFile, Quiet, app, fail, instance_names, load
from misoflow.cli.output import Output, plural


@app.command("suggest-mapping")
def suggest_mapping(
    instance: Annotated[str, typer.Argument(help="Name of the instance.", autocompletion=instance_names)],
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write here; never over a file.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look at event names and properties, and propose rules for review; applies nothing."""
    import asyncio

    from misoflow.suggest import written

    settings = load(config)
    if instance not in settings.instances:
        if instance in settings.broken:
            raise settings.broken[instance]
        fail(f"no instance {instance!r} in {config.name}", USAGE)
    if file is not None and file.exists():
        fail(f"{file} exists already; name another file", USAGE)
    found = asyncio.run(_found(settings.instances[instance]))
    out = Output(as_json=as_json, quiet=quiet)
    text = written(instance, found)
    if file is not None:
        _write(file, text)
        out.say(f"{plural(len(found), 'event name')} in {file}; read it before you use any of it")
    elif as_json:
        for one in found:
            out.json({"name": one.name, "count": one.count, "type": one.type or None, "fields": dict(one.fields)})
    else:
        for line in text.removesuffix("\n").split("\n"):
            out.text(line)


async def _found(instance: Any) -> list[Any]:
    from misoflow.budget import Unmetered
    from misoflow.http import Http
    from misoflow.registry import load_connector
    from misoflow.suggest import Suggests

    connector = load_connector(instance.connector)(instance.config)
    if not isinstance(connector, Suggests):
        fail(f"the connector {instance.connector!r} has nothing to propose: its event names are fixed", USAGE)
    connector.http, connector.budget = Http(), Unmetered()
    try:
        return await connector.suggest()
    finally:
        await connector.http.close()


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as made:
            made.write(text)
    except OSError as error:
        fail(f"{file}: {error.strerror}", USAGE)
