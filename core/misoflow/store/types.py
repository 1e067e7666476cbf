"""Custom attributes keep one type over the whole data set, as Miso asks (a clash fails the record's task).

The first type seen of an attribute is remembered per Miso environment; a later value is fitted to it where
that loses nothing, and left out where it cannot be. Source: https://docs.miso.ai (custom attributes).
"""

from __future__ import annotations

import logging
from typing import Any

from misoflow.store.tx import Tx

log = logging.getLogger("misoflow.work")
NESTED = "custom_attributes"


def type_of(value: Any) -> str:
    """Miso's view of a value's type; an empty list has none yet."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "object"
    return f"list of {type_of(value[0])}" if value else ""


def fitted(value: Any, wanted: str) -> Any:
    """The value in the wanted type, or None when it cannot be had without inventing something."""
    found = type_of(value)
    if found in ("", wanted):
        return value
    if wanted == "text" and found in ("number", "boolean"):
        return str(value).lower() if found == "boolean" else str(value)
    if wanted == "number" and found == "text":
        return _number(value)
    if wanted == f"list of {found}":
        return [value]
    if wanted.startswith("list of ") and isinstance(value, list):
        items = [fitted(item, wanted.removeprefix("list of ")) for item in value]
        return None if None in items else items
    return None


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None


def fit(tx: Tx, env: int, kind: str, record: dict[str, Any]) -> dict[str, Any]:
    """The record with its custom attributes in the types that Miso already holds."""
    attributes = record.get(NESTED)
    if not attributes:
        return record
    kept = {}
    for name, value in attributes.items():
        found = type_of(value)
        wanted = tx.one("SELECT type FROM attributes WHERE env=? AND kind=? AND name=?", (env, kind, name))
        if wanted is None:
            if found:
                tx.db.execute("INSERT INTO attributes VALUES(?,?,?,?)", (env, kind, name, found))
            kept[name] = value
            continue
        fit_value = fitted(value, wanted)
        if fit_value is not None:
            kept[name] = fit_value
        elif (kind, name, found) not in _said:
            _said.add((kind, name, found))
            log.warning("custom attribute %s of %ss is %s at Miso, not %s: it is left out", name, kind, wanted, found)
    return {**record, NESTED: kept} if kept else {key: item for key, item in record.items() if key != NESTED}


_said: set[tuple[str, str, str]] = set()
