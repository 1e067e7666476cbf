"""A mapping to be read by a person: what a connector found in a sample, as ``[[instances.X.rules]]``.

A connector that can look at event names and properties has a method ``suggest``. It is no part of ``Connector``:
few platforms have free-form names, and an author should not have to read about it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from misoflow.rules import Rules


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One event name: how often it was seen, and the rule that may fit it.

    ``type`` is Miso's, or "" where none can be proposed; ``fields`` are the rule's, as they stand in TOML;
    ``notes`` say why. ``sure``: else the rule is written as a comment.
    """

    name: str
    count: int
    type: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sure: bool = False


@runtime_checkable
class Suggests(Protocol):
    """A connector that can propose a mapping."""

    async def suggest(self) -> list[Suggestion]:
        """Reads a sample from the platform and changes nothing. Raises Halt, Retry, Reject."""
        ...


HEAD = """\
# A proposal from a sample of {total:,} events, by how often they came. Nothing of it is in use: read it, and move
# what is right into plugins.toml. A rule replaces the preset of its event names; the first that matches wins.
"""


def written(instance: str, found: Sequence[Suggestion]) -> str:
    """The suggestions as TOML that loads as it stands."""
    total = sum(one.count for one in found)
    ordered = sorted(found, key=lambda one: (-one.count, one.name))
    text = HEAD.format(total=total) + "".join(_rule(instance, one, total) for one in ordered)
    tables = tomllib.loads(text).get("instances", {}).get(instance, {}).get("rules", [])
    Rules.compile(tables, where=f"instances.{instance}.rules")
    return text


def _rule(instance: str, one: Suggestion, total: int) -> str:
    share = f"{100 * one.count / total:.1f} %" if total else "0 %"
    lines = [f"\n# {one.count:,} events, {share}" if one.count else "\n# none in the sample"]
    lines += [f"# {_plain(note)}" for note in one.notes]
    rule = [
        f"[[instances.{_key(instance)}.rules]]",
        f"match = [{toml(one.name)}]",
        f"type = {toml(one.type or 'none')}",
    ]
    rule += [f"{name} = {toml(value)}" for name, value in one.fields.items()]
    mark = "" if one.sure and one.type else "# "
    return "\n".join([*lines, *(mark + line for line in rule)]) + "\n"


def toml(value: Any) -> str:
    """A text, number, list or table in one line of TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    # a JSON text is a TOML text, but for DEL and lone surrogates
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode()


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else toml(key)


def _plain(text: str) -> str:
    """Fit for a comment: names of events and properties may hold anything."""
    return "".join(char if char.isprintable() else " " for char in text)
