"""``/_sandbox/…``: look at what the sandbox holds, and make it misbehave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import orjson
from msgspec import Raw

from misoflow_sandbox.answers import Answer, answer
from misoflow_sandbox.faults import Faults
from misoflow_sandbox.state import Holdings, Options


def state(held: Holdings) -> Answer:
    """Counts, and the products and users by id."""
    held.settle()
    products, users = (
        {key: orjson.Fragment(bytes(raw)) for key, raw in held.datasets[kind].records.items()}
        for kind in ("products", "users")
    )
    found: dict[str, Any] = {
        "interactions": held.interactions.total(),
        "by_type": held.interactions.by_type(),
        "products": products,
        "users": users,
        "requests": len(held.wire),
        "deleted_users": list(held.deleted_users),
        "forgotten": list(held.forgotten),
        "tasks_pending": held.pending_tasks(),
    }
    return answer(200, found)


def records(held: Holdings, kind: str) -> Answer:
    """The records as they were sent, one a line, in the order of arrival."""
    held.settle()
    if kind == "interactions":
        raws: Iterable[Raw] = (raw for raw, _, _ in held.interactions.kept.values())
    elif kind in held.datasets:
        raws = held.datasets[kind].records.values()
    else:
        return answer(400, {"message": "kind is interactions, products or users"})
    return Answer(200, b"".join(_line(bytes(raw)) for raw in raws), type=b"application/x-ndjson")


def wire(held: Holdings, number: str | None) -> Answer:
    """All requests, or the body of one."""
    if number is None:
        return Answer(200, msgspec.json.encode(held.wire))
    body = held.bodies.get(int(number)) if number.isdecimal() else None
    if body is None:
        return answer(404, {"message": f"no body of request {number} is kept: set store_wire"})
    return Answer(200, body, type=b"application/octet-stream")


def change_faults(faults: Faults, method: str, body: bytes) -> Answer:
    """GET lists the rules, POST adds some, DELETE clears them."""
    if method == "POST":
        try:
            faults.add(body)
        except msgspec.MsgspecError as error:
            return answer(400, {"message": f"these are not rules: {error}"})
    elif method == "DELETE":
        faults.rules.clear()
    return Answer(200, msgspec.json.encode({"rules": faults.rules}))


def change_options(options: Options, body: bytes) -> Answer:
    """Change some options; answers all of them."""
    try:
        changed = msgspec.convert({**msgspec.to_builtins(options), **_object(body)}, Options)
    except msgspec.MsgspecError as error:
        return answer(400, {"message": f"these are not options: {error}"})
    for name in Options.__struct_fields__:
        setattr(options, name, getattr(changed, name))
    return Answer(200, msgspec.json.encode(options))


def _object(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body or b"{}", type=dict[str, Any])


def _line(raw: bytes) -> bytes:
    return (msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw) + b"\n"
