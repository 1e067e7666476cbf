"""The engine as a whole, in one process: inbox → pipeline → store → the Miso sandbox."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from misoflow.control import ActionError, call
from misoflow.engine import Engine
from misoflow.errors import ConfigError, Halt, Reject, Retry
from misoflow.pipeline import unpack
from misoflow.status import dead_letters, status
from misoflow_webhooks.upkeep import Upkeep

from tests.core.site import item, site
from tests.core.toy import Toy


async def test_events_become_records_with_a_stable_uuid(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        event = item("two", p="p1", name="n")
        await s.send(event)
        assert await s.settled(1) == {"accepted": 1, "delivered": 1}
        first = s.interactions()
        assert {record["type"] for record in first} == {"like", "custom"}
        uuids = {record["context"]["custom_context"]["uuid"] for record in first}
        assert len(uuids) == 2
        instance = s.engine.instances.get("web")
        assert instance is not None
        assert instance.uuid(event["id"], "like", 0) in uuids


async def test_the_same_event_100_times_is_one_event(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        event = item("like", p="p")
        for _ in range(10):
            await s.send(*[event] * 10)
        assert await s.settled(1) == {"accepted": 1, "delivered": 1, "duplicates": 99}
        assert len(s.interactions()) == 1


async def test_what_cannot_be_split_or_translated_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(body=b"not json")
        await s.send(item("reject"), item("bug"), item("like"), item("skip"), item("nothing"), item("like", p="p"))
        assert await s.settled(7) == {"accepted": 7, "delivered": 1, "skipped": 2, "dead": 4}
        letters = dead_letters(s.settings, s.vault)
        assert [letter.kind for letter in letters] == ["reject", "reject", "bug", "reject"]
        assert unpack(letters[0].raw).body == b"not json"
        assert (letters[1].reason, letters[1].path) == ("it says no", "$.x")
        assert letters[2].reason.startswith("ZeroDivisionError at toy.py:")
        assert letters[3].reason.startswith("KeyError 'p' at toy.py:")
        assert "of no use" in {row["reason"] for row in s.last(10)}


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**300])
async def test_a_dead_letter_of_any_value_does_not_end_the_worker(tmp_path: Path, number: int) -> None:
    async with site(tmp_path) as s:
        deep: Any = "x"
        for _ in range(240):
            deep = {"d": deep}
        await s.send(item("reject", big=number, deep=deep), item("like", p="p"))
        await s.send(body=b"[" * 100_000 + b"]" * 100_000)
        assert await s.settled(3) == {"accepted": 3, "delivered": 1, "dead": 2}
        assert (
            str(number).encode() in dead_letters(s.settings, s.vault)[-1].raw + dead_letters(s.settings, s.vault)[0].raw
        )
        again = await call(s.settings, "dead.retry", instance="web")
        assert again == {"tried": 2, "states": {"dead": 2}}


async def test_a_retry_uses_todays_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as s:
        await s.send(item("like"))
        await s.send(body=b'"text"')
        assert await s.settled(2) == {"accepted": 2, "dead": 2}
        monkeypatch.setattr(Toy, "do_like", lambda self, data: self.do_anonymous({"a": "now-known"}))
        monkeypatch.setattr(Toy, "events", lambda self, request: self.events_of_text(request), raising=False)
        from misoflow.connector import Event

        monkeypatch.setattr(
            Toy,
            "events_of_text",
            lambda self, request: [Event("t1", "like", {}), Event("t2", "nothing", {})],
            raising=False,
        )
        assert await call(s.settings, "dead.retry", instance="web") == {
            "tried": 2,
            "states": {"pending": 2, "skipped": 1},
        }
        assert await s.settled(4) == {"accepted": 4, "delivered": 2, "skipped": 2}
        assert {record["anonymous_id"] for record in s.interactions()} == {"now-known"}


async def test_once_latest_and_merge_reach_miso(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("once", key="o1"), item("once", key="o1"), item("once", key="o2"))
        await s.send(item("product", p="sku", v=2, title="new"), item("product", p="sku", v=1, title="old"))
        await s.send(
            item("user", u="ann", v=1, fields={"age": 30}), item("user", u="ann", v=2, fields={"city": "Oslo"})
        )
        await s.send(item("user", u="ann", v=3, source="crm", fields={"country": "NO"}, gone=["city"]))
        counts = await s.settled(8)
        assert (counts["skipped"], counts["delivered"]) == (2, 6)
        assert len(s.interactions()) == 2
        assert s.products()["sku"]["title"] == "new"
        user = s.users()["ann"]
        assert (user["age"], user["country"]) == (30, "NO")


async def test_once_is_per_instance_unless_shared(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        for instance in ("web", "other"):
            await s.send(item("once", key="mine"), item("once", key="ours", shared=True), instance=instance)
        await s.settled(2)
        await s.settled(2, "other")
        assert len(s.interactions()) == 3


async def test_a_product_that_is_gone_is_deleted(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("product", p="sku", v=1))
        await s.settled(1)
        await s.send(item("product", p="sku", v=2, removed=True))
        await s.settled(2)
        assert "sku" not in s.products()


async def test_two_instances_give_parts_of_one_user(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("user", u="ann", v=1, fields={"age": 30}))
        await s.send(item("user", u="ann", v=1, fields={"gender": "f"}), instance="other")
        await s.settled(1)
        await s.settled(1, "other")
        assert s.users()["ann"] == {"user_id": "ann", "age": 30, "gender": "f"}


async def test_thin_events_are_fetched_once_and_retried(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [Retry("busy", 0.05)]
        await s.send(item("thin", ref="7"), item("thin", ref="7"), item("thin", ref="7"))
        counts = await s.settled(4)
        assert counts == {"accepted": 4, "delivered": 4}
        assert Toy.fetched == [("thing", "7")] * 2
        assert [record["product_ids"] for record in s.interactions()] == [["fetched-7"]]


async def test_a_fetch_that_is_refused_is_a_dead_letter(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [Reject("gone")]
        await s.send(item("thin", ref="9"))
        assert await s.settled(1) == {"accepted": 1, "dead": 1}
        (letter,) = dead_letters(s.settings, s.vault)
        assert "gone" in letter.reason
        assert b'"ref"' in letter.raw or b"ref" in letter.raw


async def test_a_connector_has_its_own_state_and_client(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        web, other = s.engine.instances.get("web"), s.engine.instances.get("other")
        assert web is not None
        assert other is not None
        assert await web.connector.state.put("token", b"1", expected=None)
        assert not await web.connector.state.put("token", b"2", expected=None)
        assert await web.connector.state.get("token") == b"1"
        assert await other.connector.state.get("token") is None
        assert (await web.connector.http.get(s.url + "/_sandbox/state")).json()["interactions"] == 0


async def test_one_bad_of_10000_costs_one_dead_letter_and_one_more_request(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        fault = {"match": {"path": "/v1/interactions"}, "times": -1, "action": {"reject_marker": "p-poison"}}
        s.sandbox.faults.add(json.dumps([fault]).encode())
        s.engine.senders["default"]._linger_ms = 60_000
        for start in range(0, 10_000, 500):
            await s.send(*[item("like", p="p-poison" if n == 7777 else f"p{n}") for n in range(start, start + 500)])
        assert await s.settled(10_000) == {"accepted": 10_000, "delivered": 9_999, "dead": 1}
        (letter,) = dead_letters(s.settings, s.vault)
        assert letter.kind == "miso"
        assert "is invalid" in letter.reason
        assert b"p-poison" in letter.raw
        wire = json.loads(s._ask("/_sandbox/wire"))
        assert [one["status"] for one in wire if one["path"] == "/v1/interactions"] == [422, 200]


async def test_a_halt_pauses_the_instance_and_a_resume_goes_on(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        Toy.answers[:] = [Halt("token expired", "connect again")]
        await s.send(item("thin", ref="9"))
        await s.until(lambda: status(s.settings, s.vault)["instances"]["web"]["state"] == "paused")
        await s.send(item("like", p="p"))
        await s.until(lambda: s.counts() == {"accepted": 2, "pending": 2})
        found = status(s.settings, s.vault)["instances"]["web"]
        assert (found["reason"], found["fix"]) == ("token expired", "connect again, then: misoflow resume web")
        await call(s.settings, "resume", instance="web")
        assert (await s.settled(3))["delivered"] == 3


async def test_disconnect_pauses_and_intake_goes_on(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("leave"))
        await s.until(lambda: status(s.settings, s.vault)["instances"]["web"]["state"] == "paused")
        await s.send(item("like", p="p"))
        await s.send(item("like", p="p"), instance="other")
        assert await s.settled(1, "other") == {"accepted": 1, "delivered": 1}
        assert s.counts()["pending"] == 1


@pytest.mark.parametrize("order", ["alias first", "record first"])
async def test_a_late_identity(tmp_path: Path, order: str) -> None:
    async with site(tmp_path) as s:
        both = [item("alias", key="cart", a="visitor"), item("late", key="cart")]
        for one in both if order == "alias first" else reversed(both):
            await s.send(one)
            await asyncio.sleep(0.2)
        await s.settled(2)
        assert [record["anonymous_id"] for record in s.interactions()] == ["visitor"]


async def test_a_late_identity_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow.store.late.SETTLE_MS", 100)
    async with site(tmp_path) as s:
        await s.send(item("late", key="a", a="default"), item("late", key="b"))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "dead": 1}
        assert [record["anonymous_id"] for record in s.interactions()] == ["default"]


async def test_pause_holds_and_resume_delivers(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await call(s.settings, "pause", instance="web")
        await s.send(item("like", p="p"), item("like", p="p"))
        await s.until(lambda: s.counts() == {"accepted": 1, "pending": 1})
        await s.stop()
        await s.start()
        assert s.counts() == {"accepted": 1, "pending": 1}
        await call(s.settings, "resume", instance="web")
        assert await s.settled(2) == {"accepted": 2, "delivered": 2}


async def test_a_topic_that_is_mostly_rejected_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as s:
        await s.send(*[item("reject") for _ in range(300)], *[item("like", p="p") for _ in range(5)])
        await s.until(lambda: s.counts().get("delivered") == 5)
        counts = s.counts()
        assert counts["dead"] == 50
        assert counts["pending"] == 250
        found = status(s.settings, s.vault)["instances"]["web"]
        assert found["state"] == "degraded"
        monkeypatch.setattr(Toy, "do_reject", lambda self, data: self.do_nothing(data))
        await call(s.settings, "resume", instance="web")
        assert await s.settled(305) == {"accepted": 305, "delivered": 5, "dead": 50, "skipped": 250}


async def test_a_hook_changes_drops_and_doubles(tmp_path: Path) -> None:
    async with site(tmp_path, 'hook = "tests.core.toy:hook"') as s:
        await s.send(item("like", p="p"), item("like", p="q", drop=True), item("like", p="r", double=True))
        assert await s.settled(3) == {"accepted": 3, "delivered": 2, "skipped": 1}
        assert sorted(record["product_ids"][0] for record in s.interactions()) == ["hooked", "r", "r"]


async def test_dropped_types_are_not_sent(tmp_path: Path) -> None:
    async with site(tmp_path, 'drop = ["like"]') as s:
        await s.send(item("like", p="p"), item("two", p="p", name="n"))
        assert await s.settled(2) == {"accepted": 2, "delivered": 1, "skipped": 1}
        assert [record["type"] for record in s.interactions()] == ["custom"]


async def test_user_ids_are_hashed_alike_everywhere(tmp_path: Path) -> None:
    more = 'user_ids = "hmac"\nuser_id_key = "a-key-of-some-length"'
    async with site(tmp_path, miso_more=more) as s:
        await s.send(item("like", p="p", u="ann"), item("user", u="ann", v=1, fields={"age": 3}))
        await s.settled(2)
        (record,) = s.interactions()
        assert len(record["user_id"]) == 64
        assert list(s.users()) == [record["user_id"]]
        await call(s.settings, "forget", users=["ann"])
        await s.until(lambda: not s.users())
        assert s.interactions() == []


async def test_forgetting_reaches_the_raw_delivery_and_keeps_replays_out(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        upkeep = Upkeep(s.inbox, 7)
        mine, other = item("like", p="p", u="gone"), item("like", p="p", u="stays")
        await s.send(mine, other)
        await s.settled(2)
        await s.send(item("forget", u="gone"))
        await s.until(lambda: [r["user_id"] for r in s.interactions()] == ["stays"])

        def rewritten() -> bool:
            (delivery,) = s.engine.inbox.get([1])
            return delivery.events is not None and [e.data["u"] for e in delivery.events] == ["stays"]

        for _ in range(60):
            await upkeep.step()
            if rewritten():
                break
            await asyncio.sleep(0.1)
        assert rewritten()
        await s.send({**mine, "id": "replayed"})
        counts = await s.settled(4)
        assert counts["suppressed"] == 1
        assert [r["user_id"] for r in s.interactions()] == ["stays"]
        await s.send({**mine, "id": "later", "at": "2027-11-01T00:00:00.000Z"})
        await s.settled(5)
        assert len(s.interactions()) == 2


async def test_a_wrong_key_halts_and_the_right_one_delivers_everything(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.stop()
        s.configure(key="wrong")
        await s.start()
        await s.send(item("like", p="p"))
        await s.until(lambda: status(s.settings, s.vault)["miso"]["default"]["state"] == "halted")
        await s.send(item("like", p="p"))
        await s.until(lambda: s.counts() == {"accepted": 2, "pending": 2})
        assert "key" in status(s.settings, s.vault)["miso"]["default"]["fix"]
        await s.stop()
        s.configure(key="key")
        await s.start()
        assert await s.settled(2) == {"accepted": 2, "delivered": 2}


async def test_the_anonymous_past_of_a_forgotten_user_is_covered(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("anonymous", a="visitor", u="gone"))
        await s.settled(1)
        await s.send(item("forget", u="gone"))
        await s.settled(2)
        await s.send(item("anonymous", a="visitor"))
        await s.send(item("anonymous", a="somebody else"))
        assert await s.settled(4) == {"accepted": 4, "delivered": 3, "suppressed": 1}


async def test_two_retries_at_once_send_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as s:
        await s.send(*[item("reject") for _ in range(20)])
        await s.settled(20)
        monkeypatch.setattr(Toy, "do_reject", lambda self, data: self.do_like({"p": data["id"]}))
        await asyncio.gather(*[call(s.settings, "dead.retry", instance="web") for _ in range(4)])
        assert await s.settled(20) == {"accepted": 20, "delivered": 20}
        assert len(s.interactions()) == 20


async def test_a_replay_tries_what_was_skipped_or_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as s:
        await s.send(item("nothing"), item("reject"), item("like", p="p"))
        await s.settled(3)
        monkeypatch.setattr(Toy, "do_nothing", lambda self, data: self.do_like({"p": "again"}))
        assert (await call(s.settings, "replay", dry_run=True))["events"] == 2
        assert await call(s.settings, "replay") == {
            "events": 2,
            "states": {"pending": 1, "dead": 1},
            "dry_run": False,
        }
        assert await s.settled(3) == {"accepted": 3, "delivered": 2, "dead": 1}


async def test_installs_of_a_template_are_instances_of_their_own(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        event = item("like", p="p")
        await s.send(event, instance="web/a.example")
        await s.send(event, instance="web/b.example")
        assert await s.settled(1, "web/a.example") == {"accepted": 1, "delivered": 1}
        assert await s.settled(1, "web/b.example") == {"accepted": 1, "delivered": 1}
        assert len(s.interactions()) == 2


async def test_actions_say_what_was_wrong(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        for verb, args in [
            ("pause", {"instance": "nope"}),
            ("resume", {"miso": "nope"}),
            ("dead.retry", {"ids": [99]}),
        ]:
            with pytest.raises(ActionError):
                await call(s.settings, verb, **args)
        with pytest.raises(ActionError):
            await call(s.settings, "no-such-verb")


async def test_without_a_work_process_an_action_takes_the_lock_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        await s.send(item("reject"))
        await s.settled(1)
        await s.stop()
        assert (await call(s.settings, "dead.retry", instance="web"))["tried"] == 1
        await s.start()
        with pytest.raises(ConfigError):
            Engine(s.settings)


async def test_reprs_hold_no_secret(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        everything = repr(s.settings) + repr(vars(s.engine)) + repr(vars(s.engine.senders["default"]))
        assert "'key'" not in everything.replace("api_key='key'", "")
