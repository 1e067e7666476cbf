"""One row of a file to the records that are sent for it, or why none can be. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from misoflow import encode, rawjson
from misoflow.encode import Kind
from misoflow.errors import Reject
from misoflow.instances import hashed
from misoflow.rules import Rules
from misoflow.values import tidied

Checked = tuple[list[bytes], list[str]]
"""The records of a row, byte for byte what is sent, and the ids of products or users."""
Checker = Callable[[bytes], Checked]
_ID = {"products": "product_id", "users": "user_id"}


def checker(
    kind: Kind,
    *,
    rules: Rules | None = None,
    user_key: bytes | None = None,
    convert: Callable[[dict[str, Any], Kind], dict[str, Any]] | None = None,
) -> Checker:
    """What to do with each row; the result raises Reject(reason, path).

    ``rules`` map rows that they match; ``user_key`` hashes user ids; ``convert`` is for rows of mere texts.
    Without them a record goes out as the bytes that stand in the file.
    """
    known = encode.check
    name = _ID.get(kind)

    def plain(raw: bytes) -> Checked:
        if raw.count(b"[") + raw.count(b"{") > rawjson.MAX_DEPTH:
            _shallow(raw)
        body, record = known(raw, kind)
        return [body], [getattr(record, name)] if name else []

    if rules is None and user_key is None and convert is None:
        return plain

    def made(raw: bytes) -> Checked:
        bodies: list[bytes] = []
        ids: list[str] = []
        for record in _records(_row(raw), kind, rules, convert):
            user = record.get("user_id")
            own_user = {"user_id": hashed(user_key, user)} if user_key is not None and isinstance(user, str) else {}
            body, own = plain(_written({**record, **own_user}))
            bodies += body
            ids += own
        return bodies, ids

    return made


def _shallow(raw: bytes) -> None:
    if rawjson.depth(raw) > rawjson.MAX_DEPTH:
        raise Reject(f"is nested deeper than {rawjson.MAX_DEPTH} levels")


def _row(raw: bytes) -> dict[str, Any]:
    value = rawjson.parse(raw)
    if not isinstance(value, dict):
        raise Reject("must be an object")
    return value


def _written(record: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(record)
    except (msgspec.EncodeError, TypeError, ValueError, RecursionError) as error:
        raise Reject(f"cannot be written as JSON: {type(error).__name__}") from None


def _records(
    row: dict[str, Any],
    kind: Kind,
    rules: Rules | None,
    convert: Callable[[dict[str, Any], Kind], dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """What a row becomes: by the first rule that matches its ``event`` or ``type``, else as it stands."""
    if rules is not None:
        found = rules.apply(str(row.get("event") or row.get("type") or ""), row)
        if found is not None:
            return [{field: tidied(field, value) for field, value in one.items()} for one in found]
    return [convert(row, kind) if convert is not None else row]
