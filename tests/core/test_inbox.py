"""The inbox: durable appends, damage that is always seen, repair, refusals, a full disk, a foreign lock."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from misoflow.connector import Event, Request
from misoflow.errors import ConfigError
from misoflow.inbox import Inbox, InboxFull, InboxReader, InboxUnavailable, audit, repair, seal_delivery, writer
from misoflow.inbox.file import read_mark
from misoflow.vault import Vault

VAULT = Vault(b"k" * 32)
BIG = 1 << 40


def request(number: int = 0, size: int = 300) -> Request:
    body = b'{"n":%d,"x":"%s"}' % (number, random.Random(number).randbytes(size // 2).hex().encode())
    return Request(
        body,
        {"content-type": "application/json"},
        "webhook",
        "a/b",
        "POST",
        {"q": "1"},
        datetime(2026, 1, 1, 0, 0, 0, number % 1000 * 1000, UTC),
    )


def open_inbox(data: Path, max_bytes: int = BIG) -> Inbox:
    return Inbox.open(data, VAULT, max_bytes)


async def fill(data: Path, count: int, size: int = 300, at_once: int = 20) -> None:
    inbox = open_inbox(data)
    for start in range(0, count, at_once):
        await inbox.append([("web", request(n, size)) for n in range(start, min(count, start + at_once))])
    await inbox.close()


def crash_copy(data: Path, copy: Path) -> None:
    """What a kill would leave: the files as they are while the inbox is open."""
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("serve.lock", "*-shm"))


async def crashed(tmp_path: Path, count: int = 200, checkpointed: int = 0, size: int = 300) -> Path:
    """An inbox after a kill: ``checkpointed`` rows in the main file, the others in the log."""
    data, copy = tmp_path / "live", tmp_path / "crashed"
    if checkpointed:
        await fill(data, checkpointed, size)
    inbox = open_inbox(data)
    for number in range(checkpointed, count):
        await inbox.append([("web", request(number, size))])
    crash_copy(data, copy)
    await inbox.close()
    return copy


def reader(data: Path) -> InboxReader:
    return InboxReader(data, VAULT)


def ids(data: Path) -> list[int]:
    source = reader(data)
    found = [delivery.id for delivery in source.read(0, 1_000_000, BIG) if delivery.request]
    source.close()
    return found


# What it stores


async def test_what_is_appended_reads_the_same(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    sent = [request(1), request(2, 50_000), Request(b"", received_at=datetime(2026, 1, 1, tzinfo=UTC))]
    assert await inbox.append([("web", sent[0]), ("shop/demo", sent[1])]) == [1, 2]
    assert await inbox.append([("web", sent[2])]) == [3]
    found = reader(tmp_path).read(0, 10, BIG)
    assert [delivery.request for delivery in found] == sent
    assert [delivery.instance for delivery in found] == ["web", "shop/demo", "web"]
    assert found[0].received_ms == 1767225600001
    await inbox.close()


async def test_a_large_body_is_sealed_beside_the_loop(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    large = Request(os.urandom(writer.OFFLOAD_FROM * 4), received_at=datetime(2026, 1, 1, tzinfo=UTC))
    await inbox.append([("web", large)])
    assert reader(tmp_path).get([1])[0].request == large
    await inbox.close()


async def test_nothing_readable_is_on_the_disk(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    for size in (10, 5000):
        canary = Request(b"canary-body" + b"x" * size, {"x": "canary-header"}, query={"k": "canary-query"})
        await inbox.append([("web", canary)])
    for name, content in snapshot(tmp_path).items():
        assert b"canary" not in content, name
    await inbox.close()


async def test_many_waiting_appends_become_few_commits(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    commits: list[float] = []
    inbox.watch_commits(commits.append)
    found = await asyncio.gather(*(inbox.append([("web", request(n))]) for n in range(500)))
    assert sorted(id for group in found for id in group) == list(range(1, 501))
    assert len(commits) < 50
    assert read_mark(tmp_path).last == 500  # type: ignore[union-attr]
    await inbox.close()


async def test_reading_in_portions(tmp_path: Path) -> None:
    await fill(tmp_path, 30)
    source = reader(tmp_path)
    assert [delivery.id for delivery in source.read(10, 5, BIG)] == [11, 12, 13, 14, 15]
    assert [delivery.id for delivery in source.read(10, 5, 1)] == [11]
    assert [delivery.id for delivery in source.get([3, 99, 1])] == [3, 1]
    assert (source.first(), source.last()) == (1, 30)
    assert source.waiting(20) == {"web": 10}
    assert source.read(30, 5, BIG) == []


def test_without_an_inbox_there_is_nothing_to_read(tmp_path: Path) -> None:
    source = reader(tmp_path)
    assert (source.read(0, 1, 1), source.last(), source.first(), source.size()) == ([], 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


async def test_a_reader_opened_first_sees_what_comes_later(tmp_path: Path) -> None:
    source = reader(tmp_path)
    assert source.last() == 0
    await fill(tmp_path, 3)
    assert source.last() == 3


async def test_ids_go_on_after_a_restart_and_after_pruning(tmp_path: Path) -> None:
    await fill(tmp_path, 3)
    inbox = open_inbox(tmp_path)
    assert await inbox.prune(99, 1 << 60) == 3
    await inbox.close()
    inbox = open_inbox(tmp_path)
    assert await inbox.append([("web", request())]) == [4]
    assert inbox.degraded is None
    await inbox.close()
    fresh = Inbox.open(tmp_path / "fresh", VAULT, BIG, floor=1000)
    assert await fresh.append([("web", request())]) == [1001]
    await fresh.close()


async def test_prune_takes_what_is_done_and_old(tmp_path: Path) -> None:
    await fill(tmp_path, 50)
    inbox = open_inbox(tmp_path)
    cut = 1767225600000 + 20
    assert await inbox.prune(10, cut) == 9
    assert await inbox.prune(99, cut) == 11
    assert await inbox.prune(99, cut) == 0
    assert ids(tmp_path) == list(range(21, 51))
    assert audit(tmp_path).problem is None
    await inbox.close()


async def test_pruned_payloads_leave_the_files(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    await inbox.append([("web", request(n)) for n in range(50)])
    rows = apsw.Connection(str(tmp_path / "inbox.db"), flags=apsw.SQLITE_OPEN_READONLY)
    payloads = [payload for (payload,) in rows.execute("SELECT payload FROM deliveries")]
    rows.close()
    await inbox.rewrite([(1, seal_delivery(VAULT, request(), []))])
    assert payloads[0] not in (tmp_path / "inbox.db").read_bytes()
    await inbox.prune(99, 1 << 60)
    await inbox.close()
    content = (tmp_path / "inbox.db").read_bytes()
    assert not [payload for payload in payloads if payload[:100] in content]


async def test_a_rewrite_holds_events_in_the_place_of_the_body(tmp_path: Path) -> None:
    await fill(tmp_path, 3)
    inbox = open_inbox(tmp_path)
    events = [Event("e1", "track", {"n": 2**70, "t": "é"}, datetime(2026, 1, 2, tzinfo=UTC)), Event("e2", "x", [])]
    sealed = seal_delivery(VAULT, request(1), events)
    source = reader(tmp_path)
    assert not source.holds(2, sealed)
    await inbox.rewrite([(2, sealed), (99, sealed)])
    (found,) = source.get([2])
    assert found.events == events
    assert found.request is not None
    assert (found.request.body, found.request.headers) == (b"", request(1).headers)
    assert source.holds(2, sealed)
    assert source.holds(99, sealed)
    assert audit(tmp_path).problem is None
    assert snapshot(tmp_path)["inbox.db-wal"] == b""
    await inbox.close()


async def test_the_log_stays_small_under_load_with_a_reader(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    source = reader(tmp_path)
    largest = 0
    for number in range(150):
        await asyncio.gather(*(inbox.append([("web", request(number, 20_000))]) for _ in range(10)))
        source.read(number * 10, 10, BIG)
        largest = max(largest, (tmp_path / "inbox.db-wal").stat().st_size)
    assert (tmp_path / "inbox.db").stat().st_size > 10 << 20
    assert largest <= 8 << 20
    await inbox.close()


# Full, locked, closed


async def test_a_full_inbox_refuses_and_takes_again_after_pruning(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path, max_bytes=200_000)

    async def send_all() -> None:
        for number in range(1000):
            await inbox.append([("web", request(number, 4000))])

    with pytest.raises(InboxFull):
        await send_all()
    assert 0 < inbox.size() < 300_000
    await inbox.prune(1 << 60, 1 << 60)
    assert await inbox.append([("web", request())])
    await inbox.close()


async def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow: SQLite and the mark get real errors."""
    script = """
import asyncio, resource, signal, sys
from pathlib import Path
from misoflow.connector import Request
from misoflow.inbox import Inbox, InboxFull, InboxUnavailable
from misoflow.vault import Vault
import os

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    inbox = Inbox.open(Path(sys.argv[1]), Vault(b"k" * 32), 1 << 40)
    taken, refused = 0, 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    for _ in range(400):
        try:
            taken = (await inbox.append([("web", Request(os.urandom(2000)))]))[-1]
        except (InboxFull, InboxUnavailable):
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    after = await inbox.append([("web", Request(b"after"))])
    print(taken, refused, after[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    done = run_script(script, tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    taken, refused, after = (int(word) for word in done.stdout.split())
    assert taken > 10
    assert refused > 100
    assert after == taken + 1
    inbox = open_inbox(tmp_path)
    assert inbox.degraded is None
    assert ids(tmp_path) == list(range(1, after + 1))
    await inbox.close()


async def test_a_disk_at_its_mark_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = open_inbox(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 96, 4))  # type: ignore[attr-defined]
    inbox._disk_checked = 0.0
    with pytest.raises(InboxFull, match="96% full"):
        await inbox.append([("web", request())])
    assert inbox.disk_used() == pytest.approx(0.96)
    await inbox.close()


async def test_a_foreign_lock_refuses_and_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.inbox.file.BUSY_MS", 200)
    inbox = open_inbox(tmp_path)
    await inbox.append([("web", request())])
    foreign = apsw.Connection(str(tmp_path / "inbox.db"))
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(InboxUnavailable):
        await inbox.append([("web", request())])
    with pytest.raises(InboxUnavailable):
        await inbox.probe()
    foreign.execute("ROLLBACK")
    foreign.close()
    assert await inbox.append([("web", request())]) == [2]
    await inbox.close()


async def test_a_caller_that_gave_up_is_not_stored(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    await inbox.append([("web", request())])
    foreign = apsw.Connection(str(tmp_path / "inbox.db"))
    foreign.execute("BEGIN IMMEDIATE")
    first = asyncio.ensure_future(inbox.append([("web", request(1))]))
    await asyncio.sleep(0.05)
    waiting = [asyncio.ensure_future(inbox.append([("web", request(n))])) for n in range(5)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    foreign.execute("ROLLBACK")
    foreign.close()
    await first
    await inbox.probe()
    assert ids(tmp_path) == [1, 2]
    await inbox.close()


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING_APPENDS", 10)
    monkeypatch.setattr(writer, "WAITING_BYTES", 5000)
    inbox = open_inbox(tmp_path)
    foreign = apsw.Connection(str(tmp_path / "inbox.db"))
    foreign.execute("BEGIN IMMEDIATE")
    tasks = [asyncio.ensure_future(inbox.append([("web", request(n, 10))])) for n in range(12)]
    await asyncio.sleep(0.05)
    assert [isinstance(task.exception(), InboxUnavailable) for task in tasks if task.done()] == [True, True]
    foreign.execute("ROLLBACK")
    await asyncio.gather(*tasks, return_exceptions=True)
    foreign.execute("BEGIN IMMEDIATE")
    tasks = [asyncio.ensure_future(inbox.append([("web", request(n, 3000))])) for n in range(3)]
    await asyncio.sleep(0.05)
    assert [task.done() for task in tasks] == [False, True, True]
    foreign.execute("ROLLBACK")
    foreign.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(ids(tmp_path)) == 11
    await inbox.close()


async def test_closing_stores_what_waits_and_then_refuses(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    tasks = [asyncio.ensure_future(inbox.append([("web", request(n))])) for n in range(20)]
    await asyncio.sleep(0)
    await inbox.close()
    assert sorted([(await task)[0] for task in tasks]) == list(range(1, 21))
    with pytest.raises(InboxUnavailable):
        await inbox.append([("web", request())])


def test_only_one_owner(tmp_path: Path) -> None:
    inbox = open_inbox(tmp_path)
    with pytest.raises(ConfigError, match="another misoflow serve"):
        open_inbox(tmp_path)
    with pytest.raises(ConfigError, match="another misoflow serve"):
        repair(tmp_path, VAULT)
    asyncio.run(inbox.close())
    asyncio.run(open_inbox(tmp_path).close())


# Kills: nothing acknowledged may be lost

KILLED = """
import asyncio, os, sys
from pathlib import Path
from misoflow.connector import Request
from misoflow.inbox import Inbox
from misoflow.vault import Vault

