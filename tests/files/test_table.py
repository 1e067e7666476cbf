"""CSV: each line a row, a bad row or empty."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow.errors import Reject
from misoflow.files import BadRow
from misoflow.files.rows import BLOCK, MAX_ROW
from misoflow.files.table import csv_rows

from tests.files.kit import flat, pieces, values

# a lone CR is left out: before Python 3.13 the csv module writes it without the quotes that it needs
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6) | st.just("x\r\ny")


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=10),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    seed=st.integers(0, 1000),
    after=st.integers(0, 12),
)
def test_any_chunks_give_the_rows_that_were_written(
    rows: list[tuple[str, str, str]], delimiter: str, end: str, mark: bool, seed: int, after: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(["a", "b", "c"])
    starts = []
    for row in rows:
        starts.append(len(io.StringIO(text.getvalue(), newline="").readlines()) + 1)
        writer.writerow(row)
    data = text.getvalue().encode("utf-8-sig" if mark else "utf-8")
    expected = [
        (start, {name: cell for name, cell in zip("abc", row, strict=True) if cell})
        for start, row in zip(starts, rows, strict=True)
        if any(row) and start > after
    ]
    assert values(csv_rows(pieces(data, seed), after)) == expected


def test_rows_are_numbered_by_the_line_on_which_they_begin() -> None:
    data = b'id,title\n1,"two\nlines"\n\n,\n2,b\n'
    assert values(csv_rows([data])) == [(2, {"id": "1", "title": "two\nlines"}), (6, {"id": "2", "title": "b"})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", "the row has 1 cells, the header 2"),
        (b"1,2,3", "the row has 3 cells, the header 2"),
        (b"1,\xff", "the row is not UTF-8"),
        (b'"1"x,2', "the row is no CSV"),
    ],
)
def test_a_bad_row_has_its_line_and_reason_and_the_next_one_is_read(line: bytes, reason: str) -> None:
    rows = flat(csv_rows([b"id,title\n0,\n" + line + b"\r\n2,b\n"]))
    assert [row.number for row in rows] == [2, 3, 4]
    assert isinstance(rows[1], BadRow)
    assert reason in rows[1].reason
    assert rows[1].raw == line
    assert rows[2].raw == b'{"id":"2","title":"b"}'


def test_a_quote_that_is_never_closed_is_told() -> None:
    rows = flat(csv_rows([b'id,title\n1,a\n2,"b\n3,c\n4,d\n']))
    assert [row.number for row in rows] == [2, 3]
    assert isinstance(rows[1], BadRow)
    assert "never closed" in rows[1].reason
    assert rows[1].raw == b'2,"b\n3,c\n4,d'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"id,id\n1,2\n", "names 'id' twice"),
        (b"id,,\n1,2,3\n", "a column without a name"),
        (b"id\n" + b"x" * (MAX_ROW + 1), "line 2 is larger than 4 MiB"),
        (b'id\n1\n"' + b"x\n" * MAX_ROW, "a cell that begins on line 3 is larger than 4 MiB"),
    ],
    ids=["twice", "unnamed", "line", "cell"],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        flat(csv_rows([data]))


def test_cells_may_be_larger_than_the_csv_module_s_own_limit() -> None:
    assert values(csv_rows([b"html\n" + b"x" * 200_000])) == [(2, {"html": "x" * 200_000})]


def test_nothing_and_a_header_alone_are_no_rows() -> None:
    assert flat(csv_rows([])) == []
    assert flat(csv_rows([b"id,title\n"])) == []


def test_blocks_are_bounded() -> None:
    assert [len(block) for block in csv_rows([b"id\n" + b"1\n" * 2500])] == [BLOCK, BLOCK, 500]
