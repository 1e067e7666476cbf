"""The application object, the options every command has, and how errors become exit codes."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from misoflow.errors import ConfigError, Halt, MisoflowError, Retry
from misoflow.supervisor import Parent

OK, PART, USAGE, DATA, UNAVAILABLE, LATER, CONFIG = 0, 1, 2, 65, 69, 75, 78

ORDER = (
    *("demo", "init", "check", "run", "serve", "work"),
    *("suggest-mapping", "backfill", "slices"),
    *("upload", "validate", "sync", "get", "ids", "delete"),
    *("singer-tap", "singer-target"),
    *("status", "installs", "tail", "dead", "explain", "simulate", "replay"),
    *("forget", "erase", "pause", "resume", "repair"),
    *("new", "dev"),
    *("connectors", "config", "schema", "sandbox", "version"),
)
"""Of the commands in ``--help``: what a new user needs comes first."""

DEFAULT_CONFIG = Path("plugins.toml")

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, with stable keys.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No messages on standard error.")]


_config: ContextVar[Path] = ContextVar("config", default=DEFAULT_CONFIG)
"""Which file an error is about."""


class Commands(TyperGroup):
    """A group whose commands may raise misoflow's errors: each becomes one line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            fail(config_line(error), CONFIG)
        except Halt as error:
            fail(f"{error.reason}; {error.fix}", CONFIG)
        except Retry as error:
            fail(f"{error.reason}; try again later", UNAVAILABLE)
        except MisoflowError as error:
            fail(str(error), PART)


def config_line(error: ConfigError) -> str:
    """``plugins.toml: <TOML path>: problem``."""
    file = _config.get()
    where = "" if error.where in ("", str(file)) else f"{error.where}: "
    fix = f"; {error.fix}" if error.fix else ""
    return f"{file.name}: {where}{error.problem}{fix}"


parent: Parent | None = None
"""Set in a child of ``run``: its last words go there, so that a person reads them once."""


def fail(why: str, code: int) -> NoReturn:
    """End the command: one line on standard error (or to the parent), and an exit code."""
    if parent is not None:
        parent.failed(why)
    else:
        print(why, file=sys.stderr)
    raise typer.Exit(code)


def about(config: Path) -> None:
    """Errors from here on are about this file."""
    _config.set(config)


def load(config: Path) -> Any:
    """The settings in ``config``; ConfigError when they cannot be used."""
    about(config)
    from misoflow import config as configuration

    return configuration.load(config)


def instance_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of instances for the shell's completion, from the settings file."""
    import tomllib

    try:
        tree = tomllib.loads(Path(ctx.params.get("config") or DEFAULT_CONFIG).read_text("utf-8"))
        return [name for name in tree.get("instances", {}) if name.startswith(incomplete)]
    except (OSError, ValueError, AttributeError):
        return []


app = typer.Typer(
    name="misoflow",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Brings what happens on a site into Miso as interactions, products and users.",
)
