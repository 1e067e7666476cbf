"""A row of the export as an event: unwrapped, with an id that stays the same however often it is pulled."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from misoflow import Event

from misoflow_mixpanel.names import IDENTITY, TABLE, is_system, key_of
from misoflow_mixpanel.times import epoch_ms

HOT = "$hotshard_events"
MALFORMED = "malformed"
TOPICS = (*dict.fromkeys(TABLE.values()), "event", "identity", "system", "profile", "cohort", MALFORMED)
# what changes on a row after it was ingested: identity merges, processing, hot shards
UNSTABLE = frozenset(
    (
        *("distinct_id", "$is_reshuffled", "$distinct_id_before_identity"),
        *("mp_processing_time_ms", "$mp_api_timestamp_ms", "$mp_event_size"),
    )
)


def unwrapped(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The event's own name and properties.

    Of a user with too many events a day Mixpanel keeps the name and id elsewhere:
    https://docs.mixpanel.com/docs/tracking-best-practices/hot-shard-limits
    """
    name, properties = row.get("event", ""), row.get("properties") or {}
    if name != HOT:
        return name, properties
    properties = {
        **properties,
        "distinct_id": properties.get("mp_original_distinct_id") or properties.get("distinct_id", ""),
    }
    return str(properties.get("mp_original_event_name") or name), properties


def as_ingested(properties: dict[str, Any]) -> str:
    """The id that the event was sent with: identity merges rewrite ``distinct_id`` later."""
    return str(properties.get("$distinct_id_before_identity") or properties.get("distinct_id") or "")


def event_id(name: str, properties: dict[str, Any]) -> str:
    """Name, time, device or id as ingested, and ``$insert_id``; without the last, everything that does not change.

    Identity merges never change ``$device_id``, but leave some rows without ``$distinct_id_before_identity``.

    Mixpanel recognises duplicates by the same: https://docs.mixpanel.com/docs/data-structure/event-deduplication
    """
    insert_id, sender = properties.get("$insert_id"), properties.get("$device_id") or as_ingested(properties)
    if insert_id:
        key = f"{name}\0{epoch_ms(properties.get('time'))}\0{sender}\0{insert_id}".encode()
    else:
        stable = {key: value for key, value in properties.items() if key not in UNSTABLE}
        key = msgspec.json.encode([name, sender, stable], order="deterministic")
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def event_of(row: dict[str, Any], known: dict[str, Any]) -> Event:
    """The row as an event; ``known`` is what is known of the project: clock, identity system."""
    name, properties = unwrapped(row)
    data = {"event": name, "properties": properties, **known}
    return Event(event_id(name, properties), topic_of(name), data)


def topic_of(name: str) -> str:
    """The Miso type of a usual name, else what kind of event it is."""
    if name in IDENTITY:
        return "identity"
    return "system" if is_system(name) else TABLE.get(key_of(name), "event")


def malformed(line: bytes, offset: int) -> Event:
    """A line of the export that is no event; the dead letter says where it stood."""
    digest = hashlib.blake2b(line, digest_size=16).hexdigest()
    return Event(digest, MALFORMED, {"line": line.decode("utf-8", "replace")[:4096], "offset": offset})