async def main():
    inbox = Inbox.open(Path(sys.argv[1]), Vault(b"k" * 32), 1 << 40)
    async def send():
        while True:
            for id in await inbox.append([("web", Request(os.urandom(700)))]):
                os.write(1, b"%d\\n" % id)
    await asyncio.gather(*(send() for _ in range(16)))

asyncio.run(main())
"""


def run_script(script: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, to its end."""
    command = [sys.executable, "-c", script, str(data)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def run_and_kill(data: Path, seconds: float) -> list[int]:
    """Ids that a flooded inbox acknowledged before its process was killed."""
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(data)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(seconds)
    child.kill()
    lines = [first, *child.stdout.read().splitlines(keepends=True)]
    child.wait()
    return [int(line) for line in lines if line.endswith(b"\n")]


async def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    luck = random.Random(7)
    for _ in range(30 if os.environ.get("MISOFLOW_FULL") else 6):
        acknowledged.update(run_and_kill(tmp_path, luck.uniform(0.0, 0.15)))
        inbox = open_inbox(tmp_path)
        assert inbox.degraded is None
        await inbox.close()
    assert len(acknowledged) > 100
    assert acknowledged <= set(ids(tmp_path))


@pytest.mark.parametrize("point", ["inbox.before_commit", "inbox.after_commit"])
async def test_a_kill_around_the_commit_is_clean(tmp_path: Path, point: str) -> None:
    child = run_script(KILLED, tmp_path, MISOFLOW_CRASH_AT=f"{point}:5")
    assert child.returncode == -signal.SIGKILL
    acknowledged = {int(line) for line in child.stdout.split()}
    inbox = open_inbox(tmp_path)
    assert inbox.degraded is None
    assert acknowledged <= set(ids(tmp_path))
    (new,) = await inbox.append([("web", request())])
    assert new not in acknowledged
    await inbox.close()


# Damage: every loss is seen, every sound row is recovered

Damage = Callable[[Path], None]


def flip(path: Path, at: float | int) -> None:
    content = bytearray(path.read_bytes())
    position = int(at * len(content)) if isinstance(at, float) else at
    content[position] ^= 0x10
    path.write_bytes(content)


def wal(data: Path) -> Path:
    return data / "inbox.db-wal"


def main(data: Path) -> Path:
    return data / "inbox.db"


def cut(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    luck = random.Random(3)
    for _ in range(200):
        content[luck.randrange(8192, len(content))] = luck.randrange(256)
    path.write_bytes(content)


LOG_DAMAGE: dict[str, tuple[Damage, int]] = {
    "torn tail": (lambda data: cut(wal(data), 0.995), 195),
    "truncated": (lambda data: cut(wal(data), 0.5), 90),
    "bit in the header": (lambda data: flip(wal(data), 9), 200),
    "bit at 10 %": (lambda data: flip(wal(data), 0.1), 199),
    "bit at 50 %": (lambda data: flip(wal(data), 0.5), 199),
    "log deleted": (lambda data: wal(data).unlink(), 0),
}


@pytest.mark.parametrize("name", LOG_DAMAGE)
async def test_damage_of_the_log_is_seen_named_and_repaired(tmp_path: Path, name: str) -> None:
    data = await crashed(tmp_path)
    damage, at_least = LOG_DAMAGE[name]
    damage(data)
    inbox = open_inbox(data)
    assert inbox.degraded is not None
    assert "misoflow repair" in inbox.degraded
    (new,) = await inbox.append([("web", request())])  # intake goes on
    assert new == 201
    await inbox.close()
    report = repair(data, VAULT)
    assert report.recovered >= at_least + 1
    lost = sum(end - start + 1 for start, end in report.lost)
    assert report.recovered + lost == 201
    await assert_sound(data, report.lost, 201)


MAIN_DAMAGE: dict[str, tuple[Damage, int]] = {
    "bit in the header": (lambda data: flip(main(data), 3), 200),
    "page size": (lambda data: flip(main(data), 16), 200),
    "schema page": (lambda data: flip(main(data), 105), 200),
    "bit at 10 %": (lambda data: flip(main(data), 0.1), 198),
    "bit at 50 %": (lambda data: flip(main(data), 0.5), 198),
    "truncated": (lambda data: cut(main(data), 0.5), 60),
    "200 random bytes": (lambda data: scribble(main(data)), 50),
}


@pytest.mark.parametrize("name", MAIN_DAMAGE)
async def test_damage_of_the_file_is_seen_and_repaired(tmp_path: Path, name: str) -> None:
    data = await crashed(tmp_path, 200, checkpointed=200)
    damage, at_least = MAIN_DAMAGE[name]
    damage(data)
    before = data.joinpath("inbox.mark").read_bytes()
    refused, degraded = await opened(data)
    if refused is not None:
        assert "misoflow repair" in refused
        assert data.joinpath("inbox.mark").read_bytes() == before
    # A bit in the space between rows harms nobody; anything else must be seen.
    assert refused or degraded or ids(data) == list(range(1, 201))
    report = repair(data, VAULT)
    assert report.recovered >= at_least
    await assert_sound(data, report.lost, 200)


@pytest.mark.parametrize("wrong", [2**62, 24_199, -(2**62)])
async def test_a_damaged_id_is_no_id(tmp_path: Path, wrong: int) -> None:
    data = await crashed(tmp_path, checkpointed=200)
    db = apsw.Connection(str(main(data)))
    db.execute("UPDATE deliveries SET id=? WHERE id=150", (wrong,))
    db.close()
    inbox = open_inbox(data)
    assert inbox.degraded is not None
    assert await inbox.append([("web", request())]) == [201]
    await inbox.close()
    report = repair(data, VAULT)
    assert (report.recovered, report.lost) == (200, [(150, 150)])
    await assert_sound(data, report.lost, 201)


async def test_one_bit_of_one_payload_costs_one_row(tmp_path: Path) -> None:
    data = await crashed(tmp_path, 50, checkpointed=50, size=9000)
    db = apsw.Connection(str(main(data)), flags=apsw.SQLITE_OPEN_READONLY)
    payload = db.execute("SELECT payload FROM deliveries WHERE id=17").fetchall()[0][0]
    db.close()
    flip(main(data), main(data).read_bytes().index(payload[:300]) + 250)
    (found,) = reader(data).get([17])
    assert found.request is None
    assert len(reader(data).read(0, 100, BIG)) == 50
    assert audit(data).lost == [(17, 17)]
    inbox = open_inbox(data)
    assert inbox.degraded is not None
    assert "17" in inbox.degraded
    await inbox.close()
    report = repair(data, VAULT)
    assert (report.recovered, report.lost) == (49, [(17, 17)])
    await assert_sound(data, report.lost, 50)


async def opened(data: Path) -> tuple[str | None, str | None]:
    """Why the inbox refuses to open, or what it says of itself once it has."""
    try:
        inbox = open_inbox(data)
    except ConfigError as error:
        return str(error), None
    await inbox.close()
    return None, inbox.degraded


async def assert_sound(data: Path, lost: list[tuple[int, int]], last: int) -> None:
    """After a repair: nothing to complain of, the rows are genuine, ids go on, the loss stays on record."""
    gone = {id for start, end in lost for id in range(start, end + 1)}
    assert ids(data) == [id for id in range(1, last + 1) if id not in gone]
    for delivery in reader(data).read(0, last, BIG)[:20]:
        assert delivery.request is not None
        assert delivery.request.headers == {"content-type": "application/json"}
    inbox = open_inbox(data)
    assert inbox.degraded is None
    assert await inbox.append([("web", request())]) == [last + 1]
    await inbox.close()
    assert repair(data, VAULT).kept is None


async def test_repair_keeps_what_was_erased_erased_and_what_was_pruned_gone(tmp_path: Path) -> None:
    live, data = tmp_path / "live", tmp_path / "crashed"
    inbox = open_inbox(live)
    for number in range(60):
        await inbox.append([("web", request(number))])
    await inbox.rewrite([(40, seal_delivery(VAULT, request(39), []))])
    await inbox.prune(11, 1 << 60)
    await inbox.append([("web", request(60))])
    crash_copy(live, data)
    await inbox.close()
    flip(wal(data), 0.9)
    assert repair(data, VAULT).recovered >= 49
    assert min(ids(data)) == 11
    assert reader(data).get([40])[0].events == []


async def test_a_lost_mark_is_said_once_and_a_repair_settles_it(tmp_path: Path) -> None:
    await fill(tmp_path, 20)
    for damage in ((tmp_path / "inbox.mark").unlink, lambda: flip(tmp_path / "inbox.mark", 12)):
        damage()
        inbox = open_inbox(tmp_path)
        assert inbox.degraded is not None
        assert "inbox.mark" in inbox.degraded
        await inbox.close()


async def test_a_restored_older_file_is_seen(tmp_path: Path) -> None:
    await fill(tmp_path, 20)
    old = main(tmp_path).read_bytes()
    await fill(tmp_path, 10)
    main(tmp_path).write_bytes(old)
    inbox = open_inbox(tmp_path)
    assert inbox.degraded is not None
    assert "21-30" in inbox.degraded
    await inbox.close()


async def test_an_audit_without_time_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = await crashed(tmp_path, 50, checkpointed=50)
    db = apsw.Connection(str(main(data)))
    db.execute("UPDATE deliveries SET crc = crc + 1 WHERE id = 3")
    db.close()
    monkeypatch.setattr("misoflow.inbox.inspect.START_SECONDS", 0.0)
    inbox = open_inbox(data)
    assert inbox.degraded is None
    await inbox.audit_rest()
    assert inbox.degraded is not None
    assert "deliveries 3 " in inbox.degraded
    await inbox.close()


# Refusals: exit code 78, one line, nothing written


def snapshot(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.iterdir() if path.suffix not in (".lock",)}


def set_header(data: Path, at: int, value: int) -> None:
    content = bytearray(main(data).read_bytes())
    content[at : at + 4] = value.to_bytes(4, "big")
    main(data).write_bytes(content)


REFUSALS: dict[str, tuple[Damage, str]] = {
    "newer": (lambda data: set_header(data, 60, 2), "version 2"),
    "foreign": (lambda data: set_header(data, 68, 0x12345678), "no inbox of misoflow"),
    "deleted": (lambda data: main(data).unlink(), "is gone"),
    "replaced by text": (lambda data: main(data).write_text("hello " * 1000) and None, "no inbox of misoflow"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_unusable_files_are_refused_without_a_write(tmp_path: Path, name: str) -> None:
    await fill(tmp_path, 5)
    damage, words = REFUSALS[name]
    damage(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        open_inbox(tmp_path)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


async def test_another_key_is_refused_without_a_write_and_rotation_is_not(tmp_path: Path) -> None:
    await fill(tmp_path, 5)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match=r"engine\.key.*restore"):
        Inbox.open(tmp_path, Vault(b"x" * 32), BIG)
    assert snapshot(tmp_path) == before
    both = Vault(b"x" * 32, b"k" * 32)
    inbox = Inbox.open(tmp_path, both, BIG)
    await inbox.append([("web", request())])
    await inbox.close()
    assert all(delivery.request for delivery in InboxReader(tmp_path, both).read(0, 99, BIG))
    await Inbox.open(tmp_path, Vault(b"x" * 32), BIG).close()


async def test_a_deleted_file_can_be_replaced_by_repair(tmp_path: Path) -> None:
    await fill(tmp_path, 5)
    main(tmp_path).unlink()
    report = repair(tmp_path, VAULT)
    assert (report.recovered, report.lost) == (0, [(1, 5)])
    await assert_sound(tmp_path, report.lost, 5)


# Fsync before the acknowledgement: only what was synced survives a power cut

BASE = apsw.vfs_names()[0]
IMAGES: dict[str, bytes] = {}


class SyncedFile(apsw.VFSFile):
    """Remembers what each file held when it was last fsynced."""

    def __init__(self, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__(BASE, name, flags)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self._path:
            IMAGES[Path(self._path).name] = Path(self._path).read_bytes()


class SyncedVFS(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("synced", BASE, makedefault=True)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return SyncedFile(name, flags)


async def power_cuts(tmp_path: Path, cuts: int, synchronous: str) -> int:
    """Acknowledged deliveries that are missing after cuts right behind an acknowledgement."""
    IMAGES.clear()
    inbox = open_inbox(tmp_path / "live")
    await inbox._do(lambda: inbox._table._db.execute(f"PRAGMA synchronous={synchronous}").fetchall())
    missing = 0
    for number in range(cuts):
        (last,) = await inbox.append([("web", request(number))])
        copy = tmp_path / f"cut{number}"
        copy.mkdir()
        for name in ("inbox.db", "inbox.db-wal"):
            (copy / name).write_bytes(IMAGES.get(name, b""))
        found = apsw.Connection(str(copy / "inbox.db"), vfs=BASE)
        missing += last - len(found.execute("SELECT id FROM deliveries").fetchall())
        found.close()
    await inbox.close()
    return missing


@pytest.fixture
def synced_vfs() -> Iterator[None]:
    vfs = SyncedVFS()
    yield
    vfs.unregister()


async def test_a_power_cut_after_the_acknowledgement_loses_nothing(tmp_path: Path, synced_vfs: None) -> None:
    assert await power_cuts(tmp_path, 20, "FULL") == 0


async def test_without_full_sync_the_same_test_sees_a_loss(tmp_path: Path, synced_vfs: None) -> None:
    assert await power_cuts(tmp_path, 20, "NORMAL") > 0
