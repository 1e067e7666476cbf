"""What a payload would become: the pure stages of one connector, without files, network or settings file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from misoflow.connector import Config, Connector, Event, Request
from misoflow.effects import (
    Absent,
    Alias,
    Disconnect,
    Erase,
    Fetch,
    Group,
    Known,
    LateId,
    Latest,
    Listing,
    Merge,
    Once,
    Pull,
    Skip,
)
from misoflow.encode import encode
from misoflow.errors import ConfigError, Reject
from misoflow.instances import Instance
from misoflow.pipeline import DELIVERY, HOOKED_AWAY, describe, stamped
from misoflow.records import ForgetUser, Interaction, Product, RemoveProduct, RemoveUser, User

KINDS: dict[type, str] = {
    Product: "product",
    User: "user",
    ForgetUser: "forget_user",
    RemoveProduct: "remove_product",
    RemoveUser: "remove_user",
}
STAND_IN = "a-stand-in-for-a-secret-that-explain-does-not-need"
"""With the setting's name behind it, as no two secrets are the same."""


def explain(connector: Connector[Any], request: Request, instance: Instance | None = None) -> dict[str, Any]:
    """``{"events": [...]}`` of a request body, as the engine would split and translate it.

    With an ``instance`` what the engine applies around its connector too: hook, ``drop``, the form of user ids.
    """
    try:
        events = [stamped(event, request.received_at) for event in connector.events(request)]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"events": [_outcome("", DELIVERY, "rejected", *_reason(error))]}
    return {"events": [explain_event(connector, event, request.received_at, instance) for event in events]}


def explain_event(
    connector: Connector[Any], event: Event, received_at: datetime | None, instance: Instance | None = None
) -> dict[str, Any]:
    """One event's outcome with its records; a bad record rejects the event, as in the engine."""
    stamped = Event(event.id, event.topic, event.data, event.received_at or received_at)
    records: list[dict[str, Any]] = []
    effects: list[str] = []
    reason = None
    try:
        hooked = [stamped] if instance is None else instance.hooked(stamped)
        reason = None if hooked else HOOKED_AWAY
        for output in (output for one in hooked for output in connector.translate(one)):
            if isinstance(output, Skip):
                reason = reason or output.reason
            elif (kind := _dropped(output, instance)) is not None:
                reason = reason or f"this instance drops {kind}"
            else:
                records += _records(output, instance)
                effects += _effects(output)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _outcome(event.id, event.topic, "rejected", *_reason(error))
    if records or effects:
        return _outcome(event.id, event.topic, "translated", reason, None, records, effects)
    return _outcome(event.id, event.topic, "skipped", reason or "the connector makes nothing of it", None)


def _dropped(output: Any, instance: Instance | None) -> str | None:
    """The type of an interaction that the instance does not send."""
    record = output.record if isinstance(output, Once | Known) else output
    if instance is None or not isinstance(record, Interaction):
        return None
    kind = str(record.__struct_config__.tag)
    return kind if kind in instance.drop else None


def _outcome(
    event_id: str,
    topic: str,
    outcome: str,
    reason: str | None,
    path: str | None,
    records: list[dict[str, Any]] | None = None,
    effects: list[str] | None = None,
) -> dict[str, Any]:
    return {
        "id": event_id,
        "topic": topic,
        "outcome": outcome,
        "reason": reason,
        "path": path,
        "records": records or [],
        "effects": effects or [],
    }


def _reason(error: BaseException) -> tuple[str, str]:
    return (error.reason, error.path) if isinstance(error, Reject) else (describe(error), "$")


def _records(output: Any, instance: Instance | None) -> Iterator[dict[str, Any]]:
    """The records in an output, validated; effects without one give none."""
    match output:
        case Once(record=record) | Latest(record=record) | Merge(part=record) | Known(record=record):
            yield _plain(record, instance)
        case Group(records=records):
            for record in records:
                yield _plain(record, instance)
        case Fetch() | Pull() | Alias() | Disconnect() | Listing() | Absent() | Erase():
            return
        case _:
            yield _plain(output, instance)


def _plain(record: Any, instance: Instance | None) -> dict[str, Any]:
    """One record as Miso would get it if no alias named what is late in it."""
    user_id = getattr(record, "user_id", None)
    if instance is not None and user_id:
        record = msgspec.structs.replace(record, user_id=instance.user_id(user_id))
    late = _late(record)
    if "category" in late:
        record = msgspec.structs.replace(record, category=[str(late["category"])] if late["category"] else None)
    plain = msgspec.json.decode(encode(record, late="anonymous_id" in late))
    return {"kind": KINDS.get(type(record), "interaction"), "record": plain}


