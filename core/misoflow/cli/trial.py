"""Commands to try things with: explain, simulate, sandbox, demo. None of them touches Miso itself."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from misoflow.cli.app import (
    CONFIG,
    DEFAULT_CONFIG,
    OK,
    PART,
    UNAVAILABLE,
    USAGE,
    AsJson,
    ConfigFile,
    Quiet,
    app,
    fail,
    instance_names,
    load,
)
from misoflow.cli.output import Output, printable


@app.command()
def explain(
    connector: Annotated[str, typer.Argument(help="A connector, or an instance of the settings file.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE|-]", help="A request's body, or a sample file; - or none: input.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="FILE is the data of one event of this topic; without FILE: a sample of it.")
    ] = None,
    path: Annotated[str, typer.Option(help="Path below /hooks/<instance> the body was sent to.")] = "",
    given: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The settings file; else plugins.toml, if there is one."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What a payload would become, and why; sends nothing and needs no settings file."""
    from msgspec.structs import replace

    from misoflow.cli import explaining
    from misoflow.connector import Event

    made, instance = _subject(connector, given or [], config)
    body = _payload(file)
    if body is None and topic is None:
        fail("give a file, pipe a payload in, or name a --topic to see a sample", USAGE)
    if body is None:
        sample = replace(sample_of(made, topic or ""), received_at=datetime.now(UTC))
        found = explaining.explain(made, sample, instance)
    elif topic is None:
        found = _explain_body(made, body, path, instance)
    else:
        request = explaining.request_of(made, body, path)
        event = Event("explain", topic, _json(body))
        found = {"events": [explaining.explain_event(made, event, request.received_at, instance)]}
    explained(Output(as_json=as_json, quiet=quiet), found)


def _explain_body(connector: Any, body: bytes, path: str, instance: Any) -> dict[str, Any]:
    """Of a request's body, or of a sample file that holds one."""
    import msgspec

    from misoflow.cli import explaining, sampling

    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        content = None
    if not path and sampling.is_sample(content):
        return sampling.explain_sample(connector, content, instance)
    return explaining.explain(connector, explaining.request_of(connector, body, path), instance)


def _subject(name: str, given: list[str], config: Path | None) -> tuple[Any, Any]:
    """A connector, and the instance it belongs to where ``name`` is one's."""
    from misoflow.instances import Instance
    from misoflow.registry import installed, look_in

    if config is None and ":" not in name and name not in installed() and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    if config is None:
        look_in(Path())
        return _connector(name, given), None
    settings = load(config)
    if name not in settings.instances and name not in settings.broken:
        return _connector(name, given), None
    if given:
        fail(f"--set is for a connector; {name} is an instance: change {config.name}", USAGE)
    one = _instance(settings, name, config)
    instance = Instance(name, one, settings.miso[one.miso])
    return instance.connector, instance


def _connector(name: str, given: list[str]) -> Any:
    from misoflow.cli import explaining
    from misoflow.errors import ConfigError
    from misoflow.registry import config_type, load_connector
    from misoflow.rules import Rules

    try:
        tree = explaining.parse_settings(given)
        rules = Rules.compile(tree.pop("rules", []), where="--set rules", hash_key=None)
        kind = load_connector(name, "CONNECTOR")
        made = kind(explaining.settings_for(config_type(kind), tree, "--set"))
    except ConfigError as error:
        fail(str(error), USAGE)
    made.rules = rules
    return made


def _instance(settings: Any, name: str, config: Path) -> Any:
    """The configured instance; ends the command when there is none of that name, or it is broken."""
    if name in settings.broken:
        raise settings.broken[name]
    if name not in settings.instances:
        fail(f"no instance {name!r} in {config.name}; there are: {', '.join(settings.instances) or 'none'}", USAGE)
    return settings.instances[name]


def _ready_made(instance: Any) -> Any:
    from misoflow.registry import load_connector

    made = load_connector(instance.connector)(instance.config)
    made.rules = instance.rules
    return made


def _payload(file: Path | None) -> bytes | None:
    """The file's bytes, or standard input's unless a person sits there; None for nothing."""
    if file is None or str(file) == "-":
        if file is None and sys.stdin.isatty():
            return None
        return sys.stdin.buffer.read() or None
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}", USAGE)


def _json(body: bytes) -> Any:
    from misoflow.connector import Request
    from misoflow.errors import Reject

    try:
        return Request(body).json()
    except Reject as error:
        fail(error.reason, USAGE)


def sample_of(connector: Any, topic: str) -> Any:
    """The connector's sample; ends the command when it has none of that topic."""
    try:
        return connector.sample(topic)
    except LookupError:
        known = ", ".join(connector.topics) or "none"
        fail(f"the connector has no sample of {topic!r}; its topics: {known}", USAGE)


