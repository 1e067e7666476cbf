"""Commands for authors of connectors: new and dev."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from misoflow.cli.app import CONFIG, DEFAULT_CONFIG, USAGE, AsJson, ConfigFile, Quiet, app, fail
from misoflow.cli.output import Output
from misoflow.cli.trial import sample_of


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The platform's name: lower-case letters, digits, underscores.")],
    webhook: Annotated[
        bool, typer.Option("--webhook", help="It takes deliveries; so it is when neither is given.")
    ] = False,
    backfill: Annotated[bool, typer.Option("--backfill", help="It pulls history.")] = False,
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to make the distribution's folder.")] = (
        Path()
    ),
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a connector of your own: a distribution to install, with tests that are green at once."""
    from misoflow.scaffold import Refused, Scaffold

    scaffold = Scaffold(name, webhook=webhook or not backfill, backfill=backfill)
    try:
        made = scaffold.write(folder)
    except Refused as error:
        fail(str(error), USAGE)
    out = Output(as_json=as_json, quiet=quiet)
    written = sorted(scaffold.files())
    if as_json:
        out.json({"folder": str(made), "distribution": scaffold.distribution, "files": written})
        return
    for path in written:
        out.text(str(made / path))
    out.say(f"now: cd {made} && pip install -e '.[test]' && pytest; then misoflow dev .")


@app.command()
def dev(
    target: Annotated[
        str, typer.Argument(metavar="PATH|NAME", help="A distribution's folder, a module's file, or an installed name.")
    ],
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; secrets have stand-ins.")
    ] = None,
    send: Annotated[
        str | None,
        typer.Option("--send", metavar="TOPIC", help="Send the connector's sample at the start and after each save."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Keep each delivery as a sample file, personal data replaced."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on this machine; 0 for a free one.")] = 8400,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Receive on this machine with a connector under work: shows what comes of each delivery, reloads on save."""
    from misoflow.cli import dev as session
    from misoflow.cli.process import entry_point
    from misoflow.cli.workbench import Workbench, find, in_words, temporary_folder
    from misoflow.errors import ConfigError

    with temporary_folder() as folder:
        try:
            bench = Workbench(find(target), given or [], Path(folder))
        except ConfigError as error:
            fail(in_words(error), USAGE)
        if not bench.takes_deliveries:
            fail(f"{bench.source.name} takes no deliveries; pytest tries its history", USAGE)
        if send is not None:
            sample_of(bench.instance.connector, send)
        try:
            shown = session.Session(bench, Output(as_json=as_json, quiet=quiet), send, save)
            code = session.run(shown, bench, port, entry_point("dev"))
        except OSError as error:
            fail(f"cannot listen on port {port}: {error.strerror or error}; choose another with --port", CONFIG)
    raise typer.Exit(code)
