"""The files connector: new and changed files on a schedule, every row accounted for."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from misoflow import Retry, Slice
from misoflow.control import call
from misoflow.status import dead_letters
from misoflow.store import slices
from misoflow_files import Files, FilesConfig

from tests.core.site import Site, site

AT = "2026-10-01T08:00:00Z"


def settings(folder: Path, more: str = "") -> str:
    return f'[instances.data]\nconnector = "files"\npaths = ["{folder}"]\n{more}\n'


def like(number: int) -> dict[str, Any]:
    return {"type": "like", "user_id": f"u{number}", "product_ids": [f"p{number}"], "timestamp": AT}


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


async def pull(s: Site) -> list[dict[str, Any]]:
    s.engine.backfills.puller.waits = (0.01,)
    jobs = (await call(s.settings, "backfill.start", instance="data"))["jobs"]
    for _ in range(300):
        if "open" not in [(await s.engine.store.run(slices.job, job)).state for job in jobs]:
            break
        await asyncio.sleep(0.05)
    return await s.engine.store.run(slices.view, "data", jobs)


async def test_new_files_are_read_once_and_changed_ones_again(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [like(n) for n in range(30)])
    async with site(tmp_path, more=settings(folder)) as s:
        assert (await pull(s))[0]["read"] == 30
        write(folder / "b.jsonl", [like(n) for n in range(20, 50)])
        (row,) = await pull(s)
        assert (row["read"], row["taken"], row["repeats"]) == (30, 20, 10)
        assert (await pull(s))[0]["read"] == 0
        write(folder / "a.jsonl", [like(n) for n in range(60)])
        os.utime(folder / "a.jsonl", (1, 1))
        (row,) = await pull(s)
        assert (row["read"], row["taken"]) == (60, 10)
        assert len(s.interactions()) == 60


async def test_bad_rows_are_dead_letters_with_file_and_line(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [like(1), {**like(2), "type": "lik"}, {**like(3), "timestamp": None}])
    with (folder / "a.jsonl").open("ab") as file:
        file.write(b"oops\n")
    async with site(tmp_path, more=settings(folder)) as s:
        (row,) = await pull(s)
        assert row["counts"] == {"delivered": 1, "dead": 3}
        letters = dead_letters(s.settings, s.vault, instance="data")
        assert [letter.path.rpartition("/")[2].split()[0] for letter in letters] == [f"a.jsonl:{n}" for n in (2, 3, 4)]


async def test_a_truncated_file_fails_the_run_and_not_the_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "z.jsonl", [like(n) for n in range(10)])
    whole = gzip.compress(b"".join(json.dumps(like(n)).encode() + b"\n" for n in range(100, 3000)))
    (folder / "b.jsonl.gz").write_bytes(whole[:-500])
    async with site(tmp_path, more=settings(folder)) as s:
        (row,) = await pull(s)
        assert row["state"] == "failed"
        assert "b.jsonl.gz" in row["error"]
        assert any(record["user_id"] == "u3" for record in s.interactions())
        (folder / "b.jsonl.gz").write_bytes(whole)
        assert {row["state"] for row in await pull(s)} == {"done"}
        assert len(s.interactions()) == 2910


def test_small_files_share_pages_and_the_cursor_forgets_what_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number in range(300):
        write(folder / f"{number:03}.jsonl", [like(number * 10 + n) for n in range(10)])
    connector = Files(FilesConfig(paths=(f"{folder}/",)))
    part = Slice("files", datetime.fromtimestamp(0, UTC), datetime.now(UTC))
    pages = list(connector.backfill(part))
    assert [len(page.events) for page in pages] == [2000, 1000]
    half = list(connector.backfill(replace(part, cursor=pages[0].cursor)))
    assert [event.id for page in half for event in page.events] == [event.id for event in pages[1].events]
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    (last,) = connector.backfill(replace(part, cursor=pages[-1].cursor))
    assert last.events == []
    assert len(json.loads(last.cursor or "")["files"]) == 1


async def test_a_folder_may_be_empty_and_a_file_that_is_named_may_not(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "a.jsonl", [like(1)])
    may = Files(FilesConfig(paths=(f"{tmp_path}/in", f"{tmp_path}/*.csv", f"{tmp_path}/later/")))
    part = Slice("files", datetime.fromtimestamp(0, UTC), datetime.now(UTC))
    assert [page.events for page in may.backfill(part)] == [[]]
    assert [(found.level, found.text) for found in await may.check()] == [("warn", "there are no files yet")]
    must = Files(FilesConfig(paths=(f"{tmp_path}/none.jsonl", f"{tmp_path}/a.jsonl")))
    pages = []
    with pytest.raises(Retry, match=r"none\.jsonl: no such file"):
        pages.extend(must.backfill(part))
    assert sum(len(page.events) for page in pages) == 1
    assert [found.level for found in await must.check()] == ["fail"]
    write(tmp_path / "notes.txt", [like(2)])
    (nameless,) = await Files(FilesConfig(paths=(f"{tmp_path}/notes.txt",))).check()
    assert "does not say which format" in nameless.text
    assert await Files(FilesConfig(paths=(f"{tmp_path}/notes.txt",), format="jsonl")).check() == []


async def test_a_schedule_picks_up_what_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [like(n) for n in range(3)])
    async with site(tmp_path, more=settings(folder, 'backfill.files = { every = "1s" }')) as s:
        await s.until(lambda: s.counts("data").get("delivered") == 3)
        write(folder / "b.jsonl", [like(n) for n in range(2, 5)])
        await s.until(lambda: s.counts("data").get("delivered") == 5)
        assert len(s.interactions()) == 5


async def test_products_that_change_back_are_sent_again_and_unchanged_ones_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    async with site(tmp_path, more=settings(folder, 'kind = "products"')) as s:
        for run, title in enumerate(("Lamp", "Light", "Lamp")):
            folder.mkdir(exist_ok=True)
            (folder / "p.csv").write_text(f"product_id,title,sale_price\np1,{title},3.5\np2,Bulb,1\n")
            os.utime(folder / "p.csv", (run, run))
            await pull(s)
        assert s.products()["p1"]["title"] == "Lamp"
        assert s.products()["p1"]["sale_price"] == 3.5
        wire = json.loads(s._ask("/_sandbox/wire"))
        assert [one["records"] for one in wire if one["path"] == "/v1/products"] == [2, 1, 1]


async def test_rules_map_rows_of_any_shape(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    rows = [
        {"event": "bought", "who": "u1", "sku": "p1", "qty": "2", "at": AT},
        {"event": "noise", "who": "u1"},
        {"event": "dropped"},
    ]
    write(folder / "rows.jsonl", rows)
    rules = """unmapped = "drop"
[[instances.data.rules]]
match = "bought"
type = "add_to_cart"
user_id = "$.who"
product_ids = ["$.sku"]
quantities = "$.qty"
timestamp = "$.at"
[[instances.data.rules]]
match = "dropped"
type = "none"
"""
    async with site(tmp_path, more=settings(folder, rules)) as s:
        (row,) = await pull(s)
        assert row["counts"] == {"delivered": 1, "skipped": 2}
        (record,) = s.interactions()
        assert (record["product_ids"], record["quantities"], record["user_id"]) == (["p1"], [2], "u1")
