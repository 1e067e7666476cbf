"""The author's API: one class to subclass, and the plain values that pass through it.

A connector turns a platform's deliveries into records. ``verify`` runs before the answer, on raw bytes;
``events`` and ``translate`` are pure and run later, so any event can be translated again with newer code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from misoflow import rawjson
from misoflow.effects import Effect
from misoflow.errors import Reject, Unauthorized
from misoflow.records import Record
from misoflow.rules import EMPTY, Rules

if TYPE_CHECKING:
    from misoflow.budget import Budget
    from misoflow.http import Http
    from misoflow.state import State

KIB = 1024
MIB = 1024 * KIB


class Config(BaseModel):
    """Settings of one instance: frozen, unknown keys refused, secrets as ``SecretStr``.

    For a ``tuple[SecretStr, ...]`` (two while a secret is rolled) one alone may be given too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _one_secret_for_a_list(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        many = {key for key, info in cls.model_fields.items() if info.annotation == tuple[SecretStr, ...]}
        alone = {key for key in many & given.keys() if isinstance(given[key], str | SecretStr)}
        return {key: [value] if key in alone else value for key, value in given.items()}


C = TypeVar("C", bound=Config)


@dataclass(frozen=True, slots=True)
class Route:
    """One public path below ``/hooks/<instance>``.

    ``path`` is lower-case without slashes at its ends; ``*`` stands for one segment. ``signed`` says
    whether ``verify`` proves the sender: malformed JSON is 400 where it does not, and a dead letter behind
    a 2xx where it does. ``max_body`` is in bytes as sent, ``max_inflated`` after gunzip. ``keep`` names
    the (lower-case) headers stored with the delivery beside content-type; never one that holds a secret.
    ``hide`` names the query fields that ``verify`` reads and that are not stored: keys. ``ledger``: nothing is
    taken in here; the last segment is the ``Request.delivery`` of an earlier one of this instance, and ``answer``
    gets ``Request.fates``. One that is not known (any more) is a 404.
    """

    path: str = ""
    channel: str = "webhook"
    signed: bool = True
    methods: tuple[str, ...] = ("POST",)
    max_body: int = MIB
    max_inflated: int = 64 * MIB
    keep: tuple[str, ...] = ()
    cors: bool = False
    hide: tuple[str, ...] = ()
    ledger: bool = False
    status: int = 200
    """Of the answer to what is taken in; 204 sends no body."""
    per_second: float | None = None
    """Deliveries a second of one install (or instance) by this route; more get 429. For routes without a signature."""
    per_address: float | None = None
    """The same by one sender's address."""


class Fate(Struct, frozen=True):
    """What became of one event: ``delivered``, ``skipped``, ``suppressed``, ``erased``, ``dead`` or ``pending``.

    A dead one has a reason and a path, as its dead letter.
    """

    state: str
    reason: str = ""
    path: str = ""


class Request(Struct, frozen=True):
    """One delivery as it came, after inflating: nothing is parsed yet."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names. After storage only content-type and the route's ``keep`` are left."""
    channel: str = "webhook"
    path: str = ""
    """The path below ``/hooks/<instance>/``: lower-case, but for what stands in the place of a ``*``."""
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    received_at: datetime | None = None
    """When the receiver had read it; UTC. None only before it is stored."""
    delivery: int = 0
    """In ``answer`` only: the number under which it was stored."""
    fates: tuple[Fate, ...] = ()
    """In ``answer`` on a ``ledger`` route only: one for each event of the delivery asked for, in their order."""

    def header(self, name: str) -> str:
        """The header's value, or "" where it is absent."""
        return self.headers.get(name.lower(), "")

    def json(self) -> Any:
        """The body as JSON; raises Reject when it is not (NaN, bad UTF-8 and lone surrogates included)."""
        return rawjson.parse(self.body)


class Event(Struct, frozen=True):
    """One thing that happened on the platform; ``id`` is the same by webhook and by history."""

    id: str
    """As the platform names it; never made of the time of receipt, of a counter or at random."""
    topic: str
    """One of ``Connector.topics``."""
    data: Any
    """Its payload, as JSON."""
    received_at: datetime | None = None
    """Stamped by the engine, because ``translate`` has no clock."""


@dataclass(frozen=True, slots=True)
class Stream:
    """How a stream of history is cut into slices. In ``streams`` a bare timedelta stands for ``Stream(width)``."""

    width: timedelta
    """Of the first slice; the next ones follow the volume that was measured."""
    step: timedelta = timedelta(seconds=1)
    """Slices begin and end on multiples of it, UTC: a day where the platform takes dates only."""
    poll: bool = False
    """Each run is one slice, the last ``width`` long, with the cursor that the run before ended with."""
    after: tuple[str, ...] = ()
    """Streams that are pulled first, over the whole range."""
    background: bool = False
    """Pulled by its schedule or by name only."""
    depth: timedelta | None = None
    """How far back it is pulled unless the settings say something else; else 90 days."""
    every: timedelta | None = None
    """Pulled by itself that often, unless the settings say something else."""
    settle: timedelta = timedelta(0)
    """How long after its end a step may still go on at the platform, by another clock or time zone; the next pull
    begins before it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of history to pull: [start, end) of one stream, from ``cursor`` on."""

    stream: str
    start: datetime
    end: datetime
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of a slice, and the cursor to go on from once they are stored."""

    events: list[Event]
    cursor: str | None
    """A text of your own; the slice's old one again where the page does not prove that nothing is missing before it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding of ``check``: what is wrong and the next action. ``warn`` does not fail the check."""

    level: Literal["warn", "fail"]
    text: str
    fix: str


class Connector(ABC, Generic[C]):
    """One platform. Subclass it, give it a ``Config`` and implement ``verify``, ``events``, ``translate``."""

    topics: ClassVar[tuple[str, ...]] = ()
    """Every topic that ``events`` can yield; metrics use only these as labels."""
    streams: Mapping[str, timedelta | Stream] = {}
    """History streams and how they are cut; a class value, or set in ``__init__`` from the settings."""
    routes: tuple[Route, ...] = (Route(),)
    """Paths taken in below ``/hooks/<instance>``; a class value, or set in ``__init__`` from the settings."""
    dedup_days: ClassVar[int] = 30
    """How long event ids are remembered, unless the instance says otherwise."""

    config: C
    """The instance's settings."""
    http: Http
    """Our HTTP client: classifies answers, has deadlines and size caps, keeps credentials out of URLs."""
    budget: Budget
    """Calls an hour, shared by all that use the same account, kept over restarts."""
    state: State
    """A small encrypted key-value of the instance; not readable in ``translate``."""
    rules: Rules = EMPTY
    """The instance's ``[[rules]]``; a connector asks them first and completes what they give."""

    def __init__(self, config: C) -> None:
        self.config = config

    def verify(self, request: Request) -> None:
        """Raise Unauthorized unless the delivery is genuine. Whatever else it raises is a 401 too."""
        raise Unauthorized("this connector takes no deliveries")

    def events(self, request: Request) -> Iterable[Event]:
        """Split one delivery into events. Pure. Reject: the whole delivery is a dead letter."""
        raise Reject("this connector takes no deliveries")

    @abstractmethod
    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """Pure: no clock, no randomness, no I/O. Yielding nothing means *skipped*."""

    def backfill(self, part: Slice) -> AsyncIterator[Page] | Iterator[Page]:
        """Pages of history with cursors; an async generator, or a plain one for synchronous SDKs."""
        raise Reject("this connector has no history")

    async def check(self) -> list[Problem]:
        """What a person should know before running: bad credentials, weak settings."""
        return []

    async def fetch(self, kind: str, ref: str) -> list[Event]:
        """Read one object for a ``Fetch`` effect; its events are translated in turn."""
        raise Reject(f"this connector cannot fetch {kind!r}")

    def sample(self, topic: str) -> Request:
        """A genuinely signed delivery of that topic, for ``simulate`` and tests. LookupError if unknown."""
        raise LookupError(topic)

    def tenant(self, request: Request) -> str:
        """Which install of a template a verified delivery belongs to; "" for a plain instance."""
        return ""

    def answer(self, request: Request) -> Any:
        """The body of a 2xx answer, as JSON; pure. Never decides the status. The delivery is stored by then."""
        return {"success": True}
