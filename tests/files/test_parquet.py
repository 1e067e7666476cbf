"""Parquet: what Miso can take of each type, numbered, resumable, and whole or an error."""

from __future__ import annotations

import gzip
import io
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from misoflow.errors import Halt, Reject
from misoflow.files import BadRow, Truncated, read
from misoflow.files.parquet import parquet_rows
from misoflow.files.rows import BLOCK

from tests.conftest import IN_CI
from tests.files.kit import flat, on_disk, values

if not IN_CI:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install 'misoflow[files]'")

import pyarrow as pa
import pyarrow.parquet as pq


def file_of(columns: dict[str, Any], **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    out.seek(0)
    return out


def test_values_become_json() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    opened = file_of(
        {
            "id": ["a", None],
            "n": pa.array([1, 2**53]),
            "price": pa.array([Decimal("1.25"), Decimal("3.00")]),
            "x": pa.array([float("nan"), 0.5]),
            "day": pa.array([date(2026, 1, 2), None]),
            "us": pa.array([when, None], pa.timestamp("us", "UTC")),
            "ns": pa.array([1_767_323_045_678_000_001, None], pa.timestamp("ns", "UTC")),
            "raw": pa.array([b"text", None]),
            "tags": pa.array([["p", None], []]),
            "page": pa.array([{"url": "u", "title": None}, None]),
            "map": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
        }
    )
    assert values(parquet_rows(opened)) == [
        (
            1,
            {
                "id": "a",
                "n": 1,
                "price": 1.25,
                "day": "2026-01-02",
                "us": "2026-01-02T03:04:05.678000Z",
                "ns": "2026-01-02T03:04:05.678000Z",
                "raw": "text",
                "tags": ["p", None],
                "page": {"url": "u"},
                "map": {"k": "v"},
            },
        ),
        (2, {"n": 2**53, "price": 3, "x": 0.5, "tags": []}),
    ]


def test_a_value_without_a_form_in_json_is_a_bad_row() -> None:
    rows = flat(parquet_rows(file_of({"b": [b"ok", b"\xff\xfe", b"ok"]})))
    assert [type(row) is BadRow for row in rows] == [False, True, False]
    assert "not UTF-8" in rows[1].reason  # type: ignore[union-attr]


@pytest.mark.parametrize("after", [0, 1, 699, 700, 701, 1400, 2499, 2500, 3000])
def test_rows_that_are_done_are_left_out(after: int) -> None:
    opened = file_of({"n": list(range(1, 2501))}, row_group_size=700)
    told: list[int] = []
    got = values(parquet_rows(opened, after, told.append))
    assert got == [(n, {"n": n}) for n in range(after + 1, 2501)]
    assert sum(told) == len(opened.getvalue())


def test_blocks_are_bounded_and_an_empty_file_has_none() -> None:
    assert max(map(len, parquet_rows(file_of({"n": list(range(2500))})))) <= BLOCK
    assert flat(parquet_rows(file_of({"n": pa.array([], pa.int64())}))) == []


def test_cut_anywhere_it_is_not_complete(tmp_path: Path) -> None:
    whole = file_of({"n": list(range(300)), "t": ["x" * 50] * 300}).getvalue()
    for cut in [*range(0, len(whole), 7), len(whole) - 1]:
        with pytest.raises((Truncated, Reject), match=r"cut\.parquet: the"):
            flat(read(on_disk(tmp_path, "cut.parquet", whole[:cut])))


@pytest.mark.parametrize(("start", "checksum"), [(4, False), (200, True)], ids=["header", "values"])
def test_a_damaged_page_is_an_error(start: int, checksum: bool) -> None:
    values = [f"{n}" * 9 for n in range(3000)]
    whole = bytearray(file_of({"t": values}, compression="zstd", write_page_checksum=checksum).getvalue())
    whole[start : start + 60] = bytes(60)
    with pytest.raises(Reject, match="damaged"):
        flat(parquet_rows(io.BytesIO(bytes(whole))))


def test_compressed_from_outside_is_told() -> None:
    with pytest.raises(Reject, match="not compressed from outside"):
        flat(parquet_rows(io.BytesIO(gzip.compress(file_of({"n": [1]}).getvalue()))))


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Halt, match=r"pip install 'misoflow\[files\]'"):
        flat(parquet_rows(io.BytesIO(b"")))
