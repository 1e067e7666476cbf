"""Groups: all records of one object of the platform, put and taken away together; and full lists of such objects.

Each group has a part of its own of each of its records (``SOURCE`` and its name), so that the version of the group
is the version of the parts; of several groups with the same record the newest one counts (``keyed.merged``). Groups
that were emptied, and the newest full list of each prefix, are remembered: what is older changes nothing any more.
"""

from __future__ import annotations

from misoflow.crash import point
from misoflow.effects import Absent
from misoflow.store import erase, keyed
from misoflow.store.targets import target_done
from misoflow.store.tx import Tx
from misoflow.store.values import GroupOf, Part

AT_ONCE = 1000
"""Records removed in one transaction."""
MOST_ABSENT = 20
ABSENT_SHARE = 1 / 3
"""More absent groups than both of these, of all that begin alike, are removed only when a person agrees."""
OLD = "a newer state is known"
EMPTY = "no record of it is to be at Miso"


def put(tx: Tx, env: int, instance: int, event: int, group: GroupOf) -> set[tuple[str, bytes]] | None:
    """Make the group hold exactly these records; (kind, key) of those the event waits for. None: it is old."""
    if group.version < _newest(tx, instance, group.name):
        return None
    where = (instance, group.name, env)
    before = set(tx.db.execute("SELECT kind, key FROM grouped WHERE instance=? AND name=? AND env=?", where))
    changed: set[tuple[str, bytes]] = set()
    for part in group.parts:
        if part.kind == "user" and erase.suppressed(tx, env, part.key, group.version):
            continue
        part.source = keyed.GROUP + group.name
        if keyed.put(tx, env, instance, event, part):
            changed.add((part.kind, part.key))
        tx.db.execute("INSERT OR REPLACE INTO grouped VALUES(?,?,?,?,?,?)", (*where, part.kind, part.key, part.family))
        before.discard((part.kind, part.key))
    for kind, key in before:
        changed |= _remove(tx, env, instance, event, group.name, group.version, kind, key)
    n = tx.one("SELECT count(*) FROM grouped WHERE instance=? AND name=?", (instance, group.name))
    tx.db.execute("INSERT OR REPLACE INTO groups VALUES(?,?,?,?)", (instance, group.name, group.version, n))
    return changed


def _newest(tx: Tx, instance: int, name: str) -> int:
    """The version of what is known of a group: its own, or that of a full list on which it would be."""
    own = tx.one("SELECT version FROM groups WHERE instance=? AND name=?", (instance, name)) or 0
    listed = tx.one(
        "SELECT max(version) FROM absents WHERE instance=? AND substr(?, 1, length(prefix)) = prefix", (instance, name)
    )
    return max(own, listed or 0)


def _remove(
    tx: Tx, env: int, instance: int, event: int, name: str, version: int, kind: str, key: bytes
) -> set[tuple[str, bytes]]:
    """Take one record out of a group; what the event waits for."""
    tx.db.execute(
        "DELETE FROM grouped WHERE instance=? AND name=? AND env=? AND kind=? AND key=?",
        (instance, name, env, kind, key),
    )
    source = keyed.GROUP + name
    old = keyed.stored(tx, env, kind, key, instance, source)
    if old is None or old.gone:
        return set()
    gone = Part("user" if kind == "user" else "product", key, old.id, source, version, {}, whole=True, gone=True)
    return {(kind, key)} if keyed.put(tx, env, instance, event, gone) else set()


def refusal(tx: Tx, instance: int, absent: Absent) -> str | None:
    """Why what a full list lacks is not removed unless a person agrees."""
    older, every = tx.db.execute(
        "SELECT count(*) FILTER (WHERE version < ?), count(*) FROM groups"
        " WHERE instance=? AND name >= ? AND name < ? AND n > 0",
        (absent.version, instance, *_span(absent.prefix)),
    ).get
    if older <= MOST_ABSENT or older <= ABSENT_SHARE * every:
        return None
    return (
        f"{older} of {every} of what begins with {absent.prefix!r} would be removed at Miso, as a full list lacks it;"
        " if that is right, retry this letter by its number: misoflow dead retry N"
    )


def take(tx: Tx, instance: int, event: int, absent: Absent) -> None:
    """Have what a full list lacks removed step by step (``sweep``), as one target of the event."""
    tx.db.execute(
        "INSERT INTO absents(instance, prefix, version, event, open) VALUES(?,?,?,?,1)",
        (instance, absent.prefix, absent.version, event),
    )


def sweep(tx: Tx) -> bool:
    """Empty some of the groups that a full list lacks; whether there may be more."""
    row = tx.db.execute("SELECT id, instance, prefix, version, event FROM absents WHERE open=1 ORDER BY id LIMIT 1").get
    if row is None:
        return False
    absent, instance, prefix, version, event = row
    names = tx.db.execute(
        "SELECT name FROM groups WHERE instance=? AND name >= ? AND name < ? AND n > 0 AND version < ? LIMIT ?",
        (instance, *_span(prefix), version, AT_ONCE),
    )
    removed = 0
    for (name,) in list(names):
        removed += _empty(tx, instance, event, name, version)
        if removed >= AT_ONCE:
            break
    point("absent.inside")
    if not removed:
        tx.db.execute("UPDATE absents SET open=0 WHERE id=?", (absent,))
        tx.db.execute(
            "DELETE FROM absents WHERE instance=? AND prefix=? AND open=0 AND id != (SELECT id FROM absents"
            " WHERE instance=? AND prefix=? AND open=0 ORDER BY version DESC, id DESC LIMIT 1)",
            (instance, prefix, instance, prefix),
        )
        target_done(tx, event)
    return True


def _empty(tx: Tx, instance: int, event: int, name: str, version: int) -> int:
    """Take everything out of a group; the event waits for what it did not wait for yet. Returns how many records."""
    rows = list(tx.db.execute("SELECT env, kind, key FROM grouped WHERE instance=? AND name=?", (instance, name)))
    for env, kind, key in rows:
        waits = tx.one("SELECT 1 FROM waits WHERE env=? AND kind=? AND key=? AND event=?", (env, kind, key, event))
        if _remove(tx, env, instance, event, name, version, kind, key) and waits is None:
            tx.db.execute("UPDATE events SET left=left+1 WHERE id=?", (event,))
    tx.db.execute("UPDATE groups SET version=?, n=0 WHERE instance=? AND name=?", (version, instance, name))
    return max(1, len(rows))


def _span(prefix: str) -> tuple[str, str]:
    """The names that begin so, as a half-open range of SQLite's order of texts."""
    return prefix, prefix + "\U0010ffff"
