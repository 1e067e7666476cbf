"""A store that an older version made is brought up to date when it is opened."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
import zstandard
from misoflow.errors import ConfigError
from misoflow.store import Store, batches, events, fetches, late, schema
from misoflow.store.fetches import Due
from misoflow.store.schema import SPREAD
from misoflow.vault import Vault

NOW = 1_700_000_000_000
OLD_TABLES = "88387046a59ec82c"
KEY = b"l" * 16


def vault() -> Vault:
    return Vault(b"k" * 32, None)


def sealed(text: bytes, context: bytes) -> bytes:
    return vault().seal(zstandard.ZstdCompressor(level=1).compress(text), context)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of a store of version 1: one event waits for its alias, one for a fetch."""
    db = apsw.Connection(str(tmp_path / "store.db"))
    with db:
        db.execute(schema.TABLES)
        db.execute(f"PRAGMA application_id={schema.APPLICATION_ID}; PRAGMA user_version=1")
        db.execute("INSERT INTO meta VALUES('key_check', ?), ('offset', 5), ('commits', 0)", (vault().check_value(),))
        db.execute("INSERT INTO instances(id, name) VALUES(1, 'web'); INSERT INTO envs(id, name) VALUES(1, 'default')")
        db.execute("INSERT INTO words VALUES(1, 'like'); INSERT INTO counts VALUES(1, 'accepted', 2, 0)")
        db.execute("INSERT INTO counts VALUES(1, 'pending', 2, 0)")
        for n in (1, 2):
            db.execute(
                "INSERT INTO events(id, instance, hash, topic, received, delivery, state, left)"
                " VALUES(?,1,?,1,?,1,?,1)",
                (n, n.to_bytes(16, "big"), NOW, SPREAD),
            )
        body = sealed(b'{"type":"like","product_ids":["p"]}', b"late")
        db.execute("INSERT INTO late(event, env, key, due, body) VALUES(1,1,?,?,?)", (KEY, NOW, body))
        db.execute("INSERT INTO fetches VALUES(1,'thing','7',0,0); INSERT INTO fetch_waits VALUES(1,'thing','7',2)")
    db.close()
    return tmp_path


def shape(db: apsw.Connection) -> list[Any]:
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name")]
    columns = {name: list(db.execute(f"SELECT * FROM pragma_table_xinfo('{name}')")) for name in tables}
    rest = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type != 'table' ORDER BY name"
    return [columns, list(db.execute(rest))]


def test_the_tables_of_version_1_are_as_it_made_them() -> None:
    assert hashlib.sha256(schema.TABLES.encode()).hexdigest()[:16] == OLD_TABLES, "add to TABLES_2, or to a later one"


def test_a_migrated_store_is_as_a_new_one(old: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    migrated, fresh = Store(old, vault()), Store(tmp_path_factory.mktemp("fresh"), vault())
    assert shape(migrated._db) == shape(fresh._db)
    for store in (migrated, fresh):
        assert store._db.execute("PRAGMA user_version").get == schema.VERSION
        assert store._db.execute("PRAGMA integrity_check").get == "ok"
        store._db.close()


def test_what_waited_in_an_old_store_goes_on(old: Path) -> None:
    store = Store(old, vault())
    assert store.run_now(events.recount) == []
    store.run_now(late.bind, KEY, "visitor", NOW)
    due = Due("web", "thing", "7", 0)
    assert store.run_now(fetches.due_fetches, NOW, 4) == [[due]]
    store.run_now(fetches.begin_fetch, due)
    store.run_now(fetches.finish_fetch, "web", "thing", "7", NOW)
    number = store.run_now(batches.seal_interactions, 1, 100, 2**20, NOW + 1, NOW)
    batch = store.run_now(batches.load, number)
    assert [msgspec.json.decode(record)["anonymous_id"] for record in batch.records] == ["visitor"]
    store.run_now(batches.finish, batch, NOW)
    assert store.run_now(events.recount) == []
    states = store.run_now(lambda tx: dict(tx.db.execute("SELECT state, n FROM counts WHERE n")))
    assert states == {"accepted": 2, "delivered": 2}
    store._db.close()
    Store(old, vault())._db.close()


def test_a_migration_that_is_broken_off_has_done_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(schema, "TABLES_2", schema.TABLES_2 + "CREATE TABLE meta(x);")
        with pytest.raises(ConfigError):
            Store(old, vault())
    store = Store(old, vault())
    assert store.run_now(events.recount) == []
    store._db.close()


def test_a_store_of_a_newer_version_is_refused(old: Path) -> None:
    db = apsw.Connection(str(old / "store.db"))
    db.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    db.close()
    with pytest.raises(ConfigError, match="newer misoflow"):
        Store(old, vault())
