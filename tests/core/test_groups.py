"""Groups of records that come and go together, and full lists of them: the newest state of each wins."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misoflow.control import call
from misoflow.effects import Absent
from misoflow.pipeline import unpack
from misoflow.status import dead_letters
from misoflow.store import Store, batches, events, groups, keyed
from misoflow.store.commit import Committer
from misoflow.store.values import Chunk, GroupOf, Outcome, Part
from misoflow.vault import Vault

from tests.core.site import Site, item, site
from tests.core.toy import Toy

NOW = 1_700_000_000_000


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Store]:
    store = Store(folder, Vault(b"k" * 32, None))
    try:
        yield store
    finally:
        store._db.close()
        store._thread.shutdown()


def group(name: str, version: int, **records: str) -> GroupOf:
    parts = [
        Part("product", key.encode().ljust(16), key, "", version, {"product_id": key, "title": title}, whole=True)
        for key, title in records.items()
    ]
    return GroupOf(name, version, parts)


class Catalogue:
    """A store that events of groups and lists come into; ``held`` is what Miso has once all is sent."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.n = 0
        self.miso: dict[str, str] = {}

    def put(self, *made: GroupOf | Absent, agreed: bool = False) -> str:
        self.n += 1
        outcome = Outcome("shop/a", "default", self.n.to_bytes(16, "big"), "t", NOW, 1, at=NOW, agreed=agreed)
        outcome.groups = [one for one in made if isinstance(one, GroupOf)]
        outcome.absents = [one for one in made if isinstance(one, Absent)]
        outcome.raw = b"raw"
        chunk = Chunk([outcome], now=NOW)
        self.store.run_now(lambda tx: _commit(tx, chunk))
        return outcome.state

    def settle(self) -> dict[str, str]:
        """Sweep, send and confirm; what Miso holds then."""
        while self.store.run_now(groups.sweep):
            pass
        env = self.store.run_now(lambda tx: tx.envs.id(tx.db, "default"))
        while True:
            self.store.run_now(keyed.seal, env, "product", lambda kind, record: None, NOW)
            numbers = [number for number, _ in self.store.run_now(batches.open_batches, env, 99)]
            if not numbers:
                break
            for number in numbers:
                batch = self.store.run_now(batches.load, number)
                for record in batch.records:
                    self._sent(batch.kind, record)
                self.store.run_now(batches.finish, batch, NOW)
        assert self.store.run_now(events.recount) == []
        assert self.counts().get("pending", 0) == 0, "an event waits for ever"
        return self.miso

    def _sent(self, kind: str, record: bytes) -> None:
        if kind == "products":
            fields = msgspec.json.decode(record)
            self.miso[fields["product_id"]] = fields["title"]
        else:
            self.miso.pop(record.decode(), None)

    def counts(self) -> dict[str, int]:
        rows = self.store.run_now(lambda tx: list(tx.db.execute("SELECT state, n FROM counts")))
        return {state: n for state, n in rows if n}


def _commit(tx: Any, chunk: Chunk) -> None:
    Committer(tx, chunk).run()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Catalogue]:
    with opened(tmp_path) as store:
        yield Catalogue(store)


def test_what_a_group_no_longer_has_is_removed_and_an_older_state_changes_nothing(shop: Catalogue) -> None:
    shop.put(group("product/1", 5, a="red", b="blue"))
    assert shop.settle() == {"a": "red", "b": "blue"}
    shop.put(group("product/1", 7, b="navy", c="green"))
    assert shop.settle() == {"b": "navy", "c": "green"}
    assert shop.put(group("product/1", 6, a="red")) == "skipped"
    assert shop.settle() == {"b": "navy", "c": "green"}
    reason = shop.store.run_now(lambda tx: tx.one("SELECT word FROM events JOIN words ON words.id = reason"))
    assert reason == "a newer state is known"
    assert shop.counts() == {"accepted": 3, "delivered": 2, "skipped": 1}


