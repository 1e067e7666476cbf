"""Values that must turn up nowhere, a search for every spelling of them, and a connector that fails with them."""

from __future__ import annotations

import base64
import ipaddress
import json
import traceback
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
from misoflow.connector import Config, Connector, Event, Problem, Request, Slice
from misoflow.effects import Alias, Effect, Fetch, Skip, aliased, latest, merge, once
from misoflow.records import AddToCart, Custom, Like, Product, Record, User
from pydantic import BaseModel, SecretStr

TIME = "2026-11-01T00:00:00.000Z"
SECRETS = {
    "api key": "qzapi-heron-canary-in-the-reeds",
    "shared secret": "qzshared-otter-canary-by-the-brook",
    "write key": "qzwrite-plover-canary-on-the-shore",
    "batch token": "qzbatch-badger-canary-under-the-hill",
    "vault key": "qzvault-marten-canary-above-the-barn-door",
    "hmac key": "qzhmac-curlew-canary-over-the-moor",
}
PEOPLE = {
    "email": "quentina.qzmail@canary-post.example",
    "name": "Quentina Zäpfelmacher",
    "phone": "+49 151 90876512",
    "street": "Qzkanarienweg 17b",
    "ip": "203.0.113.177",
}
CANARIES = {**SECRETS, **PEOPLE}
PERSON: dict[str, Any] = {
    "email": PEOPLE["email"],
    "name": PEOPLE["name"],
    "phone": PEOPLE["phone"],
    "street": PEOPLE["street"],
    "address": {"street": PEOPLE["street"]},
    "ip": PEOPLE["ip"],
}


def _spellings(text: str) -> Iterator[str]:
    """The text as it could be written: plain, in a URL, in JSON, in a repr, in hex, in base64 at any offset."""
    raw = text.encode()
    yield from (text, quote(text), quote(text, safe=""), quote_plus(text))
    yield from (json.dumps(text)[1:-1], ascii(text)[1:-1], repr(raw)[2:-1], raw.hex())
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
        inner = encoded[(0, 2, 3)[offset] : -1]  # without the characters that the neighbours share
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


TELLING = 15
"""Characters of a secret that give it away; a person's values count as a whole."""
SPELLINGS = {
    what: {spelling.lower() for spelling in _spellings(text[:TELLING] if what in SECRETS else text)}
    for what, text in CANARIES.items()
}


def hits(text: str | bytes) -> list[str]:
    """The names of the canaries in a text, in whatever spelling and case."""
    plain = (text if isinstance(text, str) else text.decode("utf-8", "replace")).lower()
    return [what for what, spellings in SPELLINGS.items() if any(one in plain for one in spellings)]


class Evidence:
    """Everything a person or a program could read after a failure."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, str | bytes]] = []

    def add(self, where: str, *texts: object) -> None:
        """Texts and bytes as they are; anything else as its repr."""
        for text in texts:
            self._texts.append((where, text if isinstance(text, str | bytes) else repr(text)))

    def raised(self, error: BaseException) -> None:
        """The error, what it carries along and what a traceback prints of it, causes included."""
        self.add("error", str(error), repr(error), repr(vars(error)))
        self.add("traceback", "".join(traceback.format_exception(error)))

    def folder(self, folder: Path) -> None:
        """The plain bytes of each file below."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.add(f"file {path.name}", path.name, path.read_bytes())

    def found(self) -> list[tuple[str, list[str]]]:
        """(where, canaries) of each text that holds one."""
        return [(where, found) for where, text in self._texts if (found := hits(text))]


class LeakyConfig(Config):
    """One secret."""

    secret: SecretStr = SecretStr(SECRETS["shared secret"])


class _Shape(BaseModel):
    phone: int


class _Form(msgspec.Struct):
    phone: int


