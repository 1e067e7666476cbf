"""Where a setting says a value stands: dotted paths and ``{key}`` templates, prepared once."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import methodcaller
from typing import Any

from misoflow_segment.keys import Json

Getter = Callable[[Json], Any]
_FIELD = re.compile(r"\{([^{}]+)\}")


def compile_path(path: str) -> Getter:
    """``product_id``, ``variant.id`` or ``$.variant.id``: the value there, or None."""
    steps = path.removeprefix("$.").split(".")
    if len(steps) == 1:
        return methodcaller("get", steps[0])

    def walk(data: Json) -> Any:
        value: Any = data
        for step in steps:
            if not isinstance(value, dict):
                return None
            value = value.get(step)
        return value

    return walk


def compile_template(template: str) -> Getter:
    """``{sku}-{variant}``: the text with each field filled in, or None when one of them is absent."""
    parts = _FIELD.split(template)
    fields = [compile_path(name.strip()) for name in parts[1::2]]

    def fill(data: Json) -> Any:
        made = [parts[0]]
        for get, text in zip(fields, parts[2::2], strict=True):
            value = get(data)
            if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
                return None
            made += [str(value), text]
        return "".join(made)

    return fill


def first_keys(paths: list[str], template: str) -> list[str]:
    """The top-level keys that these paths and this template read."""
    names = [*paths, *(name.strip() for name in _FIELD.findall(template))]
    return [name.removeprefix("$.").partition(".")[0] for name in names]
