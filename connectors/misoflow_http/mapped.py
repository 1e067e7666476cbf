"""JSON of any shape: a delivery into its events by paths, and each event into records by the instance's rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from misoflow import INTERACTIONS, Effect, Event, Record, Reject, Request, Skip, values

from misoflow_http.config import HttpConfig
from misoflow_http.upload import digest, written

TOPIC = "json"
DELIVERY_ID = "webhook-id"
"""Of Standard Webhooks: the same each time a message is sent."""
MAX_ID = 200
MILLISECONDS_FROM = 10**11
"""Numbers from here on are milliseconds: as seconds they would be in the year 5138."""
IDS = ("user_id", "anonymous_id")


class Mapped:
    """The settings' paths, ready to use."""

    def __init__(self, config: HttpConfig) -> None:
        self._config = config
        self._list = values.path_getter(config.list_path) if config.list_path else None
        self._name = values.path_getter(config.event_path)
        self._id = values.path_getter(config.id_path) if config.id_path else None
        self._time = values.path_getter(config.time_path) if config.time_path else None

    def events(self, request: Request) -> Iterator[Event]:
        """The events of one delivery, in their order."""
        body = request.json()
        found = body if self._list is None else self._list(body)
        if found is None and self._list is not None:
            raise Reject("the delivery has nothing at list_path", f"$.{self._config.list_path.removeprefix('$.')}")
        message = request.header(DELIVERY_ID) if self._config.auth == "standard-webhooks" else ""
        place = digest(message.encode("utf-8", "replace") if message else request.body)
        arrival = str(int(request.received_at.timestamp() * 1000)) if request.received_at else ""
        for index, item in enumerate(found if type(found) is list else [found]):
            # the same bytes again are a repeat if they carry the message's id, or say when it happened
            known = message or (self._time is not None and self._time(item) is not None)
            key = self._own_id(item) or (f"{place}-{index}" if known else f"{place}-{index}-{arrival}")
            yield Event(key, TOPIC, {"item": item, "index": index})

    def _own_id(self, item: Any) -> str:
        found = self._id(item) if self._id is not None else None
        if type(found) not in (str, int) or found == "":
            return ""
        text = str(found)
        return f"id-{text}" if len(text) <= MAX_ID else f"id-{digest(text.encode('utf-8', 'replace'))}"

    def translated(self, event: Event, rules: Any) -> Iterable[Record | Effect]:
        """What the first rule that matches makes of it."""
        item = event.data["item"]
        if type(item) is not dict:
            raise Reject("an event must be an object", f"$[{event.data['index']}]")
        made = rules.apply(str(self._name(item) or ""), item)
        if made is None:
            return [Skip("unmapped: no rule of this instance knows this event")]
        return [self._record(fields, item, event) for fields in made] or [Skip("a rule of this instance drops it")]

    def _record(self, fields: dict[str, Any], item: Any, event: Event) -> Record:
        own = {key: values.tidied(key, value) for key, value in fields.items()}
        for key in IDS:
            if type(own.get(key)) is int:
                own[key] = str(own[key])
        if "quantities" in own:
            own["quantities"] = values.fitted_quantities(own["quantities"], len(own.get("product_ids") or ()))
        when = own.get("timestamp")
        if when is None and self._time is not None:
            when = self._time(item)
        own["timestamp"] = written(moment_of(when) if when is not None else event.received_at or _EPOCH)
        return INTERACTIONS[own.pop("type")](**own)


_EPOCH = datetime.fromtimestamp(0, UTC)


def moment_of(value: Any) -> datetime:
    """A time out of JSON, in UTC; Reject when it is none. One without a zone is taken for UTC."""
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return datetime.fromtimestamp(value / 1000 if abs(value) >= MILLISECONDS_FROM else value, UTC)
        if type(value) is str:
            number = values.number_of(value) if value.replace(".", "", 1).isdigit() else None
            if number is not None:
                return moment_of(number)
            found = datetime.fromisoformat(value)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Reject("is no time: RFC 3339, Unix seconds or milliseconds", "$.timestamp")
