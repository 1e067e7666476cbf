"""The streams of a tap: one for each kind of record, with its JSON Schema out of the record types. Pure."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from misoflow.records import INTERACTIONS, DateTime, Product, User
from misoflow.singer.connector import DELETED

UUID = "_sdc_uuid"
"""What an interaction is known by: the same whenever it is read again."""
KEYS = {"interactions": [UUID], "products": ["product_id"], "users": ["user_id"]}
TEXT = {"type": "string"}
TIME = {"type": "string", "format": "date-time"}
LEFT_OUT = ("default", "title", "description", "anyOf", "pattern", "additionalProperties")
"""Of a type's schema: what targets make nothing of, and patterns in another dialect than theirs."""
Json = dict[str, Any]


def schema_of(kind: str) -> Json:
    """Without references, and with null for whatever a record may lack, as targets expect it."""
    if kind != "interactions":
        own = _properties(Product if kind == "products" else User)
        extra: Json = {DELETED: _nullable(TIME)} if kind == "products" else {}
        properties = {name: one if name in KEYS[kind] else _nullable(one) for name, one in own.items()} | extra
        return {"type": "object", "properties": properties, "required": KEYS[kind]}
    found: dict[str, list[Json]] = {}
    for cls in INTERACTIONS.values():
        for name, one in _properties(cls).items():
            if name != "type" and one not in found.setdefault(name, []):
                found[name].append(one)
    properties = {UUID: TEXT, "type": {**TEXT, "enum": list(INTERACTIONS)}, "timestamp": TIME}
    for name, many in found.items():
        properties.setdefault(name, _nullable(many[0] if len(many) == 1 else {"anyOf": many}))
    return {"type": "object", "properties": properties, "required": [UUID, "type", "timestamp"]}


def _properties(cls: Any) -> dict[str, Json]:
    (whole,), named = msgspec.json.schema_components([cls], ref_template="{name}")
    found = named[whole["$ref"]]["properties"]
    return {name: _plain(one, named) for name, one in found.items()}


def _plain(schema: Any, named: dict[str, Any]) -> Any:
    """With what it refers to in its place, and without defaults, titles and null, which stands at the top only."""
    if isinstance(schema, list):
        return [_plain(one, named) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(named[schema["$ref"]], named)
    if schema.get("pattern") == _TIME_PATTERN:
        return TIME
    many = [_plain(one, named) for one in schema.get("anyOf", []) if one != {"type": "null"}]
    many = [one for one in many if one != {"type": "integer"} or {"type": "number"} not in many]
    if len(many) == 1:
        return many[0]
    if "enum" in schema:
        return {**TEXT, "enum": schema["enum"]}
    kept = {key: value for key, value in schema.items() if key not in LEFT_OUT and value != []}
    if "properties" in kept:  # names of fields, which may be any of the words above
        kept["properties"] = {name: _plain(one, named) for name, one in kept["properties"].items()}
    plain = {key: value if key == "properties" else _plain(value, named) for key, value in kept.items()}
    return {**plain, "anyOf": many} if many else plain


_TIME_PATTERN = next(one.pattern for one in get_args(DateTime) if isinstance(one, msgspec.Meta))


def _nullable(schema: Json) -> Json:
    if isinstance(schema.get("type"), str):
        enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return {**schema, "type": [schema["type"], "null"], **enum}
    return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
