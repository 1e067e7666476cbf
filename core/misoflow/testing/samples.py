"""Sample files: one delivery, or one event that comes by history only, with what should become of it.

    {"headers": {}, "path": "", "method": "POST", "query": {}, "body": …, "received_at": "…Z", "events": [outcome …]}
    {"event": {"id": …, "topic": …, "data": …}, "received_at": "…Z", "events": [outcome]}

An outcome is what ``misoflow explain --json`` prints of an event, without its empty keys and without line numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from misoflow.cli.explaining import explain, explain_event, request_of
from misoflow.connector import Connector, Event, Request
from misoflow.errors import Reject
from misoflow.pipeline import DATA_ERRORS
from misoflow.testing.base import Given, fail, folder_of

KEYS = ("source", "note", "headers", "path", "method", "query", "body", "event", "received_at", "events")
"""``source`` says where a sample comes from and ``note`` what is special about it; both are for people."""
LINE = re.compile(r" at [\w.-]+:\d+$")
HOW_TO_UPDATE = "pytest --update-samples"


@dataclass(frozen=True)
class Sample:
    """One file of the samples folder."""

    path: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def is_delivery(self) -> bool:
        return "event" not in self.content

    @property
    def body(self) -> bytes:
        """As it is sent: text as it is, everything else as compact JSON."""
        return body_of(self.content.get("body"))

    @cached_property
    def received_at(self) -> datetime:
        try:
            return datetime.fromisoformat(self.content["received_at"])
        except KeyError:
            fail(f'{self.path.name}: add when it came, "received_at": "2026-09-01T10:00:00Z"')
        except (TypeError, ValueError):
            fail(f'{self.path.name}: "received_at" must be a time such as "2026-09-01T10:00:00Z"')

    def event(self) -> Event:
        """The event of a sample of history."""
        given = self.content["event"]
        if not isinstance(given, dict) or not {"id", "topic", "data"} <= given.keys():
            fail(f'{self.path.name}: "event" needs "id", "topic" and "data"')
        return Event(given["id"], given["topic"], given["data"], self.received_at)

    def request(self, connector: Connector[Any], headers: dict[str, str], body: bytes | None = None) -> Request:
        """The delivery as the receiver gives it to ``verify``."""
        made = request_of(connector, self.body if body is None else body, self.content.get("path", ""))
        own = {key.lower(): value for key, value in (self.content.get("headers", {}) | headers).items()}
        return msgspec.structs.replace(
            made,
            headers={**made.headers, **own},
            method=self.content.get("method", "POST"),
            query=self.content.get("query", {}),
            received_at=self.received_at,
        )

    def stored(self, connector: Connector[Any], body: bytes | None = None) -> Request:
        """The delivery as it reaches ``events``: of the headers only those that its route keeps are left."""
        made = self.request(connector, {}, body)
        kept = {"content-type", *(name for route in connector.routes for name in route.keep if _fits(route.path, made))}
        return msgspec.structs.replace(made, headers={key: made.headers[key] for key in made.headers if key in kept})

    def events(self, connector: Connector[Any]) -> list[Event]:
        """Its events, stamped as the engine does; raises what ``events`` raises."""
        if not self.is_delivery:
            return [self.event()]
        return [
            Event(one.id, one.topic, one.data, one.received_at or self.received_at)
            for one in connector.events(self.stored(connector))
        ]

    def outcomes(self, connector: Connector[Any]) -> list[dict[str, Any]]:
        """What becomes of it."""
        if self.is_delivery:
            found = explain(connector, self.stored(connector))["events"]
        else:
            found = [explain_event(connector, self.event(), self.received_at)]
        return [tidy(one) for one in found]

    def payload(self) -> Any:
        """A delivery's body where it is a JSON object or list; None for any other, and for samples of history."""
        if not self.is_delivery:
            return None
        try:
            value = json.loads(self.body)
        except ValueError:
            return None
        return value if isinstance(value, dict | list) else None

    def update(self, outcomes: list[dict[str, Any]]) -> None:
        """Write the file with these outcomes."""
        content = {**self.content, "events": outcomes}
        self.path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def body_of(value: Any) -> bytes:
    """A sample's body as bytes."""
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def tidy(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without empty keys, and without line numbers, which change with every edit."""
    kept = {key: value for key, value in outcome.items() if value not in (None, "", [])}
    if "reason" in kept:
        kept["reason"] = LINE.sub("", kept["reason"])
    return kept


def sample_paths(contract: type[Given]) -> list[Path]:
    """The sample files of a contract class, by name."""
    return sorted((folder_of(contract) / contract.samples).glob("*.json"))


def load(path: Path) -> Sample:
    """The sample in a file; fails the test with what to mend."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        fail(f"{path.name} is not JSON: {error}")
    if not isinstance(content, dict):
        fail(f"{path.name} must be an object")
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        fail(f"{path.name} has unknown keys {', '.join(unknown)}; a sample has {', '.join(KEYS)}")
    if ("body" in content) == ("event" in content):
        fail(f'{path.name} needs either "body" (a delivery) or "event" (of history)')
    return Sample(path, content)


def has_samples(contract: type[Given]) -> bool:
    return bool(sample_paths(contract))


def named(contract: Given, name: str) -> Sample:
    """The sample of that name (its file's, without the ending)."""
    return next(load(path) for path in sample_paths(type(contract)) if path.stem == name)


def all_events(sample: Sample, connector: Connector[Any]) -> list[Event]:
    """Its events; none where the delivery cannot be split, which is for the recorded outcome to say."""
    try:
        return sample.events(connector)
    except (Reject, *DATA_ERRORS):
        return []


def all_samples(contract: Given) -> Iterator[Sample]:
    for path in sample_paths(type(contract)):
        yield load(path)


def holds_delivery(path: Path) -> bool:
    """Whether a file is a delivery's sample, as far as can be told before a test runs."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return True  # the tests of it say what is wrong
    return not isinstance(content, dict) or "event" not in content


def _fits(pattern: str, request: Request) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(request.path, pattern)
