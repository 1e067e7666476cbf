"""The plain values that cross the store's border: what the pipeline made, what delivery reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct

from misoflow.effects import Absent, Fetch, Listing, Pull

EventState = Literal["pending", "delivered", "skipped", "suppressed", "erased", "dead"]
DeadKind = Literal["reject", "miso", "bug", "poison"]
BatchKind = Literal["interactions", "products", "users", "delete_products", "delete_users", "forget"]


class Late(Struct, frozen=True):
    """A field of a record that an alias names: the hashed keys, of which the first that is bound counts."""

    field: Literal["anonymous_id", "category"]
    keys: tuple[bytes, ...]


class Ask(Struct, frozen=True):
    """What an interaction names that has to be known (keyed hashes), and the fetch that may make it known."""

    fetch: Fetch
    products: tuple[bytes, ...] = ()
    families: tuple[bytes, ...] = ()
    """Product group ids; they count where there are no products."""


class Piece(Struct, gc=False):
    """One interaction of an event, encoded. It waits for what is ``late``, and to be ``known``.

    Who takes ``claim`` takes ``also``, as far as they are free.
    """

    body: bytes
    claim: bytes | None = None
    late: tuple[Late, ...] = ()
    also: tuple[bytes, ...] = ()
    known: Ask | None = None


def record_digest(body: bytes) -> bytes:
    """By which a record is known that Miso has taken while others of its event were refused."""
    return hashlib.blake2b(body, digest_size=12).digest()


@dataclass(slots=True)
class Part:
    """One source's part of a product or user.

    ``fields`` are the record's fields as plain JSON values; ``whole`` replaces the source's earlier part
    (a later ``version`` wins), else fields merge one by one. ``gone`` takes the source's part away.
    ``unite`` and ``listing`` as in ``merge``.
    """

    kind: Literal["product", "user"]
    key: bytes
    id: str
    source: str
    version: Any
    fields: dict[str, Any]
    remove: tuple[str, ...] = ()
    whole: bool = False
    gone: bool = False
    claim: bytes | None = None
    unite: tuple[str, ...] = ()
    listing: str | None = None
    also: tuple[bytes, ...] = ()
    family: bytes | None = None
    """The keyed hash of a product's product_group_id."""


@dataclass(slots=True)
class GroupOf:
    """All parts of one group, whole; their source is the store's."""

    name: str
    version: int
    parts: list[Part]


class Life(Struct, frozen=True):
    """A turn in the life of an install: ``connect`` with what the click brought, ``end`` or ``erase``. ``at``: ms."""

    what: Literal["connect", "end", "erase"]
    at: int
    grant: bytes = b""
    reason: str = ""


class Outcome(Struct):
    """What one event became. ``row`` is its row when it was known (skipped or dead) and is tried again."""

    instance: str
    env: str
    hash: bytes
    topic: str
    received: int
    delivery: int
    state: EventState = "pending"
    row: int | None = None
    reason: str = ""
    path: str = "$"
    dead_kind: DeadKind = "reject"
    raw: bytes = b""
    """A dead event as ``pack_event`` wrote it; sealed by the store."""
    held: bool = False
    who: bytes | None = None
    at: int = 0
    """The event's own time in ms, against which a tombstone is held."""
    pieces: list[Piece] = []
    parts: list[Part] = []
    forget: list[tuple[bytes, str]] = []
    """(keyed hash, id) of users to forget."""
    fetches: list[Fetch] = []
    aliases: list[tuple[bytes, str]] = []
    links: list[tuple[bytes, bytes]] = []
    listings: list[Listing] = []
    life: list[Life] = []
    groups: list[GroupOf] = []
    absents: list[Absent] = []
    pulls: list[Pull] = []
    agreed: bool = False
    """A person tries this one event again, and so agrees to what it asks for."""
    people: list[tuple[bytes, str, str]] = []
    """(keyed hash, "u" or "a", id) of everybody whom an install's event names to Miso."""


@dataclass(slots=True)
class PageMark:
    """Where a chunk of history belongs. ``moved``: it proves the slice up to ``cursor``."""

    slice: int
    read: int
    moved: bool = False
    cursor: str | None = None
    raws: bytes = b""
    """Packed events that are on their way, a line each, for the dead letters of what Miso refuses."""


@dataclass(slots=True)
class Chunk:
    """Everything one step of the pipeline commits at once, the inbox offset with it."""

    outcomes: list[Outcome] = field(default_factory=list)
    offset: int | None = None
    duplicates: dict[str, int] = field(default_factory=dict)
    held: list[tuple[int, str]] = field(default_factory=list)
    """(delivery, instance) of deliveries put aside unsplit because the instance is paused."""
    released: list[int] = field(default_factory=list)
    """Deliveries that were put aside and are split in this chunk."""
    fetched: list[tuple[str, str, str]] = field(default_factory=list)
    """(instance, kind, ref) of fetches whose events are in this chunk."""
    pauses: list[tuple[str, str, str]] = field(default_factory=list)
    """(instance, reason, fix)."""
    circuits: list[tuple[str, str, str]] = field(default_factory=list)
    """(instance, topic, reason) whose circuit opens with this chunk."""
    settled: list[tuple[int, str]] = field(default_factory=list)
    """(dead event's row, reason) that is now skipped because something else stands in for it."""
    page: PageMark | None = None
    now: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """An event id that the store has seen before."""

    row: int
    state: EventState
    confirmed: frozenset[bytes] = frozenset()
    received: int = 0


@dataclass(slots=True)
class Batch:
    """A sealed batch: frozen records, and which of them are still to be sent.

    ``todo`` is a list of requests, each a list of half-open index ranges into ``records``; a request's bytes
    follow from it, so the same request is the same bytes after any crash.
    """

    id: int
    env: str
    kind: BatchKind
    state: int
    todo: list[list[tuple[int, int]]]
    tries: int
    requests: int
    rounds: int
    bad: list[int]
    """Indices of the records that Miso refused."""
    suspects: dict[int, tuple[str, str]]
    """Records that Miso named bad in answer to ``todo[0]``: (its sentence, path). They are dead letters
    once the rest is taken, for a list with wrong indices must not condemn innocents."""
    task: str | None
    task_at: int | None
    created: int
    records: list[bytes] = field(default_factory=list)
    members: list[int] = field(default_factory=list)
    """The event of each record; for products and users the position in the batch itself."""
    other_half: list[tuple[int, int]] | None = None
    """Of the last halving: when the first half is taken, this one must be bad. Not kept over a crash."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    instance: str
    topic: str
    kind: str
    reason: str
    path: str
    created: int
    event: int
    delivery: int
    in_flight: bool
    """Other records of the event are still on their way; it cannot be retried yet."""
    raw: bytes
    confirmed: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Progress:
    """What the inbox's owner needs of the store: which deliveries are used up, which to rewrite or to blank."""

    done_before: int
    rewrites: list[tuple[int, bytes]]
    erasures: list[tuple[int, str, int]] = field(default_factory=list)
    """(number, instance, last delivery) of installs that are erased."""
