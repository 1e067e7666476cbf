"""Reading what a 422 of Miso says: which records, which field, in which words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_SENTENCE = 500
SHORTEST_VALUE = 4
"""Characters; a shorter value of a record is too likely to be a part of some word."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that Miso refuses: its index in the request, the path in the record, Miso's sentence."""

    index: int
    path: str
    sentence: str


def read_lines(lines: list[Any]) -> tuple[list[BadRecord], int]:
    """``data.N.field (value) is invalid. …`` lines; the second figure counts those that name no record."""
    found: dict[int, BadRecord] = {}
    unread = 0
    for line in lines:
        record = read_line(line) if isinstance(line, str) else None
        if record is None:
            unread += 1
        else:
            found.setdefault(record.index, record)
    return list(found.values()), unread


def read_line(line: str) -> BadRecord | None:
    """One line, or None. Linear in its length: no pattern that could backtrack."""
    text = line.strip()
    head, marker, message = text.partition(" is invalid")
    if " (" in head:  # the value in parentheses may hold those words too
        head, marker, message = text.rpartition(") is invalid")
    if not marker or not head.startswith("data."):
        return None
    number, _, path = head[5:].partition(".")
    number, _, value = number.partition(" ") if not path else (number, "", "")
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        return None
    del value
    where = path.partition(" (")[0].strip()
    sentence = f"data.{int(number)}{'.' + where if where else ''} is invalid{message}"
    return BadRecord(int(number), f"$.{where}" if where else "$", clean(sentence))


def clean(text: str) -> str:
    """One line of at most 500 printable characters."""
    return "".join(c if c.isprintable() else " " for c in text)[:LONGEST_SENTENCE]


def without_values(sentence: str, record: bytes) -> str:
    """The sentence without the values of the record it is about: they may be personal."""
    try:
        found = list(_texts(json.loads(record)))
    except (ValueError, RecursionError):
        found = [record.decode("utf-8", "replace")]
    for text in sorted(set(found), key=len, reverse=True):
        if len(text) >= SHORTEST_VALUE:
            sentence = sentence.replace(text, "…")
    return sentence


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in it, as text; not its keys."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def read_detail(detail: Any) -> list[BadRecord] | None:
    """FastAPI's ``detail`` list; None when an entry is about the envelope and not about a record."""
    found: dict[int, BadRecord] = {}
    if not isinstance(detail, list) or not detail:
        return None
    for entry in detail:
        loc = entry.get("loc") if isinstance(entry, dict) else None
        if not isinstance(loc, list) or len(loc) < 3 or loc[:2] != ["body", "data"] or not isinstance(loc[2], int):
            return None
        path = ".".join(str(step) for step in ("$", *loc[3:]))
        found.setdefault(loc[2], BadRecord(loc[2], path, clean(str(entry.get("msg", "is invalid")))))
    return list(found.values())
