"""What Miso writes about a record it refuses: ``data.N.path is invalid. Sentence``.

Miso documents the sentences for a wrong type and a wrong format, in one wording for interactions and another for
products and users (https://docs.miso.ai/api-reference); the others follow their form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema_rs import ValidationError

JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One line about one record: ``rest`` is all that follows ``data.N``."""

    index: int
    rest: str

    def line(self) -> str:
        return f"data.{self.index}{self.rest}"


def json_type(value: object) -> str:
    """JSON Schema's name of a parsed value's type."""
    return JSON_TYPES.get(type(value), "null")


def fault(index: int, path: Sequence[str | int], sentence: str, value: str | None = None) -> Fault:
    """A line; ``value`` is shown in parentheses, as Miso does with some offending values."""
    dotted = "".join(f".{part}" for part in path)
    shown = "" if value is None else f" ({value})"
    return Fault(index, f"{dotted}{shown} is invalid. {sentence}")


def faults(index: int, errors: Iterator[ValidationError], kind: str, required: Sequence[str]) -> Iterator[Fault]:
    """The lines about one record. ``required``: its attributes that are not optional."""
    for error in errors:
        yield from _faults(index, error, kind, required)


def _faults(index: int, error: ValidationError, kind: str, required: Sequence[str]) -> Iterator[Fault]:
    path, details = error.instance_path, error.kind.as_dict()
    match error.kind.name:
        case "type":
            yield fault(index, path, _mistyped(error.instance, details["types"], path, kind, required))
        case "anyOf":
            yield from _of_branches(index, error, kind, required)
        case "required":
            yield fault(index, [*path, details["property"]], "The attribute is required.")
        case "additionalProperties":
            for name in details["unexpected"]:
                yield fault(index, [*path, name], "The attribute is not allowed.")
        case "enum":
            options = ", ".join(f"'{option}'" for option in details["options"])
            yield fault(index, path, f"The attribute should be one of {options}.", str(error.instance))
        case name:
            yield fault(index, path, _bound(name, details, kind))


def _of_branches(index: int, error: ValidationError, kind: str, required: Sequence[str]) -> Iterator[Fault]:
    """Where the type fits one alternative, what is wrong with that one; else all the types there could be."""
    path = error.instance_path
    types: list[str] = []
    branches: Any = error.kind.as_dict().get("context") or error.kind.value
    for branch in branches:
        wrong = [one for one in branch if one.kind.name == "type" and one.instance_path == path]
        if not wrong:
            yield from faults(index, iter(branch), kind, required)
            return
        types += [name for name in wrong[0].kind.as_dict()["types"] if name not in types]
    yield fault(index, path, _mistyped(error.instance, types, path, kind, required))


def _mistyped(
    value: object, types: Sequence[str], path: Sequence[str | int], kind: str, required: Sequence[str]
) -> str:
    optional = len(path) == 1 and path[0] not in required
    names = [f"'{name}'" for name in ([*types, "null"] if optional else types)]
    expected = names[0] if len(names) == 1 else f"'{', '.join(names)}'"
    if kind == "interactions":
        return f"The attribute was expected to be of type {expected} but type '{json_type(value)}' was given."
    return f"The attribute expected to be of type {expected}, but '{json_type(value)}' is given."


def _bound(name: str, details: dict[str, Any], kind: str) -> str:
    match name:
        case "format":
            article = "the " if kind == "interactions" else ""
            return f"The attribute should match {article}'{details['format']}' format."
        case "maxLength":
            return f"The attribute should have at most {details['limit']} characters."
        case "minLength":
            return f"The attribute should have at least {details['limit']} characters."
        case "minimum":
            return f"The attribute should be at least {details['limit']}."
        case "maximum":
            return f"The attribute should be at most {details['limit']}."
        case "pattern":
            return f"The attribute should match the '{details['pattern']}' pattern."
        case _:
            return f"The attribute breaks the rule '{name}'."
