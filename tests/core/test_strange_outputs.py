"""What a connector yields and nobody would expect: that event or delivery is a dead letter, the others arrive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from misoflow import (
    Absent,
    Alias,
    Config,
    Connector,
    Disconnect,
    Event,
    Fetch,
    Group,
    Like,
    Listing,
    Product,
    Pull,
    Reject,
    Request,
    Skip,
    User,
    aliased,
    known,
    latest,
    merge,
    once,
    outputs,
    pipeline,
)

from tests.core.site import site

LIKE = {"product_ids": ["p"], "user_id": "u", "timestamp": "2026-11-01T10:00:00Z"}
SURROGATE = "\ud800"
any_: Any = object()
STRANGE_EVENTS: dict[str, Any] = {
    "none": lambda: None,
    "no iterator": lambda: 5,
    "no event": lambda: ["text"],
    "number as id": lambda: [Event(5, "like", {})],  # type: ignore[arg-type]
    "empty id": lambda: [Event("", "like", {})],
    "object as topic": lambda: [Event("e", any_, {})],
    "no topic": lambda: [Event("e", "", {})],
    "surrogate in id": lambda: [Event(SURROGATE, "like", {})],
    "surrogate in topic": lambda: [Event("e", SURROGATE, {})],
    "text as time": lambda: [Event("e", "like", {}, "2026-11-01")],  # type: ignore[arg-type]
    "reject with an object": lambda: _raise(Reject(any_, any_)),
    "reject with a surrogate": lambda: _raise(Reject(SURROGATE, SURROGATE)),
}
STRANGE_OUTPUTS: dict[str, Any] = {
    "none": lambda: None,
    "no iterator": lambda: 5,
    "no record": lambda: [object()],
    "text": lambda: "text",
    "record of texts": lambda: [Like(product_ids="p", user_id=any_)],  # type: ignore[arg-type]
    "skip for an object": lambda: [Skip(any_)],
    "skip with a surrogate": lambda: [Skip(SURROGATE)],
    "reject with an object": lambda: _raise(Reject(any_, any_)),
    "once without a text": lambda: [once(5, Like(**LIKE))],  # type: ignore[arg-type]
    "once of nothing": lambda: [once("k", None)],  # type: ignore[arg-type]
    "alias of an object": lambda: [Alias("k", any_)],
    "version is an object": lambda: [latest("p", any_, Product(product_id="p"))],
    "version is a list": lambda: [merge("u", "s", User(user_id="u"), version=[])],  # type: ignore[arg-type]
    "version is huge": lambda: [latest("p", 2**70, Product(product_id="p"))],
    "source is an object": lambda: [merge("u", any_, User(user_id="u"), version=1)],
    "remove is a number": lambda: [merge("u", "s", User(user_id="u"), version=1, remove=5)],  # type: ignore[arg-type]
    "unite holds objects": lambda: [merge("u", "s", User(user_id="u"), version=1, unite=(any_,))],
    "listing is an object": lambda: [merge("u", "s", User(user_id="u"), version=1, listing=any_)],
    "listing without numbers": lambda: [Listing("s", "r", any_, any_)],
    "listing without texts": lambda: [Listing(any_, any_, 1, 1)],
    "huge number in a product": lambda: [Product(product_id="p", custom_attributes={"n": 2**80})],
    "surrogate in a product": lambda: [Product(product_id="p", title=SURROGATE)],
    "surrogate in a user": lambda: [User(user_id=SURROGATE)],
    "an error yielded": lambda: [Like(**LIKE), Reject("never raised")],
    "fetch of an object": lambda: [Fetch(any_, any_)],
    "fetch after an object": lambda: [Fetch("k", "r", after=any_)],
    "fetch after nothing that is a number": lambda: [Fetch("k", "r", after=float("nan"))],
    "fetch in the past": lambda: [Fetch("k", "r", after=-1)],
    "pull of an object": lambda: [Pull(any_)],
    "pull after for ever": lambda: [Pull("s", after=float("inf"))],
    "group of an object": lambda: [Group(any_, 1, ())],
    "group without records": lambda: [Group("g", 1, any_)],
    "group of interactions": lambda: [Group("g", 1, (Like(**LIKE),))],  # type: ignore[arg-type]
    "group version is an object": lambda: [Group("g", any_, ())],
    "group version is huge": lambda: [Group("g", 2**70, ())],
    "absent of an object": lambda: [Absent(any_, 1)],
    "absent version is a text": lambda: [Absent("g", "1")],  # type: ignore[arg-type]
    "known without a fetch": lambda: [known(Like(**LIKE), any_)],
    "known of a product": lambda: [known(Product(product_id="p"), Fetch("k", "r"))],  # type: ignore[arg-type]
    "once takes an object too": lambda: [once("k", Like(**LIKE), also=any_)],
    "late key is an object": lambda: [Like(product_ids=["p"], anonymous_id=aliased(any_), timestamp=LIKE["timestamp"])],
    "source is the store's own": lambda: [merge("u", "\x1fgroup", User(user_id="u"), version=1)],
}


def _raise(error: BaseException) -> Any:
    raise error


class Settings(Config):
    """None."""


class Strange(Connector[Settings]):
    """Does what a delivery names."""

    topics = ("like",)

    def events(self, request: Request) -> Any:
        item = request.json()
        if item["id"] in STRANGE_EVENTS:
            return STRANGE_EVENTS[item["id"]]()
        return [Event(item["id"], "like", item)]

    def translate(self, event: Event) -> Any:
        if event.id in STRANGE_OUTPUTS:
            return STRANGE_OUTPUTS[event.id]()
        return self._plain()

    def _plain(self) -> Iterator[Like]:
        yield Like(**LIKE)

    async def fetch(self, kind: str, ref: str) -> Any:
        return [Event(any_, any_, any_)]


MORE = '[instances.odd]\nconnector = "tests.core.test_strange_outputs:Strange"'


def body(event: str) -> bytes:
    import json

    return json.dumps({"id": event}).encode()


@pytest.mark.parametrize("strange", STRANGE_EVENTS)
async def test_a_delivery_that_splits_into_nonsense_is_a_dead_letter(tmp_path: Path, strange: str) -> None:
    async with site(tmp_path, MORE) as s:
        await s.send(instance="odd", body=body(strange))
        await s.send(instance="odd", body=body("fine"))
        counts = await s.settled(2, "odd")
        assert counts == {"accepted": 2, "delivered": 1, "dead": 1}


async def test_nonsense_out_of_translate_harms_no_other_event(tmp_path: Path) -> None:
    async with site(tmp_path, MORE) as s:
        for strange in STRANGE_OUTPUTS:
            await s.send(instance="odd", body=body(strange))
        await s.send(instance="odd", body=body("fine"))
        await s.until(lambda: s.counts("odd").get("delivered", 0) >= 1)
        counts = await s.settled(len(STRANGE_OUTPUTS) + 1, "odd")
        assert counts["dead"] + counts.get("skipped", 0) + counts["delivered"] == len(STRANGE_OUTPUTS) + 1
        assert counts["dead"] >= len(STRANGE_OUTPUTS) - 4


@pytest.mark.parametrize("stage", ["events", "translate", "groups", "fetches"])
async def test_a_generator_without_an_end_is_a_dead_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr(pipeline, "MOST_EVENTS", 1000)
    monkeypatch.setattr(outputs, "MOST_RECORDS", 1000)
    endless = {
        "events": Event("e", "like", {}),
        "translate": Like(**LIKE),
        "groups": Group("g", 1, ()),
        "fetches": Fetch("k", "r"),
    }
    table, made = STRANGE_EVENTS if stage == "events" else STRANGE_OUTPUTS, endless[stage]
    monkeypatch.setitem(table, "endless", lambda: repeat(made))
    async with site(tmp_path, MORE) as s:
        await s.send(instance="odd", body=body("endless"))
        await s.send(instance="odd", body=body("fine"))
        assert await s.settled(2, "odd") == {"accepted": 2, "delivered": 1, "dead": 1}


async def test_a_disconnect_for_any_reason_pauses_its_instance_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRANGE_OUTPUTS, "disconnect", lambda: [Disconnect(any_)])
    async with site(tmp_path, MORE) as s:
        await s.send(instance="odd", body=body("disconnect"))
        await s.until(lambda: s.engine.intake.is_paused("odd"))
        await s.send({"id": "e", "do": "like", "p": "p", "user": "u"}, instance="web")
        await s.until(lambda: s.counts("web").get("accepted", 0) == 1)


async def test_odd_moments_are_refused_where_they_are_made() -> None:
    from misoflow.pipeline import stamped

    moment = datetime(2026, 11, 1, tzinfo=UTC)
    assert stamped(Event("e", "t", 1), moment) == Event("e", "t", 1, moment)
    with pytest.raises(TypeError, match="received_at"):
        stamped(Event("e", "t", 1, 5), moment)  # type: ignore[arg-type]