def _late(record: Any) -> dict[str, LateId]:
    """field → the text that an alias names."""
    category = getattr(record, "category", None) or [None]
    found = {"anonymous_id": getattr(record, "anonymous_id", None), "category": category[0]}
    return {field: text for field, text in found.items() if isinstance(text, LateId)}


def _effects(output: Any) -> Iterator[str]:
    """How the engine will treat the record beside it, in words."""
    yield from _wraps(output)
    record = output.record if isinstance(output, Once | Known) else output
    for field, text in _late(record).items():
        keys = ", ".join(map(repr, text.keys))
        yield f"late: {field} is what {keys} is bound to, {f'else {str(text)!r}' if text else 'without a default'}"


def _wraps(output: Any) -> Iterator[str]:
    match output:
        case Once(key=key, also=also):
            yield f"once: the first with key {key!r} wins"
            yield from (f"once: it takes {one!r} too" for one in also)
        case Latest(key=key, version=version):
            yield f"latest: version {version} of {key!r}"
        case Merge(key=key, source=source):
            yield f"merge: part {source!r} of {key!r}"
        case Known(fetch=fetch):
            yield f"known: only if the product is known, else after fetch: {fetch.kind} {fetch.id}"
        case Group(name=name, version=version, records=records):
            yield f"group: {name!r} is these {len(records)} records, as of {version}"
        case _:
            yield from _asks(output)


def _asks(output: Any) -> Iterator[str]:
    match output:
        case Listing(source=source, page=page, pages=pages):
            yield f"listing: page {page} of {pages} of {source!r}"
        case Absent(prefix=prefix, version=version):
            yield f"absent: every group {prefix!r}… that is older than {version} is emptied"
        case Fetch(kind=kind, id=ref, after=after):
            yield f"fetch: {kind} {ref}" + (f" after {after:g} s" if after else "")
        case Pull(stream=stream, after=after):
            yield f"pull: stream {stream}" + (f" after {after:g} s" if after else "")
        case Alias(key=key):
            yield f"alias: {key}"
        case Disconnect(reason=reason):
            yield f"disconnect: {reason}"
        case Erase():
            yield "erase: everything of the install, here and at Miso"


def settings_for(model: type[Config], given: dict[str, Any], where: str) -> Config:
    """The connector's settings from what was given; a secret that was not gets a stand-in.

    Raises ConfigError at ``where`` for what was given wrongly.
    """
    from misoflow.sections import section

    return section(model, filled(model, given, lambda key: f"{STAND_IN}-{key}"), where)


def filled(model: type[Config], given: dict[str, Any], stand_in: Callable[[str], str]) -> dict[str, Any]:
    """What was given, with a stand-in for each secret that was not, and examples where something is still missing."""
    from pydantic import ValidationError

    secrets = {key: stand_in(key) for key, info in model.model_fields.items() if "SecretStr" in str(info.annotation)}
    known = {**secrets, **given}
    try:
        model.model_validate(known)
    except ValidationError as error:
        missing = [problem["loc"] for problem in error.errors() if problem["type"] == "missing"]
        return {**_examples(model, missing), **known}
    return known


def _examples(model: type[Config], missing: list[tuple[int | str, ...]]) -> dict[str, Any]:
    """The documented example of each plain setting that is missing."""
    named = {str(place[0]) for place in missing if place}
    fields = {key: info for key, info in model.model_fields.items() if key in named}
    return {key: info.examples[0] for key, info in fields.items() if info.examples}


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """``["a.b=1", "c=text"]`` as a tree; a value is TOML where it can be, else text. ConfigError without ``=``."""
    import tomllib

    tree: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError("--set", "write KEY=VALUE")  # what was given may be a secret
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *parents, last = key.split(".")
        place = tree
        for step in parents:
            place = place.setdefault(step, {})
        place[last] = value
    return tree


def request_of(connector: Connector[Any], body: bytes, path: str) -> Request:
    """A request as a platform would send it now; the path decides on the channel, as in the receiver."""
    path = path.strip("/")
    channels = {route.path: route.channel for route in connector.routes}
    fits = [channel for pattern, channel in channels.items() if fnmatchcase(path.lower(), pattern)]
    path = path.lower() if path.lower() in channels else path  # what stands for a * keeps its case
    channel = channels.get(path) or (fits[0] if fits else "webhook")
    return Request(body, {"content-type": "application/json"}, channel, path, received_at=datetime.now(UTC))
