"""Sample files of the authors' test kit: made of a dead letter or of a delivery, and explained.

{"body": …, "headers": {}, "path": "", "method": "POST", "query": {}, "received_at": "…Z", "events": […]}
{"event": {"id": …, "topic": …, "data": …}, "received_at": "…Z", "events": […]}
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from misoflow.cli.explaining import explain, explain_event, request_of
from misoflow.cli.scrub import scrubbed
from misoflow.connector import Connector, Event, Request
from misoflow.instances import Instance
from misoflow.pipeline import Packed, from_ms

KEYS = {"source", "note", "headers", "path", "method", "query", "body", "event", "received_at", "events"}


LINE = re.compile(r" at [\w.-]+:\d+$")


def from_letter(packed: Packed, why: str) -> dict[str, Any]:
    """A dead letter as a sample in which it is translated: its test fails until the mapping does that."""
    received = from_ms(packed.received)
    head = {"source": "dead letter, personal data replaced", "note": f"died of: {why}"}
    last = {
        "received_at": f"{received:%Y-%m-%dT%H:%M:%SZ}",
        "events": [{"topic": packed.topic, "outcome": "translated"}],
    }
    if packed.body is None:
        made = scrubbed({"event": {"id": packed.id, "topic": packed.topic, "data": contents(packed)}})
        wanted = {"id": made["event"]["id"], "topic": made["event"]["topic"], "outcome": "translated"}
        return {**head, **made, **last, "events": [wanted]}
    request = {"headers": packed.headers, "path": packed.path, "query": packed.query}
    kept = {key: value for key, value in request.items() if value}
    method = {} if packed.method == "POST" else {"method": packed.method}
    return {**head, **scrubbed({**kept, "body": contents(packed)}), **method, **last}


def from_delivery(request: Request, connector: Connector[Any], source: str) -> dict[str, Any]:
    """A delivery, as it is stored, as a sample that holds what becomes of it now."""
    parts = {
        "headers": {key: value for key, value in request.headers.items() if key != "content-type"},
        "path": request.path,
        "method": "" if request.method == "POST" else request.method,
        "query": dict(request.query),
    }
    kept = {key: value for key, value in parts.items() if value}
    made = scrubbed({**kept, "body": _readable(request.body)})
    received = request.received_at or datetime.now(UTC)
    sample = {"source": source, **made, "received_at": f"{received:%Y-%m-%dT%H:%M:%SZ}"}
    events = explain_sample(connector, sample, None)["events"]
    return {**sample, "events": [_tidy(event) for event in events]}


def _tidy(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without empty keys, and without line numbers, which change with every edit."""
    kept = {key: value for key, value in outcome.items() if value not in (None, "", [])}
    return {**kept, "reason": LINE.sub("", kept["reason"])} if "reason" in kept else kept


def save(sample: dict[str, Any], folder: Path) -> Path | None:
    """Write it beside the others, named by its first topic; the file, or None where one holds the same body."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.json"):
        try:
            if json.loads(file.read_bytes()).get("body") == sample["body"]:
                return None
        except (ValueError, AttributeError):
            continue  # not a sample: its test says so
    topic = str(next((event["topic"] for event in sample["events"]), "nothing"))
    name = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-") or "delivery"
    free = (folder / f"{name}{'' if number == 1 else f'-{number}'}.json" for number in itertools.count(1))
    file = next(path for path in free if not path.exists())
    file.write_text(json.dumps(sample, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return file


def contents(packed: Packed) -> Any:
    """The event's data, or the body of a delivery that could not be split: JSON, else text, else base64."""
    if packed.body is None:
        return packed.event().data
    return _readable(packed.body)


def _readable(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()


def is_sample(content: Any) -> bool:
    """Whether JSON is a sample file rather than a platform's payload."""
    if not isinstance(content, dict) or not content.keys() <= KEYS or "received_at" not in content:
        return False
    event = content.get("event")
    return "body" in content or (isinstance(event, dict) and {"id", "topic", "data"} <= event.keys())


def explain_sample(connector: Connector[Any], content: dict[str, Any], instance: Instance | None) -> dict[str, Any]:
    """What ``explain`` says of a sample's delivery or event."""
    try:
        received = datetime.fromisoformat(content["received_at"])
    except (TypeError, ValueError):
        received = datetime.now(UTC)
    if "event" in content:
        given = content["event"]
        event = Event(given["id"], given["topic"], given["data"])
        return {"events": [explain_event(connector, event, received, instance)]}
    body = content["body"]
    raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    made = request_of(connector, raw, content.get("path", ""))
    headers = {key.lower(): value for key, value in content.get("headers", {}).items()}
    request = msgspec.structs.replace(
        made,
        headers={**made.headers, **headers},
        method=content.get("method", "POST"),
        query=content.get("query", {}),
        received_at=received,
    )
    return explain(connector, request, instance)
