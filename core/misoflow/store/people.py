"""Whom an install has told Miso of, kept (sealed) so that all of it can be deleted there when the install goes."""

from __future__ import annotations

from misoflow.store.tx import Tx
from misoflow.store.values import Chunk

ERASED_JOB = "erased"
"""State of a job whose install is erased: what is still read of it is dropped."""


def note(tx: Tx, instance: int, env: int, found: list[tuple[bytes, str, str]]) -> None:
    """Remember these people: (keyed hash, "u" or "a", id)."""
    for who, kind, plain in found:
        if tx.people.is_new((instance, env, who)):
            sealed = tx.vault.seal(plain.encode(), b"people")
            tx.db.execute("INSERT OR IGNORE INTO people VALUES(?,?,?,?,?)", (instance, env, who, kind, sealed))


def note_late(tx: Tx, instance: int, env: int, anonymous_id: str) -> None:
    """The same of an anonymous id that an alias brought, if the instance is an install."""
    if tx.one("SELECT instr(name, '/') FROM instances WHERE id=?", (instance,)):
        note(tx, instance, env, [(tx.vault.keyed_hash(b"a:" + anonymous_id.encode()), "a", anonymous_id)])


def plain_id(tx: Tx, sealed: bytes) -> str:
    return tx.vault.open(sealed, b"people").decode()


def hash_of(tx: Tx, instance: str) -> bytes:
    """By which the name of an erased install is known, to who has the key."""
    return tx.vault.keyed_hash(b"i:" + instance.encode())


def is_stale(tx: Tx, chunk: Chunk) -> bool:
    """Whether this was read for an install that was erased while it was read: a page of history, or a fetch."""
    if chunk.page is not None:
        state = tx.one(
            "SELECT jobs.state FROM slices JOIN jobs ON jobs.id = job WHERE slices.id=?", (chunk.page.slice,)
        )
        return bool(state is None or state == ERASED_JOB)
    return bool(chunk.fetched) and all(_is_void(tx, *fetch) for fetch in chunk.fetched)


def _is_void(tx: Tx, instance: str, kind: str, ref: str) -> bool:
    if not tx.one("SELECT 1 FROM purges WHERE hash=?", (hash_of(tx, instance),)):
        return False
    where = (tx.instances.find(tx.db, instance), kind, ref)
    return not tx.one("SELECT 1 FROM fetches WHERE instance=? AND kind=? AND ref=?", where)
