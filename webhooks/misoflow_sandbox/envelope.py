"""A request to the API, and what can be wrong with it as a whole: the 422 in FastAPI's shape that Miso documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct

from misoflow_sandbox.answers import Answer, wrong_shape
from misoflow_sandbox.faults import Plan
from misoflow_sandbox.schema import IDS

LONGEST_ID = 512
MISSING = ("field required", "value_error.missing")


class Call(Struct):
    """One request to the API. ``segments`` are the parts of the path, decoded."""

    method: str
    segments: list[str]
    query: dict[str, str]
    headers: dict[bytes, bytes]
    body: bytes
    plan: Plan
    records: int = 0
    """Set once they are counted: how many records the body holds."""


class Refused(Exception):
    """Carries the answer of a request that goes no further."""

    def __init__(self, given: Answer) -> None:
        self.answer = given


def body_of(call: Call) -> dict[str, Any]:
    """The body, an object. Raises Refused in FastAPI's shape, which Miso's documents declare for such requests."""
    if not call.body:
        raise Refused(wrong_shape(["body"], *MISSING))
    media = call.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if media != b"application/json" and not media.endswith(b"+json"):
        raise Refused(wrong_shape(["body"], "value is not a valid dict", "type_error.dict"))
    try:
        found = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise Refused(wrong_shape(["body", error.pos], error.msg, "value_error.jsondecode")) from None
    if not isinstance(found, dict):
        raise Refused(wrong_shape(["body"], "value is not a valid dict", "type_error.dict"))
    return found


def list_of(body: dict[str, Any], name: str, where: Sequence[str] = ("body",)) -> list[Any]:
    if name not in body:
        raise Refused(wrong_shape([*where, name], *MISSING))
    found = body[name]
    if not isinstance(found, list):
        raise Refused(wrong_shape([*where, name], "value is not a valid list", "type_error.list"))
    return found


def texts_of(body: dict[str, Any], name: str, where: Sequence[str]) -> list[str]:
    found = list_of(body, name, where)
    for index, one in enumerate(found):
        if not isinstance(one, str):
            raise Refused(wrong_shape([*where, name, index], "str type expected", "type_error.str"))
    return found


def check_length(kind: str, key: str) -> None:
    if len(key) > LONGEST_ID:
        message = f"ensure this value has at most {LONGEST_ID} characters"
        raise Refused(wrong_shape(["path", IDS[kind]], message, "value_error.any_str.max_length"))
