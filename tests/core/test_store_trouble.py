"""The store under bad disks: full, locked, damaged, gone, foreign (D4 to D7). Nothing is lost in silence."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import apsw
import pytest
from misoflow.errors import ConfigError
from misoflow.status import status
from misoflow.store import Store, StoreUnavailable, control, events
from misoflow.store.mark import mark_path, read_mark
from misoflow.store.schema import APPLICATION_ID, VERSION
from misoflow.store.values import Chunk
from misoflow.vault import Vault, VaultError

from tests.core.test_engine import item, site
from tests.core.test_store import NOW, made

KEY = Vault(b"k" * 32, None)


async def filled(folder: Path, chunks: int = 30) -> Path:
    """A store whose log still holds its last commits, as a killed process leaves it."""
    store = Store(folder / "live", KEY) if (folder / "live").mkdir() is None else None
    assert store is not None
    for _ in range(chunks):
        await store.commit(Chunk([made() for _ in range(20)], now=NOW))
    shutil.copytree(folder / "live", folder / "copy")
    await store.close()
    return folder / "copy"


def flip(path: Path, place: float) -> None:
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * place)] ^= 0x10
    path.write_bytes(raw)


DAMAGE = {
    "log gone": lambda f: (f / "store.db-wal").unlink(),
    "log cut": lambda f: (f / "store.db-wal").write_bytes((f / "store.db-wal").read_bytes()[:-200_000]),
    "log head": lambda f: flip(f / "store.db-wal", 0.0001),
    "log at 10 %": lambda f: flip(f / "store.db-wal", 0.1),
    "log at 50 %": lambda f: flip(f / "store.db-wal", 0.5),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_d4_lost_commits_are_named(tmp_path: Path, name: str) -> None:
    folder = await filled(tmp_path)
    DAMAGE[name](folder)
    store = Store(folder, KEY)
    lost = await store.run(control.meta, "lost")
    assert lost is not None
    assert "lost its last" in str(lost)
    await store.close()


async def test_d4_an_undamaged_store_says_nothing(tmp_path: Path) -> None:
    folder = await filled(tmp_path)
    store = Store(folder, KEY)
    assert await store.run(control.meta, "lost") is None
    assert await store.run(events.recount) == []
    await store.close()


async def test_d4_a_flipped_payload_is_not_taken_for_the_truth(tmp_path: Path) -> None:
    store = Store(tmp_path, KEY)
    await store.run(control.put, "web", "token", b"value", None)
    sealed = await store.run(lambda tx: tx.one("SELECT value FROM kv"))
    wrong = sealed[:-1] + bytes([sealed[-1] ^ 1])
    await store.run(lambda tx: tx.one("UPDATE kv SET value=? RETURNING 1", (wrong,)))
    with pytest.raises(VaultError):
        await store.run(control.get, "web", "token")
    await store.close()


async def test_d5_a_full_disk_stops_the_work_and_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path) as s:
        full = True
        commit = type(s.engine.store._tx).commit

        def refuse(self: object) -> object:
            if full and self is s.engine.store._tx:
                raise apsw.FullError("database or disk is full")
            return commit(self)  # type: ignore[arg-type]

        monkeypatch.setattr(type(s.engine.store._tx), "commit", refuse)
        await s.send(item("like", p="p"))
        await asyncio.sleep(0.5)
        assert not s.task.done()
        assert s.counts() == {"accepted": 1, "pending": 1}
        full = False
        assert await s.settled(1) == {"accepted": 1, "delivered": 1}


def foreign(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE t(x)")
    db.execute(f"PRAGMA application_id={APPLICATION_ID + 1}; PRAGMA user_version=3").fetchall()
    db.close()


def newer(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE meta(name TEXT PRIMARY KEY, value)")
    db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION + 1}").fetchall()
    db.close()


@pytest.mark.parametrize(
    ("make", "word"),
    [(foreign, "not a misoflow store"), (newer, "newer misoflow"), (lambda p: p.write_bytes(b"x" * 9000), "repair")],
)
def test_d6_a_file_that_is_not_ours_is_refused_without_a_write(tmp_path: Path, make: object, word: str) -> None:
    path = tmp_path / "store.db"
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=word):
        Store(tmp_path, KEY)
    assert path.read_bytes() == before


async def test_d6_a_deleted_store_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, KEY)
    await store.commit(Chunk([made()], now=NOW))
    await store.close()
    for path in tmp_path.glob("store.db*"):
        path.unlink()
    with pytest.raises(ConfigError, match="is gone"):
        Store(tmp_path, KEY)
    mark_path(tmp_path / "store.db").unlink()
    await Store(tmp_path, KEY).close()


async def test_d6_another_key_is_refused(tmp_path: Path) -> None:
    await Store(tmp_path, KEY).close()
    with pytest.raises(ConfigError, match="another key"):
        Store(tmp_path, Vault(b"x" * 32, None))


async def test_d6_a_change_of_key_is_not_refused_and_the_key_before_stays_needed(tmp_path: Path) -> None:
    new, old = b"x" * 32, b"k" * 32
    before = Store(tmp_path, Vault(old, None))
    await before.run(control.put, "web", "token", b"kept", None)
    await before.close()
    both = Store(tmp_path, Vault(new, old))
    assert await both.run(control.get, "web", "token") == b"kept"
    await both.close()
    with pytest.raises(ConfigError, match="old_key may name it"):  # it would open, and could not read what it holds
        Store(tmp_path, Vault(new, None))


async def test_d7_a_foreign_lock_is_waited_for_and_survived(tmp_path: Path) -> None:
    store = Store(tmp_path, KEY)
    store._db.set_busy_timeout(50)
    other = apsw.Connection(str(tmp_path / "store.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.commit(Chunk([made()], now=NOW))
    other.execute("ROLLBACK")
    await store.commit(Chunk([made()], now=NOW))
    assert read_mark(tmp_path / "store.db") == 1
    await store.close()


async def test_status_says_what_was_lost_until_it_is_noted(tmp_path: Path) -> None:
    from misoflow.control import call

    async with site(tmp_path) as s:
        await s.engine.store.run(control.set_meta, "lost", "store.db has lost its last 2 commits")
        assert json.loads(json.dumps(status(s.settings, s.vault)))["store"]["degraded"].startswith("store.db has lost")
        assert (await call(s.settings, "recount", settle=True))["lost"]
        assert status(s.settings, s.vault)["store"] == {"degraded": None}
