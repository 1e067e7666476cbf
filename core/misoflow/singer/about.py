"""``--about``: what Meltano and people ask a tap or target for."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from misoflow.registry import config_type, load_connector
from misoflow.singer.settings import TapOptions, TargetConfig


def target_about() -> dict[str, Any]:
    """Name, version, capabilities and the settings' JSON Schema."""
    return {
        "name": "misoflow singer-target",
        "version": version("misoflow"),
        "description": "Brings records to Miso; a state is told only after Miso has confirmed all before it.",
        "capabilities": ["about", "validate-records", "soft-delete"],
        "settings": TargetConfig.model_json_schema(),
    }


def tap_about(connector: str) -> dict[str, Any]:
    """The same of a connector as a tap; ConfigError when it is not installed."""
    own = config_type(load_connector(connector, "the connector")).model_json_schema()
    ours = TapOptions.model_json_schema(by_alias=True)
    properties = {**own.get("properties", {}), **ours["properties"]}
    definitions = {**own.get("$defs", {}), **ours.get("$defs", {})}
    return {
        "name": f"misoflow singer-tap {connector}",
        "version": version("misoflow"),
        "description": f"The history of {connector} as interactions, products and users.",
        "capabilities": ["catalog", "state", "discover", "about"],
        "settings": {**own, "properties": properties, **({"$defs": definitions} if definitions else {})},
    }
