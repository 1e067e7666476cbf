"""One delivery into its events: every form in which Segment, its functions and its libraries send them.

Nothing is lost here: what is no event becomes one with the topic "malformed", so that one bad element of a
batch does not take the others with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from misoflow import Event, Reject, Request, values

from misoflow_segment.keys import CALL, Json
from misoflow_segment.mapping import MALFORMED, classify
from misoflow_segment.times import corrected, written

# https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/, and the browser's short paths
BATCHES = frozenset({"batch", "import", "b"})
PATHS = {
    **{name: name for name in ("identify", "group", "alias", "page", "screen", "track")},
    **{"i": "identify", "g": "group", "a": "alias", "p": "page", "s": "screen", "t": "track"},
}
FORM = "application/x-www-form-urlencoded"
MAX_SINGLE = 32 * 1024
MAX_BATCH = 500 * 1024
MAX_ID = 200
_CALL_KEYS = values.Keys(CALL)
_encode = msgspec.json.Encoder(order="sorted").encode


def webhook(request: Request, *, deletes: bool, batch_deletes: bool) -> list[Event]:
    """The events of a webhook destination's or a function's delivery.

    ``deletes`` and ``batch_deletes``: whether a delete is believed, alone and in a batch.
    """
    body = request.body
    data: Any = form(body.decode("utf-8", "replace")) if body[:1] != b"{" and is_form(request) else request.json()
    if type(data) is not list:
        return [event_of(data, 0, deletes=deletes)]
    believed = deletes and batch_deletes
    return [event_of(unwrapped(element), index, deletes=believed) for index, element in enumerate(data)]


def is_form(request: Request) -> bool:
    """By its Content-Type, unless the body is JSON all the same: it is what ``curl -d`` says of everything."""
    if request.body.lstrip()[:1] in (b"{", b"["):
        return False
    return request.header("content-type").partition(";")[0].strip().lower() == FORM


def unwrapped(element: Any) -> Any:
    """Extensible Webhooks send ``{"json": event}``, or ``{"body": "a=b"}`` for forms."""
    if type(element) is dict and len(element) == 1:
        if "json" in element:
            return element["json"]
        if type(element.get("body")) is str:
            return form(element["body"])
    return element


def event_of(data: Any, index: int, *, deletes: bool) -> Event:
    """The event of one decoded call; ``index`` tells elements apart that have no id of their own."""
    if type(data) is dict:
        data = _CALL_KEYS.canonical(data)
    try:
        topic = classify(data)
    except Reject:
        return Event(f"malformed-{index}-{digest(data)}", MALFORMED, data)
    if topic == "delete" and not deletes:
        return Event(f"malformed-{index}-{digest(data)}", MALFORMED, data)
    return Event(id_of(data), topic, data)


def id_of(data: Json) -> str:
    """messageId; without one, a digest of what makes the event itself, so that it has one id however often it comes.

    https://segment.com/docs/connections/spec/common/: messageId has at most 100 characters.
    """
    message_id = data.get("messageId")
    if type(message_id) is int:
        message_id = str(message_id)
    if type(message_id) is str and (message_id := message_id.strip()):
        return message_id if len(message_id) <= MAX_ID else f"long-{digest(message_id)}"
    keys = ("type", "userId", "anonymousId", "previousId", "groupId", "event", "name", "properties", "traits")
    when = data.get("originalTimestamp", data.get("timestamp"))
    return "content-" + digest([*(data.get(key) for key in keys), when])


def digest(data: Any) -> str:
    try:
        raw = _encode(data)
    except (RecursionError, OverflowError, ValueError, TypeError, msgspec.MsgspecError):
        raw = repr(data).encode("utf-8", "replace")
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def form(text: str) -> Json:
    """A form as an event: ``properties[sku]=1`` and values in JSON are unfolded."""
    data: Json = {}
    for key, value in parse_qsl(text, keep_blank_values=True, max_num_fields=2000):
        outer, bracket, inner = key.partition("[")
        if bracket:
            place = data.setdefault(outer, {})
            if type(place) is dict:
                place[inner.rstrip("]")] = value
        else:
            data[key] = _unfolded(value)
    return data


def _unfolded(value: str) -> Any:
    if value[:1] not in ("{", "["):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return value


def tracked(request: Request) -> Json:
    """The JSON object of a Tracking API request: its body, or ``?data=<base64>`` of a pixel; Reject if it is none."""
    data = pixel(request.query.get("data", "")) if request.method == "GET" else request.json()
    if type(data) is not dict:
        raise Reject("the Tracking API takes one JSON object")
    return data


def pixel(text: str) -> Any:
    """JSON in base64, of either alphabet and with or without padding."""
    try:
        raw = base64.b64decode(
            text.strip().replace("-", "+").replace("_", "/").replace(" ", "+") + "==", validate=False
        )
        return msgspec.json.decode(raw)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        raise Reject("the data parameter is not JSON in base64") from None


def call_of(path: str) -> str:
    """The last word of a Tracking API path: ``v1/t`` and ``v1/pixel/track`` are ``t`` and ``track``."""
    return path.strip("/").rpartition("/")[2].lower()


def within_limits(request: Request) -> None:
    """Reject what Segment's own API would refuse: 32 kB for a call, 500 kB for a batch, and lists."""
    body = request.body
    batch = call_of(request.path) in BATCHES
    limit = MAX_BATCH if batch else MAX_SINGLE
    size = len(body) if request.method != "GET" else len(request.query.get("data", "")) * 3 // 4
    if size > limit:
        raise Reject(f"the {'batch' if batch else 'call'} is larger than {limit // 1024} kB")
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        raise Reject("the Tracking API takes one JSON object, not a list")


