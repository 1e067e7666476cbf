"""Segmentation expressions, the ``where`` of exports and profile queries.

Grammar and typing: https://developer.mixpanel.com/reference/segmentation-expressions. ``None`` stands for undefined.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Properties = Mapping[str, Any]
Term = Callable[[Properties], Any]

TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?)|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<sign>==|!=|>=|<=|[-+*/%<>()\[\],]))"""
)
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
DEEPEST = 50


class BadExpression(ValueError):
    """The expression cannot be read; says where."""


class Expression:
    """A parsed expression. ``names`` are the properties it looks at. Raises BadExpression."""

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._term = self._either()
        if self._at < len(self._tokens):
            raise BadExpression(f"unexpected {self._tokens[self._at][1]!r}")

    def __call__(self, properties: Properties) -> bool:
        return self._term(properties) is True

    def _next(self, *wanted: str) -> str | None:
        if self._at < len(self._tokens):
            sort, text = self._tokens[self._at]
            if sort != "text" and text in wanted:
                self._at += 1
                return text
        return None

    def _need(self, wanted: str) -> None:
        if self._next(wanted) is None:
            raise BadExpression(f"expected {wanted!r}")

    def _either(self) -> Term:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadExpression("nested too deep")
        left = self._both()
        while self._next("or"):
            left = _or(left, self._both())
        self._depth -= 1
        return left

    def _both(self) -> Term:
        left = self._negated()
        while self._next("and"):
            left = _and(left, self._negated())
        return left

    def _negated(self) -> Term:
        if self._next("not"):
            inner = self._negated()
            return lambda row: _not(inner(row))
        return self._comparison()

    def _comparison(self) -> Term:
        left = self._sum()
        while sign := self._next("==", "!=", ">", ">=", "<", "<=", "in"):
            left = _compare(sign, left, self._sum())
        return left

    def _sum(self) -> Term:
        left = self._product()
        while sign := self._next("+", "-"):
            left = _arithmetic(sign, left, self._product())
        return left

    def _product(self) -> Term:
        left = self._unary()
        while sign := self._next("*", "/", "%"):
            left = _arithmetic(sign, left, self._unary())
        return left

    def _unary(self) -> Term:
        if self._next("-"):
            inner = self._unary()
            return lambda row: -value if _numeric(value := inner(row)) else None
        return self._single()

    def _single(self) -> Term:
        if self._next("("):
            inner = self._either()
            self._need(")")
            return inner
        if self._next("["):
            items = [self._either()]
            while self._next(","):
                items.append(self._either())
            self._need("]")
            return lambda row: [item(row) for item in items]
        if self._at >= len(self._tokens):
            raise BadExpression("it ends too early")
        sort, text = self._tokens[self._at]
        self._at += 1
        if sort == "number":
            value = float(text)
            return lambda row: value
        if sort == "text":
            said = re.sub(r"\\(.)", r"\1", text[1:-1])
            return lambda row: said
        return self._word(text)

    def _word(self, word: str) -> Term:
        if word in ("true", "false"):
            return lambda row: word == "true"
        if word in ("properties", "event", "user"):
            self._need("[")
            sort, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
            if sort != "text":
                raise BadExpression(f"{word}[ needs a name in quotes")
            self._at += 1
            self._need("]")
            name = text[1:-1]
            self.names.add(name)
            return lambda row: row.get(name)
        if word in FUNCTIONS:
            self._need("(")
            inner = self._either()
            self._need(")")
            function = FUNCTIONS[word]
            return lambda row: function(inner(row))
        raise BadExpression(f"unknown name {word!r}")


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise BadExpression(f"cannot read {text[at : at + 20]!r}")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _numeric(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _or(left: Term, right: Term) -> Term:
    return lambda row: left(row) is True or right(row) is True


def _and(left: Term, right: Term) -> Term:
    return lambda row: left(row) is True and right(row) is True


def _not(value: object) -> bool | None:
    return (not value) if value is None or isinstance(value, bool) else None


def _same(left: object, right: object) -> bool:
    alike = (_numeric(left) and _numeric(right)) or type(left) is type(right)
    return alike and left == right


def _compare(sign: str, left: Term, right: Term) -> Term:
    def compared(row: Properties) -> bool | None:
        a, b = left(row), right(row)
        if sign in ("==", "!="):
            return _same(a, b) is (sign == "==")
        if sign == "in":
            if isinstance(b, list):
                return any(_same(a, one) for one in b)
            return a in b if isinstance(a, str) and isinstance(b, str) else None
        if (_numeric(a) and _numeric(b)) or (isinstance(a, str) and isinstance(b, str)):
            return COMPARED[sign](a, b)
        return None

    return compared


def _arithmetic(sign: str, left: Term, right: Term) -> Term:
    def done(row: Properties) -> Any:
        a, b = left(row), right(row)
        if sign == "+" and isinstance(a, str) and isinstance(b, str):
            return a + b
        if not (_numeric(a) and _numeric(b)) or (sign in "/%" and b == 0):
            return None
        match sign:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return a / b
        return math.fmod(a, b)

    return done


def _number(value: object) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _string(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _boolean(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value)
    return bool(value) if isinstance(value, bool | int | float) else None


def _datetime(value: object) -> float | None:
    """Seconds since 1970, of seconds or of ISO text in UTC."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) else None


def _rounded(function: Callable[[float], int]) -> Callable[[Any], Any]:
    return lambda value: function(value) if _numeric(value) else None


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "string": _string,
    "boolean": _boolean,
    "datetime": _datetime,
    "defined": lambda value: value is not None,
    "floor": _rounded(math.floor),
    "ceil": _rounded(math.ceil),
    "round": _rounded(round),
}
