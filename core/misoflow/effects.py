"""What ``translate`` may yield beside a record: effects, as data, so that it stays pure.

``once`` and ``latest`` wrap a record, ``merge`` gives one source's part of a user or product, ``Listing`` says
that a list of such parts is complete, ``aliased`` is an anonymous id bound late; ``Fetch``, ``Alias`` and
``Disconnect`` ask the engine to do something; ``Skip`` says why nothing was made.
"""

from __future__ import annotations

from dataclasses import dataclass

from misoflow.records import Product, Record, RemoveProduct, RemoveUser, User


@dataclass(frozen=True, slots=True)
class Once:
    key: str
    record: Record
    shared: bool


@dataclass(frozen=True, slots=True)
class Latest:
    key: str
    version: int | float | str
    record: Product | User | RemoveProduct | RemoveUser


@dataclass(frozen=True, slots=True)
class Merge:
    key: str
    source: str
    part: Product | User
    version: int
    remove: tuple[str, ...]
    unite: tuple[str, ...]
    listing: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """Page ``page`` (from 1) of ``pages`` of ``run``, a complete list of what ``source`` has a part of.

    With the last page, in whatever order they come, the listed parts of that source that are on none of the
    pages are emptied. Once a newer run has begun, an older one changes nothing any more.
    """

    source: str
    run: str
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """A thin event: the engine coalesces equal ones, rate-limits, and calls ``Connector.fetch``."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Alias:
    """From now on (and for records still waiting) ``aliased(key)`` is this anonymous id."""

    key: str
    anonymous_id: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Pause the instance: the app was uninstalled at the platform."""

    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing is made of this event (or of this part of it), and this is why."""

    reason: str


class LateId(str):
    """An anonymous id looked up under ``key`` when its batch is sealed; the text is the default."""

    __slots__ = ("key",)
    key: str


Effect = Once | Latest | Merge | Listing | Fetch | Alias | Disconnect | Skip


def once(key: str, record: Record, *, shared: bool = False) -> Once:
    """The first producer of ``key`` wins, by whichever channel it came; keys never expire.

    Keys are per instance, or per Miso environment with ``shared``.
    """
    return Once(key, record, shared)


def latest(key: str, version: int | float | str, record: Product | User | RemoveProduct | RemoveUser) -> Latest:
    """A newer version replaces an older one; an equal version with other content counts as newer."""
    return Latest(key, version, record)


def merge(
    key: str,
    source: str,
    part: Product | User,
    *,
    version: int,
    remove: tuple[str, ...] = (),
    unite: tuple[str, ...] = (),
    listing: str | None = None,
) -> Merge:
    """One source's part of a user or product; the store merges the parts before the full record goes out.

    ``version`` is the part's time in ms: field by field the newest wins. ``remove`` names fields to clear,
    such as ``"city"`` or ``"custom_attributes.plan"``. ``unite`` names lists of texts or numbers of which this
    source has a share: the record gets what all sources have, sorted. ``listing`` is the run of a ``Listing``
    that the part is on, or "" for one more of what such runs list.
    """
    return Merge(key, source, part, version, remove, unite, listing)


def aliased(key: str, *, default: str = "") -> LateId:
    """A record's ``anonymous_id`` that a later ``Alias(key, …)`` may still name; ``default`` if none does."""
    late = LateId(default)
    late.key = key
    return late
