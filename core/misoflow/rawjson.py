"""Strict JSON from outside: valid UTF-8, finite numbers, exact integers, and nested no deeper than can be written.

Imports nothing of ours but the errors, so that requests, the receiver and dead letters share one parser.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from misoflow.errors import Reject

MAX_DEPTH = 250
"""Deeper values can be read but not written again by every library."""
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_BOM = b"\xef\xbb\xbf"


def parse(body: bytes) -> Any:
    """The value; Reject with the place when it is not JSON (NaN, bad UTF-8, lone surrogates), or too deep."""
    text = body.removeprefix(_BOM)
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise Reject(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Reject(f"the body is not JSON: {error}") from None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and depth(text) > MAX_DEPTH:
        raise Reject(f"the body is nested deeper than {MAX_DEPTH} levels")
    return value


def depth(body: bytes) -> int:
    """How deep well-formed JSON is nested."""
    now = deepest = 0
    for token in _TOKENS.findall(body):
        if token in (b"[", b"{"):
            now += 1
            deepest = max(deepest, now)
        elif token in (b"]", b"}"):
            now -= 1
    return deepest