def test_an_equal_version_counts_as_newer(shop: Catalogue) -> None:
    shop.put(group("product/1", 5, a="red", b="blue"))
    shop.put(group("product/1", 5, a="crimson"))
    assert shop.settle() == {"a": "crimson"}


def test_a_group_that_was_emptied_is_remembered(shop: Catalogue) -> None:
    shop.put(group("product/1", 5, a="red"))
    assert shop.settle() == {"a": "red"}
    assert shop.put(group("product/1", 9)) == "pending"
    assert shop.settle() == {}
    assert shop.put(group("product/1", 8, a="red")) == "skipped"
    assert shop.put(group("product/2", 8)) == "skipped"
    assert shop.settle() == {}
    shop.put(group("product/1", 10, a="red again"))
    assert shop.settle() == {"a": "red again"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_a_record_that_moves_is_its_newest_groups(shop: Catalogue, order: tuple[int, ...]) -> None:
    steps = [group("product/1", 5, a="old", b="b"), group("product/2", 8, a="new"), group("product/1", 9, b="b")]
    for step in order:
        shop.put(steps[step])
    assert shop.settle() == {"a": "new", "b": "b"}


def test_fields_of_an_older_group_do_not_shine_through(shop: Catalogue) -> None:
    old, new = group("product/1", 5, a="old"), group("product/2", 8, a="new")
    old.parts[0].fields["brand"] = "Acme"
    shop.put(old)
    shop.put(new)
    shop.settle()
    record = shop.store.run_now(lambda tx: keyed.merged(tx, 1, "product", b"a".ljust(16)))
    assert record == ("a", {"product_id": "a", "title": "new"})


def test_a_full_list_empties_what_is_older_bit_by_bit(shop: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "AT_ONCE", 3)
    for n in range(10):
        shop.put(group(f"product/{n}", 5, **{f"p{n}": "t", f"q{n}": "t"}))
    shop.put(group("other/1", 5, o="kept"))
    shop.put(group("product/9", 7, p9="t"))
    shop.settle()
    assert shop.put(Absent("product/", 6)) == "pending"
    steps = 0
    while shop.store.run_now(groups.sweep):
        steps += 1
    assert steps >= 5
    assert shop.counts()["pending"] == 1, "what it removes is not yet at Miso"
    assert shop.settle() == {"p9": "t", "o": "kept"}
    assert shop.put(group("product/3", 5, p3="back")) == "skipped"
    assert shop.put(group("product/never-seen", 5, x="x")) == "skipped"
    assert shop.put(group("product/3", 6, p3="back")) == "pending"
    assert shop.settle() == {"p9": "t", "o": "kept", "p3": "back"}


def test_a_group_that_comes_while_a_list_is_swept_is_judged_by_the_list(
    shop: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "AT_ONCE", 1)
    for n in range(5):
        shop.put(group(f"product/{n}", 5, **{f"p{n}": "t"}))
    shop.put(Absent("product/", 9))
    shop.store.run_now(groups.sweep)
    assert shop.put(group("product/4", 8, p4="old")) == "skipped"
    assert shop.put(group("product/3", 9, p3="new")) == "pending"
    assert shop.settle() == {"p3": "new"}


@pytest.mark.parametrize(("gone", "of", "refused"), [(21, 60, True), (20, 20, False), (21, 64, False), (64, 64, True)])
def test_a_list_that_lacks_too_much_waits_for_a_person(shop: Catalogue, gone: int, of: int, refused: bool) -> None:
    for n in range(of):
        shop.put(group(f"product/{n}", 5 if n < gone else 9, **{f"p{n}": "t"}))
    for n in range(50):  # those that are empty already do not count
        shop.put(group(f"product/e{n}", 5))
    assert len(shop.settle()) == of
    assert shop.put(Absent("product/", 7)) == ("dead" if refused else "pending")
    assert len(shop.settle()) == (of if refused else of - gone)
    if not refused:
        return
    (letter,) = shop.store.run_now(events.dead_letters)
    assert letter.reason.startswith(f"{gone} of {of} of what begins with 'product/'")
    assert "misoflow dead retry" in letter.reason
    assert letter.raw == b"raw"
    assert shop.put(group("product/0", 6, p0="still judged by its own version")) == "pending"
    assert shop.put(Absent("product/", 7), agreed=True) == "pending"
    assert len(shop.settle()) == of - gone


NAMES = ["product/1", "product/2", "product/3", "other/1"]
steps = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.integers(1, 6)),
    st.tuples(st.sampled_from(["product/", "other/", ""]), st.integers(1, 6), st.just("absent")),
)
members = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.integers(1, 6)), st.sets(st.sampled_from("abcd"), max_size=3), min_size=0
)


