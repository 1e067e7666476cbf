"""The process around the receiver: start, stop, trouble with the inbox, upkeep."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest
from misoflow.connector import Event, Request
from misoflow.errors import ConfigError
from misoflow.inbox import Inbox, InboxReader, seal_delivery
from misoflow.vault import Vault
from misoflow_webhooks import upkeep
from misoflow_webhooks.metrics import Metrics, StatusCollector

BODY = b'{"type":"track"}'

CHILD = """
import sys
from pathlib import Path
from types import SimpleNamespace
import misoflow_webhooks.routes as routes
from misoflow.connector import Config, Connector
from misoflow_webhooks.serve import run

class Open(Connector):
    def verify(self, request):
        pass
    def translate(self, event):
        return []

routes.load_connector = lambda name: Open
web = SimpleNamespace(connector="open", config=Config(), origins=(), limits=SimpleNamespace(per_second=None))
engine = SimpleNamespace(
    key="k" * 40, old_key=None, inbox_max_bytes=1 << 30, retention_days=7, trusted_proxies=(), public_url=None
)
settings = SimpleNamespace(data=Path(sys.argv[1]), engine=engine, instances={"web": web}, broken={}, miso={})
sys.exit(run(settings, host="127.0.0.1", port=0, admin_port=0, ready=lambda *urls: print(*urls, flush=True)))
"""


def spawn(data: Path) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(data)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    public, _ = child.stdout.readline().split()
    return child, int(public.rpartition(":")[2])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def stored(data: Path) -> list[Any]:
    return InboxReader(data, Vault(b"k" * 40)).read(0, 10_000, 1 << 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_in_flight(tmp_path: Path, number: signal.Signals) -> None:
    child, port = spawn(tmp_path)
    with connect(port) as flying, connect(port) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        while not idle.recv(65536).endswith(b"}"):
            pass
        flying.sendall(b"POST /hooks/web HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n" + BODY[:5])
        time.sleep(0.2)
        child.send_signal(number)
        time.sleep(0.4)
        assert child.poll() is None
        flying.sendall(BODY[5:])
        assert flying.recv(65536).startswith(b"HTTP/1.1 200")
        assert idle.recv(65536) == b""
    assert child.wait(20) == 0
    assert [delivery.request.body for delivery in stored(tmp_path)] == [BODY]
    with pytest.raises(OSError, match="refused"):
        connect(port)


def test_a_stopped_receiver_starts_again_and_goes_on(tmp_path: Path) -> None:
    for expected in (1, 2):
        child, port = spawn(tmp_path)
        with connect(port) as connection:
            connection.sendall(b"POST /hooks/web HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n" + BODY)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        child.terminate()
        assert child.wait(20) == 0
        assert len(stored(tmp_path)) == expected


POINTS = ("serve.body_read", "inbox.before_commit", "inbox.after_commit", "serve.before_answer")


@pytest.mark.parametrize("point", POINTS)
def test_kills_at_named_points_lose_nothing_acknowledged(tmp_path: Path, point: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("MISOFLOW_CRASH_AT", f"{point}:3")
    child, port = spawn(tmp_path)
    acknowledged = 0
    with connect(port) as connection:
        for number in range(3):
            body = b"%016d" % number
            connection.sendall(b"POST /hooks/web HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n" + body)
            acknowledged += connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert child.wait(20) == -signal.SIGKILL
    assert acknowledged == 2
    bodies = [delivery.request.body for delivery in stored(tmp_path)]
    assert bodies[:2] == [b"%016d" % number for number in range(2)]
    assert len(bodies) == (2 if point in ("serve.body_read", "inbox.before_commit") else 3)


@pytest.fixture
def foreign_lock(server: Any) -> Any:
    """Holds inbox.db as a foreign process would; its value lets go."""
    foreign = apsw.Connection(str(server.data / "inbox.db"))
    foreign.execute("BEGIN IMMEDIATE")
    yield foreign
    foreign.close()


def test_a_locked_inbox_is_503_and_recovers(server: Any, foreign_lock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_webhooks.upkeep.STORE_SECONDS", 0.3)
    monkeypatch.setattr("misoflow_webhooks.admin.PROBE_SECONDS", 0.3)
    answer = server.post("/hooks/web", BODY)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert server.request("GET", "/healthz").status == 200
    ready = server.admin("/readyz")
    assert ready.status == 503
    assert "did not answer" in ready.json["problems"][0]
    foreign_lock.execute("ROLLBACK")
    monkeypatch.setattr("misoflow_webhooks.upkeep.STORE_SECONDS", 4.0)
    monkeypatch.setattr("misoflow_webhooks.admin.PROBE_SECONDS", 4.0)
    assert server.post("/hooks/web", BODY).status == 200
    assert server.admin("/readyz").status == 200
    assert len(server.stored()) in (1, 2)  # the refused one was perhaps on its way to the disk


def test_the_overflow_is_refused_at_once(server: Any, foreign_lock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.inbox.writer.WAITING_APPENDS", 8)
    monkeypatch.setattr("misoflow_webhooks.upkeep.STORE_SECONDS", 1.5)
    answered: list[int] = []

    def send(_: int) -> int:
        status: int = server.post("/hooks/plain", BODY).status
        answered.append(status)
        return status

    with ThreadPoolExecutor(40) as pool:
        futures = [pool.submit(send, n) for n in range(40)]
        until = time.monotonic() + 5
        while len(answered) < 32 and time.monotonic() < until:
            time.sleep(0.01)
        assert answered == [503] * 32  # the other eight still wait for the lock
        foreign_lock.execute("ROLLBACK")
        assert sorted(future.result() for future in futures) == [200] * 8 + [503] * 32


def test_a_full_inbox_is_503(start: Any, tmp_path: Path, server: Any) -> None:
    server.stop()
    server.settings.engine.inbox_max_bytes = 40_000
    small = start(server.settings)
    answers = {small.post("/hooks/plain", os.urandom(3000)).status for _ in range(40)}
    assert answers == {200, 503}
    assert "reached its limit" in small.admin("/readyz").json["problems"][0]


def test_a_degraded_inbox_says_so_and_goes_on_taking_in(start: Any, server: Any) -> None:
    for _ in range(3):
        server.post("/hooks/plain", BODY)
    server.stop()
    damaged = apsw.Connection(str(server.data / "inbox.db"))
    damaged.execute("DELETE FROM deliveries WHERE id = 2")
    damaged.close()
    again = start(server.settings)
    ready = again.admin("/readyz")
    assert ready.status == 503
    assert "acknowledged deliveries 2 are missing" in ready.json["problems"][0]
    assert again.post("/hooks/plain", BODY).status == 200


def test_a_damaged_store_does_not_stop_intake(start: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    (server.data / "store.db").write_bytes(b"no database" * 1000)
    assert start(server.settings).post("/hooks/plain", BODY).status == 200


def test_ids_start_above_what_the_store_has_used(start: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    monkeypatch.setattr("misoflow_webhooks.serve.store_progress", lambda _: Progress(500))
    again = start(server.settings)
    assert again.post("/hooks/plain", BODY).status == 200
    assert [delivery.id for delivery in again.stored()] == [500]


def test_a_second_receiver_on_the_same_data_is_refused(start: Any, server: Any) -> None:
    with pytest.raises(ConfigError, match="another misoflow serve"):
        start(server.settings)


def test_the_wrong_key_is_refused(start: Any, server: Any) -> None:
    server.stop()
    server.settings.engine.key = "x" * 40
    with pytest.raises(ConfigError, match=r"engine\.key"):
        start(server.settings)


def test_held_bytes_are_bounded_over_all_connections(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_webhooks.receiver.HELD_BYTES", 3_000_000)
    server = start()
    head = b"POST /hooks/plain HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    held = [connect(server.port) for _ in range(4)]
    try:
        for connection in held:
            connection.sendall(head + b"x" * 900_000)
        refused = []
        for connection in held:
            connection.settimeout(0.5)
            try:
                refused.append(connection.recv(100)[9:12])
            except TimeoutError:
                continue
        assert refused == [b"503"]
        assert server.post("/hooks/plain", BODY).status == 200
    finally:
        for connection in held:
            connection.close()


@dataclass
class Progress:
    done_before: int
    rewrites: list[tuple[int, bytes]] = field(default_factory=list)
    erasures: list[tuple[int, str, int]] = field(default_factory=list)


async def test_upkeep_prunes_and_rewrites_as_the_store_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(b"k" * 32)
    inbox = Inbox.open(tmp_path, vault, 1 << 30)
    await inbox.append([("web", Request(b"%d" % number)) for number in range(10)])
    keeper = upkeep.Upkeep(inbox, 7)
    source = InboxReader(tmp_path, vault)
    progress: list[Progress | None] = [None]
    monkeypatch.setattr(upkeep, "store_progress", lambda _: progress[0])
    await keeper.step()
    sealed = seal_delivery(vault, Request(b""), [Event("e", "t", {})])
    progress[0] = Progress(6, [(7, sealed)])
    await keeper.step()
    assert source.holds(7, sealed)
    assert source.first() == 1  # done, but not old yet
    later = upkeep.now_ms() + 8 * upkeep.DAY_MS
    monkeypatch.setattr(upkeep, "now_ms", lambda: later)
    await keeper.step()
    assert source.first() == 6  # old, but only those before it are done
    await inbox.close()


async def test_upkeep_survives_a_store_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox.open(tmp_path, Vault(b"k" * 32), 1 << 30)
    calls = threading.Event()

    def fail(_: Path) -> None:
        calls.set()
        raise OSError

    monkeypatch.setattr(upkeep, "store_progress", fail)
    task = asyncio.create_task(upkeep.Upkeep(inbox, 7).run())
    await asyncio.to_thread(calls.wait, 5)
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await inbox.close()


def test_the_engine_s_figures_stand_beside_the_receiver_s() -> None:
    states = {"pending": 1, "delivered": 5, "skipped": 0, "suppressed": 0, "erased": 0, "dead": 2}
    web = {"accepted": 9, **states, "state": "paused", "circuits": [{"topic": "track"}]}
    figures = {"instances": {"web": web}, "miso": {"default": {"state": "sending", "oldest_seconds": 3}}}
    metrics = Metrics()
    metrics.add(StatusCollector(lambda: figures))
    text = metrics.text().decode()
    for line in (
        'misoflow_events{instance="web",state="delivered"} 5.0',
        'misoflow_conservation_error{instance="web"} 1.0',
        'misoflow_paused{name="web"} 1.0',
        'misoflow_paused{name="default"} 0.0',
        'misoflow_circuit_open{instance="web",topic="track"} 1.0',
        'misoflow_oldest_pending_seconds{miso="default"} 3.0',
    ):
        assert line in text
