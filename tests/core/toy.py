"""A connector that does what its events say, so that each part of the engine can be asked for by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any

from misoflow.connector import Config, Connector, Event, Request
from misoflow.effects import (
    Absent,
    Alias,
    Disconnect,
    Effect,
    Fetch,
    Group,
    Listing,
    Pull,
    Skip,
    aliased,
    known,
    latest,
    merge,
    once,
)
from misoflow.errors import Halt, Reject, Retry
from misoflow.records import (
    CategoryPageView,
    Custom,
    ForgetUser,
    Like,
    Product,
    Record,
    RemoveProduct,
    RemoveUser,
    User,
)

TIME = "2026-11-01T00:00:00.000Z"


class ToyConfig(Config):
    """No settings."""


class Toy(Connector[ToyConfig]):
    """Events are ``{"id", "do", …}``; ``do`` names what translate yields."""

    topics = ("like", "user", "product")
    fetched: list[tuple[str, str]] = []  # noqa: RUF012 (shared on purpose: tests look at it)
    answers: list[Any] = []  # noqa: RUF012

    def verify(self, request: Request) -> None:
        """Everybody is trusted."""

    def events(self, request: Request) -> Iterable[Event]:
        for item in request.json():
            yield Event(item["id"], item["do"], item)

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        yield from getattr(self, f"do_{event.topic}")(event.data)

    def do_like(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Like(product_ids=[item["p"]], user_id=item.get("u", "u"), timestamp=item.get("at", TIME))

    def do_anonymous(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Like(product_ids=["p"], anonymous_id=item["a"], user_id=item.get("u"), timestamp=TIME)

    def do_two(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield from self.do_like(item)
        yield Custom(custom_action_name=item["name"], product_ids=[], user_id="u", timestamp=TIME)

    def do_once(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        record = Like(product_ids=[item.get("p", "p")], user_id=item.get("u", "u"), timestamp=TIME)
        yield once(item["key"], record, shared=item.get("shared", False), also=tuple(item.get("also", ())))

    def do_user(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        part = User(user_id=item["u"], **item.get("fields", {}))
        yield merge(
            item["u"],
            item.get("source", "traits"),
            part,
            version=item["v"],
            remove=tuple(item.get("gone", ())),
            unite=tuple(item.get("unite", ())),
            listing=item.get("listing"),
        )

    def do_list(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Listing(item["source"], item["run"], item["page"], item["pages"])

    def do_product(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        record: Product | RemoveProduct = Product(product_id=item["p"], title=item.get("title", "t"))
        if item.get("removed"):
            record = RemoveProduct(product_id=item["p"])
        yield latest(item["p"], item["v"], record)

    def do_profile(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        record: User | RemoveUser = User(user_id=item["u"], age=item.get("age", 30))
        if item.get("removed"):
            record = RemoveUser(user_id=item["u"])
        yield latest(item["u"], item["v"], record)

    def do_thin(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Fetch("thing", item["ref"], after=item.get("after", 0), unless=item.get("unless", ""))

    def do_group(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        more = {"product_group_id": item["family"]} if "family" in item else {}
        records = [Product(product_id=p, title=title, **more) for p, title in item["records"].items()]
        yield Group(item["g"], item["v"], tuple(records))

    def do_absent(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Absent(item["prefix"], item["v"])

    def do_known(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        identity = aliased(item["key"], default="somebody") if "key" in item else "visitor"
        record = Like(
            product_ids=item.get("ps"),
            product_group_ids=item.get("gs"),
            user_id=item.get("u"),
            anonymous_id=identity,
            timestamp=TIME,
        )
        yield known(record, Fetch("thing", item["ref"]))

    def do_pull(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Pull(item["stream"], after=item.get("after", 0))

    def do_late(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        keys = item.get("keys") or [item["key"]]
        identity = aliased(*keys, default=item.get("a", ""))
        yield Like(product_ids=["p"], anonymous_id=identity, user_id=item.get("u"), timestamp=TIME)

    def do_category(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        category = aliased(item["key"], default=item.get("c", ""))
        who = aliased(*item["who"]) if "who" in item else "visitor"
        record = CategoryPageView(category=[category], anonymous_id=who, timestamp=TIME)
        yield once(item["once"], record) if "once" in item else record

    def do_alias(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Alias(item["key"], anonymous_id=item["a"])

    def do_forget(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield ForgetUser(user_id=item["u"])

    def do_leave(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Disconnect("the app was uninstalled")

    def do_several(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        for one in item["of"]:
            yield from getattr(self, f"do_{one['do']}")(one)

    def do_skip(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        yield Skip("of no use")

    def do_nothing(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        return ()

    def do_reject(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        raise Reject("it says no", "$.x")

    def do_bug(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        raise ZeroDivisionError(item["id"])

    def do_die(self, item: dict[str, Any]) -> Iterable[Record | Effect]:
        os.kill(os.getpid(), signal.SIGKILL)
        return ()

    def tenant(self, request: Request) -> str:
        return request.header("x-tenant")

    async def fetch(self, kind: str, ref: str) -> list[Event]:
        type(self).fetched.append((kind, ref))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Retry | Halt | Reject):
            raise answer
        if isinstance(answer, list):
            return [Event(item["id"], item["do"], item) for item in answer]
        return [Event(f"{kind}:{ref}", "like", {"p": f"fetched-{ref}", "u": ref})]


def hook(event: Event) -> Event | list[Event] | None:
    """A person's own hook: drops what is marked, doubles what is marked, renames products."""
    if event.data.get("drop"):
        return None
    if event.data.get("double"):
        return [event, event]
    return Event(event.id, event.topic, {**event.data, "p": "hooked"}, event.received_at)
