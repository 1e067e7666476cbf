"""What a tap writes, line by line: SCHEMA, RECORD, STATE and ACTIVATE_VERSION. Pure.

The specification: https://github.com/singer-io/getting-started/blob/master/docs/SPEC.md
"""

from __future__ import annotations

from typing import Any

import msgspec

from misoflow import rawjson
from misoflow.errors import MisoflowError

TYPES = ("SCHEMA", "RECORD", "STATE", "ACTIVATE_VERSION")


class TapError(MisoflowError):
    """The tap's messages cannot be used from here on; the text names the line, never a value."""


class Message(msgspec.Struct, frozen=True):
    """One line. ``value`` stays the bytes that came, so that a state goes back as it is."""

    type: str
    stream: str = ""
    schema: Any = None
    key_properties: Any = None
    record: Any = None
    value: msgspec.Raw = msgspec.Raw(b"")


def parse(line: bytes, number: int) -> Message:
    """A line as a message; TapError with the line's number when it is none."""
    try:
        message = msgspec.json.decode(line, type=Message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise TapError(f"line {number} is no Singer message: {_told(error)}") from None
    if message.type == "BATCH":
        raise TapError(f"line {number}: BATCH is not supported; have the tap send RECORD messages (no batch_config)")
    if message.type not in TYPES:
        raise TapError(f"line {number}: unknown message type {message.type[:40]!r} (known: {', '.join(TYPES)})")
    if message.type == "STATE":
        if not message.value:
            raise TapError(f"line {number}: STATE has no value")
    elif not message.stream:
        raise TapError(f"line {number}: {message.type} names no stream")
    if message.type == "RECORD":
        if not isinstance(message.record, dict):
            raise TapError(f"line {number}: the record of stream {message.stream!r} is no object")
        if line.count(b"[") + line.count(b"{") > rawjson.MAX_DEPTH and rawjson.depth(line) > rawjson.MAX_DEPTH:
            raise TapError(f"line {number}: a record of stream {message.stream!r} is nested too deeply")
    return message


def _told(error: Exception) -> str:
    """Without the value: msgspec's texts name types, places and positions only."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def line_of(message: dict[str, Any]) -> bytes:
    """A message as a tap writes it."""
    return msgspec.json.encode(message) + b"\n"
