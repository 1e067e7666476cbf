"""Which files paths stand for, that each is read whole, and which reader it gets."""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
from pathlib import Path

import pytest
import zstandard
from misoflow.errors import Halt, Reject
from misoflow.files import Changed, Source, Truncated, expand, format_of, read, shown

from tests.files.kit import flat, on_disk, values


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl.gz", ".hidden", "_SUCCESS", "_tmp/x.jsonl", ".git/y.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}\n")
    return tmp_path


def names(folder: Path, *paths: str) -> list[str]:
    return [os.path.relpath(source.path, folder) for source in expand([str(folder / path) for path in paths])]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ([""], ["a.jsonl", "b.jsonl", "sub/c.jsonl.gz"]),
        (["b.jsonl", "a.jsonl", "b.jsonl"], ["a.jsonl", "b.jsonl"]),
        (["*.jsonl", "a*", "sub"], ["a.jsonl", "b.jsonl", "sub/c.jsonl.gz"]),
        (["**/*.gz"], ["sub/c.jsonl.gz"]),
        (["_SUCCESS"], ["_SUCCESS"]),
    ],
)
def test_paths_become_files_sorted_and_each_once(tree: Path, paths: list[str], found: list[str]) -> None:
    assert names(tree, *paths) == found


def test_a_name_with_brackets_is_a_name_first(tree: Path) -> None:
    (tree / "d[1].jsonl").write_bytes(b"")
    assert names(tree, "d[1].jsonl") == ["d[1].jsonl"]


@pytest.mark.parametrize("path", ["nope.jsonl", "*.nope", "empty", "nope/"])
def test_a_path_with_nothing_behind_it_is_an_error(tree: Path, path: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(Reject, match="no such file"):
        names(tree, "a.jsonl", path)


def test_bytes_are_counted_and_told(tmp_path: Path) -> None:
    data = os.urandom(3 * 1024**2 + 5)
    told: list[int] = []
    source = on_disk(tmp_path, "x", data)
    assert b"".join(source.chunks(told.append)) == data
    assert sum(told) == len(data) == source.size


def test_a_file_that_was_changed_since_it_was_listed_is_not_read(tmp_path: Path) -> None:
    source = on_disk(tmp_path, "x.jsonl", b"{}\n" * 10)
    on_disk(tmp_path, "x.jsonl", b"{}\n" * 9)
    with pytest.raises(Changed, match="has changed"):
        flat(read(source))
    source = on_disk(tmp_path, "x.jsonl", b"{}\n" * 10)
    os.utime(source.path, ns=(1, 1))
    with pytest.raises(Changed):
        flat(read(source))


@pytest.mark.parametrize(("size", "error"), [(-1_500_000, Truncated), (5, Changed)])
def test_a_file_that_shrinks_or_grows_while_it_is_read_is_told(
    tmp_path: Path, size: int, error: type[Exception]
) -> None:
    source = on_disk(tmp_path, "x.jsonl", b"{}\n" * 1_000_000)
    chunks = source.chunks()
    next(chunks)
    os.truncate(source.path, 3_000_000 + size)
    with pytest.raises(error, match="try again"):
        list(chunks)


def test_a_file_that_is_gone_or_closed_to_us_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = on_disk(tmp_path, "x.jsonl", b"{}")
    monkeypatch.setattr("io.FileIO", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied", path)))
    with pytest.raises(Halt, match="may not be read"):
        source.open()
    monkeypatch.undo()
    os.unlink(source.path)
    with pytest.raises(Reject, match="no such file"):
        source.open()


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b'{"a":1}\n{"a":2}',))
    writer.start()
    source = expand([str(path)])[0]
    assert source.size is None
    assert values(read(source)) == [(1, {"a": 1}), (2, {"a": 2})]
    writer.join()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.JSON.zst", "json"),
        ("s3://bucket/day=1/a.b.csv", "csv"),
        ("a.tsv", "csv"),
        ("a.parquet", "parquet"),
        ("https://x.example/a.csv.gz?sig=.json", "csv"),
        ("a.gz", None),
        ("jsonl", None),
        ("a.xlsx", None),
    ],
)
def test_the_suffix_names_the_format(name: str, kind: str | None) -> None:
    assert format_of(name) == kind


def test_an_unknown_format_is_asked_for_and_can_be_said(tmp_path: Path) -> None:
    source = on_disk(tmp_path, "1.gz", gzip.compress(b'{"a":1}\n'))
    with pytest.raises(Reject, match="say one of jsonl, json, csv, parquet"):
        flat(read(source))
    assert values(read(source, "jsonl")) == [(1, {"a": 1})]


RECORDS = [{"a": n, "t": "\u2028"} for n in range(1, 4)]
LINES = "\n".join(json.dumps(record) for record in RECORDS).encode()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.jsonl", LINES),
        ("x.json", LINES),
        ("x.json", b"\xef\xbb\xbf" + LINES),
        ("x.json", json.dumps(RECORDS, indent=1).encode()),
        ("x.json", json.dumps({"data": RECORDS}, indent=1).encode()),
        ("x.json.gz", b"\xef\xbb\xbf" + json.dumps({"data": RECORDS}).encode()),
        ("x.json", b""),
    ],
)
def test_json_is_lines_an_array_or_miso_s_body_in_any_packing(
    tmp_path: Path, name: str, data: bytes, pack: type[bytes]
) -> None:
    got = values(read(on_disk(tmp_path, name, pack(data))))
    assert got == [(record["a"], record) for record in RECORDS if data]
    assert values(read(on_disk(tmp_path, name, pack(data)), after=2)) == got[2:]


def test_csv_is_read_by_its_suffix(tmp_path: Path) -> None:
    assert values(read(on_disk(tmp_path, "x.csv.gz", gzip.compress(b"a,b\n1,\n")))) == [(2, {"a": "1"})]


def test_one_object_over_many_lines_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="must be an array"):
        flat(read(on_disk(tmp_path, "x.json", json.dumps({"a": 1}, indent=1).encode())))


def test_errors_name_the_file_once(tmp_path: Path) -> None:
    for name, data, error in [
        ("cut.jsonl.gz", gzip.compress(LINES)[:-3], Truncated),
        ("empty.jsonl.gz", b"", Truncated),
        ("odd.json", b"[1 2]", Reject),
        ("odd.csv", b"a,a\n", Reject),
    ]:
        with pytest.raises(error) as raised:
            flat(read(on_disk(tmp_path, name, data)))
        assert str(raised.value).count(name) == 1


def test_secrets_in_addresses_and_options_are_not_shown() -> None:
    source = Source("https://u:canary@x.example/a.csv?sig=canary#canary", 1, "", {"secret": "canary"})
    assert repr(source) == "Source('https://x.example/a.csv', 1)"
    assert shown("sftp://u:canary@x/a?b#c") == "sftp://x/a?b#c"
    assert shown("/home/u:p@x/a?b") == "/home/u:p@x/a?b"


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(Halt, match=r"s3:// needs the library fsspec \(pip install 'misoflow\[files\]'\)"):
        expand(["s3://bucket/x"])
