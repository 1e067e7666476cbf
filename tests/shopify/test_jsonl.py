"""Files of bulk operations: exact, or broken; never silently less."""

from __future__ import annotations

import json
import os
import random
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow_shopify import jsonl
from misoflow_shopify.jsonl import Broken, Group, Lines, Spool


def root(number: int) -> dict[str, object]:
    return {"__typename": "Product", "id": f"gid://shopify/Product/{number}", "title": f"T{number}"}


def child(number: int, parent: int, kind: str = "ProductVariant") -> dict[str, object]:
    return {
        "__typename": kind,
        "id": f"gid://shopify/{kind}/{number}",
        "__parentId": f"gid://shopify/Product/{parent}",
    }


def grouped(data: bytes, *, chunk: int = 7, size: int | None = None, whole: bool = True) -> list[Group]:
    lines, spool = Lines(), Spool(len(data) if size is None else size)
    try:
        for at in range(0, len(data), chunk):
            spool.add(lines.feed(data[at : at + chunk]))
        spool.add(lines.last())
        return list(spool.groups(whole=whole))
    finally:
        spool.close()


def written(nodes: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(node).encode() + b"\n" for node in nodes)


def simple(groups: list[Group]) -> dict[str, list[str]]:
    return {found["id"]: sorted(one["id"] for one in children) for found, children in groups}


@given(
    counts=st.lists(st.integers(0, 5), max_size=12),
    seed=st.integers(0, 1000),
    chunk=st.integers(1, 400),
    newline=st.booleans(),
    doubled=st.booleans(),
)
@settings(deadline=None)
def test_27_any_order_of_lines_gives_each_object_whole(
    counts: list[int], seed: int, chunk: int, newline: bool, doubled: bool
) -> None:
    nodes = [root(number) for number in range(len(counts))]
    expected: dict[str, list[str]] = {str(node["id"]): [] for node in nodes}
    for parent, many in enumerate(counts):
        for at in range(many):
            # the same child below many parents, as collections are
            one = child(at, parent, "Collection")
            nodes.append(one)
            expected[str(one["__parentId"])].append(str(one["id"]))
    if doubled:
        nodes += nodes[: len(nodes) // 2]
    random.Random(seed).shuffle(nodes)
    data = written(nodes)
    found = grouped(data if newline else data.rstrip(b"\n"), chunk=chunk)
    assert len(found) == len(counts)
    assert simple(found) == {key: sorted(ids) for key, ids in expected.items()}


def test_27_a_cut_last_line_is_broken() -> None:
    data = written([root(1), child(1, 1)])
    for end in range(len(data) - 2, len(data) - 40, -1):
        with pytest.raises(Broken):
            grouped(data[:end])


def test_27_a_child_without_its_root_is_broken() -> None:
    data = written([root(1), child(1, 2)])
    with pytest.raises(Broken, match="without its parent"):
        grouped(data)
    assert simple(grouped(data, whole=False)) == {"gid://shopify/Product/1": []}


@pytest.mark.parametrize("line", [b"x", b"[]", b"{}", b'{"id": 7}', b'{"id": null}', b"\xff", b'{"id": "a"'])
def test_27_what_is_no_node_is_broken(line: bytes) -> None:
    with pytest.raises(Broken):
        grouped(line + b"\n")


def test_27_two_versions_of_one_object_are_broken() -> None:
    with pytest.raises(Broken, match="two versions"):
        grouped(written([root(1), {**root(1), "title": "other"}]))


def test_children_without_an_id_are_kept() -> None:
    parent = {"__parentId": "gid://shopify/Product/1"}
    ((_, children),) = grouped(written([root(1), {**parent, "code": "A"}, {**parent, "code": "B"}]))
    assert [one["code"] for one in children] == ["A", "B"]


def test_a_line_without_end_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 100)
    lines = Lines()
    lines.feed(b"x" * 99)
    with pytest.raises(Broken, match="no end"):
        lines.feed(b"xx")


def test_30_the_order_is_that_of_the_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "PART_BYTES", 2000)
    nodes = [root(number) for number in range(300)] + [child(number, number % 300) for number in range(900)]
    random.Random(1).shuffle(nodes)
    data = written(nodes)
    first = grouped(data, chunk=1000)
    assert first == grouped(data, chunk=333)
    assert len(first) == 300
    assert sum(len(children) for _, children in first) == 900


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(jsonl, "PART_BYTES", 100)
    spool = Spool(10_000)
    spool.add(written([root(number) for number in range(200)]).splitlines())
    groups = spool.groups()
    next(groups)
    assert os.listdir(tmp_path) == []  # even while it is used: a kill leaves nothing either
    spool.close()


def many(lines: int) -> Iterator[bytes]:
    """Chunks of a catalogue whose children come long after their roots."""
    block: list[bytes] = []
    roots = lines // 5
    for number in range(lines):
        node = root(number) if number < roots else child(number, (number * 7919) % roots)
        block.append(json.dumps({**node, "html": "x" * 200}).encode())
        if len(block) == 1000:
            yield b"\n".join(block) + b"\n"
            block = []
    yield b"\n".join(block)


@pytest.mark.long
def test_31_five_million_lines_fit_into_300_mib() -> None:
    count = 5_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines, spool = Lines(), Spool(None)
    for chunk in many(count):
        spool.add(lines.feed(chunk))
    spool.add(lines.last())
    assert spool.lines == count
    found = 0
    for _, children in spool.groups():
        found += 1 + len(children)
    spool.close()
    assert found == count
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200


def test_31_memory_does_not_follow_the_size_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "PART_BYTES", 50_000)
    loaded: list[int] = []
    real = jsonl._grouped

    def watched(file: object, whole: bool) -> Iterator[Group]:
        found = list(real(file, whole))  # type: ignore[arg-type]
        loaded.append(len(found) + sum(len(children) for _, children in found))
        yield from found

    monkeypatch.setattr(jsonl, "_grouped", watched)
    lines, spool = Lines(), Spool(None)
    for chunk in many(40_000):
        spool.add(lines.feed(chunk))
    spool.add(lines.last())
    assert sum(1 for _ in spool.groups()) == 8000
    assert sum(loaded) == 40_000
    assert max(loaded) < 600
