"""Writes the command reference in docs/cli.md, below its marker, from the commands themselves.

python -m tools.cli_docs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from misoflow.cli import app

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
MARKER = "<!-- from here on: python -m tools.cli_docs -->\n"
COMMON = ("config", "as_json", "quiet", "help")


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    yield from _below(typer.main.get_command(app), "")


def _below(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "commands"):
            yield from _below(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def reference() -> str:
    """The reference as Markdown."""
    return "\n".join(_section(name, command) for name, command in commands())


def _section(name: str, command: Any) -> str:
    lines = [f"## misoflow {name}", "", command.help.strip(), "", "```", usage(name, command), "```", ""]
    rows = [_row(parameter) for parameter in command.params if parameter.name not in COMMON]
    own = {parameter.name: parameter for parameter in command.params}
    if "config" in own and own["config"].default is None:
        rows.append(_row(own["config"]))
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def usage(name: str, command: Any) -> str:
    arguments = [_shown(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    return " ".join(["misoflow", name, *arguments, "[OPTIONS]"])


def _shown(argument: Any) -> str:
    name: str = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
        if not parameter.is_flag and parameter.metavar:
            name += f" {parameter.metavar}"
    default = parameter.default
    shown = f" Default: `{default}`." if isinstance(default, str | int) and not isinstance(default, bool) else ""
    return f"| `{name}` | {parameter.help or ''}{shown} |".replace("|-]", "\\|-]")


def main() -> None:
    head = PAGE.read_text("utf-8").partition(MARKER)[0]
    PAGE.write_text(head + MARKER + "\n" + reference(), "utf-8")


if __name__ == "__main__":
    main()
