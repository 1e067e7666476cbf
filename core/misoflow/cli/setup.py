"""Commands around plugins.toml: connectors, schema, check, config, version. ``init`` has its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from misoflow.cli.app import (
    CONFIG,
    DEFAULT_CONFIG,
    OK,
    USAGE,
    AsJson,
    ConfigFile,
    Quiet,
    app,
    fail,
    instance_names,
    load,
)
from misoflow.cli.output import Output

config_commands = typer.Typer(no_args_is_help=True, help="The settings file: check, show.")
app.add_typer(config_commands, name="config")


@app.command()
def version(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """The version of misoflow, of Python and of SQLite."""
    import platform
    from importlib.metadata import version as installed

    import apsw

    facts = {
        "misoflow": installed("misoflow"),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
    }
    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        out.json(facts)
    else:
        out.text("  ".join(f"{name} {number}" for name, number in facts.items()))


@app.command()
def connectors(
    name: Annotated[str | None, typer.Argument(help="Only this connector.")] = None,
    tier: Annotated[bool, typer.Option("--tier", help="Run their contract tests and compute their tiers.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="With --tier: the folder of a distribution's source.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Installed connectors and the instances that use them; imports none of them. With --tier, how far each is."""
    out = Output(as_json=as_json, quiet=quiet)
    if tier:
        from misoflow.cli.tiers import show

        show(name or "", folder, out)
    if folder is not None:
        fail("--dir is for --tier", USAGE)
    _listed(name or "", config, out)


def _listed(name: str, config: Path, out: Output) -> None:
    import tomllib

    from misoflow.registry import installed

    used: dict[str, list[str]] = {}
    try:
        tree = tomllib.loads(config.read_text("utf-8")).get("instances", {})
    except (OSError, ValueError):
        tree = {}  # listing what is installed needs no settings
    for instance, table in tree.items() if isinstance(tree, dict) else ():
        if isinstance(table, dict):
            used.setdefault(str(table.get("connector")), []).append(instance)
    known = installed()
    if name and name not in known:
        fail(f"there is no connector {name!r} (installed: {', '.join(known)})", USAGE)
    found = [one for one in known.values() if name in ("", one.name)]
    if out.as_json:
        for one in found:
            facts = {"name": one.name, "version": one.version, "distribution": one.distribution}
            rivals = {"rivals": list(one.rivals)} if one.rivals else {}
            out.json({**facts, **rivals, "instances": used.get(one.name, [])})
        return
    rows = [[one.name, one.version, _claimed(one), ", ".join(used.get(one.name, []))] for one in found]
    out.table(["name", "version", "distribution", "instances"], rows)


def _claimed(one: Any) -> str:
    """The distribution; several only where they quarrel about the name, so that it means none of them."""
    return " and ".join((one.distribution, *one.rivals)) + (" (uninstall all but one)" if one.rivals else "")


@app.command()
def schema(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """JSON Schema of the settings file, for editors; from the connectors that are installed."""
    import json

    from misoflow.schema import schema as build

    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        out.json(build())
    else:
        out.text(json.dumps(build(), indent=2))


@config_commands.command("check")
def config_check(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Read the file, resolve its references, hold every value against its rules; asks nobody else."""
    findings = Findings(Output(as_json=as_json, quiet=quiet))
    read_settings(config, findings)
    findings.end("the settings are in order")


@config_commands.command("show")
def config_show(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """The settings with references resolved and secrets masked."""
    import json

    from misoflow.config import masked

    shown = masked(load(config))
    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        out.json(shown)
    else:
        out.text(json.dumps(shown, indent=2, ensure_ascii=False, default=str))


class Findings:
    """What a check found: printed as it comes, and the exit code of the worst."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._code = OK

    def add(self, level: str, where: str, text: str, fix: str = "", code: int = OK) -> None:
        """``level`` is ok, warn or fail; the code of a fail is kept, a configuration's before others."""
        if level == "fail" and self._code != CONFIG:
            self._code = code
        if self._out.as_json:
            self._out.json({"level": level, "where": where, "text": text, "fix": fix or None})
            return
        self._out.text(f"{level:<4}  {where}: {text}")
        if fix:
            self._out.text(f"      do: {fix}")

    def end(self, praise: str) -> None:
        if self._code == OK:
            self._out.say(praise)
        raise typer.Exit(self._code)


def read_settings(config: Any, findings: Findings) -> Any:
    """The settings, with every warning and every broken instance among the findings."""
    settings = load(config)
    for where, text in settings.warnings:
        findings.add("warn", where, text)
    for error in settings.broken.values():
        findings.add("fail", error.where, error.problem, error.fix or f"mend {config.name}", CONFIG)
    if not settings.instances and not settings.broken:
        findings.add("warn", "instances", "there is none, so nothing is taken in", f"add one to {config.name}")
    return settings


@app.command()
def check(
    instance: Annotated[
        str | None, typer.Argument(help="Only this instance and its Miso environment.", autocompletion=instance_names)
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Settings, references and credentials: asks Miso and the platforms, changes nothing."""
    import asyncio

    findings = Findings(Output(as_json=as_json, quiet=quiet))
    settings = read_settings(config, findings)
    if instance is not None and instance not in settings.instances:
        if instance in settings.broken:
            findings.end("")
        fail(f"no instance {instance!r} in {config.name}", USAGE)
    chosen = [one for name, one in settings.instances.items() if instance in (None, name)]
    wanted = {one.miso for one in chosen} if instance else set(settings.miso)
    from misoflow.cli.asking import ask

    asyncio.run(ask(settings, chosen, wanted, findings))
    findings.end("all is well")
