"""The answers of Miso's ingest API as documented: https://docs.miso.ai/api-reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct, field

from misoflow_sandbox.faults import Action, gzip_bomb

NOT_INSERTED = {
    "interactions": "None of the records were inserted because at least one of them contained schema errors. "
    "Please see the `data` field for details.",
}
NOT_INSERTED["products"] = NOT_INSERTED["users"] = (
    "None of the records are inserted, because at least one of them contain schema errors. "
    "Please see `data` field for details."
)
BODIES: dict[int, dict[str, Any]] = {
    400: {"message:": "Request timeout."},  # the colon is inside the key, as published
    401: {"message": "invalid api key."},
    403: {
        "message": "Request is denied due to bot blocking. "
        "Please only access this API from a real browser or use Secret API Key instead."
    },
    404: {"message": "not found"},
    413: {"message": "Request Entity Too Large"},
    429: {"message": "Too Many Requests"},
    500: {"message": "Something went wrong. Please contact miso product team."},
    503: {"message": "Service Unavailable"},
}
PLAYGROUND = {"message": "This is a playground app: it is read-only. Please use another environment."}
HTML = b"<!doctype html><title>Sign in</title><p>Please sign in to this network."


class Answer(Struct):
    """One HTTP answer."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    type: bytes = b"application/json"

    def fields(self) -> list[tuple[bytes, bytes]]:
        length = (b"content-length", str(len(self.body)).encode())
        return [(b"content-type", self.type), length, *self.headers]


def answer(status: int, body: Any) -> Answer:
    """A JSON answer."""
    return Answer(status, orjson.dumps(body))


def refusal(status: int, *, say_errors: bool = False) -> Answer:
    """The documented body of a status, which holds no ``errors``."""
    body = BODIES.get(status, {"message": f"HTTP status {status}"})
    return answer(status, {"errors": True, **body} if say_errors else body)


def schema_errors(kind: str, lines: Sequence[str]) -> Answer:
    """The 422 of an upload: nothing was inserted, and why."""
    return answer(422, {"errors": True, "message": NOT_INSERTED[kind], "data": lines})


def wrong_shape(where: Sequence[str | int], message: str, kind: str) -> Answer:
    """The 422 about the request itself, not about a record."""
    return answer(422, {"detail": [{"loc": where, "msg": message, "type": kind}]})


def scripted(action: Action) -> Answer:
    """The answer that a rule asks for."""
    extra = [(name.lower().encode(), value.encode("latin-1")) for name, value in action.headers.items()]
    if action.envelope_422:
        return wrong_shape(["body", "data"], "field required", "value_error.missing")
    if action.errors_true is not None:
        return answer(action.status or 200, {"errors": True, "data": action.errors_true})
    if action.gzip_bomb is not None:
        extra.append((b"content-encoding", b"gzip"))
        return Answer(action.status or 200, gzip_bomb(action.gzip_bomb), extra)
    if action.html:
        return Answer(action.status or 200, HTML, extra, b"text/html; charset=utf-8")
    status = action.status or 200
    if isinstance(action.body, str):
        return Answer(status, action.body.encode(), extra, b"text/plain; charset=utf-8")
    made = refusal(status) if action.body is None else answer(status, action.body)
    return Answer(status, made.body, extra)
