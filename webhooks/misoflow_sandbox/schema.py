"""Checks records against Miso's published schema, with a validator that shares nothing with misoflow's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

from misoflow_sandbox.wording import Fault, fault, faults, json_type

OWN_SCHEMA = Path(__file__).with_name("schema.json")
KINDS = {"products": "ProductRecord", "users": "UserRecord"}
IDS = {"products": "product_id", "users": "user_id"}
# Rules that only the prose of https://docs.miso.ai/api-reference states.
PROSE: dict[str, dict[str, dict[str, Any]]] = {
    "ProductRecord": {
        "product_id": {"pattern": "^([^_,][^,]*)?$"},
        "parent_id": {"minLength": 1},
        "rating": {"minimum": 0, "maximum": 5},
    },
    "UserRecord": {"user_id": {"pattern": "^([^_]|$)"}},
}
TRANSLATED = re.compile(r"i18n_[a-z]{2}")


class Schema:
    """The validators, one for each interaction type and one each for products and users.

    ``path`` names Miso's OpenAPI document or a file in the form of schema.json. Raises OSError, ValueError, KeyError.
    """

    def __init__(self, path: Path | None = None) -> None:
        text = (path or OWN_SCHEMA).read_text().replace("#/components/schemas/", "#/$defs/")
        document: dict[str, Any] = orjson.loads(text)
        if "components" in document:
            self.definitions: dict[str, Any] = document["components"]["schemas"]
            self.names = _names(self.definitions)
        else:
            self.definitions, self.names = document["$defs"], document["interactions"]
        for name, rules in PROSE.items():
            for attribute, rule in rules.items():
                self.definitions[name]["properties"][attribute].update(rule)
        self._validators = {name: self._validator(name) for name in {*self.names.values(), *KINDS.values()}}
        self._by_type = {kind: self._validators[name] for kind, name in self.names.items()}

    def _validator(self, name: str) -> Draft202012Validator:
        schema = {"$ref": f"#/$defs/{name}", "$defs": self.definitions}
        return Draft202012Validator(schema, validate_formats=True)

    def check(self, kind: str, records: Sequence[Any]) -> list[Fault]:
        """What is wrong with records of ``interactions``, ``products`` or ``users``, in order."""
        if kind != "interactions":
            whole = self._validators[KINDS[kind]]
            bad = [(index, one) for index, one in enumerate(records) if not whole.is_valid(one)]
            return [line for index, one in bad for line in self._lines(index, one, kind, KINDS[kind])]
        found: list[Fault] = []
        by_type = self._by_type
        for index, record in enumerate(records):
            try:
                valid = by_type[record["type"]].is_valid(record)
            except (KeyError, TypeError):
                found += self._untyped(index, record)
            else:
                if not valid:
                    found += self._lines(index, record, kind, self.names[record["type"]])
        return found

    def _lines(self, index: int, record: object, kind: str, name: str) -> list[Fault]:
        errors = iter(self._validators[name].iter_errors(record))
        return list(faults(index, errors, kind, self.definitions[name]["required"]))

    def _untyped(self, index: int, record: object) -> list[Fault]:
        expected = "The attribute was expected to be of type '{}' but type '{}' was given."
        if not isinstance(record, dict):
            return [fault(index, [], expected.format("object", json_type(record)))]
        if "type" not in record:
            return [fault(index, ["type"], "The attribute is required.")]
        if not isinstance(record["type"], str):
            return [fault(index, ["type"], expected.format("string", json_type(record["type"])))]
        options = ", ".join(f"'{name}'" for name in self.names)
        return [fault(index, ["type"], f"The attribute should be one of {options}.", record["type"])]


def relaxed(record: Any, *, nulls: bool, i18n: bool) -> Any:
    """The record without what Miso may or may not take: nulls on attributes, ``i18n_xx`` objects."""
    if not isinstance(record, dict):
        return record
    kept = {
        name: value
        for name, value in record.items()
        if not (nulls and value is None) and not (i18n and TRANSLATED.fullmatch(name) and isinstance(value, dict))
    }
    custom = kept.get("custom_attributes")
    if nulls and isinstance(custom, dict):
        kept["custom_attributes"] = {name: value for name, value in custom.items() if value is not None}
    return kept


def _names(definitions: dict[str, Any]) -> dict[str, str]:
    """Miso's interaction types → the names of their schemas, from the OpenAPI document."""
    members = definitions["InteractionBulkIn"]["properties"]["data"]["items"]["anyOf"]
    names = [member["$ref"].rsplit("/", 1)[1] for member in members]
    return {definitions[name]["properties"]["type"]["enum"][0]: name for name in names}
