"""From a delivery to outcomes: split, translate, validate. Pure but for the identities it hashes.

Whatever a connector raises here ends as a dead letter of that event alone: a retry cannot help a pure
function, newer code can.
"""

from __future__ import annotations

import hashlib
import re
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import msgspec

from misoflow.connector import Event, Request
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
from misoflow.store.values import Ask, GroupOf, Late, Life, Outcome, Part, Piece, record_digest
from misoflow.vault import Vault

DATA_ERRORS = (
    *(LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError),
    msgspec.MsgspecError,
)
"""What wrong data makes of a pure function; every other error is the connector's own fault."""
PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$.-]{0,63}", re.ASCII)
"""What the name of a field looks like, and an e-mail address, a phone number or a full name does not."""
KINDS: dict[type, str] = {cls: kind for kind, cls in INTERACTIONS.items()}
HOOKED_AWAY = "the instance's hook dropped it"
MOST_EVENTS, MOST_RECORDS = 500_000, 100_000
"""Of one delivery and of one event: a generator without an end must not fill the memory before the watchdog comes."""
MOST_SECONDS = 30 * 86_400
TOO_MANY = f"the event becomes more than {MOST_RECORDS:,} records"
DELIVERY = "delivery"
"""The topic under which a delivery that cannot be split is accounted for."""
INSTALL = "install"
"""Channel and topic of what a click to install brought; not for connectors."""


class Packed(msgspec.Struct, omit_defaults=True):
    """A dead letter's raw form: an event, or the whole request where splitting failed."""

    id: str
    topic: str
    received: int
    data: msgspec.Raw = msgspec.Raw(b"null")
    """JSON: it holds integers of any size, as msgpack does not."""
    body: bytes | None = None
    channel: str = ""
    path: str = ""
    method: str = "POST"
    query: dict[str, str] = {}
    headers: dict[str, str] = {}

    def event(self) -> Event:
        return Event(self.id, self.topic, msgspec.json.decode(self.data), from_ms(self.received))

    def request(self) -> Request:
        return Request(
            self.body or b"",
            self.headers,
            self.channel,
            self.path,
            self.method,
            self.query,
            from_ms(self.received),
        )


def pack_event(event: Event) -> bytes:
    """Never fails: what a hook or connector made that is no JSON is kept as text."""
    try:
        data = msgspec.json.encode(event.data)
    except (TypeError, ValueError, OverflowError, RecursionError):
        data = msgspec.json.encode(repr(event.data).encode("utf-8", "replace").decode())
    return msgspec.json.encode(Packed(event.id, event.topic, to_ms(event.received_at), msgspec.Raw(data)))


class _Line(msgspec.Struct):
    """``Packed`` of an event whose data is not encoded yet."""

    id: str
    topic: str
    received: int
    data: Any


_encode_lines = msgspec.json.Encoder().encode_lines


def pack_events(events: list[Event]) -> bytes:
    """Each event as ``pack_event`` writes it, a line each."""
    try:
        return _encode_lines([_Line(e.id, e.topic, to_ms(e.received_at), e.data) for e in events])
    except (TypeError, ValueError, OverflowError, RecursionError):
        return b"\n".join(map(pack_event, events))


def pack_request(request: Request, digest: bytes) -> bytes:
    return msgspec.json.encode(
        Packed(
            digest.hex(),
            DELIVERY,
            to_ms(request.received_at),
            body=request.body,
            channel=request.channel,
            path=request.path,
            method=request.method,
            query=dict(request.query),
            headers=dict(request.headers),
        )
    )


def unpack(raw: bytes) -> Packed:
    return msgspec.json.decode(raw, type=Packed)


def copy_of(record: Any) -> Any:
    """``copy.copy`` without its search for how."""
    return record.__copy__()