class Leaky(Connector[LeakyConfig]):
    """Events are ``{"id", "do", …}``; ``do`` names what goes wrong in ``translate``, mostly by itself."""

    topics = ("fine",)
    streams = {"all": timedelta(days=1)}  # noqa: RUF012 (read only)

    def verify(self, request: Request) -> None:
        if request.header("x-do") == "bug":
            raise ValueError(f"{self.config.secret.get_secret_value()} {request.body!r}")

    def events(self, request: Request) -> Iterable[Event]:
        found = request.json()
        if isinstance(found, dict):
            int(found["email"])
        return [Event(item["id"], item["do"], item) for item in found]

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        data = event.data
        failing = FAILING.get(event.topic)
        if failing is not None:
            failing(data)
        match event.topic:
            case "secret":
                raise RuntimeError(self.config.secret.get_secret_value())
            case "fetch":
                yield Fetch("customer", data["id"])
            case "alias":
                yield Alias(data["email"], data["phone"])
            case "late":
                yield Like(product_ids=["p"], anonymous_id=aliased(data["email"]), timestamp=TIME)
            case "once":
                yield once(data["email"], _like(data))
            case "merge":
                yield merge(data["email"], "traits", User(user_id=data["email"], name=data["name"]), version=1)
            case "refused":
                yield Like(product_ids=["refused"], user_id=data["email"], timestamp=TIME)
            case "skip":
                yield Skip("of no use")
            case "record":
                yield RECORDS[data["record"]](data)
            case _:
                yield _like(data)

    async def fetch(self, kind: str, ref: str) -> list[Event]:
        raise ValueError(f"no {kind} {ref} called {PEOPLE['name']}")

    def backfill(self, part: Slice) -> Iterator[Any]:
        int(PEOPLE["email"])
        yield from ()

    async def check(self) -> list[Problem]:
        raise ValueError(self.config.secret.get_secret_value())

    def answer(self, request: Request) -> Any:
        return {"success": int(request.json()[0]["email"])}

    def tenant(self, request: Request) -> str:
        if request.header("x-do") == "tenant":
            raise ValueError(request.body)
        return ""


def _like(data: dict[str, Any]) -> Like:
    return Like(product_ids=["p"], user_id=data["email"], timestamp=TIME)


def _odd(data: dict[str, Any]) -> Any:
    """What no JSON can hold."""
    return {"custom_context": {"who": {frozenset([data["name"]]), 1}}}


def _raise(error: BaseException) -> None:
    raise error


def _recurse(data: dict[str, Any]) -> None:
    _recurse({**data})


FAILING: dict[str, Any] = {
    "int": lambda data: int(data["email"]),
    "float": lambda data: float(data["phone"]),
    "decimal": lambda data: Decimal(data["phone"]),
    "date": lambda data: datetime.fromisoformat(data["street"]),
    "key": lambda data: {}[data["email"]],
    "key of a name": lambda data: {}[data["name"]],
    "key of a phone": lambda data: {}[data["phone"]],
    "attribute": lambda data: getattr(data["name"], data["email"]),
    "ascii": lambda data: data["name"].encode("ascii"),
    "json": lambda data: json.loads(data["email"]),
    "address": lambda data: ipaddress.IPv6Address(data["ip"]),
    "uuid": lambda data: uuid.UUID(data["email"]),
    "unpack": lambda data: dict([data["email"]]),
    "file": lambda data: Path(data["email"]).read_text(),
    "pydantic": _Shape.model_validate,
    "msgspec": lambda data: msgspec.convert(data, _Form),
    "event": lambda data: _raise(Exception(data)),
    "recursion": _recurse,
    "assertion": lambda data: _raise(AssertionError(data["street"])),
    "type": lambda data: data["phone"] + 1,
}
RECORDS: dict[str, Any] = {
    "time": lambda data: Like(product_ids=["p"], user_id="u", timestamp=data["email"]),
    "no time": lambda data: Like(product_ids=["p"], user_id="u", timestamp=f"2026-02-30T00:00:00Z{data['email']}"),
    "user": lambda data: Like(product_ids=["p"], user_id=data, timestamp=TIME),
    "user id": lambda data: Like(product_ids=["p"], user_id="_" + data["email"], timestamp=TIME),
    "quantities": lambda data: AddToCart(product_ids=["p"], quantities=[data["phone"]], user_id="u", timestamp=TIME),
    "ip": lambda data: Like(
        product_ids=["p"], user_id="u", timestamp=TIME, context={"truncated_ip": data["ip"] + "." + data["email"]}
    ),
    "context": lambda data: Custom(
        custom_action_name="a",
        product_ids=[],
        user_id="u",
        timestamp=TIME,
        context={"custom_context": {"who": {"name": [data["name"]]}}},
    ),
    "condition": lambda data: latest("p", 1, Product(product_id="p", condition=data["street"])),
    "url": lambda data: latest("p", 1, Product(product_id="p", url=data["street"])),
    "product id": lambda data: latest("p", 1, Product(product_id=f"{data['email']},{data['name']}")),
    "rating": lambda data: latest("p", 1, Product(product_id="p", rating=data["phone"])),
    "foreign": lambda data: data["email"],
    "bytes": lambda data: Like(product_ids=[data["email"].encode()], user_id="u", timestamp=TIME),
    "odd": lambda data: Custom(custom_action_name="a", product_ids=[], user_id="u", timestamp=TIME, context=_odd(data)),
    "age": lambda data: User(user_id="u", age=data["phone"]),
}


def hook(event: Event) -> Event:
    """A person's own hook with a bug."""
    return Event(event.id, event.topic, {**event.data, "p": int(event.data["email"])})
