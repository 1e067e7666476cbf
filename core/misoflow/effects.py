"""What ``translate`` may yield beside a record: effects, as data, so that it stays pure.

``once``, ``latest`` and ``known`` wrap a record, ``merge`` gives one source's part of a user or product,
``Listing`` says that a list of such parts is complete, ``Group`` is all records of one object of the platform
and ``Absent`` what a full list no longer holds; ``aliased`` is a text bound late; ``Fetch``, ``Pull``,
``Alias``, ``Disconnect`` and ``Erase`` ask the engine to do something; ``Skip`` says why nothing was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from misoflow.records import Interaction, Product, Record, RemoveProduct, RemoveUser, User


@dataclass(frozen=True, slots=True)
class Once:
    key: str
    record: Record
    shared: bool
    also: tuple[str, ...]


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
class Group:
    """All the records that one object of the platform is at Miso, such as the variants of a product.

    What the group had before and ``records`` lacks is removed at Miso; ``records`` may be empty. An older
    ``version`` (ms at which the object was read) than the group's changes nothing.
    """

    name: str
    version: int
    records: tuple[Product | User, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """A full list, begun at ``version``, is read: every group of this prefix that is older is gone at the platform.

    Its records are removed at Miso, unless they are too many: then the event is a dead letter, and a person
    who retries it agrees.
    """

    prefix: str
    version: int


@dataclass(frozen=True, slots=True)
class Known:
    record: Interaction
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class Fetch:
    """A thin event: the engine coalesces equal ones, rate-limits, and calls ``Connector.fetch``.

    ``after`` seconds from the first one on; those that come meanwhile are served by the same call. It is not needed
    any more once ``unless``, the key of a ``once``, is taken.
    """

    kind: str
    id: str
    after: float = 0.0
    unless: str = ""


@dataclass(frozen=True, slots=True)
class Pull:
    """Run this stream of history once, ``after`` seconds from the first one that asks."""

    stream: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Alias:
    """From now on (and for records still waiting) ``aliased(key)`` is this anonymous id."""

    key: str
    anonymous_id: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The app was uninstalled at the platform, at ``at``: unless it was installed again since, the install ends.

    What comes for it afterwards is skipped, but for its ``lifecycle`` topics. A plain instance is paused.
    """

    reason: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Erase:
    """Everything of the install is deleted, here and at Miso, unless it was installed again after ``at``."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing is made of this event (or of this part of it), and this is why."""

    reason: str


class LateId(str):
    """A text looked up under ``keys``, the first that is bound, when its batch is sealed; it is the default itself."""

    __slots__ = ("keys",)
    keys: tuple[str, ...]


Effect = Once | Latest | Merge | Listing | Group | Absent | Known | Fetch | Pull | Alias | Disconnect | Erase | Skip


def once(key: str, record: Record, *, shared: bool = False, also: tuple[str, ...] = ()) -> Once:
    """The first producer of ``key`` wins, by whichever channel it came; keys never expire.

    Keys are per instance, or per Miso environment with ``shared``. The winner takes the keys of ``also`` as well,
    as far as they are free.
    """
    return Once(key, record, shared, also)


def known(record: Interaction, fetch: Fetch) -> Known:
    """An interaction that nobody vouches for: it counts if the instance has delivered one of its ``product_ids``.

    Else ``fetch`` is done first; when the product is still not known then, the interaction is skipped.
    """
    return Known(record, fetch)


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


def aliased(*keys: str, default: str = "") -> LateId:
    """A text that an ``Alias`` of one of these keys (the first counts most) names, even one that comes a little later.

    For a record's ``anonymous_id``, or as the only item of a ``category``. ``default`` if none does.
    """
    late = LateId(default)
    late.keys = keys
    return late
