"""Rows of text to records: the cells of a CSV file take the types that Miso's schema has for their columns.

A column ``context.page.url`` is a value inside of objects. A cell that begins as a JSON array or object is one;
in a column that holds a list, any other cell is a list of one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from misoflow.encode import Kind
from misoflow.records import INTERACTIONS, Product, User

OPEN = ("custom_attributes", "context")
"""Columns below these have no type of their own: their cells stay text, but for JSON."""


def typed(cells: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The record that a row of texts means. What does not fit stays as it is, and is refused later with a reason."""
    record: dict[str, Any] = {}
    for column, cell in cells.items():
        *above, last = column.split(".")
        place = record
        for name in above:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                return cells
            place = inner
        place[last] = _json(cell)
    cls: Any = {"products": Product, "users": User}.get(kind) or INTERACTIONS.get(str(record.get("type")))
    if cls is not None:
        for name, wanted in _columns(cls):
            if name in record:
                record[name] = converted(record[name], wanted)
    return record


@lru_cache(maxsize=64)
def _columns(cls: Any) -> tuple[tuple[str, Any], ...]:
    """(name, type) of the fields whose cells are fitted; reading them off the class takes longer than a row does."""
    return tuple((one.encode_name, one.type) for one in msgspec.structs.fields(cls) if one.encode_name not in OPEN)


def _json(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(("[", "{")):
        return cell
    try:
        return msgspec.json.decode(cell)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return cell


def converted(value: Any, wanted: Any) -> Any:
    """A cell in the type of its field, as a list of one where that is a list; as it is where it does not fit."""
    for candidate in (value, [value]):
        try:
            return msgspec.to_builtins(msgspec.convert(candidate, wanted, strict=False))
        except (msgspec.ValidationError, RecursionError):
            continue
    return value
