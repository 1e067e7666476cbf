"""The commands that stay: run, serve, work; and what a process of misoflow needs at its start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from misoflow.cli import app as cli
from misoflow.cli.app import CONFIG, DEFAULT_CONFIG, AsJson, ConfigFile, Quiet, app, fail, load
from misoflow.cli.output import Output

Host = Annotated[str | None, typer.Option(help="Address of the public listener; else [engine] host, 127.0.0.1.")]
Port = Annotated[
    int | None, typer.Option(help="Port of the public listener; 0 for a free one; else [engine] port, 8400.")
]
AdminPort = Annotated[
    int | None,
    typer.Option(help="Port of the admin listener (loopback); 0 for a free one; else [engine] admin_port, 8401."),
]


@app.command()
def run(
    host: Host = None,
    port: Port = None,
    admin_port: AdminPort = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take in, translate and deliver: runs serve and work, and starts either again."""
    from misoflow import supervisor

    raise typer.Exit(supervisor.run(config, host=host, port=port, admin_port=admin_port, as_json=as_json, quiet=quiet))


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    admin_port: AdminPort = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Only receive: webhooks to the inbox on disk."""
    settings = _start(config, "serve.lock", quiet)
    server = entry_point("serve")
    host = settings.engine.host if host is None else host
    port = settings.engine.port if port is None else port
    admin_port = settings.engine.admin_port if admin_port is None else admin_port

    def ready(url: str, admin: str) -> None:
        remember(settings.data, url, admin)
        _ready(Output(as_json=as_json, quiet=quiet), url=url, admin=admin)

    try:
        code = server(settings, host=host, port=port, admin_port=admin_port, ready=ready)
    except OSError as error:
        fail(f"cannot listen on {host}, ports {port} and {admin_port}: {error.strerror or error}", CONFIG)
    raise typer.Exit(code)


@app.command()
def work(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Only translate and deliver what is in the inbox."""
    settings = _start(config, "work.lock", quiet)
    from misoflow import engine

    raise typer.Exit(engine.run(settings, ready=lambda: _ready(Output(as_json=as_json, quiet=quiet))))


def _start(config: Path, lock: str, quiet: bool) -> Any:
    """Settings and logs of a process that stays; in a child of ``run`` the tie to its parent too."""
    from misoflow.supervisor import Parent

    cli.parent = Parent.from_environment()
    settings = load(config)
    if cli.parent is not None:
        cli.parent.watch()
        _wait_for_orphan(settings.data / lock)
    start_logs(settings, quiet)
    return settings


def start_logs(settings: Any, quiet: bool) -> None:
    """Log lines on standard error, with every secret of the settings masked in them."""
    import logging

    from misoflow import logs

    for secret in _secrets(
        [settings.engine, *settings.miso.values(), *(one.config for one in settings.instances.values())]
    ):
        logs.register_secret(secret)
    logs.setup(settings.engine.log_format, logging.WARNING if quiet else logging.INFO)


def _secrets(value: Any) -> Iterator[str]:
    """Every secret below a value of the settings, so that no log line can hold one."""
    from pydantic import BaseModel, SecretStr

    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for _, item in value:
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)


def _wait_for_orphan(lock: Path) -> None:
    """After a kill of ``run`` its children end within seconds; a new one's must not give up before that."""
    import fcntl

    from misoflow.supervisor import ORPHAN_SECONDS

    deadline = time.monotonic() + 2 * ORPHAN_SECONDS
    while lock.exists() and time.monotonic() < deadline:
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.05)
            else:
                return


def _ready(out: Output, **urls: str) -> None:
    if cli.parent is not None:
        cli.parent.ready(**urls)
    elif out.as_json:
        out.json({"ready": urls})
    else:
        out.text(f"ready {urls['url']}" if urls else "ready")
        if urls:
            out.say(f"admin {urls['admin']}")


def entry_point(name: str) -> Callable[..., int]:
    """A server of another distribution or source root: core imports none of them."""
    from importlib.metadata import entry_points

    for point in entry_points(group="misoflow.servers", name=name):
        found: Callable[..., int] = point.load()
        return found
    fail(f"the server {name!r} is not installed; do: pip install misoflow", CONFIG)


def remember(data: Path, url: str, admin: str) -> None:
    """Where the receiver listens, for commands on this machine."""
    (data / "serve.json").write_text(json.dumps({"url": url, "admin": admin}), "utf-8")
