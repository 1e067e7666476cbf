"""``{ env = "NAME" }`` and ``{ file = "/path" }`` in plugins.toml, resolved on the parsed tree.

Never by text interpolation: a value with quotes or braces in it stays one value.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from misoflow.errors import ConfigError

KEYS = ({"env"}, {"file"}, {"env", "default"}, {"file", "default"})


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and set(value) in KEYS


def resolve(value: Any, where: str, folder: Path, warnings: list[tuple[str, str]]) -> Any:
    """The tree with every reference replaced; ConfigError with the TOML path of one that cannot be."""
    if is_reference(value):
        return _look_up(value, where, folder, warnings)
    if isinstance(value, dict):
        return {key: resolve(item, f"{where}.{key}" if where else key, folder, warnings) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, f"{where}[{index}]", folder, warnings) for index, item in enumerate(value)]
    return value


def _look_up(reference: dict[str, Any], where: str, folder: Path, warnings: list[tuple[str, str]]) -> Any:
    if "env" in reference:
        name = str(reference["env"])
        found = os.environ.get(name, reference.get("default"))
        if found is None:
            raise ConfigError(where, f"the environment variable {name} is not set")
        return found
    path = folder / str(reference["file"])
    try:
        text = path.read_text(encoding="utf-8")
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, UnicodeDecodeError) as error:
        if "default" in reference:
            return reference["default"]
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(where, f"the file {path} cannot be read: {why}") from None
    if mode & 0o077:
        warnings.append((where, f"others can read {path}; do: chmod 600 {path}"))
    return text.rstrip("\r\n")