def tracking(request: Request) -> Iterator[Event]:
    """The events of a Tracking API request; we are the first to receive them, so clocks are corrected here."""
    body = tracked(request)
    word = call_of(request.path)
    if word not in BATCHES and type(body.get("batch")) is not list:
        yield _tracked_event(body, 0, PATHS.get(word), None, request.received_at)
        return
    batch = body.get("batch")
    if type(batch) is not list:
        raise Reject("the batch is not a list", "$.batch")
    shared = {key: body[key] for key in ("context", "integrations") if type(body.get(key)) is dict}
    for index, item in enumerate(batch):
        data = item
        if type(item) is dict:
            data = {**item, **{key: merged(value, item.get(key)) for key, value in shared.items()}}
        yield _tracked_event(data, index, None, body.get("sentAt"), request.received_at)


def merged(shared: Json, own: Any) -> Json:
    """The batch's context with the item's own on top."""
    return {**shared, **own} if type(own) is dict else shared


def _tracked_event(data: Any, index: int, kind: str | None, sent: Any, arrived: datetime | None) -> Event:
    """The event of one call; ``kind`` is the path's, ``sent`` the batch's, where the call says neither itself."""
    if type(data) is not dict:
        return event_of(data, index, deletes=False)
    data = {key: value for key, value in _CALL_KEYS.canonical(data).items() if key != "writeKey"}
    if kind is not None and not data.get("type"):
        data["type"] = kind
    event = event_of(data, index, deletes=False)
    if type(event.data) is dict and arrived is not None:
        _stamp(event.data, data.get("sentAt", sent), arrived)
    return event


def _stamp(data: Json, sent: Any, arrived: datetime) -> None:
    """timestamp = arrival - (sentAt - originalTimestamp); the original is kept. Without sentAt it stays as sent.

    https://segment.com/docs/connections/spec/common/#timestamps
    """
    data["receivedAt"] = written(arrived)
    original = data.get("originalTimestamp") or data.get("timestamp")
    if original is None:
        data["timestamp"] = data["receivedAt"]
        return
    data["originalTimestamp"] = original
    moment = corrected(original, sent, arrived)
    if moment is not None and abs(moment - arrived) < timedelta(days=365 * 50):
        data["timestamp"] = written(moment)


def statuses(request: Request) -> Any:
    """The answer to a function's batch: 200 for each event, 400 with the reason for what is none.

    https://segment.com/docs/connections/functions/destination-functions/#batching-the-destination-function
    """
    try:
        elements = request.json()
    except Reject:
        return {"success": True}
    return [_status(unwrapped(element)) for element in elements]


def _status(data: Any) -> Json:
    try:
        classify(_CALL_KEYS.canonical(data) if type(data) is dict else data)
    except Reject as error:
        return {"status": 400, "errormessage": error.reason}
    return {"status": 200}
