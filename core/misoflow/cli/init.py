"""``misoflow init``: a first plugins.toml, by questions or by flags; a file that is there is never touched."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from misoflow.cli.app import CONFIG, DEFAULT_CONFIG, USAGE, AsJson, ConfigFile, Quiet, app, fail
from misoflow.cli.output import Output

MISO_URL = "https://api.askmiso.com"


@app.command()
def init(
    connector: Annotated[str | None, typer.Option(help="The platform's connector; see: misoflow connectors.")] = None,
    instance: Annotated[str | None, typer.Option(help="Name of the instance; its URL ends with it.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help='A setting of it, such as shared_secret={env="SECRET"}.'),
    ] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds Miso's API key.")] = None,
    api_url: Annotated[str | None, typer.Option(help="Miso's API, or a sandbox's address.")] = None,
    public_url: Annotated[str | None, typer.Option(help="How the platform reaches this machine.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take flags and defaults.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a first settings file."""
    if config.exists():
        fail(f"{config} is there already and stays as it is; change it by hand, or name another --config", CONFIG)
    ask = not yes
    if ask and not sys.stdin.isatty():
        fail("nobody to ask here: pass --yes, with flags for what should differ from the defaults", USAGE)
    from misoflow.cli.explaining import parse_settings
    from misoflow.errors import ConfigError
    from misoflow.registry import config_type, installed, load_connector

    names = list(installed())
    connector = _answer("Platform", connector, "segment" if "segment" in names else names[0], ask, names)
    try:
        model = config_type(load_connector(connector, "--connector"))
        settings = parse_settings(given or [])
    except ConfigError as error:
        fail(str(error), USAGE)
    instance = _answer("Name of the instance", instance, "web", ask)
    api_key_env = _answer("Environment variable with Miso's API key", api_key_env, "MISO_API_KEY", ask)
    api_url = _answer("Miso's API", api_url, MISO_URL, ask)
    public_url = _answer("How the platform reaches this machine, https://… (empty: not yet)", public_url, "", ask)
    for key in _open_secrets(model, settings):
        variable = _answer(f"Environment variable with {connector}'s {key}", None, f"{connector}_{key}".upper(), ask)
        settings[key] = {"env": variable}
    text = _text(connector, instance, settings, api_key_env, api_url, public_url)
    _write(config, text)
    _report(Output(as_json=as_json, quiet=quiet), config, instance, settings, api_key_env, public_url)


def _answer(question: str, given: str | None, default: str, ask: bool, choices: list[str] | None = None) -> str:
    if given is not None or not ask:
        return default if given is None else given
    shown = f"{question} ({', '.join(choices)})" if choices else question
    answer: str = typer.prompt(shown, default=default, err=True, show_default=bool(default))
    return answer


def _open_secrets(model: Any, settings: dict[str, Any]) -> list[str]:
    """Secrets that the file must name: the required ones, else the first, unless one is given."""
    secrets = {key: info for key, info in model.model_fields.items() if "SecretStr" in str(info.annotation)}
    required = [key for key, info in secrets.items() if info.is_required() and key not in settings]
    if required or any(key in settings for key in secrets):
        return required
    return list(secrets)[:1]


def _text(
    connector: str, instance: str, settings: dict[str, Any], api_key_env: str, api_url: str, public_url: str
) -> str:
    lines = [
        "# Settings of misoflow. What may stand here: misoflow schema. Is it right: misoflow check.",
        "",
        "[miso]",
        f"api_key = {toml_value({'env': api_key_env})}",
        *([f"api_url = {toml_value(api_url)}"] if api_url != MISO_URL else []),
        "",
        "[engine]",
        'data = "var"',
        *([f"public_url = {toml_value(public_url)}"] if public_url else []),
        "",
        f"[instances.{instance}]",
        f"connector = {toml_value(connector)}",
        *(f"{key} = {toml_value(value)}" for key, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A TOML value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | int | float) else f"{value}"


def _write(config: Path, text: str) -> None:
    try:
        with config.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        fail(f"{config}: {error.strerror}", CONFIG)


def _report(
    out: Output, config: Path, instance: str, settings: dict[str, Any], api_key_env: str, public_url: str
) -> None:
    variables = [api_key_env, *(one["env"] for one in settings.values() if isinstance(one, dict) and "env" in one)]
    url = f"{public_url.rstrip('/') or 'http://127.0.0.1:8400'}/hooks/{instance}"
    if out.as_json:
        out.json({"config": str(config), "instance": instance, "url": url, "variables": variables})
        return
    out.text(f"{config} is written; its deliveries go to {url}")
    out.say(f"set {', '.join(variables)}; then: misoflow check, and misoflow run")
