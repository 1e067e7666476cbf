"""Conditions of rules: a small subset of Segment's trigger language, parsed once, total when evaluated.

    type = "track" and properties.total > 10 and not exists(properties.test)

Operators: = != < <= > >= contains starts_with ends_with in, exists(path), is_true(path), and, or, not, ( ).
https://segment.com/docs/api/config-api/fql/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from misoflow.paths import Getter, path_getter

Condition = Callable[[Mapping[str, Any]], bool]

TOKEN = re.compile(
    r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\"|'[^'\\]*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<op><=|>=|!=|=|<|>)|(?P<mark>[()\[\],])|(?P<word>(?:\$\.?)?[A-Za-z_][\w$.\-]*(?:\[\d+\][\w$.\-]*)*))"
)
LONGEST = 2000
DEEPEST = 40
CALLS = ("exists", "is_true")
WORD_OPERATORS = ("contains", "starts_with", "ends_with", "in")


def compile_condition(text: str) -> Condition:
    """ValueError with the place when it is not a condition."""
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    parser = _Parser(_tokens(text))
    condition = parser.any_of(0)
    parser.end()
    return condition


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ValueError(f"cannot be read at character {position + 1}")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, text: str) -> None:
        found = self._next()[1]
        if found != text:
            raise ValueError(f"expected {text!r} before {found!r}")

    def end(self) -> None:
        if self._peek()[0] != "end":
            raise ValueError(f"does not go on with {self._peek()[1]!r}")

    def any_of(self, depth: int) -> Condition:
        """and binds closer than or."""
        many = [self._all_of(depth)]
        while self._peek()[1].lower() == "or":
            self._next()
            many.append(self._all_of(depth))
        return many[0] if len(many) == 1 else lambda data: any(one(data) for one in many)

    def _all_of(self, depth: int) -> Condition:
        many = [self._one(depth)]
        while self._peek()[1].lower() == "and":
            self._next()
            many.append(self._one(depth))
        return many[0] if len(many) == 1 else lambda data: all(one(data) for one in many)

    def _one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise ValueError("is nested too deeply")
        kind, text = self._next()
        if text == "(":
            inner = self.any_of(depth + 1)
            self._expect(")")
            return inner
        if kind != "word":
            raise ValueError(f"expected a path, not {text!r}")
        if text.lower() in ("not", "!"):
            inner = self._one(depth + 1)
            return lambda data: not inner(data)
        if text in CALLS and self._peek()[1] == "(":
            return self._call(text)
        return self._comparison(path_getter(text))

    def _call(self, name: str) -> Condition:
        self._expect("(")
        kind, path = self._next()
        if kind != "word":
            raise ValueError(f"{name} needs a path")
        get = path_getter(path)
        self._expect(")")
        if name == "exists":
            return lambda data: get(data) is not None
        return lambda data: get(data) is True

    def _comparison(self, get: Getter) -> Condition:
        kind, operator = self._next()
        if kind != "op" and operator not in WORD_OPERATORS:
            raise ValueError(f"expected an operator, not {operator!r}")
        wanted = self._list() if operator == "in" else self._value()
        compare = _OPERATORS[operator]
        return lambda data: compare(get(data), wanted)

    def _list(self) -> list[Any]:
        opening = self._next()[1]
        if opening not in "([":
            raise ValueError("in needs a list")
        values = [self._value()]
        while self._peek()[1] == ",":
            self._next()
            values.append(self._value())
        self._expect(")" if opening == "(" else "]")
        return values

    def _value(self) -> Any:
        kind, text = self._next()
        if kind == "text":
            try:
                return json.loads(text) if text[0] == '"' else text[1:-1]
            except ValueError:
                raise ValueError(f"{text} is not a text") from None
        if kind == "number":
            return float(text) if "." in text else int(text)
        words = {"true": True, "false": False, "null": None}
        if kind == "word" and text.lower() in words:
            return words[text.lower()]
        raise ValueError(f"expected a value, not {text!r}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(found: Any, wanted: Any) -> bool:
        same = (_number(found) and _number(wanted)) or (isinstance(found, str) and isinstance(wanted, str))
        return same and test(found, wanted)

    return compare


def _same(found: Any, wanted: Any) -> bool:
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, list):
        return any(_same(item, wanted) for item in found)
    return isinstance(found, str) and isinstance(wanted, str) and wanted in found


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": _same,
    "!=": lambda found, wanted: not _same(found, wanted),
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "contains": _contains,
    "starts_with": lambda found, wanted: isinstance(found, str) and found.startswith(str(wanted)),
    "ends_with": lambda found, wanted: isinstance(found, str) and found.endswith(str(wanted)),
    "in": lambda found, wanted: any(_same(found, one) for one in wanted),
}
