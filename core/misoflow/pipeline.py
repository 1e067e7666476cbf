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
from typing import Any

import msgspec

from misoflow.connector import Event, Request
from misoflow.errors import Reject
from misoflow.instances import Instance
from misoflow.outputs import Outputs, plain, to_ms
from misoflow.store.values import Life, Outcome, record_digest
from misoflow.vault import Vault

DATA_ERRORS = (
    *(LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError),
    msgspec.MsgspecError,
)
"""What wrong data makes of a pure function; every other error is the connector's own fault."""
PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$.-]{0,63}", re.ASCII)
"""What the name of a field looks like, and an e-mail address, a phone number or a full name does not."""
HOOKED_AWAY = "the instance's hook dropped it"
MOST_EVENTS = 500_000
"""Of one delivery: a generator without an end must not fill the memory before the watchdog comes."""
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
        work = Outputs(self._vault, instance, event, made)
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
