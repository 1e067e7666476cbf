"""The tables of store.db, and how the file is opened: by one owner to write, by others read-only.

The state of an event is its batch's state: an event whose records all lie in one part has ``state`` IN_PART
and follows the part's batch without a row being touched. Only exceptions carry a state of their own.
"""

from __future__ import annotations

import logging
from pathlib import Path

import apsw

from misoflow.errors import ConfigError
from misoflow.store.mark import mark_path, read_mark
from misoflow.vault import Vault

log = logging.getLogger("misoflow.work")

APPLICATION_ID = 0x6D69736F  # "miso"
VERSION = 2
BUSY_MS = 4000

PENDING, DELIVERED, SKIPPED, SUPPRESSED, ERASED, DEAD, IN_PART, SPREAD, HELD = range(9)
"""Event states as stored. IN_PART: as its part's batch; SPREAD: several targets, ``left`` of them open;
HELD: its topic's circuit is open, so it waits untranslated.

``events.delivery`` is the inbox's delivery, 0 for a fetched event, or minus the page that history came in."""

SEALED, TASK, DONE = range(3)
"""Batch states: to be sent; accepted by Miso and its task is followed; finished."""

TABLES = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE instances(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    paused TEXT, fix TEXT, paused_at INTEGER);
CREATE TABLE envs(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    halted TEXT, fix TEXT, halted_at INTEGER);
CREATE TABLE counts(
    instance INTEGER NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL, pruned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(instance, state)) WITHOUT ROWID;
CREATE TABLE words(id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);

CREATE TABLE events(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    instance INTEGER NOT NULL, hash BLOB NOT NULL, topic INTEGER NOT NULL, received INTEGER NOT NULL,
    delivery INTEGER NOT NULL, who BLOB, state INTEGER NOT NULL, part INTEGER, left INTEGER NOT NULL DEFAULT 0,
    reason INTEGER);
CREATE UNIQUE INDEX events_hash ON events(instance, hash);
CREATE INDEX events_who ON events(who) WHERE who IS NOT NULL;
CREATE INDEX events_open ON events(delivery) WHERE state IN (0, 7, 8);

CREATE TABLE dead(
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL,
    reason TEXT NOT NULL, path TEXT NOT NULL, raw BLOB NOT NULL, created INTEGER NOT NULL);
