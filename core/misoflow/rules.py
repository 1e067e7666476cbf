"""A person's own mapping: ``[[instances.X.rules]]`` in plugins.toml, for every connector alike.

    [[instances.web.rules]]
    match = ["Article Opened", "Blog *"]        # event names; case, spaces and signs do not matter
    where = 'properties.lang = "en"'            # optional condition, see misoflow.conditions
    unless = "is_true(properties.test)"
    type = "read"                               # Miso's type, or "none" to drop the event
    product_ids = ["$.properties.slug", "$.properties.id"]   # the first that gives something
    duration = "$.properties.seconds"           # any other field of that type
    also = [{ type = "custom", custom_action_name = "opened" }]

The first rule that matches wins. A rule gives fields; the connector adds identity, time and context.
"""

from __future__ import annotations

import fnmatch
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from misoflow.conditions import Condition, compile_condition
from misoflow.errors import ConfigError
from misoflow.paths import Getter, compile_value
from misoflow.records import INTERACTIONS

NONE = "none"
OWN = ("match", "where", "unless", "type", "also")
LISTS = ("product_ids", "product_group_ids")


@lru_cache(maxsize=4096)
def normal_name(name: str) -> str:
    """An event name as it is compared: letters and digits only, without case."""
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


def _pattern(name: str) -> str:
    return "".join(c if c == "*" else normal_name(c) for c in unicodedata.normalize("NFKC", name))


@dataclass(frozen=True, slots=True)
class Output:
    """One record that a rule makes: its type, and a getter for each field."""

    type: str
    fields: Mapping[str, Getter]

    def made(self, data: Mapping[str, Any]) -> dict[str, Any]:
        record: dict[str, Any] = {"type": self.type}
        for name, get in self.fields.items():
            value = get(data)
            if value is not None:
                record[name] = [value] if name in LISTS and not isinstance(value, list) else value
        return record


@dataclass(frozen=True, slots=True)
class Rule:
    names: tuple[str, ...]
    where: Condition | None
    unless: Condition | None
    outputs: tuple[Output, ...]

    def matches(self, name: str, data: Mapping[str, Any]) -> bool:
        if self.names and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.names):
            return False
        if self.where is not None and not self.where(data):
            return False
        return self.unless is None or not self.unless(data)


class Rules:
    """The rules of one instance, in order."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)

    def __len__(self) -> int:
        return len(self._rules)

    @classmethod
    def compile(cls, tables: Any, *, where: str, hash_key: bytes | None = None) -> Rules:
        """From the parsed tables; ConfigError with the TOML path of what is wrong."""
        if not isinstance(tables, list):
            raise ConfigError(where, "must be a list of tables: [[instances.NAME.rules]]")
        return cls([_rule(table, f"{where}[{index}]", hash_key) for index, table in enumerate(tables)])

    def explain(self, name: str, data: Mapping[str, Any]) -> int | None:
        """The number of the first rule that matches, from 0."""
        normal = normal_name(name)
        for index, rule in enumerate(self._rules):
            if rule.matches(normal, data):
                return index
        return None

    def apply(self, name: str, data: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Fields of the records that the first matching rule makes; [] drops the event, None: no rule matched."""
        index = self.explain(name, data) if self._rules else None
        if index is None:
            return None
        return [output.made(data) for output in self._rules[index].outputs]


EMPTY = Rules()


def _rule(table: Any, where: str, hash_key: bytes | None) -> Rule:
    if not isinstance(table, dict):
        raise ConfigError(where, "must be a table")
    names = table.get("match", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"{where}.match", "must be an event name or a list of them")
    if not names and "where" not in table:
        raise ConfigError(where, "needs match or where, or it would take every event")
    also = table.get("also", [])
    if not isinstance(also, list):
        raise ConfigError(f"{where}.also", "must be a list of tables")
    first = _output({key: value for key, value in table.items() if key not in OWN or key == "type"}, where, hash_key)
    more = [_output(one, f"{where}.also[{index}]", hash_key) for index, one in enumerate(also)]
    return Rule(
        tuple(_pattern(name) for name in names),
        _condition(table, "where", where),
        _condition(table, "unless", where),
        tuple(one for one in (first, *more) if one is not None),
    )


def _condition(table: dict[str, Any], key: str, where: str) -> Condition | None:
    text = table.get(key)
    if text is None:
        return None
    try:
        return compile_condition(text)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}.{key}", str(error)) from None


def _output(table: Any, where: str, hash_key: bytes | None) -> Output | None:
    if not isinstance(table, dict):
        raise ConfigError(where, "must be a table")
    kind = table.get("type")
    if kind == NONE:
        return None
    if kind not in INTERACTIONS:
        raise ConfigError(f"{where}.type", f"{kind!r} is not one of Miso's types or 'none'")
    known = INTERACTIONS[kind].__struct_fields__
    fields: dict[str, Getter] = {}
    for key, value in table.items():
        if key == "type":
            continue
        if key not in known:
            raise ConfigError(f"{where}.{key}", f"{kind} has no such field (it has {', '.join(known)})")
        try:
            fields[key] = compile_value(value, hash_key)
        except ValueError as error:
            raise ConfigError(f"{where}.{key}", str(error)) from None
    return Output(kind, fields)
