"""``misoflow dead``: what could not be delivered, why, and what to do about it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from misoflow.cli.act import act, sure
from misoflow.cli.app import DEFAULT_CONFIG, OK, PART, USAGE, AsJson, ConfigFile, Quiet, app, fail, instance_names, load
from misoflow.cli.output import Output, moment, plural

dead = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, retry, discard.")
app.add_typer(dead, name="dead")

Numbers = Annotated[list[int] | None, typer.Argument(metavar="NUMBER...", help="Numbers of dead letters.")]
OfInstance = Annotated[
    str | None, typer.Option("--instance", help="All of this instance.", autocompletion=instance_names)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]

WHAT_TO_DO = {
    "reject": "mend it at the platform, or map it with [[instances.{instance}.rules]]; then: {retry}",
    "miso": "mend the value that Miso names, at the platform or with a rule; then: {retry}",
    "bug": "the connector has a fault; report it with the output of --as-sample, update it, then: {retry}",
    "poison": "the connector hangs or crashes on it; report it with the output of --as-sample, then: {retry}",
}


@dead.command("list")
def list_(
    instance: OfInstance = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    after: Annotated[int, typer.Option(help="Those after this number.")] = 0,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Dead letters, oldest first; never their contents."""
    out = Output(as_json=as_json, quiet=quiet)
    letters = _read(load(config), instance=instance, limit=limit, after=after)
    if as_json:
        for letter in letters:
            out.json(_facts(letter))
        return
    rows = [
        [letter.id, letter.instance, letter.topic, letter.kind, moment(letter.created), _why(letter)]
        for letter in letters
    ]
    if rows:
        out.table(["number", "instance", "topic", "kind", "since", "why"], rows)
    else:
        out.say("no dead letters")
    if len(letters) == limit:
        out.say(f"more may follow: misoflow dead list --after {letters[-1].id}")


@dead.command()
def show(
    number: Annotated[int, typer.Argument(help="Number of the dead letter.")],
    raw: Annotated[bool, typer.Option("--raw", help="The event as it came, personal data included.")] = False,
    as_sample: Annotated[
        bool, typer.Option("--as-sample", help="A sample file for the connector's tests, personal data replaced.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """One dead letter: why, what to do, and on demand what it holds."""
    settings = load(config)
    letters = _read(settings, ids=[number])
    if not letters:
        fail(f"{number} is no dead letter; see: misoflow dead list", USAGE)
    from misoflow.cli import sampling
    from misoflow.pipeline import unpack

    letter = letters[0]
    packed = unpack(letter.raw)
    out = Output(as_json=as_json, quiet=quiet)
    if as_sample:
        _sample(out, letter, packed, settings)
        return
    contents = sampling.contents(packed)
    if raw and not as_json:
        out.text(contents if isinstance(contents, str) else _pretty(contents))
    elif as_json:
        until = letter.created + settings.engine.dead_days * 86_400_000
        facts = {**_facts(letter), "event_id": packed.id, "received": packed.received, "kept_until": until}
        facts["raw_bytes"] = _size(packed)
        out.json({**facts, "raw": contents} if raw else facts)
    else:
        _show(out, letter, packed, settings)


def _show(out: Output, letter: Any, packed: Any, settings: Any) -> None:
    until = moment(letter.created + settings.engine.dead_days * 86_400_000)[:10]
    retry = f"misoflow dead retry {letter.id}"
    known = WHAT_TO_DO.get(letter.kind, "then: {retry}")
    out.text(f"{letter.id}  {letter.instance}  {letter.topic}  {packed.id}  {moment(packed.received)}")
    out.text(f"why   {_why(letter)}")
    if letter.in_flight:
        out.text("do    other records of this event are still on their way; look again in a minute")
    else:
        out.text(f"do    {known.format(instance=letter.instance.partition('/')[0], retry=retry)}")
    shows = "--raw shows them, --as-sample makes a test"
    out.text(f"raw   {plural(_size(packed), 'byte')}, kept until {until} ({shows})")


def _sample(out: Output, letter: Any, packed: Any, settings: Any) -> None:
    """The sample, and whether it still shows what the letter died of."""
    from misoflow.cli import sampling
    from misoflow.instances import Instances

    made = sampling.from_letter(packed, _why(letter))
    if out.as_json:
        out.json(made)
    else:
        out.text(_pretty(made))
    instance = Instances(settings).get(letter.instance)
    if letter.kind == "reject" and instance is not None:
        found = sampling.explain_sample(instance.connector, made, instance)["events"]
        reason = sampling.LINE.sub("", letter.reason)
        if not any(sampling.LINE.sub("", event["reason"] or "") == reason for event in found):
            out.say("today's code, or the replaced values, do not show this fault any more")


@dead.command()
def retry(
    numbers: Numbers = None,
    instance: OfInstance = None,
    every: Annotated[bool, typer.Option("--all", help="All of all instances.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Dead letters through today's code and settings."""
    if sum((bool(numbers), instance is not None, every)) != 1:
        fail("name numbers, or --instance, or --all", USAGE)
    out = Output(as_json=as_json, quiet=quiet)
    done = act(load(config), "dead.retry", ids=numbers or None, instance=instance)
    if as_json:
        out.json(done)
    else:
        states = ", ".join(f"{n:,} {state}" for state, n in sorted(done["states"].items()))
        out.text(f"{plural(done['tried'], 'dead letter')} tried again: {states or 'nothing to do'}")
        if done["states"].get("dead"):
            out.say("what is dead again has a new number: misoflow dead list")
    raise typer.Exit(PART if done["states"].get("dead") else OK)


@dead.command()
def discard(
    numbers: Annotated[list[int], typer.Argument(metavar="NUMBER...", help="Numbers of dead letters.")],
    reason: Annotated[str, typer.Option(help="Why; it stays with the event.")] = "discarded by a person",
    yes: Yes = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Give dead letters up for good: their events count as skipped, their contents are deleted."""
    settings = load(config)
    sure(f"Discard {plural(len(numbers), 'dead letter')} for good?", yes)
    done = act(settings, "dead.discard", ids=numbers, reason=reason)
    out = Output(as_json=as_json, quiet=quiet)
    if as_json:
        out.json(done)
    else:
        out.text(f"{plural(done['discarded'], 'dead letter')} discarded")
    raise typer.Exit(OK if done["discarded"] == len(set(numbers)) else PART)


def _read(settings: Any, **which: Any) -> list[Any]:
    from misoflow.status import dead_letters
    from misoflow.vault import Vault

    return dead_letters(settings, Vault.from_settings(settings), **which)


def _why(letter: Any) -> str:
    return letter.reason if letter.path in ("", "$") else f"{letter.path}: {letter.reason}"


def _facts(letter: Any) -> dict[str, Any]:
    names = ("id", "instance", "topic", "kind", "reason", "path", "created", "in_flight")
    return {name: getattr(letter, name) for name in names}


def _size(packed: Any) -> int:
    return len(packed.body if packed.body is not None else packed.data)


def _pretty(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=2)