CREATE TABLE raws(event INTEGER PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE confirmed(event INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(event, digest)) WITHOUT ROWID;
CREATE TABLE held(delivery INTEGER PRIMARY KEY, instance INTEGER NOT NULL);
CREATE TABLE circuits(
    instance INTEGER NOT NULL, topic TEXT NOT NULL, opened INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY(instance, topic)) WITHOUT ROWID;
CREATE TABLE claims(scope BLOB PRIMARY KEY, event INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_event ON claims(event);

CREATE TABLE parts(
    id INTEGER PRIMARY KEY AUTOINCREMENT, env INTEGER NOT NULL, batch INTEGER,
    n INTEGER NOT NULL, size INTEGER NOT NULL, events INTEGER NOT NULL, instance_events BLOB NOT NULL,
    members BLOB NOT NULL, spread BLOB NOT NULL, body BLOB NOT NULL,
    first_delivery INTEGER NOT NULL, slice INTEGER, created INTEGER NOT NULL);
CREATE INDEX parts_open ON parts(env, id) WHERE batch IS NULL;
CREATE INDEX parts_batch ON parts(batch) WHERE batch IS NOT NULL;
CREATE INDEX parts_slice ON parts(slice) WHERE slice IS NOT NULL;
CREATE TABLE batches(
    id INTEGER PRIMARY KEY AUTOINCREMENT, env INTEGER NOT NULL, kind TEXT NOT NULL, state INTEGER NOT NULL,
    n INTEGER NOT NULL, todo TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, requests INTEGER NOT NULL DEFAULT 0,
    bad TEXT NOT NULL DEFAULT '[]', suspects TEXT NOT NULL DEFAULT '{}',
    rounds INTEGER NOT NULL DEFAULT 0, task TEXT, task_at INTEGER,
    body BLOB, created INTEGER NOT NULL, finished INTEGER);
CREATE INDEX batches_open ON batches(env, id) WHERE state < 2;
CREATE INDEX batches_finished ON batches(finished) WHERE state = 2;

CREATE TABLE keyed(
    env INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, dirty INTEGER NOT NULL, batch INTEGER,
    position INTEGER, sending BLOB, delivered BLOB,
    PRIMARY KEY(env, kind, key)) WITHOUT ROWID;
CREATE INDEX keyed_dirty ON keyed(env, kind) WHERE dirty = 1 AND batch IS NULL;
CREATE INDEX keyed_batch ON keyed(batch) WHERE batch IS NOT NULL;
CREATE TABLE keyed_parts(
    env INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, instance INTEGER NOT NULL,
    source TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(env, kind, key, instance, source)) WITHOUT ROWID;
CREATE TABLE listings(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, source TEXT NOT NULL, run TEXT NOT NULL,
    seen TEXT NOT NULL DEFAULT '[]', state TEXT NOT NULL DEFAULT 'open', begun INTEGER NOT NULL,
    UNIQUE(instance, source, run));
CREATE INDEX listings_whole ON listings(id) WHERE state = 'whole';
CREATE TABLE listed(
    instance INTEGER NOT NULL, source TEXT NOT NULL, env INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL,
    listing INTEGER NOT NULL, PRIMARY KEY(instance, source, env, kind, key)) WITHOUT ROWID;
CREATE TABLE attributes(
    env INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
    PRIMARY KEY(env, kind, name)) WITHOUT ROWID;
CREATE TABLE waits(
    event INTEGER NOT NULL, env INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, batch INTEGER,
    PRIMARY KEY(env, kind, key, event)) WITHOUT ROWID;
CREATE INDEX waits_event ON waits(event);
CREATE TABLE late(
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL, env INTEGER NOT NULL, key BLOB NOT NULL,
    due INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX late_key ON late(key);
CREATE TABLE aliases(
    key BLOB PRIMARY KEY, anonymous_id BLOB NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE fetches(
    instance INTEGER NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, due INTEGER NOT NULL,
    tries INTEGER NOT NULL, PRIMARY KEY(instance, kind, ref)) WITHOUT ROWID;
CREATE TABLE fetch_waits(
    instance INTEGER NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, event INTEGER NOT NULL,
    PRIMARY KEY(instance, kind, ref, event)) WITHOUT ROWID;
CREATE TABLE links(who BLOB NOT NULL, anonymous BLOB NOT NULL, PRIMARY KEY(who, anonymous)) WITHOUT ROWID;
CREATE TABLE tombstones(
    env INTEGER NOT NULL, who BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(env, who)) WITHOUT ROWID;
CREATE TABLE scrubs(delivery INTEGER PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE rewrites(delivery INTEGER PRIMARY KEY, body BLOB NOT NULL, created INTEGER NOT NULL);
CREATE TABLE jobs(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, stream TEXT NOT NULL, purpose TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, sure INTEGER NOT NULL, low INTEGER NOT NULL,
    width INTEGER NOT NULL,
    step INTEGER NOT NULL, state TEXT NOT NULL, cursor TEXT, note TEXT, stuck INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL, finished INTEGER);
CREATE INDEX jobs_open ON jobs(instance, stream) WHERE state = 'open';
CREATE TABLE slices(
    id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    state TEXT NOT NULL, cursor TEXT, attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0, taken INTEGER NOT NULL DEFAULT 0, repeats INTEGER NOT NULL DEFAULT 0,
    open_read INTEGER NOT NULL DEFAULT 0, open_taken INTEGER NOT NULL DEFAULT 0,
    open_repeats INTEGER NOT NULL DEFAULT 0,
    counts TEXT, error TEXT, started INTEGER, finished INTEGER);
CREATE INDEX slices_job ON slices(job, state);
CREATE TABLE pages(
    id INTEGER PRIMARY KEY AUTOINCREMENT, slice INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE INDEX pages_slice ON pages(slice);
CREATE TABLE budgets(key TEXT PRIMARY KEY, calls BLOB NOT NULL, blocked INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE schedule(
    name TEXT PRIMARY KEY, last INTEGER, next INTEGER, note TEXT) WITHOUT ROWID;
CREATE TABLE kv(
    instance INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY(instance, name)) WITHOUT ROWID;
"""
"""As version 1 made them; what came since stands below, so that a new file and a migrated one are the same."""

TABLES_2 = """
CREATE TABLE installs(
    instance INTEGER PRIMARY KEY, state TEXT NOT NULL, grant BLOB, asked INTEGER NOT NULL, installed INTEGER,
    due INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, reason TEXT, fix TEXT, ended INTEGER,
    started INTEGER NOT NULL DEFAULT 0, problems TEXT NOT NULL DEFAULT '[]', without TEXT NOT NULL DEFAULT '[]');
CREATE INDEX installs_due ON installs(due) WHERE state IN ('connecting', 'installed', 'leaving');
ALTER TABLE events ADD COLUMN reached INTEGER NOT NULL DEFAULT 0;
CREATE TABLE late_keys(
    key BLOB NOT NULL, late INTEGER NOT NULL, field TEXT NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY(key, late, field)) WITHOUT ROWID;
CREATE INDEX late_keys_late ON late_keys(late);
CREATE TRIGGER late_gone AFTER DELETE ON late BEGIN DELETE FROM late_keys WHERE late = old.id; END;
INSERT INTO late_keys SELECT key, id, 'anonymous_id', 0 FROM late;
DROP INDEX late_key;
ALTER TABLE late DROP COLUMN key;
CREATE INDEX late_due ON late(due);
CREATE INDEX late_event ON late(event);
CREATE INDEX aliases_created ON aliases(created);
ALTER TABLE fetches ADD COLUMN calling INTEGER NOT NULL DEFAULT 0;
ALTER TABLE fetches ADD COLUMN again INTEGER;
CREATE INDEX fetches_due ON fetches(instance, due);
ALTER TABLE fetch_waits ADD COLUMN called INTEGER NOT NULL DEFAULT 0;
ALTER TABLE fetch_waits ADD COLUMN unless BLOB;
CREATE INDEX fetch_waits_unless ON fetch_waits(unless) WHERE unless IS NOT NULL;
CREATE TABLE knowns(
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL, env INTEGER NOT NULL, instance INTEGER NOT NULL,
    kind TEXT NOT NULL, ref TEXT NOT NULL, called INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL);
CREATE INDEX knowns_fetch ON knowns(instance, kind, ref);
CREATE INDEX knowns_event ON knowns(event);
CREATE TABLE groups(
    instance INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY(instance, name)) WITHOUT ROWID;
CREATE TABLE grouped(
    instance INTEGER NOT NULL, name TEXT NOT NULL, env INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL,
    family BLOB, PRIMARY KEY(instance, name, env, kind, key)) WITHOUT ROWID;
CREATE INDEX grouped_key ON grouped(env, kind, key);
CREATE INDEX grouped_family ON grouped(instance, env, family) WHERE family IS NOT NULL;
CREATE TABLE absents(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, prefix TEXT NOT NULL, version INTEGER NOT NULL,
    event INTEGER NOT NULL, open INTEGER NOT NULL);
CREATE INDEX absents_instance ON absents(instance, prefix);
CREATE INDEX absents_open ON absents(id) WHERE open = 1;
CREATE TABLE pulls(
    instance INTEGER NOT NULL, stream TEXT NOT NULL, due INTEGER NOT NULL, asked INTEGER NOT NULL,
    PRIMARY KEY(instance, stream)) WITHOUT ROWID;
"""
"""Since version 2. ``events.reached``: a target of the event was reached, so that it is not skipped as a whole.
``fetches.again``: when to call once more, as somebody asked (``called`` = 0) while the call was under way."""

TABLES_PEOPLE = """
CREATE TABLE people(
    instance INTEGER NOT NULL, env INTEGER NOT NULL, who BLOB NOT NULL, kind TEXT NOT NULL, id BLOB NOT NULL,
    PRIMARY KEY(instance, env, who)) WITHOUT ROWID;
CREATE TABLE purges(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, hash BLOB NOT NULL, name TEXT,
    wanted INTEGER NOT NULL, asked INTEGER NOT NULL, upto INTEGER NOT NULL, step TEXT NOT NULL, cursor BLOB,
    batch INTEGER, products INTEGER NOT NULL DEFAULT 0, users INTEGER NOT NULL DEFAULT 0,
    visitors INTEGER NOT NULL DEFAULT 0, finished INTEGER);
CREATE INDEX purges_running ON purges(id) WHERE finished IS NULL;
ALTER TABLE aliases ADD COLUMN instance INTEGER;
"""
"""Since version 2: whom an install has told Miso of (``kind`` u: a user id, a: an anonymous one), and the erasures of
installs. A purge's ``name`` is kept until it is finished; ``hash`` (keyed), times and numbers stay as its record."""


def open_for_writing(path: Path, vault: Vault) -> apsw.Connection:
    """The owner's connection; makes the file if it is absent.

    ConfigError when the file was written with a key that ``vault`` does not have, when it is not ours, or when a
    newer version wrote it.
    """
    fresh = not path.exists()
    mark = read_mark(path)
    if fresh and mark is not None:
        raise ConfigError(
            str(path),
            f"is gone, though events were committed; restore it from a backup, or remove {mark_path(path).name} to"
            " start anew (deliveries still in the inbox are then sent again)",
        )
    path.touch(mode=0o600)
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(BUSY_MS)
        if not fresh:
            _refuse_foreign(db, path)
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;").fetchall()
        db.execute("PRAGMA wal_autocheckpoint=1000; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32768").fetchall()
        with db:
            if not db.execute("SELECT 1 FROM sqlite_schema WHERE name='meta'").fetchall():
                db.execute(TABLES + TABLES_2 + TABLES_PEOPLE)
                db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}")
                db.execute("INSERT INTO meta VALUES('key_check', ?)", (vault.check_value(),))
                db.execute("INSERT INTO meta VALUES('offset', 0), ('commits', 0)")
            _migrate(db)
    except apsw.Error as error:
        db.close()
        raise ConfigError(str(path), f"cannot be used: {error}; run: misoflow repair") from None
    # stays that of the first key: what it sealed lasts (tokens of installs, state of users), so it is needed on
    known = db.execute("SELECT value FROM meta WHERE name='key_check'").get
    if not vault.knows(known):
        db.close()
        raise ConfigError(
            "engine.key", f"{path} was written with another key; restore that key (engine.old_key may name it)"
        )
    _note_loss(db, path, mark)
    return db


def _migrate(db: apsw.Connection) -> None:
    """Bring a file of an older version up to this one, in the caller's transaction."""
    if db.execute("PRAGMA user_version").get < VERSION:
        db.execute(f"{TABLES_2} {TABLES_PEOPLE} PRAGMA user_version={VERSION}")


def _note_loss(db: apsw.Connection, path: Path, mark: int | None) -> None:
    """Commits that the mark knows and the file does not: said now, and in `status` until `misoflow repair`."""
    commits = db.execute("SELECT value FROM meta WHERE name='commits'").get
    if mark is None or commits >= mark:
        return
    text = f"{path.name} has lost its last {mark - commits} commits; what they delivered may be delivered again"
    log.error("%s; run: misoflow repair", text)
    with db:
        db.execute("INSERT OR REPLACE INTO meta VALUES('lost', ?)", (text,))
        db.execute("UPDATE meta SET value=? WHERE name='commits'", (mark,))


def open_for_reading(path: Path) -> apsw.Connection:
    """A read-only connection that never checkpoints; apsw.CantOpenError if there is no store yet."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(BUSY_MS)
    return db


def _refuse_foreign(db: apsw.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        return
    try:
        application = db.execute("PRAGMA application_id").get
        version = db.execute("PRAGMA user_version").get
    except apsw.Error as error:
        raise ConfigError(str(path), f"is damaged ({error}); run: misoflow repair") from None
    if application not in (0, APPLICATION_ID) or (application == 0 and version != 0):
        raise ConfigError(str(path), "is not a misoflow store; name another folder in engine.data")
    if version > VERSION:
        raise ConfigError(
            str(path), f"was written by a newer misoflow (store version {version}, this one knows {VERSION})"
        )
