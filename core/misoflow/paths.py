"""Values out of an event's data by path, and the directives that put several together. Pure and total.

The JSON forms (``@path``, ``@template``, ``@literal``, ``@arrayPath``, ``@case``, ``@if``) are Segment's own, so
that a mapping can be pasted: https://segment.com/docs/connections/destinations/actions/#mappings
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

Getter = Callable[[Mapping[str, Any]], Any]
"""data → value, None where there is none."""

STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,6})\]")
TEMPLATE = re.compile(r"\{\{([^{}]{1,200})\}\}")
MOST_STEPS = 32
MOST_DEPTH = 16
MOST_ITEMS = 10_000


def path_getter(path: str) -> Getter:
    """``$.a.b[0]`` or ``a.b[0]``; ValueError when it is no path."""
    text = path.strip().removeprefix("$")
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = STEP.match(text, position)
        if match is None:
            raise ValueError(f"{path!r} is not a path such as $.properties.product_id")
        steps.append(match[1] if match[1] is not None else int(match[2]))
        position = match.end()
    if len(steps) > MOST_STEPS:
        raise ValueError(f"{path!r} is too deep")

    def get(data: Mapping[str, Any]) -> Any:
        value: Any = data
        for step in steps:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and step < len(value) else None
            else:
                value = value.get(step) if isinstance(value, Mapping) else None
            if value is None:
                return None
        return value

    return get


def is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$")


def compile_value(spec: Any, hash_key: bytes | None, depth: int = 0) -> Getter:
    """A getter for what stands in a rule: a ``$`` path, a list of paths (the first with a value), a directive,
    or anything else as it is. ValueError says what is wrong with it."""
    if depth > MOST_DEPTH:
        raise ValueError("is nested too deeply")
    if is_path(spec):
        return path_getter(spec)
    if isinstance(spec, list) and spec and all(is_path(one) or _is_directive(one) for one in spec):
        return _first([compile_value(one, hash_key, depth + 1) for one in spec])
    if _is_directive(spec):
        ((name, argument),) = spec.items() if len(spec) == 1 else (_split_directive(spec),)
        return _DIRECTIVES[name](argument, hash_key, depth + 1)
    if isinstance(spec, dict):
        shape = {key: compile_value(item, hash_key, depth + 1) for key, item in spec.items()}
        return lambda data: _without_none({key: get(data) for key, get in shape.items()})
    return lambda data: spec


def _is_directive(value: Any) -> bool:
    return isinstance(value, dict) and any(key in _DIRECTIVES for key in value)


def _split_directive(spec: dict[str, Any]) -> tuple[str, Any]:
    raise ValueError(f"one directive at a time, not {', '.join(sorted(spec))}")


def _without_none(value: dict[str, Any]) -> dict[str, Any] | None:
    return {key: item for key, item in value.items() if item is not None} or None


def _first(getters: list[Getter]) -> Getter:
    def get(data: Mapping[str, Any]) -> Any:
        for getter in getters:
            value = getter(data)
            if value is not None and value not in ("", []):
                return value
        return None

    return get


def _path(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    if not isinstance(argument, str):
        raise ValueError("@path needs a text")
    return path_getter(argument)


def _template(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    if not isinstance(argument, str):
        raise ValueError("@template needs a text")
    pieces = TEMPLATE.split(argument)
    getters = [path_getter(piece.strip()) for piece in pieces[1::2]]

    def get(data: Mapping[str, Any]) -> str | None:
        values = [getter(data) for getter in getters]
        if any(not isinstance(value, str | int | float) or isinstance(value, bool) for value in values):
            return None
        out = [pieces[0]]
        for value, rest in zip(values, pieces[2::2], strict=True):
            out += [str(value), rest]
        return "".join(out)

    return get


def _literal(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    return lambda data: argument


def _array_path(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    if not isinstance(argument, list) or len(argument) not in (1, 2):
        raise ValueError("@arrayPath needs [path] or [path, shape of an item]")
    items = compile_value(argument[0], hash_key, depth)
    shape = compile_value(argument[1], hash_key, depth) if len(argument) == 2 else None

    def get(data: Mapping[str, Any]) -> list[Any] | None:
        found = items(data)
        if found is None:
            return None
        many = (found if isinstance(found, list) else [found])[:MOST_ITEMS]
        if shape is None:
            return many
        made = [shape(item) for item in many if isinstance(item, Mapping)]
        return [item for item in made if item is not None]

    return get


def _case(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    if not isinstance(argument, dict) or argument.get("operator") not in ("lower", "upper"):
        raise ValueError('@case needs {operator = "lower" or "upper", value = …}')
    value = compile_value(argument.get("value"), hash_key, depth)
    lower = argument["operator"] == "lower"

    def get(data: Mapping[str, Any]) -> Any:
        found = value(data)
        if not isinstance(found, str):
            return found
        return found.lower() if lower else found.upper()

    return get


def _if(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    if not isinstance(argument, dict) or not ({"exists", "blank"} & set(argument)):
        raise ValueError("@if needs exists or blank, then, and perhaps else")
    test = "exists" if "exists" in argument else "blank"
    value = compile_value(argument[test], hash_key, depth)
    yes = compile_value(argument.get("then"), hash_key, depth)
    no = compile_value(argument.get("else"), hash_key, depth)

    def get(data: Mapping[str, Any]) -> Any:
        found = value(data)
        there = found is not None and (test == "exists" or found != "")
        return yes(data) if there == (test == "exists") else no(data)

    return get


def _hash(argument: Any, hash_key: bytes | None, depth: int) -> Getter:
    """A keyed hash over several fields, where a site has no anonymous id of its own."""
    if hash_key is None:
        raise ValueError("hash needs [miso] user_id_key")
    if not isinstance(argument, list) or not argument:
        raise ValueError("hash needs a list of paths")
    getters = [compile_value(one, hash_key, depth) for one in argument]
    key = hash_key

    def get(data: Mapping[str, Any]) -> str | None:
        values = [getter(data) for getter in getters]
        if all(value is None for value in values):
            return None
        joined = "\0".join("" if value is None else str(value) for value in values)
        return hmac.new(key, joined.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    return get


_DIRECTIVES: dict[str, Callable[[Any, bytes | None, int], Getter]] = {
    "@path": _path,
    "@template": _template,
    "@literal": _literal,
    "@arrayPath": _array_path,
    "@case": _case,
    "@if": _if,
    "hash": _hash,
}
