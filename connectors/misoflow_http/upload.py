"""Miso's upload API as its clients speak it: what a call asks for, its events, its records, its answer.

https://docs.miso.ai/api-reference (Data APIs), and what the Python and JavaScript clients send and read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from misoflow import (
    Effect,
    Event,
    Fate,
    ForgetUser,
    Record,
    Reject,
    RemoveProduct,
    RemoveUser,
    Request,
    Skip,
    files,
    latest,
)

CHANNEL = "miso"
Json = dict[str, Any]
Kind = Literal["interactions", "products", "users"]
KINDS: tuple[Kind, ...] = ("interactions", "products", "users")
DELETES = {kind: f"{kind}.delete" for kind in KINDS}
DRY_RUN = "dry_run"
TOPICS = (*KINDS, *DELETES.values(), DRY_RUN)
ID_LISTS = {"interactions": "user_ids", "products": "product_ids", "users": "user_ids"}
MOST_RECORDS = 10_000
"""Of one call. Miso advises 10,000 interactions, 100 products or users; we make batches of our own."""
MOST_LINES = 1000
"""Of one answer."""
_IN_LIST = re.compile(r"\$\.data\[\d+\]|\$")
_MISOS_OWN = re.compile(r"data\.\d+\S* is invalid\.?\s*")
"""The head of Miso's sentence, which numbers the record in a batch of ours."""
_encode = msgspec.json.Encoder().encode
_sorted = msgspec.json.Encoder(order="deterministic").encode


class Call(NamedTuple):
    """What a request asks for. ``items`` are records, or ids to be deleted."""

    kind: Kind
    verb: Literal["upload", "delete", "status"]
    items: list[Any]


def kind_of(request: Request) -> Kind | None:
    """The collection in the path: ``v1/products/…``."""
    word = request.path.split("/")[1]
    return next((kind for kind in KINDS if kind == word), None)


def call_of(request: Request) -> Call:
    """The call; Reject when it is none that is taken here, or of the wrong shape."""
    kind, rest = kind_of(request), request.path.split("/")[2:]
    match kind, request.method, rest:
        case None, _, _:
            pass
        case _, "POST", []:
            return Call(kind, "upload", _list(_body(request), "data"))
        case "interactions", "DELETE", []:
            body = _body(request)
            # Miso's JavaScript library puts the ids of every delete under `data`
            return Call(kind, "delete", _ids(body.get("data", body), kind))
        case (("products" | "users"), "POST", ["_delete"]):
            return Call(kind, "delete", _ids(_body(request).get("data"), kind))
        case (("products" | "users"), "DELETE", [key]) if not key.startswith("_"):
            return Call(kind, "delete", [key])
        case (("products" | "users"), "GET", ["_status", _]):
            return Call(kind, "status", [])
    raise Reject("only uploads, deletes and _status are taken here; ask Miso itself for everything else")


def _body(request: Request) -> Json:
    body = request.json()
    if type(body) is not dict:
        raise Reject('the body must be an object such as {"data": [...]}')
    return body


def _list(holder: Json, key: str) -> list[Any]:
    found = holder.get(key)
    if type(found) is not list:
        raise Reject(f"the body's {key!r} must be a list", f"$.{key}")
    if not found:
        raise Reject(f"the body's {key!r} is empty", f"$.{key}")
    if len(found) > MOST_RECORDS:
        raise Reject(f"a call may hold {MOST_RECORDS:,} records; send these {len(found):,} in parts", f"$.{key}")
    return found


def _ids(holder: Any, kind: Kind) -> list[Any]:
    name = ID_LISTS[kind]
    if type(holder) is not dict:
        raise Reject(f"the ids to delete must stand in a list {name!r}")
    ids = _list(holder, name)
    if not all(type(one) is str and one for one in ids):
        raise Reject(f"{name!r} must hold texts", f"$.{name}")
    return ids


def is_dry(request: Request) -> bool:
    """Whether the sender only wants to know what would be refused."""
    return request.query.get("dry_run", "0") not in ("0", "", "false")


def events(request: Request) -> Iterator[Event]:
    """An event for each record or id, in their order."""
    call = call_of(request)
    arrival = str(int(request.received_at.timestamp() * 1000)) if request.received_at else ""
    key = digest(request.path.encode(), request.body)
    if is_dry(request):
        yield Event(f"dry-{key}", DRY_RUN, {"records": len(call.items)})
        return
    if call.verb == "delete":
        for index, item in enumerate(call.items):
            yield Event(f"{key}-{index}-{arrival}", DELETES[call.kind], {"id": item, "index": index})
        return
    for index, item in enumerate(call.items):
        data = {"record": item, "index": index}
        yield Event(_upload_id(call.kind, item, f"{key}-{index}", arrival), call.kind, data)


