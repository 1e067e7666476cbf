"""JSON arrays: the elements as a whole parse would give them, streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow.errors import Reject
from misoflow.files import Truncated
from misoflow.files.array import json_array
from misoflow.files.rows import BLOCK, MAX_ROW

from tests.files.kit import flat, pieces, until_trouble, values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    elements=st.lists(JSON, max_size=8),
    indent=st.sampled_from([None, 2]),
    wrapped=st.booleans(),
    seed=st.integers(0, 1000),
    after=st.integers(0, 9),
)
def test_any_chunks_give_the_elements(
    elements: list[Any], indent: int | None, wrapped: bool, seed: int, after: int
) -> None:
    text = json.dumps({"data": elements, "n": [1]} if wrapped else elements, indent=indent, ensure_ascii=seed % 2 == 0)
    rows = flat(json_array(pieces(text.encode("utf-8", "surrogatepass"), seed), after))
    assert [row.number for row in rows] == list(range(after + 1, len(elements) + 1))
    assert [json.loads(row.raw.decode("utf-8", "surrogatepass")) for row in rows] == elements[after:]


@pytest.mark.parametrize(
    "text", ['[{"a":"]"}, {"b":[1,{}]}, 3]', ' {"data" : [{"a":"\\"}"},{"b":1},{}], "x": {"y": [0]} } ']
)
def test_cut_anywhere_it_has_no_end(text: str) -> None:
    data = text.strip().encode()
    for cut in range(1, len(data)):
        with pytest.raises((Truncated, Reject)) as raised:
            flat(json_array([data[:cut]]))
        assert raised.type is Truncated or b"[" not in data[:cut]
    assert len(flat(json_array([data]))) == 3


def test_rows_before_the_trouble_are_given_out() -> None:
    got, error = until_trouble(json_array([b'[{"a":1},{"a":2},{"a"']))
    assert [row.number for row in flat(got)] == [1, 2]
    assert isinstance(error, Truncated)
    assert "inside of record 3" in error.reason


def test_an_element_that_is_no_json_does_not_stop_the_others() -> None:
    got = values(json_array([b'\xef\xbb\xbf[{"a":nope}, 5, {"a": {"b" 1}}, {"a":2}]']))
    assert [number for number, _ in got] == [1, 2, 3, 4]
    assert "not JSON" in got[0][1]
    assert "must be a JSON object" in got[1][1]
    assert "not JSON" in got[2][1]
    assert got[3][1] == {"a": 2}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'[{"a":1} {"a":2}]', "broken behind record 1"),
        (b'[{"a":1}}, {"a":2}]', "broken behind record 1"),
        (b'[{"a":1}] [{"a":2}]', "ends after record 1, but the file goes on"),
        (b'{"data":[{"a":1}]} {"data":[]}', "ends after record 1, but the file goes on"),
        (b'"text"', "must be a JSON array"),
        (b"", "must be a JSON array"),
        (b'{"a": 1, "data": []}', "must be a JSON array"),
    ],
)
def test_a_broken_array_says_where(data: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        flat(json_array([data]))


@pytest.mark.parametrize("step", [1024**2, 64 * 1024**2])
def test_an_element_that_is_too_large_ends_the_file(step: int) -> None:
    data = b'[{"a":1},{"a":"' + b"x" * MAX_ROW + b'"},{"a":3}]'
    got, error = until_trouble(json_array(data[at : at + step] for at in range(0, len(data), step)))
    assert [row.number for row in flat(got)] == [1]
    assert isinstance(error, Reject)
    assert "record 2 is larger than 4 MiB" in error.reason


def test_a_quote_that_is_never_closed_does_not_fill_the_memory() -> None:
    given: list[int] = []
    chunks = (given.append(len(chunk)) or chunk for chunk in [b'[{"a":"', *[b"x" * 1024**2] * 50])
    with pytest.raises(Reject, match="record 1 is larger than 4 MiB, or its quotes do not pair"):
        flat(json_array(chunks))
    assert sum(given) < 2 * MAX_ROW


def test_blocks_are_bounded() -> None:
    assert [len(block) for block in json_array([b"[" + b",".join([b"{}"] * 2500) + b"]"])] == [BLOCK, BLOCK, 500]
