"""An S3 server on this machine for code that reads its settings from the environment, as commands do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import IN_CI


@contextmanager
def bucket_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client of a server that is empty but for this bucket."""
    if not IN_CI:
        for library in ("moto", "flask", "s3fs"):
            pytest.importorskip(library, reason=f"needs {library}: pip install 'moto[server]' 'misoflow[files]'")
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # they know the address of the server before
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    yield client
    server.stop()