def _upload_id(kind: Kind, item: Any, place: str, arrival: str) -> str:
    """What makes two uploads of a record the same event.

    An interaction with a uuid of its own is known by what it says. One that says when it happened is known by the
    body that it came in and its place there: the repeat of a request is the same bytes. Everything else is new each
    time: without a time it happens when it arrives, and a product may change back to what it was.
    """
    if kind == "interactions" and type(item) is dict:
        if _uuid(item):
            return f"uuid-{digest(_sorted(item))}"
        if item.get("timestamp"):
            return place
    return f"{place}-{arrival}"


def _uuid(item: Json) -> str:
    """Miso's browser library gives each interaction one: https://github.com/MisoAI/miso-client-js-sdk."""
    context = item.get("context")
    custom = context.get("custom_context") if type(context) is dict else None
    found = custom.get("uuid") if type(custom) is dict else None
    return found if type(found) is str else ""


def digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def translated(event: Event) -> Iterable[Record | Effect]:
    """The record as it is, or the delete. Reject names the place in the call."""
    data, topic = event.data, event.topic
    if topic == DRY_RUN:
        return [Skip("a dry run: nothing was to be sent")]
    moment = event.received_at or datetime.fromtimestamp(0, UTC)
    version = int(moment.timestamp() * 1000)
    if topic == DELETES["interactions"]:
        return [ForgetUser(user_id=data["id"])]
    if topic == DELETES["products"]:
        return [latest(data["id"], version, RemoveProduct(product_id=data["id"]))]
    if topic == DELETES["users"]:
        return [latest(data["id"], version, RemoveUser(user_id=data["id"]))]
    try:
        record: Any = record_of(topic, data["record"], moment)
    except Reject as error:
        raise Reject(error.reason, f"$.data[{data['index']}]{error.path.removeprefix('$')}") from None
    if topic == "interactions":
        return [record]
    return [latest(record.product_id if topic == "products" else record.user_id, version, record)]


def record_of(kind: Any, item: Any, moment: datetime) -> Record:
    """The record; an interaction without a time happened when it arrived, as Miso would have it."""
    if kind == "interactions" and type(item) is dict and item.get("timestamp") is None:
        item = {**item, "timestamp": written(moment)}
    return files.record_of(files.Row(0, _encode(item)), kind)


def written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def answer(request: Request) -> Json:
    """What Miso's clients expect to read."""
    kind, rest = kind_of(request), request.path.split("/")[2:]
    if rest[:1] == ["_status"]:
        return _status(request.fates)
    if is_dry(request):
        return _dry(call_of(request))
    deletes = request.method == "DELETE" or rest[:1] == ["_delete"]
    if kind == "interactions":
        return {"message": "success"}
    return {"message": "deleted" if deletes else "success", "data": {"task_id": str(request.delivery)}}


def _status(fates: tuple[Fate, ...]) -> Json:
    """While something is under way there is no ``errors``: Miso's clients take that for the end."""
    counts: dict[str, int] = {}
    for fate in fates:
        counts[fate.state] = counts.get(fate.state, 0) + 1
    if counts.get("pending"):
        return {"took": 0, "data": [], "message": "in progress", "records": counts}
    dead = [_line(index, fate.path, fate.reason) for index, fate in enumerate(fates) if fate.state == "dead"]
    return {"took": 0, "errors": bool(dead), "data": dead[:MOST_LINES], "code": 200, "records": counts}


def _dry(call: Call) -> Json:
    lines = []
    if call.verb == "upload":
        for index, item in enumerate(call.items):
            try:
                record_of(call.kind, item, datetime.fromtimestamp(0, UTC))
            except Reject as error:
                lines.append(_line(index, error.path, error.reason))
    return {"message": "success", "errors": bool(lines), "data": lines[:MOST_LINES]}


def _line(index: int, path: str, reason: str) -> str:
    """As Miso names what is wrong: https://docs.miso.ai/api-reference (422 of an upload)."""
    return f"data.{index}{_IN_LIST.sub('', path, count=1)} is invalid. {_MISOS_OWN.sub('', reason, count=1)}"
