"""What a tap declared about its streams, and whether its records keep to it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from misoflow.singer.messages import Message, TapError

METADATA = "_sdc_"
"""Singer's own columns begin with it: when a row was extracted, deleted, and so on."""
WRONG = (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError)


class Declared:
    """One stream as its latest SCHEMA message says."""

    def __init__(self, message: Message, number: int, *, validate: bool) -> None:
        """TapError when the schema, or the key properties, are none."""
        stream, schema, keys = message.stream, message.schema, message.key_properties
        where = f"line {number}: SCHEMA of stream {stream!r}"
        if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
            raise TapError(f"{where} has no properties; a schema is {{type: object, properties: …}}")
        keys = [] if keys is None else keys
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise TapError(f"{where}: key_properties must be a list of names")
        self.stream = stream
        self.keys: tuple[str, ...] = tuple(keys)
        try:
            checked = _validator(_without_multiples(schema))
        except (*WRONG, ValueError) as error:
            raise TapError(f"{where} is no JSON Schema: {_first_line(error)}") from None
        self._validator = checked if validate else None

    def check(self, record: dict[str, Any], number: int) -> None:
        """TapError when a key property is missing, or the record is not as its schema says."""
        where = f"line {number}: a record of stream {self.stream!r}"
        for key in self.keys:
            if record.get(key) is None:
                raise TapError(f"{where} lacks its key property {key!r}")
        if self._validator is None or self._validator.is_valid(record):
            return
        error = next(self._validator.iter_errors(record))
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        rule = error.schema_path[-1] if error.schema_path else "schema"
        name = getattr(error.kind, "property", None)
        missing = f": {name!r} is missing" if rule == "required" and name else ""
        raise TapError(f"{where} violates its schema at ${path} ({rule}{missing}); mend the tap, or validate_records")

    def own_id(self, record: dict[str, Any]) -> str:
        """What a record is known by: its key properties, else what it says."""
        if self.keys:
            return f"{self.stream}:{_text([record[key] for key in self.keys])}"
        said = {key: value for key, value in record.items() if not key.startswith(METADATA)}
        return f"{self.stream}#{hashlib.blake2b(_text(said).encode(), digest_size=16).hexdigest()}"


def _validator(schema: Any) -> Any:
    """Singer's specification has draft 4, the SDK of today draft 7; most schemas are both."""
    options: dict[str, Any] = {"validate_formats": False, "retriever": _nothing_from_elsewhere}
    try:
        return jsonschema_rs.Draft7Validator(schema, **options)
    except WRONG:
        return jsonschema_rs.Draft4Validator(schema, **options)


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _without_multiples(schema: Any) -> Any:
    """Taps of databases write ``multipleOf`` for a column's scale, which binary floats never satisfy."""
    if isinstance(schema, Mapping):
        return {
            key: _without_multiples(value)
            for key, value in schema.items()
            if key != "multipleOf" or not isinstance(value, int | float)
        }
    return [_without_multiples(one) for one in schema] if isinstance(schema, list) else schema


def _nothing_from_elsewhere(uri: str) -> Any:
    """A schema is what the tap sent: nothing is fetched on its word."""
    raise ValueError("it refers to another document")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