def to_ms(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment is not None else 0


_ms_of_page = lru_cache(maxsize=16)(to_ms)
"""The events of a batch or of a page of history came at the same moment."""


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def event_hash(instance: str, event_id: str) -> bytes:
    """16 bytes by which an event is known; scoped to its instance."""
    return hashlib.blake2b(f"{instance}\0{event_id}".encode(), digest_size=16).digest()


def split(instance: Instance, request: Request) -> tuple[list[Event], tuple[str, str, bool] | None]:
    """A delivery's events, and (reason, path, bug) if it could not be split (then there are no events)."""
    if request.channel == INSTALL:
        return [_click(request)], None
    try:
        found = islice(instance.connector.events(request), MOST_EVENTS + 1)
        events = [stamped(event, request.received_at) for event in found]
        if len(events) > MOST_EVENTS:
            raise Reject(f"the delivery splits into more than {MOST_EVENTS:,} events")
        return events, None
    except Reject as error:
        return [], (plain(error.reason), plain(error.path), False)
    except BaseException as error:
        return [], (describe(error), "$", not isinstance(error, DATA_ERRORS))


def _click(request: Request) -> Event:
    """The event of a click; the same grant twice is the same event."""
    digest = hashlib.blake2b(request.body, digest_size=16).hexdigest()
    return Event(f"{INSTALL}/{digest}", INSTALL, request.json(), request.received_at)


def stamped(event: Event, moment: datetime | None) -> Event:
    """The event as the engine takes it, with the moment at which it was received unless it has one.

    TypeError or ValueError for what is none: a connector's mistake must not come as far as the store.
    """
    received = event.received_at or moment
    if type(event.id) is not str or type(event.topic) is not str or not event.id or not event.topic:
        raise TypeError("an event's id and topic must be texts, and not empty")
    if received is not None and not isinstance(received, datetime):
        raise TypeError("an event's received_at must be a datetime")
    event.id.encode(), event.topic.encode()  # lone surrogates cannot be stored
    return Event(event.id, event.topic, event.data, received)


def plain(text: object) -> str:
    """A connector's words as a text that can be stored."""
    return str(text).encode("utf-8", "replace").decode()


def describe(error: BaseException) -> str:
    """What went wrong and where in the code; never the value, which may be personal."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    missing = str(error.args[0]) if isinstance(error, KeyError) and error.args else ""
    key = f" {missing!r}" if PLAIN_KEY.fullmatch(missing) else ""
    return f"{type(error).__name__}{key}{place}"


class Translator:
    """Turns the events of every instance into outcomes."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def undecodable(self, instance: Instance, request: Request, delivery: int, why: tuple[str, str, bool]) -> Outcome:
        """The outcome of a delivery that could not be split."""
        head = f"{request.method} {request.path} {sorted(request.query.items())}".encode()
        digest = hashlib.blake2b(head + b"\0" + request.body, digest_size=16).digest()
        reason, path, bug = why
        return Outcome(
            instance.name,
            instance.env,
            event_hash(instance.name, f"{DELIVERY}:{digest.hex()}"),
            DELIVERY,
            to_ms(request.received_at),
            delivery,
            state="dead",
            reason=reason,
            path=path,
            dead_kind="bug" if bug else "reject",
            raw=pack_request(request, digest),
        )

    def outcome(
        self,
        instance: Instance,
        event: Event,
        delivery: int,
        *,
        confirmed: frozenset[bytes] = frozenset(),
        digest: bytes | None = None,
    ) -> tuple[Outcome, str | None]:
        """What one event becomes, and the reason of a Disconnect if it asked for one.

        Records whose digest is ``confirmed`` are left out: Miso has taken them already. ``digest`` is the
        event's own hash where it is known.
        """
        received = _ms_of_page(event.received_at)
        made = Outcome(
            instance.name,
            instance.env,
            digest or event_hash(instance.name, event.id),
            event.topic,
            received,
            delivery,
            at=received,
        )
        work = _Event(self._vault, instance, event, made)
        if event.topic == INSTALL:
            made.life = [Life("connect", received, msgspec.json.encode(event.data))]
            return made, None
        try:
            hooked = instance.hooked(event)
            if not hooked:
                made.reason = HOOKED_AWAY
            for one in hooked:
                for output in instance.connector.translate(one):
                    work.take(output)
            made.reason = plain(made.reason) if made.reason else ""
        except Reject as error:
            self._die(made, event, plain(error.reason), plain(error.path), "reject")
        except BaseException as error:
            bug = not isinstance(error, DATA_ERRORS)
            self._die(made, event, describe(error), "$", "bug" if bug else "reject")
        if made.state == "pending" and (made.absents or delivery == 0):
            made.raw = pack_event(event)
        if confirmed and made.state == "pending":
            had = bool(made.pieces)
            made.pieces = [piece for piece in made.pieces if record_digest(piece.body) not in confirmed]
            if had and not (made.pieces or made.parts or made.fetches or made.groups or made.absents):
                made.state = "delivered"
        return made, work.disconnect

    @staticmethod
    def poison(instance: Instance, event: Event, delivery: int) -> Outcome:
        """An event that ended the worker each time it was translated."""
        digest = event_hash(instance.name, event.id)
        made = Outcome(instance.name, instance.env, digest, event.topic, to_ms(event.received_at), delivery)
        Translator._die(made, event, "translating this event hung or ended the worker", "$", "poison")
        return made

    @staticmethod
    def _die(made: Outcome, event: Event, reason: str, path: str, kind: Any) -> None:
        made.state, made.reason, made.path, made.dead_kind = "dead", reason, path, kind
        made.raw = pack_event(event)
        made.pieces, made.parts, made.fetches, made.aliases, made.forget = [], [], [], [], []
        made.links, made.listings, made.groups, made.absents, made.pulls, made.people = [], [], [], [], [], []
        made.life = []


class _Event:
    """The outputs of one event, taken one by one."""

    __slots__ = ("_event", "_instance", "_made", "_ordinals", "_vault", "disconnect")

    def __init__(self, vault: Vault, instance: Instance, event: Event, made: Outcome) -> None:
        self._vault = vault
        self._instance = instance
        self._event = event
        self._made = made
        self._ordinals: dict[str, int] = {}
        self.disconnect: str | None = None

    def take(self, output: Any) -> None:
        """A record or an effect."""
        if type(output) in KINDS:  # by far the most
            self._interaction(output, None)
            return
        made, instance = self._made, self._instance
        match output:
            case Once(key, record, shared, also):
                where = made.env if shared else instance.name
                self._record(record, _scope(where, "once", key), tuple(_scope(where, "once", one) for one in also))
            case Latest(key, version, record):
                self._keep(self._part(record, key, version, whole=True))
            case Merge(_, source, part, version, remove, unite, listing):
                made_part = self._part(part, source, version, remove=remove, unite=unite)
                _texts(listing or "")
                made_part.listing = listing
                self._keep(made_part)
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
            case Fetch(kind, ref, after):
                _texts(kind, ref)
                _seconds(after)
                made.fetches.append(output)
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
            self._keep(part)
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

    def _keep(self, part: Part) -> None:
        if len(self._made.parts) >= MOST_RECORDS:
            raise Reject(TOO_MANY)
        self._made.parts.append(part)

    def _group(self, name: str, version: int, records: tuple[Any, ...]) -> None:
        _texts(name)
        _moment(version)
        if len(records) > MOST_RECORDS:
            raise Reject(TOO_MANY)
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
