"""What the tests of the http connector share: connectors, requests, and records as plain JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from misoflow import Event, Request, Skip
from misoflow.effects import Latest
from misoflow.encode import encode
from misoflow.rules import Rules
from misoflow_http import Http, HttpConfig

KEY = "a-secret-key-of-ours"
PAGE_KEY = "a-key-in-the-page"
SECRET = "a-secret-of-the-webhook"
NOW = datetime(2026, 11, 20, 10, 0, 0, 123_000, tzinfo=UTC)
LATER = datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC)
AT = "2026-11-19T08:00:00.000Z"
RULES = [
    {"match": "order.paid", "type": "checkout", "user_id": "$.customer.id", "revenue": "$.total"}
    | {"product_ids": {"@arrayPath": ["$.lines", {"@path": "$.sku"}]}, "quantities": ["$.counts"]},
    {"match": "like*", "type": "like", "user_id": "$.user", "product_ids": "$.item"},
    {"match": "ping", "type": "none"},
]


def http(rules: Any = (), **settings: Any) -> Http:
    made = Http(HttpConfig.model_validate(settings or {"api_key": KEY, "publishable_key": PAGE_KEY}))
    made.rules = Rules.compile(list(rules), where="instances.in.rules")
    return made


def written(data: Any) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data).encode()


def call(
    path: str, data: Any = b"", method: str = "POST", key: str = KEY, at: datetime | None = NOW, **query: str
) -> Request:
    """A call of Miso's API as the receiver hands it to the connector."""
    headers = {"x-api-key": key} if key else {}
    return Request(written(data), headers, "miso", path, method, query, at)


def hook(data: Any, at: datetime | None = NOW, **headers: str) -> Request:
    """A delivery of any JSON; header names with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(written(data), named, received_at=at)


def events(connector: Http, request: Request) -> list[Event]:
    """Stamped as the engine does."""
    found = connector.events(request)
    return [Event(one.id, one.topic, one.data, one.received_at or request.received_at) for one in found]


def ids(connector: Http, request: Request) -> list[str]:
    return [event.id for event in events(connector, request)]


def records(connector: Http, request: Request) -> list[dict[str, Any]]:
    """Everything that a request becomes, valid for Miso; a skip stands as its reason."""
    made = []
    for event in events(connector, request):
        for output in connector.translate(event):
            if isinstance(output, Skip):
                made.append({"skipped": output.reason})
                continue
            record: Any = output.record if isinstance(output, Latest) else output
            made.append({"is": type(record).__name__, **msgspec.json.decode(encode(record))})
    return made


def like(**own: Any) -> dict[str, Any]:
    return {"type": "like", "user_id": "u1", "product_ids": ["p1"], "timestamp": AT, **own}