def _expected(made: list[Any], content: dict[Any, set[str]]) -> dict[str, str]:
    """By hand: the newest state of each group, unless a list that is newer does not have it."""
    newest: dict[str, int] = {}
    for one in made:
        if len(one) == 2:
            newest[one[0]] = max(newest.get(one[0], 0), one[1])
    held: dict[str, tuple[int, str]] = {}
    for name, version in newest.items():
        if any(len(one) == 3 and name.startswith(one[0]) and one[1] > version for one in made):
            continue
        for record in content.get((name, version), set()):
            held[record] = max(held.get(record, (0, "")), (version, name))
    return {record: f"{name}@{version}" for record, (version, name) in held.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=14), members, st.integers(0, 2))
def test_whatever_the_order_the_newest_state_of_each_group_is_at_miso(
    made: list[Any], content: dict[Any, set[str]], settle_every: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as store:
        shop = Catalogue(store)
        for n, one in enumerate(made):
            if len(one) == 3:
                shop.put(Absent(one[0], one[1]))
            else:
                title = f"{one[0]}@{one[1]}"
                shop.put(group(one[0], one[1], **dict.fromkeys(sorted(content.get(one, ())), title)))
            if settle_every and n % settle_every == 0:
                shop.settle()
        assert shop.settle() == _expected(made, content)


def titles(s: Site) -> dict[str, str]:
    return {key: record["title"] for key, record in s.products().items()}


async def test_groups_reach_miso_and_a_person_agrees_by_number(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(*(item("group", g=f"product/{n}", v=5, records={f"p{n}": "t"}) for n in range(30)))
        await s.send(item("group", g="product/0", v=6, records={"p0": "newer"}))
        await s.settled(31)
        assert titles(s) == {**{f"p{n}": "t" for n in range(30)}, "p0": "newer"}
        await s.send(item("absent", prefix="product/", v=6))
        await s.settled(32)
        (letter,) = dead_letters(s.settings, s.vault)
        assert letter.reason.startswith("29 of 30 of what begins with 'product/'")
        found = await call(s.settings, "dead.retry", instance="web")
        assert found["states"] == {"dead": 1}, "all letters of an instance is no word on this one"
        (letter,) = dead_letters(s.settings, s.vault)
        await call(s.settings, "dead.retry", ids=[letter.id])
        await s.until(lambda: titles(s) == {"p0": "newer"})
        counts = await s.settled(32)
        assert counts == {"accepted": 32, "delivered": 32}


async def test_a_fetched_group_that_miso_refuses_can_be_retried(tmp_path: Path) -> None:
    """Nothing but the store has the bytes of what was fetched."""
    async with site(tmp_path) as s:
        fault = {"match": {"path": "/v1/products"}, "times": -1, "action": {"reject_marker": "p-poison"}}
        s.sandbox.faults.add(json.dumps([fault]).encode())
        poison = item("group", g="product/1", v=5, records={"p-poison": "t"})
        Toy.answers[:] = [[poison]]
        await s.send(item("thin", ref="1"))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "dead": 1}
        (letter,) = dead_letters(s.settings, s.vault)
        assert unpack(letter.raw).event().data == poison
        s.sandbox.faults.rules.clear()
        await call(s.settings, "dead.retry", ids=[letter.id])
        assert await s.settled(2) == {"accepted": 2, "delivered": 2}
        assert titles(s) == {"p-poison": "t"}
