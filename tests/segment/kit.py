"""What the tests of the Segment connector share: building events, translating them, records as plain JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from misoflow import Event, Request, Skip
from misoflow.effects import Merge, Once
from misoflow.encode import encode
from misoflow_segment import Segment, SegmentConfig

SECRET = "shared-secret"
TOKEN = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 2, 23, 22, 30, tzinfo=UTC)
SAMPLES = Path(__file__).parent / "samples"


def segment(**settings: Any) -> Segment:
    if not {"shared_secret", "write_key", "batch_token", "allow_unsigned"} & settings.keys():
        settings["shared_secret"] = SECRET
    return Segment(SegmentConfig(**settings))


def call(**own: Any) -> dict[str, Any]:
    """A track call as a browser sends it, changed by ``own``; None takes a key away."""
    data = {
        "type": "track",
        "messageId": "m-1",
        "userId": "user-1",
        "anonymousId": "visitor-1",
        "timestamp": "2026-02-23T22:28:55.111Z",
        "receivedAt": "2026-02-23T22:28:56.000Z",
        **own,
    }
    return {key: value for key, value in data.items() if value is not None}


def track(event: str, properties: Any = None, **own: Any) -> dict[str, Any]:
    return call(event=event, properties=properties if properties is not None else {}, **own)


def delivery(data: Any, **headers: str) -> Request:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Request(body, {"content-type": "application/json", **headers}, received_at=NOW)


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def events(data: Any, connector: Segment | None = None) -> list[Event]:
    """The events of a delivery, stamped as the engine does."""
    found = (connector or segment()).events(delivery(data))
    return [Event(event.id, event.topic, event.data, event.received_at or NOW) for event in found]


def plain(output: Any) -> dict[str, Any]:
    """One output as JSON: a record as Miso would get it, an effect with its record inside."""
    match output:
        case Skip(reason):
            return {"skip": reason}
        case Once(key, record, _):
            return {"once": key, "record": plain(record)}
        case Merge(key, source, part, version, remove):
            return {"merge": key, "source": source, "version": version, "remove": list(remove), "part": plain(part)}
    kind = type(output).__name__
    made: dict[str, Any] = msgspec.json.decode(encode(output))
    return made if "type" in made else {"kind": kind, **made}


def translate(data: Any, **settings: Any) -> list[dict[str, Any]]:
    """All outputs of one call, each validated by the encoder."""
    connector = segment(**settings)
    (event,) = events(data, connector)
    return [plain(output) for output in connector.translate(event)]


def record(data: Any, **settings: Any) -> dict[str, Any]:
    """The one record of a call, taken out of its effect."""
    (made,) = translate(data, **settings)
    found: dict[str, Any] = made.get("record", made)
    return found
