"""One open transaction of store.db: name lookups, counters, sealing. Used by the store's own modules only."""

from __future__ import annotations

from collections import Counter
from typing import Any

import apsw
import zstandard

from misoflow.vault import Vault

PEOPLE_REMEMBERED = 200_000
STATES = ("pending", "delivered", "skipped", "suppressed", "erased", "dead")


class Names:
    """Small tables of names with their ids, cached for the process."""

    def __init__(self, table: str, column: str) -> None:
        self._insert = f"INSERT INTO {table}({column}) VALUES(?) RETURNING id"
        self._select = f"SELECT id FROM {table} WHERE {column}=?"
        self._ids: dict[str, int] = {}
        self._fresh: list[str] = []

    def find(self, db: apsw.Connection, name: str) -> int:
        """The id of a name, 0 where there is none yet: who only looks leaves no name behind."""
        known = self._ids.get(name) or db.execute(self._select, (name,)).get
        return known or 0

    def id(self, db: apsw.Connection, name: str) -> int:
        """The id of a name, which gets one now if it has none."""
        known = self._ids.get(name)
        if known is None:
            known = db.execute(self._select, (name,)).get
            if known is None:
                known = db.execute(self._insert, (name,)).get
                self._fresh.append(name)
            self._ids[name] = known
        return known

    def drop(self, name: str) -> None:
        """The name is another row's now, or nobody's."""
        self._ids.pop(name, None)

    def commit(self) -> None:
        self._fresh.clear()

    def rollback(self) -> None:
        for name in self._fresh:
            self._ids.pop(name, None)
        self._fresh.clear()


Person = tuple[int, int, bytes]
"""instance, Miso environment, keyed hash of the id."""


class People:
    """Whom the table of people holds already, as far as it is remembered: each event names somebody."""

    def __init__(self) -> None:
        self._known: set[Person] = set()
        self._fresh: list[Person] = []

    def is_new(self, person: Person) -> bool:
        """Whether this person was not named before; from now on it was."""
        if person in self._known:
            return False
        if len(self._known) >= PEOPLE_REMEMBERED:
            self._known.clear()
        self._known.add(person)
        self._fresh.append(person)
        return True

    def clear(self) -> None:
        """Know nobody: the number of an instance may be given again."""
        self._known.clear()

    def commit(self) -> None:
        self._fresh.clear()

    def rollback(self) -> None:
        self._known.difference_update(self._fresh)
        self._fresh.clear()


class Tx:
    """The database inside BEGIN IMMEDIATE, with what every step needs. Single-threaded."""

    def __init__(self, db: apsw.Connection, vault: Vault) -> None:
        self.db = db
        self.vault = vault
        self.instances = Names("instances", "name")
        self.envs = Names("envs", "name")
        self.words = Names("words", "word")
        self.people = People()
        self._deltas: Counter[tuple[int, str]] = Counter()
        self._changes = 0
        self._squeeze = zstandard.ZstdCompressor(level=1)
        self._expand = zstandard.ZstdDecompressor()

    def begin(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self._deltas.clear()
        self._changes = self.db.total_changes()

    def commit(self) -> int | None:
        """Returns the number of this commit if it changed anything."""
        for (instance, state), n in self._deltas.items():
            if n:
                self.db.execute(
                    "INSERT INTO counts(instance, state, n) VALUES(?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                    (instance, state, n),
                )
        commits = None
        if self.db.total_changes() != self._changes:
            commits = self.one("UPDATE meta SET value=value+1 WHERE name='commits' RETURNING value")
        self.db.execute("COMMIT")
        for names in (self.instances, self.envs, self.words, self.people):
            names.commit()
        return commits

    def rollback(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        for names in (self.instances, self.envs, self.words, self.people):
            names.rollback()

    def count(self, instance: int, state: str, n: int = 1) -> None:
        """Change a counter; it is written with the transaction."""
        self._deltas[instance, state] += n

    def move(self, instance: int, old: str, new: str, n: int = 1) -> None:
        """Events of ``instance`` go from one visible state to another."""
        if old != new:
            self._deltas[instance, old] -= n
            self._deltas[instance, new] += n

    def one(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        """The single value of the first row, or None."""
        return self.db.execute(sql, values).get

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Compress and encrypt a payload column."""
        return self.vault.seal(self._squeeze.compress(plain), context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        return self._expand.decompress(self.vault.open(sealed, context))
