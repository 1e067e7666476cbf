"""``--discover`` and ``--catalog``: which kinds of records, and which of their fields, a run is to give."""

from __future__ import annotations

from typing import Any

from misoflow.errors import ConfigError
from misoflow.singer.kinds import KEYS, schema_of

Json = dict[str, Any]


def discovered() -> Json:
    """The catalog: everything is on offer, and selected if nothing else is said."""
    return {"streams": [_entry(kind) for kind in KEYS]}


def _entry(kind: str) -> Json:
    schema = schema_of(kind)
    whole = {"inclusion": "available", "selected-by-default": True, "table-key-properties": KEYS[kind]}
    metadata: list[Json] = [{"breadcrumb": [], "metadata": whole}]
    for name in schema["properties"]:
        inclusion = "automatic" if name in schema["required"] else "available"
        metadata.append({"breadcrumb": ["properties", name], "metadata": {"inclusion": inclusion}})
    return {"tap_stream_id": kind, "stream": kind, "schema": schema, "key_properties": KEYS[kind], "metadata": metadata}


class Selection:
    """What of each kind is wanted: ``fields[kind]`` are the names to leave out; kinds that are not there are not."""

    def __init__(self, catalog: Json | None) -> None:
        """ConfigError when the catalog is none."""
        self.without: dict[str, frozenset[str]] = {kind: frozenset() for kind in KEYS}
        if catalog is None:
            return
        streams = catalog.get("streams")
        if not isinstance(streams, list) or not all(isinstance(one, dict) for one in streams):
            raise ConfigError("streams", "a catalog is an object with a list of streams; make one with --discover")
        self.without = {}
        for one in streams:
            name = one.get("tap_stream_id") or one.get("stream")
            if name in KEYS and _selected(_metadata(one, []), one):
                self.without[name] = frozenset(
                    field
                    for field in set(schema_of(name)["properties"]) - set(schema_of(name)["required"])
                    if not _selected(_metadata(one, ["properties", field]), {})
                )

    def schema(self, kind: str) -> Json:
        """The schema of what is given."""
        whole = schema_of(kind)
        left = {name: one for name, one in whole["properties"].items() if name not in self.without[kind]}
        return {**whole, "properties": left}


def _metadata(stream: Json, breadcrumb: list[str]) -> Json:
    many = stream.get("metadata")
    for one in many if isinstance(many, list) else []:
        if isinstance(one, dict) and one.get("breadcrumb") == breadcrumb and isinstance(one.get("metadata"), dict):
            found: Json = one["metadata"]
            return found
    return {}


def _selected(metadata: Json, stream: Json) -> bool:
    """As the catalog says, in its present form or the older one; else by default."""
    schema = stream.get("schema")
    older = stream.get("selected", schema.get("selected") if isinstance(schema, dict) else None)
    return bool(metadata.get("selected", older if older is not None else metadata.get("selected-by-default", True)))