def explained(out: Output, found: dict[str, Any]) -> None:
    """Print what ``explain`` found."""
    import json

    if out.as_json:
        out.json(found)
        return
    for event in found["events"]:
        out.text(f"{event['topic']}  {event['id']}  {event['outcome']}")
        if event["reason"]:
            where = f"{event['path']}: " if event["path"] else ""
            out.text(f"  why  {where}{event['reason']}")
        for effect in event["effects"]:
            out.text(f"  {effect}")
        for one in event["records"]:
            text = json.dumps(one["record"], ensure_ascii=False, indent=2)
            out.text(f"  {one['kind']} " + text.replace("\n", "\n  "))
    if not found["events"]:
        out.say("no events in it")


@app.command()
def simulate(
    instance: Annotated[str, typer.Argument(help="Name of the instance.", autocompletion=instance_names)],
    topic: Annotated[str | None, typer.Argument(help="Which sample; else the connector's first.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Send this many.")] = 1,
    url: Annotated[str | None, typer.Option(help="Where the receiver listens; else as it said at its start.")] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="For a receiver that is just starting.")] = 10.0,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Send a genuinely signed sample to the running receiver."""
    settings = load(config)
    made = _ready_made(_instance(settings, instance, config))
    topic = topic or (made.topics[0] if made.topics else "")
    from misoflow import simulate as sending

    sample_of(made, topic)  # a topic that there is none of is said before anybody waits
    out = Output(as_json=as_json, quiet=quiet)
    base = sending.listening(settings, url, wait, out.say)
    refused = 0
    for _ in range(count):
        try:
            answer = sending.send(base, instance, sample_of(made, topic))
        except OSError as error:
            reason = error.strerror or str(error)
            fail(f"{base} does not answer ({reason}); start it with: misoflow run", UNAVAILABLE)
        refused += not 200 <= answer.status < 300
        if as_json:
            out.json({"url": answer.url, "topic": topic, "status": answer.status, "answer": answer.body})
        else:
            out.text(f"{topic}  POST {answer.url}  {answer.status} {printable(answer.body)}")
    if refused:
        out.say("refused; if the settings changed, start misoflow again, then: misoflow check")
    raise typer.Exit(PART if refused else OK)


SANDBOXES = {"miso": ("sandbox", 8600), "mixpanel": ("sandbox.mixpanel", 8610), "shopify": ("sandbox.shopify", 8620)}
"""Stand-in -> its entry point and usual port."""


@app.command()
def sandbox(
    platform: Annotated[
        str,
        typer.Argument(help="miso, mixpanel for a project to pull history from, or shopify for a shop to install in."),
    ] = "miso",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port; 0 for a free one. By default 8600, 8610 for mixpanel, 8620 for shopify.")
    ] = None,
    api_key: Annotated[str, typer.Option(help="The key that is right.")] = "sandbox",
    store_wire: Annotated[bool, typer.Option("--store-wire", help="Keep the bytes of every request.")] = False,
    count_only: Annotated[
        bool, typer.Option("--count-only", help="Count interactions instead of keeping them.")
    ] = False,
    task_delay: Annotated[float, typer.Option(help="Seconds until the task of an upload is done.")] = 0.0,
    days: Annotated[int, typer.Option(help="Of a Mixpanel project: days up to yesterday.")] = 30,
    per_day: Annotated[int, typer.Option(help="Of a Mixpanel project: events a day.")] = 1000,
    public_url: Annotated[
        str, typer.Option(help="Of a Shopify app: where misoflow is, with an instance named shop.")
    ] = "http://127.0.0.1:8400",
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A stand-in for Miso's API on this machine (or for a platform's), for people without a key and for tests."""
    from misoflow.cli.process import entry_point

    out = Output(as_json=as_json, quiet=quiet)

    def ready(url: str) -> None:
        if as_json:
            out.json({"ready": {"url": url}})
        else:
            out.text(f"ready {url}")

    if platform not in SANDBOXES:
        fail(f"no sandbox {platform!r}; choose one of {', '.join(SANDBOXES)}", USAGE)
    name, usual = SANDBOXES[platform]
    try:
        server = entry_point(name)
    except ModuleNotFoundError as error:
        fail(f"this sandbox needs {error.name}; do: pip install 'misoflow[{platform}]'", CONFIG)
    port = usual if port is None else port
    try:
        if platform == "mixpanel":
            server(host, port, days=days, per_day=per_day, ready=ready)
        elif platform == "shopify":
            server(host, port, public_url, ready=ready)
        else:
            server(host, port, api_key, None, store_wire, keep=not count_only, task_delay=task_delay, ready=ready)
    except SystemExit:
        fail(f"cannot listen on {host}, port {port}; choose another with --port", CONFIG)


@app.command()
def demo(
    shopify: Annotated[
        bool, typer.Option("--shopify", help="Install the app in a shop, sell for a day, refund, uninstall, erase.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --shopify: click Install by itself.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A Segment shop session through everything, on this machine only; reads and leaves no file."""
    from misoflow.cli.demo import show, show_shopify

    out = Output(as_json=as_json, quiet=quiet)
    raise typer.Exit(show_shopify(out, by_itself=yes) if shopify else show(out))
