"""Uploads from an object store: whole objects only, and the same command goes on."""

from __future__ import annotations

import gzip
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bulk.kit import Place, interaction, lines
from tests.harness.s3 import bucket_of


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with bucket_of("exports", monkeypatch) as client:
        yield client


def test_objects_are_uploaded_and_one_that_is_cut_off_is_never_complete(place: Place, bucket: Any) -> None:
    whole = gzip.compress(lines([interaction(number) for number in range(2000)]))
    bucket.put_object(Bucket="exports", Key="day/a.jsonl.gz", Body=whole[:-1000])
    bucket.put_object(Bucket="exports", Key="day/b.jsonl", Body=lines([interaction(9999)]))
    found = place.json("upload", "interactions", "s3://exports/day/", code=1)
    assert [one["whole"] for one in found["files"]] == [False, True]
    assert "s3://exports/day/a.jsonl.gz" in found["files"][0]["problem"]
    assert found["read"] == found["delivered"] == place.held().total() < 2001
    bucket.put_object(Bucket="exports", Key="day/a.jsonl.gz", Body=whole)
    assert place.json("upload", "interactions", "s3://exports/day/")["delivered"] == 2001
    assert set(place.held().values()) == {1}


def test_killed_in_the_middle_of_an_object_it_goes_on(place: Place, bucket: Any) -> None:
    body = lines([interaction(number) for number in range(300)])
    bucket.put_object(Bucket="exports", Key="a.jsonl", Body=body)
    command = ("upload", "interactions", "s3://exports/a.jsonl")
    place.misoflow(*command, code=-signal.SIGKILL, crash="upload.done:4")
    bucket.put_object(Bucket="exports", Key="a.jsonl", Body=body[::-1])
    assert "has changed in what this upload has sent already" in place.misoflow(*command, code=1).stderr
    bucket.put_object(Bucket="exports", Key="a.jsonl", Body=body)
    found = place.json(*command)
    assert (found["resumed"], found["delivered"]) == (True, 300)
    assert set(place.held()) == {f"n{number}" for number in range(300)}
