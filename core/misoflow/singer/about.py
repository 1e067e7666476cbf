"""``--about``: what Meltano and people ask a tap or target for."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from misoflow.singer.settings import TargetConfig


def target_about() -> dict[str, Any]:
    """Name, version, capabilities and the settings' JSON Schema."""
    return {
        "name": "misoflow singer-target",
        "version": version("misoflow"),
        "description": "Brings records to Miso; a state is told only after Miso has confirmed all before it.",
        "capabilities": ["about", "validate-records", "soft-delete"],
        "settings": TargetConfig.model_json_schema(),
    }
