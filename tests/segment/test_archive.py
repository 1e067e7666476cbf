"""Segment's archives as history: same ids as live, whole files only, nothing that was meant for others."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from misoflow import Retry, Slice
from misoflow.control import call
from misoflow.outputs import to_ms
from misoflow.store import slices
from misoflow_segment import Segment, archive
from misoflow_segment.config import SegmentConfig

from tests.core.site import Site, site
from tests.harness.s3 import bucket_of

DAY = datetime(2026, 10, 1, tzinfo=UTC)
MORE = '[instances.seg]\nconnector = "segment"\nshared_secret = "a-secret-of-the-tests"\narchive = "{folder}"\n'


def viewed(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"m-{number}",
        "userId": f"u{number % 9}",
        "timestamp": f"2026-10-01T{number % 24:02}:00:00.000Z",
        "properties": {"product_id": f"p{number}"},
        **more,
    }


def packed(*calls: dict[str, Any]) -> bytes:
    return gzip.compress(b"".join(json.dumps(one).encode() + b"\n" for one in calls))


def put(folder: Path, day: datetime, name: str, data: bytes) -> Path:
    place = folder / str(to_ms(day)) / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


async def pulled(s: Site, days: int = 2) -> list[dict[str, Any]]:
    s.engine.backfills.puller.waits = (0.01,)
    span = {"start": to_ms(DAY), "end": to_ms(DAY + timedelta(days=days))}
    jobs = (await call(s.settings, "backfill.start", instance="seg", streams=["archive"], **span))["jobs"]
    for _ in range(200):
        if "open" not in [(await s.engine.store.run(slices.job, job)).state for job in jobs]:
            break
        await asyncio.sleep(0.05)
    return await s.engine.store.run(slices.view, "seg", jobs)


async def test_an_overlap_with_live_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    put(folder, DAY, "a.gz", packed(*(viewed(n) for n in range(50))))
    put(folder, DAY + timedelta(days=1), "b.gz", packed(*(viewed(n) for n in range(40, 90))))
    async with site(tmp_path, more=MORE.format(folder=folder)) as s:
        await s.send(body=json.dumps(viewed(7)).encode(), instance="seg")
        await s.settled(1, "seg")
        rows = await pulled(s)
        assert all(row["state"] == "done" for row in rows)
        assert sum(row["read"] for row in rows) == 100
        assert s.counts("seg") == {"accepted": 90, "delivered": 90, "duplicates": 11}
        assert len(s.interactions()) == 90
        await s.send(body=json.dumps(viewed(80)).encode(), instance="seg")
        await s.until(lambda: s.counts("seg")["duplicates"] == 12)


async def test_calls_for_others_are_skipped_and_bad_lines_are_dead_letters(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    calls = [
        viewed(1, integrations={"Webhooks": False}),
        viewed(2, integrations={"All": False}),
        viewed(3, integrations={"All": False, "Miso": True}),
        viewed(4, integrations={"Mixpanel": False}),
    ]
    data = gzip.decompress(packed(*calls)) + b'{"type": oops}\n\n'
    put(folder, DAY, "a.gz", gzip.compress(data[:200]) + gzip.compress(data[200:]))
    async with site(tmp_path, more=MORE.format(folder=folder)) as s:
        rows = await pulled(s)
        assert s.counts("seg") == {"accepted": 5, "delivered": 2, "skipped": 2, "dead": 1}
        assert all(row["state"] == "done" for row in rows)
        from misoflow.status import dead_letters

        (letter,) = dead_letters(s.settings, s.vault, instance="seg")
        assert letter.path.endswith("a.gz:5")


async def test_a_truncated_file_is_reported_and_never_taken_for_complete(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    whole = packed(*(viewed(n) for n in range(5000)))
    cut = put(folder, DAY, "a.gz", whole[:-2000])
    async with site(tmp_path, more=MORE.format(folder=folder)) as s:
        rows = await pulled(s, days=1)
        assert [row["state"] for row in rows] == ["failed"]
        assert "cut off" in rows[0]["error"]
        cut.write_bytes(whole)
        again = await pulled(s, days=1)
        assert {row["state"] for row in again} == {"done"}
        assert s.counts("seg")["delivered"] == 5000


def test_a_broken_file_does_not_hold_up_the_others_and_the_cursor_waits_for_it(tmp_path: Path) -> None:
    put(tmp_path, DAY, "a.gz", packed(*(viewed(n) for n in range(10))))
    cut = put(tmp_path, DAY, "b.gz", packed(*(viewed(n) for n in range(10, 5000)))[:-500])
    put(tmp_path, DAY, "c.gz", packed(*(viewed(n) for n in range(5000, 5010))))
    damaged = bytearray(packed(*(viewed(n) for n in range(5010, 8000))))
    damaged[len(damaged) // 2] ^= 255
    put(tmp_path, DAY + timedelta(days=1), "d.gz", bytes(damaged))
    part = Slice("archive", DAY, DAY + timedelta(days=2))
    pages = []
    with pytest.raises(Retry, match=r"b\.gz.*cut off.*d\.gz.*damaged"):
        pages.extend(archive.pull(str(tmp_path), (), part))
    found = {event.id for page in pages for event in page.events}
    place = json.loads(pages[-1].cursor or "")
    assert place["path"].endswith("b.gz")
    assert {"m-1", "m-5001"} <= found
    assert {f"m-{n}" for n in range(10, 10 + place["row"])} <= found, (
        "the cursor is behind rows that were not given out"
    )
    cut.write_bytes(packed(*(viewed(n) for n in range(10, 5000))))
    cursor, pages = pages[-1].cursor, []
    with pytest.raises(Retry, match=r"^\S*d\.gz"):
        pages.extend(archive.pull(str(tmp_path), (), replace(part, cursor=cursor)))
    assert {f"m-{n}" for n in range(10, 5010)} <= {event.id for page in pages for event in page.events}


async def test_files_of_every_make_are_counted_exactly(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    lines = [json.dumps(viewed(n)).encode() for n in range(60)]
    put(
        folder,
        DAY,
        "members.gz",
        gzip.compress(b"\n".join(lines[:10]) + b"\n") + gzip.compress(b"\r\n".join(lines[10:20])),
    )
    put(folder, DAY, "blank.gz", gzip.compress(b"\xef\xbb\xbf\n" + b"\n \n\n".join(lines[20:30])))
    put(folder, DAY, "plain.gz", b"\n".join(lines[30:39]) + b"\nnot a call\n" + lines[39])
    put(folder, DAY, "array.json", b"[" + b",\n".join(lines[40:50]) + b"]")
    put(folder, DAY, "lines.jsonl.zst", zstandard.compress(b"\n".join(lines[50:60])))
    put(folder, DAY, "again.gz", gzip.compress(b"\n".join(lines)))
    put(folder, DAY, "empty.jsonl", b"")
    put(folder, DAY, "_SUCCESS", b"mark of another tool")
    put(folder, DAY + timedelta(days=3), "later.gz", packed(viewed(99)))
    async with site(tmp_path, more=MORE.format(folder=folder)) as s:
        rows = await pulled(s)
        assert all(row["state"] == "done" for row in rows)
        assert sum(row["read"] for row in rows) == 121
        assert s.counts("seg") == {"accepted": 61, "delivered": 60, "dead": 1, "duplicates": 60}


async def test_the_last_of_each_trait_stays_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    def identify(number: int, at: str, **traits: Any) -> dict[str, Any]:
        made = {"type": "identify", "messageId": f"i-{number}", "userId": "u1", "timestamp": f"2026-10-01T{at}:00.000Z"}
        return {**made, "traits": traits}

    folder = tmp_path / "logs"
    put(folder, DAY, "a.gz", packed(identify(1, "09:00", plan="gold", age=30), identify(2, "07:00", plan="free")))
    put(folder, DAY, "b.gz", packed(identify(3, "08:00", plan="silver", age=29, gender="f")))
    put(folder, DAY + timedelta(days=1), "c.gz", packed(identify(4, "06:00", plan="none", city="Bonn")))
    async with site(tmp_path, more=MORE.format(folder=folder)) as s:
        await pulled(s)
        user = s.users()["u1"]
        found = (user["custom_attributes"]["plan"], user["age"], user["gender"], user["city"])
        assert found == ("gold", 30, "f", "Bonn")


def test_without_an_archive_there_is_no_history() -> None:
    secret = {"shared_secret": "a-secret-of-the-tests"}
    assert list(Segment(SegmentConfig.model_validate(secret | {"archive": "x"})).streams) == ["archive"]
    assert Segment(SegmentConfig.model_validate(secret)).streams == {}


async def test_consent_counts_in_archives_too(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    given = [
        viewed(n, context={"consent": {"categoryPreferences": preferences}})
        for n, preferences in enumerate([{"Ads": True}, {"Ads": False}, {"Other": True}])
    ]
    put(folder, DAY, "a.gz", packed(*given, viewed(9)))
    async with site(tmp_path, more=MORE.format(folder=folder) + 'required_consent = ["Ads"]\n') as s:
        await pulled(s)
        assert s.counts("seg") == {"accepted": 4, "delivered": 2, "skipped": 2}


@pytest.mark.parametrize(
    ("integrations", "ours"),
    [
        (None, True),
        ({}, True),
        ("all", True),
        ({"All": False}, False),
        ({"all": False, "webhooks (actions)": True}, True),
        ({"Miso": {"key": 1}, "All": False}, True),
        ({"Miso": False}, False),
        ({"Slack": False}, True),
    ],
)
def test_who_a_call_was_meant_for(integrations: Any, ours: bool) -> None:
    assert archive.is_for(integrations, ("Miso", "Webhooks", "Webhooks (Actions)")) is ours


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with bucket_of("logs", monkeypatch) as client:
        yield client


async def test_an_archive_in_s3(tmp_path: Path, bucket: Any) -> None:
    whole = packed(*(viewed(n) for n in range(3000)))
    key = f"segment-logs/src/{to_ms(DAY)}/a.gz"
    bucket.put_object(Bucket="logs", Key=key, Body=whole[:-100])
    async with site(tmp_path, more=MORE.format(folder="s3://logs/segment-logs/src")) as s:
        rows = await pulled(s, days=1)
        assert [row["state"] for row in rows] == ["failed"]
        bucket.put_object(Bucket="logs", Key=key, Body=whole)
        assert {row["state"] for row in await pulled(s, days=1)} == {"done"}
        assert s.counts("seg")["delivered"] == 3000


def test_an_object_that_is_replaced_while_the_day_is_read_is_told(bucket: Any) -> None:
    for name in ("a", "b"):
        bucket.put_object(Bucket="logs", Key=f"src/{to_ms(DAY)}/{name}.gz", Body=packed(*(viewed(n) for n in range(9))))
    pages = archive.pull("s3://logs/src", (), Slice("archive", DAY, DAY + timedelta(days=1)))
    next(pages)
    bucket.put_object(Bucket="logs", Key=f"src/{to_ms(DAY)}/b.gz", Body=packed(viewed(1)))
    with pytest.raises(Retry, match=r"b\.gz has changed"):
        list(pages)


async def test_a_suppressed_user_is_skipped_live_and_from_the_archive_and_counted(tmp_path: Path) -> None:
    folder, listed = tmp_path / "logs", tmp_path / "suppressed.txt"
    listed.write_text("u1\n")
    put(folder, DAY, "a.gz", packed(*(viewed(n) for n in range(18))))
    more = f'{MORE.format(folder=folder)}suppress_file = "{listed}"\n'
    async with site(tmp_path, more=more) as s:
        await s.send(body=json.dumps(viewed(28)).encode(), instance="seg")
        await s.settled(1, "seg")
        await pulled(s)
        await s.settled(19, "seg")
        counts = s.counts("seg")
        assert (counts["delivered"], counts["skipped"]) == (16, 3)
        assert "u1" not in {one["user_id"] for one in s.interactions()}
