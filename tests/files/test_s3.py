"""Object stores, against moto's S3 server: listed, read whole, and never taken for complete when they are not."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from misoflow.errors import Halt, Reject, Retry
from misoflow.files import Changed, Truncated, expand, read

from tests.conftest import IN_CI
from tests.files.kit import flat, until_trouble, values

if not IN_CI:
    for library in ("moto", "flask", "s3fs", "pyarrow"):
        pytest.importorskip(library, reason=f"needs {library}: pip install 'moto[server]' 'misoflow[files]'")

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer

DAY = "segment-logs/src/1767225600000"
LINES = b"".join(b'{"n":%d}\n' % n for n in range(1, 5001))
Put = Callable[[str, bytes], None]


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    """Storage options of a server on this machine that is as empty as a new account."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "key": "made-up",
        "secret": "canary-of-s3",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"},
    }
    server.stop()


@pytest.fixture
def put(options: dict[str, Any], request: pytest.FixtureRequest) -> Put:
    """Writes an object into the bucket ``logs``, which is new."""
    client = boto3.client(
        "s3", aws_access_key_id="made-up", aws_secret_access_key="made-up", **options["client_kwargs"]
    )
    for found in client.list_buckets()["Buckets"]:
        for key in client.list_objects_v2(Bucket=found["Name"]).get("Contents", ()):
            client.delete_object(Bucket=found["Name"], Key=key["Key"])
    client.create_bucket(Bucket="logs")

    def write(key: str, data: bytes) -> None:
        client.put_object(Bucket="logs", Key=key, Body=data)

    return write


@pytest.mark.parametrize("path", ["s3://logs", "s3://logs/segment-logs/", "s3://logs/segment-logs/*/*/*.gz"])
def test_buckets_folders_and_globs_become_objects(options: dict[str, Any], put: Put, path: str) -> None:
    for key in ("b.gz", "a.gz", "", "_SUCCESS"):
        put(f"{DAY}/{key}", gzip.compress(LINES))
    sources = expand([path, f"s3://logs/{DAY}/a.gz"], options)
    assert [source.path for source in sources] == [f"s3://logs/{DAY}/a.gz", f"s3://logs/{DAY}/b.gz"]
    assert "canary" not in repr(sources)
    for source in sources:
        assert values(read(source, "jsonl", after=4998)) == [(4999, {"n": 4999}), (5000, {"n": 5000})]


def test_a_later_listing_is_a_new_one(options: dict[str, Any], put: Put) -> None:
    put("in/a.jsonl", b"{}")
    assert len(expand(["s3://logs/in"], options)) == 1
    put("in/b.jsonl", b"{}")
    assert len(expand(["s3://logs/in"], options)) == 2


def test_parquet_is_read_in_place(options: dict[str, Any], put: Put) -> None:
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": list(range(1, 3001))}), out, row_group_size=1000)
    put("x.parquet", out.getvalue().to_pybytes())
    (source,) = expand(["s3://logs/x.parquet"], options)
    assert values(read(source, after=2999)) == [(3000, {"n": 3000})]
    assert len(flat(read(source))) == 3000


def test_a_truncated_object_is_reported_and_what_it_held_is_kept(options: dict[str, Any], put: Put) -> None:
    put(f"{DAY}/cut.jsonl.gz", gzip.compress(LINES) + gzip.compress(LINES)[:-1])
    blocks, error = until_trouble(read(expand([f"s3://logs/{DAY}"], options)[0]))
    assert isinstance(error, Truncated)
    assert f"s3://logs/{DAY}/cut.jsonl.gz" in str(error)
    assert [row.number for row in flat(blocks)][:5000] == list(range(1, 5001))


def test_an_object_that_was_replaced_since_the_listing_is_not_read(options: dict[str, Any], put: Put) -> None:
    for first, second in [(LINES, LINES[:-9]), (LINES, LINES.replace(b"1", b"2"))]:
        put("x.jsonl", first)
        (source,) = expand(["s3://logs/x.jsonl"], options)
        put("x.jsonl", second)
        with pytest.raises(Changed, match="has changed"):
            flat(read(source))


def test_an_object_that_is_replaced_by_a_shorter_one_while_it_is_read_is_told(
    options: dict[str, Any], put: Put
) -> None:
    put("x.jsonl", b"{}\n" * 5_000_000)
    (source,) = expand(["s3://logs/x.jsonl"], options)
    chunks = source.chunks()
    next(chunks)
    put("x.jsonl", b"{}\n" * 3_000_000)
    assert isinstance(until_trouble(chunks)[1], Changed)


def test_fewer_bytes_than_listed_are_never_complete(
    options: dict[str, Any], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that answers short: the file object comes to its end before the listed size."""
    put("x.jsonl", LINES)
    (source,) = expand(["s3://logs/x.jsonl"], options)
    opened = source.open()
    opened.cache.size = 1000  # type: ignore[attr-defined]
    monkeypatch.setattr(type(source), "open", lambda _: opened)
    error = until_trouble(read(source))[1]
    assert isinstance(error, Truncated)
    assert str(error) == f"s3://logs/x.jsonl ended after 1000 of {len(LINES)} bytes; try again"


@pytest.mark.parametrize("path", ["s3://logs/nope", "s3://logs/*.nope", "s3://no-such-bucket/x"])
def test_nothing_there_is_an_error(options: dict[str, Any], put: Put, path: str) -> None:
    with pytest.raises(Reject, match="no such file"):
        expand([path], options)


def test_who_has_to_act_is_told(options: dict[str, Any], put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {**options, "client_kwargs": {**options["client_kwargs"], "endpoint_url": "http://127.0.0.1:9"}}
    gone["config_kwargs"] = {"retries": {"max_attempts": 0}}
    with pytest.raises(Retry, match="cannot be read now"):
        expand(["s3://logs/x"], gone)
    with pytest.raises(Reject, match="no store"):
        expand(["nope://logs/x"], options)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(Halt, match=r"pip install 'misoflow\[files\]'"):
        expand(["gs://logs/x"])
