"""What the sandbox holds: interactions, the products and users data sets, tasks, and every request it got."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw, Struct

from misoflow_sandbox.wording import Fault

RECENT = 20
INCONSISTENT = "Its data type is not consistent with other records"


class Options(Struct, kw_only=True, forbid_unknown_fields=True):
    """How the sandbox behaves where Miso's documents leave it open, and what it keeps."""

    task_delay: float = 0.0
    """Seconds until the task of an upload or deletion of products or users is done."""
    keep: bool = True
    """Keep the interactions; otherwise they are only counted."""
    store_wire: bool = False
    """Keep the bytes of every request's body."""
    null_allowed: bool = False
    i18n_allowed: bool = False
    refusals_say_errors: bool = False
    """The bodies of 400 to 404 and 500 hold ``"errors": true``, which Miso does not document."""
    join: bool = True
    """Of somebody whose interactions are deleted, those of the anonymous ids go too that came with the user's id.
    Documented is that an interaction with both ids links the profiles, and a delete by user id; that the delete
    reaches what is linked is inferred."""
    deduplicate: bool = False
    """Of interactions with the same ``context.custom_context.uuid`` only the newest stays."""
    max_records: int | None = None
    max_bytes: int | None = None
    """Above these a request is answered 413; None: no cap, as documented."""


class Exchange(Struct):
    """One request to Miso's API. ``status`` is 0 while, and when, there is no answer."""

    n: int
    method: str
    path: str
    sha256: str
    records: int
    status: int
    at: float
    """Seconds since 1970."""


class Interactions:
    """Every interaction taken, in the order of arrival."""

    def __init__(self) -> None:
        self.kept: dict[int | str, tuple[Raw, str, str | None]] = {}
        self.counts: Counter[tuple[str, str | None]] = Counter()
        self._joined: dict[str, set[str]] = {}
        """user id → the anonymous ids that came with it."""
        self._number = 0

    def add(self, raws: Sequence[Raw], records: Sequence[dict[str, Any]], options: Options) -> None:
        for raw, record in zip(raws, records, strict=True):
            kind, user = record["type"], record.get("user_id")
            self._number += 1
            key = (_uuid(record) if options.deduplicate else None) or self._number
            if key in self.kept:
                self.counts[self.kept[key][1:]] -= 1
            self.counts[kind, user] += 1
            if options.keep:
                self.kept[key] = (raw, kind, user)
                if user is not None and record.get("anonymous_id"):
                    self._joined.setdefault(user, set()).add(record["anonymous_id"])

    def forget(self, users: Collection[str], options: Options) -> None:
        """Delete what these users did, and what they did before they were known (of what is kept)."""
        self.counts = Counter({key: n for key, n in self.counts.items() if key[1] not in users})
        self.kept = {key: held for key, held in self.kept.items() if held[2] not in users}
        visitors = set[str]().union(*(self._joined.pop(user, set()) for user in users))
        if not (visitors and options.join):
            return
        for key, (raw, kind, user) in list(self.kept.items()):
            if user is None and msgspec.json.decode(raw).get("anonymous_id") in visitors:
                self.counts[kind, user] -= 1
                del self.kept[key]

    def by_type(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for (kind, _), n in self.counts.items():
            found[kind] += n
        return {kind: n for kind, n in sorted(found.items()) if n}

    def total(self) -> int:
        return self.counts.total()


class Dataset:
    """Products or users: replaced whole by id, with one data type per custom attribute for all of them."""

    def __init__(self) -> None:
        self.records: dict[str, Raw] = {}
        self.types: dict[str, str | None] = {}
        self.exists = False
        self._attribute_types: dict[str, str] = {}

    def upload(self, ids: Sequence[str], raws: Sequence[Raw], records: Sequence[dict[str, Any]]) -> list[str]:
        """Take the records; returns the lines about those that were refused."""
        self.exists = True
        lines: list[str] = []
        for index, (key, raw, record) in enumerate(zip(ids, raws, records, strict=True)):
            clashes = self._clashes(record.get("custom_attributes") or {})
            if clashes:
                lines += [Fault(index, f".custom_attributes.{n} is invalid. {INCONSISTENT}").line() for n in clashes]
                continue
            self.records.pop(key, None)
            self.records[key] = raw
            self.types[key] = record.get("type")
        return lines

    def delete(self, ids: Iterable[str]) -> tuple[int, int]:
        """Delete; returns how many there were, and how many there were not."""
        found = [self.records.pop(key, None) is not None for key in dict.fromkeys(ids)]
        return sum(found), len(found) - sum(found)

    def _clashes(self, attributes: dict[str, Any]) -> list[str]:
        types = {name: kind for name, value in attributes.items() if (kind := _attribute_type(value)) is not None}
        clashes = [name for name, kind in types.items() if self._attribute_types.get(name, kind) != kind]
        if not clashes:
            self._attribute_types.update(types)
        return clashes


@dataclass(slots=True)
class Task:
    """Work that Miso does after its answer. ``result`` is what ``_status`` answers once it is done."""

    kind: str
    due: float
    work: Callable[[], dict[str, Any]]
    result: dict[str, Any] | None = None
    gone: bool = False


@dataclass
class Holdings:
    """All of it. ``clock`` gives monotonic seconds."""

    clock: Callable[[], float]
    interactions: Interactions = field(default_factory=Interactions)
    datasets: dict[str, Dataset] = field(default_factory=lambda: {"products": Dataset(), "users": Dataset()})
    tasks: dict[str, Task] = field(default_factory=dict)
    deleted_users: dict[str, None] = field(default_factory=dict)
    forgotten: dict[str, None] = field(default_factory=dict)
    wire: list[Exchange] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)
    recent: deque[tuple[str, Raw]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _waiting: list[Task] = field(default_factory=list)

    def add_task(self, kind: str, delay: float, work: Callable[[], dict[str, Any]]) -> str:
        """Do ``work`` after ``delay`` seconds; infinity is never. Returns the task's id."""
        number = secrets.token_hex(12)
        task = Task(kind, self.clock() + delay, work)
        self.tasks[number] = task
        self._waiting.append(task)
        self.settle()
        return number

    def settle(self) -> None:
        """Do the work that is due, in the order in which it was asked for."""
        now = self.clock()
        due = [task for task in self._waiting if task.due <= now]
        self._waiting = [task for task in self._waiting if task.due > now]
        for task in due:
            task.result = task.work()

    def pending_tasks(self) -> int:
        return len(self._waiting)


def _uuid(record: dict[str, Any]) -> str | None:
    context = (record.get("context") or {}).get("custom_context") or {}
    found = context.get("uuid")
    return found if isinstance(found, str) else None


def _attribute_type(value: object) -> str | None:
    """The data type that must be the same for all records; None where the value does not show one."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return next((f"list of {kind}" for kind in map(_attribute_type, value) if kind is not None), None)
    return None if value is None else type(value).__name__
