"""The outputs of one event, taken one by one: records are validated, and effects become what the store can keep."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import msgspec

from misoflow.connector import Event
from misoflow.effects import (
    Absent,
    Alias,
    Disconnect,
    Erase,
    Fetch,
    Group,
    Known,
    LateId,
    Latest,
    Listing,
    Merge,
    Once,
    Pull,
    Skip,
)
from misoflow.encode import encode
from misoflow.errors import Reject
from misoflow.instances import Instance
from misoflow.records import INTERACTIONS, ForgetUser, Interaction, Product, Record, RemoveProduct, RemoveUser, User
from misoflow.store.keyed import GROUP
from misoflow.store.values import Ask, GroupOf, Late, Life, Outcome, Part, Piece
from misoflow.vault import Vault

KINDS: dict[type, str] = {cls: kind for kind, cls in INTERACTIONS.items()}
MOST_RECORDS = 100_000
"""Of one event: a generator without an end must not fill the memory before the watchdog comes."""
TOO_MANY = f"the event becomes more than {MOST_RECORDS:,} records"
MOST_SECONDS = 30 * 86_400


def copy_of(record: Any) -> Any:
    """``copy.copy`` without its search for how."""
    return record.__copy__()


def to_ms(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment is not None else 0


def plain(text: object) -> str:
    """A connector's words as a text that can be stored."""
    return str(text).encode("utf-8", "replace").decode()


