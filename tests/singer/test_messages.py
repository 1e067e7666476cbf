"""What a tap writes, one line at a time, and what is wrong with it."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import msgspec
import pytest
from misoflow.singer.lines import blocks
from misoflow.singer.messages import TapError, parse
from misoflow.singer.schemas import Declared


def declared(schema: Any, keys: Any = ("id",), *, validate: bool = True) -> Declared:
    raw = {"type": "SCHEMA", "stream": "s", "schema": schema, "key_properties": list(keys) if keys else keys}
    return Declared(parse(msgspec.json.encode(raw), 1), 1, validate=validate)


def test_a_state_stays_as_it_was_written() -> None:
    line = b'{"type": "STATE", "value": {"b": 1.0,  "a": [1e3, null]}}'
    assert bytes(parse(line, 1).value) == b'{"b": 1.0,  "a": [1e3, null]}'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json", "line 7 is no Singer message"),
        (b'{"type": "RECORD", "stream": "s", "record": {"a": 1}', "line 7 is no Singer message"),
        (b'{"type": "RECORD", "stream": "s", "record": {"a": "\xff"}}', "line 7 is no Singer message"),
        (b"[]", "line 7 is no Singer message"),
        (b'{"stream": "s"}', "line 7 is no Singer message"),
        (b'{"type": "RECORDS", "stream": "s"}', "unknown message type 'RECORDS'"),
        (b'{"type": "BATCH", "stream": "s"}', "BATCH is not supported"),
        (b'{"type": "RECORD", "stream": "s", "record": [1]}', "is no object"),
        (b'{"type": "RECORD", "record": {}}', "names no stream"),
        (b'{"type": "STATE"}', "has no value"),
        (b'{"type": "RECORD", "stream": "s", "record": {"a": ' + b"[" * 400 + b"]" * 400 + b"}}", "too deeply"),
        (b'{"type": "RECORD", "stream": "s", "record": ' + b"[" * 100_000, "line 7 is no Singer message"),
    ],
)
def test_a_line_that_is_no_message_is_named_by_its_number(line: bytes, why: str) -> None:
    with pytest.raises(TapError, match="line 7") as caught:
        parse(line, 7)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [None, [], {"type": "object"}, {"properties": []}, {"properties": {"a": {"type": "no-type"}}}],
)
def test_a_schema_that_is_none(schema: Any) -> None:
    with pytest.raises(TapError, match="SCHEMA of stream 's'"):
        declared(schema)


def test_a_schema_of_draft_4_is_one() -> None:
    schema = declared({"properties": {"id": {"type": "number", "minimum": 0, "exclusiveMinimum": True}}})
    schema.check({"id": 1}, 1)
    with pytest.raises(TapError):
        schema.check({"id": 0}, 1)


def test_no_schema_is_fetched_from_elsewhere() -> None:
    with pytest.raises(TapError, match="no JSON Schema"):
        declared({"properties": {"a": {"$ref": "http://127.0.0.1:1/schema.json"}}})


def test_what_violates_the_schema_is_told_without_its_value() -> None:
    schema = declared({"properties": {"id": {"type": "integer"}, "who": {"properties": {"mail": {"type": "null"}}}}})
    with pytest.raises(TapError) as caught:
        schema.check({"id": 1, "who": {"mail": "sam@example.com"}}, 3)
    assert "line 3" in str(caught.value)
    assert "$.who.mail" in str(caught.value)
    assert "sam" not in str(caught.value)


def test_a_record_without_its_key_or_a_required_property() -> None:
    schema = declared({"properties": {"id": {}}, "required": ["name"]})
    with pytest.raises(TapError, match="lacks its key property 'id'"):
        schema.check({"name": "n"}, 1)
    with pytest.raises(TapError, match="'name' is missing"):
        schema.check({"id": 1}, 1)
    declared({"properties": {"id": {}}, "required": ["name"]}, validate=False).check({"id": 1}, 1)


def test_a_scale_that_floats_cannot_keep_refuses_nothing() -> None:
    schema = declared({"properties": {"id": {}, "price": {"type": "number", "multipleOf": 0.01}}})
    schema.check({"id": 1, "price": 19.99}, 1)
    named = declared({"properties": {"id": {}, "multipleOf": {"type": "integer"}}})
    with pytest.raises(TapError):
        named.check({"id": 1, "multipleOf": "x"}, 1)


def test_a_record_is_known_by_its_keys_else_by_what_it_says() -> None:
    keyed = declared({"properties": {}}, keys=["a", "b"])
    assert keyed.own_id({"a": 1, "b": "x", "c": 1}) == keyed.own_id({"b": "x", "a": 1, "c": 2})
    assert keyed.own_id({"a": 1, "b": "1"}) != keyed.own_id({"a": "1", "b": 1})
    keyless = declared({"properties": {}}, keys=None)
    assert keyless.own_id({"a": 1, "b": 2}) == keyless.own_id({"b": 2, "a": 1, "_sdc_extracted_at": "now"})
    assert keyless.own_id({"a": 1}) != keyless.own_id({"a": 2})


async def lines_of(data: bytes, piece: int) -> list[bytes]:
    class Pipe(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return self.read(piece)

    return [line async for some in blocks(Pipe(data), asyncio.Event()) for line in some]


@pytest.mark.parametrize("piece", [1, 3, 1000])
async def test_lines_come_whole_however_the_pipe_cuts_them(piece: int) -> None:
    assert [line for line in await lines_of(b"one\n\ntwo\xe2\x82\xac\nlast", piece) if line] == [
        b"one",
        "two€".encode(),
        b"last",
    ]


async def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.singer.lines.LONGEST", 100)
    with pytest.raises(TapError, match="longer than"):
        await lines_of(b"x" * 1000, 10)
