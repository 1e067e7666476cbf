"""JSON Lines: every line is a row, a bad row or blank, whatever the chunks are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow.errors import Reject
from misoflow.files import BadRow, Row
from misoflow.files.lines import json_lines
from misoflow.files.rows import BLOCK, MAX_ROW

from tests.files.kit import flat, pieces, values

LINE = st.one_of(
    st.just(b""),
    st.just(b"  \t"),
    st.just(b"nonsense"),
    st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=3).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode()
    ),
)


@settings(deadline=None)
@given(
    lines=st.lists(LINE, max_size=20),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    seed=st.integers(0, 1000),
    after=st.integers(0, 22),
)
def test_any_chunks_give_the_same_rows(lines: list[bytes], end: bytes, last: bool, seed: int, after: int) -> None:
    data = end.join(lines) + (end if last else b"")
    expected = [Row(n, line) for n, line in enumerate(lines, 1) if line.strip() and n > after]
    assert flat(json_lines(pieces(data, seed), after)) == expected
    assert flat(json_lines([data], after)) == expected


def test_only_newlines_end_lines() -> None:
    text = '{"a":"x\u2028y\u2029z\x85 \x0b"}\n{"a":1}'.replace("\x0b", "\\u000b")
    assert values(json_lines([text.encode()])) == [(1, {"a": "x\u2028y\u2029z\x85 \x0b"}), (2, {"a": 1})]


def test_a_mark_at_the_start_is_left_out_however_it_is_cut() -> None:
    data = b'\xef\xbb\xbf{"a":1}\n'
    for cut in range(len(data)):
        assert flat(json_lines([data[:cut], data[cut:]])) == [Row(1, b'{"a":1}')]


def test_utf_16_is_refused_with_the_way_out() -> None:
    with pytest.raises(Reject, match="save it as UTF-8"):
        flat(json_lines(['{"a":1}'.encode("utf-16")]))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":', "the row is not JSON"),
        (b'{"a":NaN}', "the row is not JSON"),
        (b'{"a":"\xff"}', "the row is not JSON"),
        (b"[" * 300 + b"]" * 300, "nested deeper"),
        (b"[1]", "must be a JSON object, not an array"),
        (b"null", "not null"),
        (b"true", "not a boolean"),
        (b'"a"', "not a string"),
        (b"1.5", "not a number"),
    ],
)
def test_a_bad_line_has_its_number_and_reason_and_the_next_one_is_read(line: bytes, reason: str) -> None:
    got = values(json_lines([b'{"a":1}\n\n' + line + b'\n{"a":2}\n']))
    assert [number for number, _ in got] == [1, 3, 4]
    assert reason in got[1][1]
    assert got[2][1] == {"a": 2}


@pytest.mark.parametrize("step", [1024**2, 3 * 1024**2, 64 * 1024**2])
def test_a_line_that_is_too_large_is_one_bad_row(step: int) -> None:
    large = b'{"a":"' + b"x" * 2 * MAX_ROW + b'"}'
    exact = b"1" * MAX_ROW
    data = b'{"n":1}\n' + large + b'\n{"n":3}\n' + exact + b"\n" + large
    rows = flat(json_lines(data[at : at + step] for at in range(0, len(data), step)))
    assert [(type(row), row.number) for row in rows] == [(Row, 1), (BadRow, 2), (Row, 3), (Row, 4), (BadRow, 5)]
    assert [row.raw for row in rows if isinstance(row, BadRow)] == [large[:1024]] * 2
    assert "larger than 4 MiB" in rows[1].reason  # type: ignore[union-attr]


def test_blocks_are_bounded() -> None:
    sizes = [len(block) for block in json_lines([b"{}\n" * 2500])]
    assert sizes == [BLOCK, BLOCK, 500]


def test_lines_that_are_done_are_passed_over_whole_chunks_at_a_time() -> None:
    chunks = [b'{"a":1}\n{"a"', b':2}\n{"a":3}\n', b'\n{"a":5}\n{"a":6']
    for after in range(7):
        numbers = [row.number for row in flat(json_lines(chunks, after))]
        assert numbers == [n for n in (1, 2, 3, 5, 6) if n > after]
