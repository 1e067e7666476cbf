"""Every way in which one field of a JSON value can be wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DROPPED: Any = object()
KINDS: dict[str, Any] = {
    "dropped": DROPPED,
    "null": None,
    "number": 990017,
    "negative": -990018,
    "huge": 10**30,
    "empty text": "",
    "text": "a mutated text",
    "list": ["a mutated text"],
    "object": {"mutated": 1},
    "bool": True,
}
MOST_ELEMENTS = 3
"""Of a longer list: its elements are alike."""


@dataclass(frozen=True)
class Mutation:
    """A value with one field changed. ``in_list``: the field is an element of a list."""

    path: str
    kind: str
    value: Any
    in_list: bool
    was: Any

    def __str__(self) -> str:
        return f"{self.path} {'dropped' if self.kind == 'dropped' else 'as ' + self.kind}"


def mutations(value: Any) -> Iterator[Mutation]:
    """Each field at any depth, in each wrong way; the value itself stays as it is."""
    for steps, was in _fields(value, ()):
        in_list = isinstance(steps[-1], int)
        for kind, wrong in KINDS.items():
            if in_list if wrong is DROPPED else _same(wrong, was):
                continue  # a shorter list is not malformed
            yield Mutation(path_text(steps), kind, _with(value, steps, wrong), in_list, was)


def objects(value: Any, steps: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all objects in a value, itself included."""
    if isinstance(value, dict):
        yield steps
    for key, item in _items(value):
        yield from objects(item, (*steps, key))


def at(value: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        value = value[step]
    return value


def path_text(steps: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def leaves(value: Any) -> Iterator[Any]:
    """All keys, texts and numbers in a value."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield value


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value[:MOST_ELEMENTS])


def _fields(value: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for key, item in _items(value):
        yield (*steps, key), item
        yield from _fields(item, (*steps, key))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _with(value: Any, steps: tuple[str | int, ...], wrong: Any) -> Any:
    made = copy.deepcopy(value)
    owner = at(made, steps[:-1])
    if wrong is DROPPED:
        del owner[steps[-1]]
    else:
        owner[steps[-1]] = copy.deepcopy(wrong)
    return made
