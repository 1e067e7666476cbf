"""JSON Schema of plugins.toml, for editors: made from the settings classes of the connectors that are installed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from misoflow.config import NAME, Common, EngineConfig, MisoConfig
from misoflow.errors import ConfigError
from misoflow.records import INTERACTIONS
from misoflow.registry import config_type, installed, load_connector

REFERENCE = {"$ref": "#/$defs/reference"}
_NAMED = {"pattern": f"^{NAME.pattern}$"}
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def schema() -> dict[str, Any]:
    """The schema of the whole file, draft 2020-12. A connector that cannot be loaded is left out."""
    definitions: dict[str, Any] = {"reference": _reference(), "rule": _rule()}
    environment = _table(MisoConfig, "miso", definitions)
    environment["properties"].pop("name", None)
    definitions["environment"] = environment
    known = []
    for name in installed():
        try:
            model = config_type(load_connector(name))
        except (ConfigError, TypeError):
            continue
        definitions[name] = _instance(name, model, definitions)
        known.append(name)
    flat = {key: value for key, value in environment.items() if key != "required"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "plugins.toml of misoflow",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "miso": {**flat, "additionalProperties": {"$ref": "#/$defs/environment"}},
            "engine": _table(EngineConfig, "engine", definitions),
            "instances": {
                "type": "object",
                "propertyNames": _NAMED,
                "additionalProperties": _any_instance(known),
            },
        },
        "$defs": definitions,
    }


def _any_instance(known: list[str]) -> dict[str, Any]:
    """An instance: which connector it names decides on its other keys."""
    choices = [
        {"if": {"properties": {"connector": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}} for name in known
    ]
    plugin = {"type": "string", "pattern": r"^[\w.]+:\w+$"}
    return {
        "type": "object",
        "required": ["connector"],
        "properties": {"connector": {"anyOf": [{"enum": known}, plugin], "description": "An installed connector."}},
        "allOf": choices,
    }


def _instance(name: str, model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    own = _table(model, name, definitions)
    common = _table(Common, "common", definitions)
    rules = {"type": "array", "items": {"$ref": "#/$defs/rule"}, "description": "Own mapping; first match wins."}
    own["properties"] = {**common["properties"], "rules": rules, **own["properties"], "connector": {"const": name}}
    own["required"] = ["connector", *own.get("required", [])]
    return own


def _table(model: type[BaseModel], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's schema with references allowed for every value; its own definitions join the others."""
    made = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, inner in made.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = _referring(inner)
    return _referring(made)


def _referring(node: dict[str, Any]) -> dict[str, Any]:
    """The node with ``{ env = … }`` and ``{ file = … }`` accepted in place of each value below it."""
    node = dict(node)
    if "properties" in node:
        node["properties"] = {key: _value(item) for key, item in node["properties"].items()}
    if isinstance(node.get("items"), dict):
        node["items"] = _value(node["items"])
    return node


def _value(node: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {key: node[key] for key in ("title", "description", "default", "examples") if key in node}
    bare = _referring({key: item for key, item in node.items() if key not in shown})
    choices = [bare, REFERENCE]
    if bare.get("type") == "array" and node["items"].get("format") == "password":
        choices.append(node["items"])  # one secret stands for a list of one
    return {**shown, "anyOf": choices}


def _reference() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "description": "A value from the environment or from a file.",
        "type": "object",
        "properties": {"env": text, "file": text, "default": {}},
        "oneOf": [{"required": ["env"]}, {"required": ["file"]}],
        "additionalProperties": False,
    }


def _rule() -> dict[str, Any]:
    """One ``[[rules]]`` table; fields of the type beside the named keys are paths, literals or directives."""
    return {
        "type": "object",
        "properties": {
            "match": {**_TEXTS, "description": "Event names; case, spaces and signs do not matter, * is any text."},
            "where": {"description": "Only if this condition holds."},
            "unless": {"description": "Not if this condition holds."},
            "type": {"enum": [*INTERACTIONS, "none"], "description": "The interaction it becomes; none drops it."},
            "product_ids": {"description": "Where product ids stand; the first that gives something."},
            "also": {"type": "array", "items": {"type": "object"}, "description": "Further records."},
        },
        "required": ["type"],
    }