class Outputs:
    """The outputs of one event, taken one by one."""

    __slots__ = ("_event", "_instance", "_made", "_ordinals", "_others", "_vault", "disconnect")

    def __init__(self, vault: Vault, instance: Instance, event: Event, made: Outcome) -> None:
        self._vault = vault
        self._instance = instance
        self._event = event
        self._made = made
        self._ordinals: dict[str, int] = {}
        self._others = 0
        self.disconnect: str | None = None

    def take(self, output: Any) -> None:
        """A record or an effect."""
        if type(output) in KINDS:  # by far the most
            self._interaction(output, None)
            return
        made, instance = self._made, self._instance
        self._counted(1)
        match output:
            case Once(key, record, shared, also):
                where = made.env if shared else instance.name
                self._record(record, _scope(where, "once", key), tuple(_scope(where, "once", one) for one in also))
            case Latest(key, version, record):
                made.parts.append(self._part(record, key, version, whole=True))
            case Merge(_, source, part, version, remove, unite, listing):
                made_part = self._part(part, source, version, remove=remove, unite=unite)
                _texts(listing or "")
                made_part.listing = listing
                made.parts.append(made_part)
            case Group(name, version, records):
                self._group(name, version, records)
            case Known(record, Fetch(kind, ref, after) as fetch):
                _texts(kind, ref)
                _seconds(after)
                self._interaction(record, None, known=fetch)
            case _ if not self._asked(output):
                self._record(output)

    def _asked(self, output: Any) -> bool:
        """An effect without a record: what the engine is asked to do. False if it is none."""
        made = self._made
        match output:
            case Listing(source, run, page, pages):
                _texts(source, run)
                if type(page) is not int or type(pages) is not int:
                    raise TypeError("the pages of a listing must be numbers")
                made.listings.append(output)
            case Absent(prefix, version):
                _texts(prefix)
                _moment(version)
                made.absents.append(output)
            case Fetch(kind, ref, after, unless):
                _texts(kind, ref, unless)
                _seconds(after)
                key = _scope(self._instance.name, "once", unless).hex() if unless else ""
                made.fetches.append(replace(output, unless=key))
            case Pull(stream, after):
                _texts(stream)
                _seconds(after)
                made.pulls.append(output)
            case Alias(key, anonymous_id):
                _texts(anonymous_id)
                made.aliases.append((_scope(self._instance.name, "alias", key), anonymous_id))
            case Disconnect(reason, at):
                self._end("end", plain(reason), at)
            case Erase(at):
                self._end("erase", "the platform asked to erase everything", at)
            case Skip(reason):
                made.reason = made.reason or reason
            case _:
                return False
        return True

    def _end(self, what: Literal["end", "erase"], reason: str, at: datetime | None) -> None:
        """Of an install; a plain instance is paused, and erased by a person only."""
        if "/" in self._instance.name:
            moment = to_ms(at) if at is not None else self._made.received
            self._made.life.append(Life(what, moment, reason=reason))
        else:
            self.disconnect = reason

    def _record(self, record: Record, claim: bytes | None = None, also: tuple[bytes, ...] = ()) -> None:
        if isinstance(record, ForgetUser):
            encode(record)
            user_id = self._instance.user_id(record.user_id)
            self._made.forget.append((self._vault.keyed_hash(b"u:" + user_id.encode()), user_id))
        elif isinstance(record, Product | User | RemoveProduct | RemoveUser):
            part = self._part(record, "", self._made.received, whole=True)
            part.claim, part.also = claim, also
            self._made.parts.append(part)
        else:
            self._interaction(record, claim, also)

    def _interaction(
        self,
        given: Interaction,
        claim: bytes | None,
        also: tuple[bytes, ...] = (),
        known: Fetch | None = None,
    ) -> None:
        made, instance = self._made, self._instance
        kind = KINDS[type(given)]
        ordinal = self._ordinals.get(kind, 0)
        if ordinal >= MOST_RECORDS:
            raise Reject(TOO_MANY)
        self._ordinals[kind] = ordinal + 1
        if kind in instance.drop:
            made.reason = made.reason or f"this instance drops {kind}"
            return
        record: Any = copy_of(given)  # the connector may keep its own
        late = self._late(record)
        if record.user_id:
            record.user_id = instance.user_id(record.user_id)
        context: Any = record.context or {}
        custom = context.get("custom_context") or {}
        uuid = instance.uuid(self._event.id, kind, ordinal)
        record.context = {**context, "custom_context": {**custom, "uuid": uuid}}
        body = encode(record, late=bool(late) and late[0].field == "anonymous_id")
        self._identify(record.user_id, record.anonymous_id)
        if isinstance(record.timestamp, str):
            made.at = to_ms(datetime.fromisoformat(record.timestamp))
        made.pieces.append(Piece(body, claim, late, also, self._ask(record, known) if known is not None else None))

    def _late(self, record: Any) -> tuple[Late, ...]:
        """The fields that an alias names; what stands there in the record from now on is their defaults."""
        identity, category = record.anonymous_id, getattr(record, "category", None)
        found: tuple[Late, ...] = ()
        if type(identity) is LateId:
            record.anonymous_id = str(identity) or None
            found = (Late("anonymous_id", self._aliases(identity)),)
        if category and len(category) == 1 and type(category[0]) is LateId:
            record.category = [str(category[0])] if category[0] else None
            found += (Late("category", self._aliases(category[0])),)
        return found

    def _aliases(self, late: LateId) -> tuple[bytes, ...]:
        return tuple(_scope(self._instance.name, "alias", key) for key in late.keys)

    def _ask(self, record: Any, fetch: Fetch) -> Ask:
        """What has to be known of an interaction that nobody vouches for."""
        products = [self._product(one) for one in getattr(record, "product_ids", None) or ()]
        families = [self._family(one) for one in getattr(record, "product_group_ids", None) or ()]
        return Ask(fetch, tuple(products), tuple(families))

    def _product(self, product_id: str) -> bytes:
        return self._vault.keyed_hash(b"p:" + product_id.encode())

    def _family(self, product_group_id: str) -> bytes:
        return self._vault.keyed_hash(b"g:" + product_group_id.encode())

    def _identify(self, user_id: str | None, anonymous_id: str | None) -> None:
        made, keyed = self._made, self._vault.keyed_hash
        user = keyed(b"u:" + user_id.encode()) if user_id else None
        anonymous = keyed(b"a:" + anonymous_id.encode()) if anonymous_id else None
        made.who = made.who or user or anonymous
        if user is not None and anonymous is not None:
            made.links.append((user, anonymous))
        if user is not None and user_id is not None:
            self._note("u", user, user_id)
        if anonymous is not None and anonymous_id is not None:
            self._note("a", anonymous, anonymous_id)

    def _note(self, kind: str, who: bytes, plain_id: str) -> None:
        """Of an install everybody is remembered whom Miso hears of: when it goes, they are deleted there."""
        if self._instance.is_install:
            self._made.people.append((who, kind, plain_id))

    def _part(
        self,
        record: Product | User | RemoveProduct | RemoveUser,
        source: str,
        version: Any,
        *,
        remove: tuple[str, ...] = (),
        unite: tuple[str, ...] = (),
        whole: bool = False,
    ) -> Part:
        _texts(source, *remove, *unite)
        if source.startswith(GROUP):
            raise ValueError("a source must not begin with a control character")
        if not isinstance(version, int | float | str):
            raise TypeError("the version of a part must be a number or a text")
        fields: dict[str, Any] = msgspec.json.decode(encode(record))
        gone = isinstance(record, RemoveProduct | RemoveUser)
        if isinstance(record, User | RemoveUser):
            record_id = fields["user_id"] = self._instance.user_id(record.user_id)
            key = self._vault.keyed_hash(b"u:" + record_id.encode())
            self._made.who = self._made.who or key
            self._note("u", key, record_id)
            if isinstance(version, int):
                self._made.at = version
            if isinstance(record, User) and isinstance(
                record.updated_at, str
            ):  # a platform's list still holds who was forgotten here
                self._made.at = min(self._made.at, to_ms(datetime.fromisoformat(record.updated_at)))
            part = Part("user", key, record_id, source, version, {} if gone else fields, remove, whole, gone)
        else:
            record_id = record.product_id
            key = self._product(record_id)
            part = Part("product", key, record_id, source, version, {} if gone else fields, remove, whole, gone)
            group_id = record.product_group_id if isinstance(record, Product) else None
            part.family = self._family(group_id) if group_id else None
        part.unite = unite
        try:
            msgspec.msgpack.encode((version, fields))
        except OverflowError:
            raise Reject("a number is too large to be stored (beyond 64 bits)") from None
        return part

    def _counted(self, n: int) -> None:
        self._others += n
        if self._others > MOST_RECORDS:
            raise Reject(TOO_MANY)

    def _group(self, name: str, version: int, records: tuple[Any, ...]) -> None:
        _texts(name)
        _moment(version)
        self._counted(len(records))
        for record in records:
            if not isinstance(record, Product | User):
                raise TypeError("a group holds products and users")
        self._made.groups.append(GroupOf(name, version, [self._part(one, "", version, whole=True) for one in records]))


def _texts(*values: str) -> None:
    """TypeError or ValueError for what the store could not keep as a text."""
    for value in values:
        if not isinstance(value, str):
            raise TypeError("must be a text")
        value.encode()


def _moment(version: object) -> None:
    """TypeError or ValueError for what is no time in ms."""
    if type(version) is not int:
        raise TypeError("the version of a group must be a number of ms")
    if not 0 <= version < 2**62:
        raise ValueError("the version of a group is out of range")


def _seconds(after: object) -> None:
    """TypeError or ValueError for what nobody can wait for."""
    if not isinstance(after, int | float) or isinstance(after, bool):
        raise TypeError("after must be a number of seconds")
    if not 0 <= after <= MOST_SECONDS:
        raise ValueError("after must be 0 or more seconds, and at most 30 days")


def _scope(*words: str) -> bytes:
    return hashlib.blake2b("\0".join(words).encode(), digest_size=16).digest()
