"""A tap that is not ours and not of the SDK, on a real PostgreSQL: its tables arrive at Miso, by key and once."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import IN_CI, ROOT
from tests.singer.environments import environment
from tests.singer.kit import Place

pytestmark = pytest.mark.real
MISOFLOW = Path(sys.executable).with_name("misoflow")
TABLES = """
CREATE TABLE items(id integer PRIMARY KEY, name text NOT NULL, price numeric(10, 2), note text);
INSERT INTO items SELECT n, 'Item ' || n, n + 0.99, NULL FROM generate_series(1, 300) n;
CREATE TABLE orders(id bigint PRIMARY KEY, buyer integer, item integer, at timestamptz NOT NULL);
INSERT INTO orders SELECT n, n % 40, n % 300 + 1, '2026-09-01T10:00:00Z'::timestamptz + n * interval '1 minute'
FROM generate_series(1, 3000) n;
"""
STREAMS = {
    "public-items": {
        "kind": "products",
        "fields": {"product_id": "$.id", "title": "$.name", "original_price": "$.price", "description": "$.note"},
    },
    "public-orders": {
        "kind": "interactions",
        "fields": {"type": "checkout", "user_id": "$.buyer", "product_ids": "$.item", "timestamp": "$.at"},
    },
}


@pytest.fixture(scope="session")
def tap(request: pytest.FixtureRequest) -> Path:
    return environment(request, "tap-postgres") / "tap-postgres"


@pytest.fixture(scope="module")
def programs() -> Path:
    """PostgreSQL's own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and IN_CI:
        subprocess.run([ROOT / "tools" / "install_postgresql.sh"], check=True)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL: tools/install_postgresql.sh installs it")
    return found[-1].parent


@pytest.fixture(scope="module")
def database(programs: Path) -> Iterator[dict[str, Any]]:
    """A server of our own on 127.0.0.1, as somebody else than root; how a tap reaches it."""
    folder = Path(tempfile.mkdtemp(prefix="misoflow-pg-"))
    user, become = getpass.getuser(), []
    if os.geteuid() == 0:
        user, become = "postgres", ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    data = folder / "data"

    def run(*command: str | Path) -> None:
        subprocess.run([*become, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(programs / "initdb", "-D", data, "-U", "shop", "-A", "trust", "--locale", "C.UTF-8")
    run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
    try:
        yield {"host": "127.0.0.1", "port": port, "user": "shop", "password": "none", "dbname": "postgres"}
    finally:
        run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def sql(programs: Path, database: dict[str, Any], text: str) -> None:
    where = ["-h", database["host"], "-p", str(database["port"]), "-U", database["user"], database["dbname"]]
    subprocess.run([programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", *where], input=text, text=True, check=True)


def selected(catalog: Any) -> Any:
    """Orders by their number, so that a second run reads new ones only; items as a whole each time."""
    for stream in catalog["streams"]:
        (whole,) = [one["metadata"] for one in stream["metadata"] if one["breadcrumb"] == []]
        incremental = {"replication-method": "INCREMENTAL", "replication-key": "id"}
        how = incremental if stream["tap_stream_id"] == "public-orders" else {"replication-method": "FULL_TABLE"}
        whole.update({"selected": True, **how})
    return catalog


def synced(tap: Path, place: Place, *more: str, code: int) -> Any:
    """One run of the pipeline; returns its last state."""
    reading = subprocess.Popen(
        [tap, "--config", "pg.json", "--catalog", "catalog.json", *more],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    target = subprocess.run(
        [MISOFLOW, "singer-target", "--config", "config.json"],
        cwd=place.folder,
        stdin=reading.stdout,
        capture_output=True,
        text=True,
    )
    assert reading.stdout is not None
    reading.stdout.close()
    ended = reading.wait(timeout=60)
    assert target.returncode == code, target.stdout + target.stderr
    assert ended == 0
    return json.loads(target.stdout.splitlines()[-1])


def test_a_database_fills_the_sandbox_through_a_422_and_an_outage(
    tap: Path, programs: Path, database: dict[str, Any], place: Place
) -> None:
    sql(programs, database, TABLES)
    place.write("pg.json", {**database, "filter_schemas": "public"})
    place.configure(streams=STREAMS)
    found = subprocess.run([tap, "--config", "pg.json", "--discover"], cwd=place.folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    place.write("catalog.json", selected(json.loads(found.stdout)))
    place.fault(reject_marker='"2026-09-01T10:07:00')
    place.fault(status=503, times=3, after=1, match={"method": "POST"}, headers={"Retry-After": "0"})
    state = synced(tap, place, code=1)
    assert state["bookmarks"]["public-orders"]["replication_key_value"] == 3000
    assert len(place.interactions()) == len({one["timestamp"] for one in place.interactions()}) == 2999
    items = place.held("products")
    assert len(items) == 300
    assert items["7"] == {"product_id": "7", "title": "Item 7", "original_price": 7.99}

    # the second run: what is new, what changed, and nothing of the rest
    posts = place.posts()
    sql(
        programs,
        database,
        "INSERT INTO orders VALUES (3001, 1, 1, '2026-10-01'); UPDATE items SET name = 'N' WHERE id = 7;",
    )
    place.write("state.json", state)
    synced(tap, place, "--state", "state.json", code=0)
    assert len(place.interactions()) == 3000
    assert place.held("products")["7"]["title"] == "N"
    assert place.posts() - posts == 2, "one of orders, one of items"
