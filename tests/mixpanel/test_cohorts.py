"""Cohort syncs from Mixpanel's webhook to users at Miso."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from misoflow import Request, Unauthorized
from misoflow.inbox import InboxFull
from misoflow.status import dead_letters
from misoflow_mixpanel import Mixpanel
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_sandbox.mixpanel.cohort import Cohort, CohortSync, member, send_cohort

from tests.mixpanel.hooked import AUTH, OLD, PASSWORD, URL, USER, Hooked, hooked

LOYAL, NEWS = Cohort(), Cohort(id="1001", name="Newsletter readers")


async def call(
    h: Hooked, action: Any, users: list[Any], session: str = "s1", page: int = 1, pages: int = 1, cohort: Cohort = LOYAL
) -> None:
    members = [one if isinstance(one, dict) else member(one) for one in users]
    answer = await send_cohort(
        URL, AUTH, action, members, cohort=cohort, session_id=session, page=page, pages=pages, client=h.client
    )
    assert answer.verdict == "success", answer


async def post(h: Hooked, body: Any, **more: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await h.client.post(URL, content=raw, **{"auth": AUTH, **more})


async def test_a_cohort_is_followed_through_its_syncs(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        sync = CohortSync(URL, AUTH, LOYAL, page_size=2, client=h.client)
        other = CohortSync(URL, AUTH, NEWS, client=h.client)
        now = 0
        for members in ("abcde", "acef", "acef", "g"):
            now += 1800 if members != "g" else 4 * 86_400
            assert await sync.run([member(name) for name in members], now)
            assert await other.run([member("a")], now)
            wanted = {name: [LOYAL.name] for name in members}
            wanted["a"] = sorted([*wanted.get("a", []), NEWS.name])
            await h.site.until(lambda wanted=wanted: h.cohorts() == wanted)
        assert not sync.paused
        assert set(h.site.users()) == set("abcdefg")


async def test_pages_out_of_order_replays_and_two_syncs_at_once(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        await call(h, "add_members", ["gone", "b"], "s0")
        await call(h, "members", ["a"], "old", 3, 3)
        await call(h, "members", ["b"], "old", 1, 3)
        await call(h, "members", ["c"], "new", 2, 2)
        await call(h, "members", ["x"], "old", 2, 3)
        await call(h, "members", ["c"], "new", 2, 2)
        await h.site.settled(10, "mix")
        assert set(h.cohorts()) == {"gone", "a", "b", "c"}
        await call(h, "members", ["d"], "new", 1, 2)
        await h.site.until(lambda: set(h.cohorts()) == {"c", "d"})
        await call(h, "remove_members", ["d"], "later")
        await h.site.until(lambda: set(h.cohorts()) == {"c"})
        await call(h, "add_members", ["gone", "b"], "s0")
        await h.site.until(lambda: h.site.counts("mix").get("duplicates", 0) == 4)
        assert set(h.cohorts()) == {"c"}, "a call that is replayed changes nothing"


async def test_a_change_between_the_pages_of_a_whole_list_is_kept(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        await call(h, "add_members", ["gone"], "s0")
        await call(h, "members", ["a"], "s1", 1, 2)
        await call(h, "add_members", ["meanwhile"], "s2")
        await call(h, "members", ["b"], "s1", 2, 2)
        await h.site.until(lambda: set(h.cohorts()) == {"a", "b", "meanwhile"})


async def test_the_profile_and_the_cohorts_are_one_record(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        engine = h.site.engine
        instance = engine.instances.get("mix")
        from misoflow import Event

        data = {"id": "ann", "properties": {"$city": "Oslo", "plan": "pro", "$email": "ann@shop.example"}}
        await engine.intake.fetched(instance, [Event("profile:1", "profile", data)], ("mix", "none", "none"))
        await call(h, "members", ["ann"])
        await h.site.until(lambda: h.cohorts() == {"ann": [LOYAL.name]})
        user = h.site.users()["ann"]
        assert (user["city"], user["custom_attributes"]["plan"]) == ("Oslo", "pro")
        await call(h, "members", [], "s2")
        await h.site.until(lambda: h.cohorts() == {})
        assert h.site.users()["ann"]["custom_attributes"] == {"plan": "pro"}


async def test_what_has_not_changed_is_not_sent_again(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        for session in ("s1", "s2", "s3"):
            await call(h, "members", ["ann", "bob"], session)
        await call(h, "remove_members", ["stranger"], "s3")
        counts = await h.site.settled(10, "mix")
        assert (counts["delivered"], counts["skipped"]) == (9, 1)
        assert set(h.site.users()) == {"ann", "bob"}
        sent = await h.site.engine.store.run(lambda tx: tx.one("SELECT sum(n) FROM batches WHERE kind='users'"))
        assert sent == 2


async def test_a_bad_member_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        members = ["ann", member(4711), {"email": "x@shop.example"}, member("null"), member("$device:d1"), member("_x")]
        await call(h, "members", members)
        await h.site.until(lambda: set(h.cohorts()) == {"ann", "4711", "user__x"})
        counts = await h.site.settled(7, "mix")
        assert (counts["dead"], counts["skipped"]) == (2, 1)
        letters = dead_letters(h.site.settings, h.site.vault, instance="mix")
        assert {letter.path for letter in letters} == {"$.parameters.members[2]", "$.parameters.members[3]"}
        assert not any(b"shop.example" in letter.raw for letter in letters), "only ids are kept of a member"


async def test_a_member_may_be_named_by_a_property_of_its_own(tmp_path: Path) -> None:
    async with hooked(tmp_path, more='user_id_property = "User ID"\nid_merge = "original"') as h:
        device = "0b4c1a52-9f5e-4b7d-8a66-2f1d3c4b5a69"
        await call(h, "add_members", [member(device, **{"User ID": "ann"}), member(device)])
        await h.site.until(lambda: h.cohorts() == {"ann": [LOYAL.name]})
        assert (await h.site.settled(2, "mix"))["skipped"] == 1


async def test_cohorts_by_id_in_another_attribute_and_the_field_names_of_real_syncs(tmp_path: Path) -> None:
    settings = 'attribute = "segments"\nidentify_by = "id"'
    async with hooked(tmp_path, cohorts=settings) as h:
        seen = Cohort(spelling="seen")
        await call(h, "add_members", ["ann", "mail@shop.example"], cohort=seen)
        await h.site.until(lambda: len(h.cohorts("segments")) == 2)
        assert h.cohorts("segments")["ann"] == ["1000"]
        assert "mail@shop.example" not in h.site.users(), "an id that names a person is hashed"
        await call(h, "members", ["bob"], "s2", cohort=seen)
        await h.site.until(lambda: set(h.cohorts("segments")) == {"bob"})


NOT_A_SYNC: list[tuple[Any, str]] = [
    (b"{", ""),
    ([], ""),
    ({"action": "ping", "parameters": {"members": []}}, "ping"),
    ({"action": "members", "parameters": {"mixpanel_cohort_id": "1"}}, "members"),
    ({"action": "members", "parameters": {"members": []}}, "members"),
    (
        {"action": "members", "parameters": {"mixpanel_cohort_id": 1, "members": [], "mixpanel_project_id": "7"}},
        "members",
    ),
    (
        {
            "action": "members",
            "parameters": {
                "mixpanel_cohort_id": 1,
                "members": [],
                "page_info": {"total_pages": 2, "page_count": 3},
            },
        },
        "members",
    ),
]


@pytest.mark.parametrize(("body", "action"), NOT_A_SYNC)
async def test_what_is_no_sync_is_kept_and_told_to_mixpanel(tmp_path: Path, body: Any, action: str) -> None:
    async with hooked(tmp_path) as h:
        await call(h, "members", ["ann"])
        answer = await post(h, body)
        assert answer.status_code == 200
        said = answer.json()
        assert (said["action"], said["status"], said["error"]["code"]) == (action, "failure", 422)
        counts = await h.site.settled(3, "mix")
        assert counts["dead"] == 1
        assert h.cohorts() == {"ann": [LOYAL.name]}, "nobody is taken out by it"


async def test_an_alert_is_taken_and_skipped(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        answer = await post(h, {"event_type": "custom_alert_triggered", "alert": {"value": 3}})
        assert (answer.status_code, answer.json()) == (200, {"status": "success"})
        assert (await h.site.settled(1, "mix"))["skipped"] == 1


WRONG: list[Any] = [
    None,
    (USER, "wrong"),
    ("wrong", PASSWORD),
    (USER, PASSWORD + "x"),
    (USER, ""),
    (USER, PASSWORD[:-1]),
]


@pytest.mark.parametrize("auth", WRONG)
async def test_wrong_credentials_are_401_and_nothing_is_stored(tmp_path: Path, auth: Any) -> None:
    async with hooked(tmp_path) as h:
        answer = await post(h, {"action": "members"}, auth=auth)
        assert answer.status_code == 401
        assert h.site.engine.inbox.read(0, 10, 10**6) == []


async def test_both_passwords_are_good_while_they_are_changed(tmp_path: Path) -> None:
    async with hooked(tmp_path) as h:
        for password in (PASSWORD, OLD):
            answer = await send_cohort(URL, (USER, password), "members", [member("ann")], client=h.client)
            assert answer.verdict == "success"


async def test_our_own_trouble_is_never_an_answer_that_stops_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hooked(tmp_path) as h:

        async def full(_: Any) -> None:
            raise InboxFull("full")

        with monkeypatch.context() as patched:
            patched.setattr(h.site.inbox, "append", full)
            answer = await send_cohort(URL, AUTH, "members", [member("a")], client=h.client)
            assert (answer.status, answer.verdict) == (503, "retry")
        h.receiver.stopping = True
        answer = await send_cohort(URL, AUTH, "members", [member("a")], client=h.client)
        assert (answer.status, answer.verdict) == (503, "retry")
        h.receiver.stopping = False
        big = [member(f"user-{n}", note="x" * 5000) for n in range(1000)]
        await call(h, "members", big)
        await h.site.until(lambda: len(h.cohorts()) == 1000, seconds=20)


def test_at_the_door_nothing_but_unauthorized_is_raised() -> None:
    settings = {"project_id": 1, "secret": "s", "cohorts": {"user": "miso", "passwords": [PASSWORD, OLD]}}
    connector = Mixpanel(MixpanelConfig.model_validate(settings))
    connector.verify(connector.sample("cohort"))
    other = connector.sample("cohort").header("authorization").replace("Basic", "Bearer")
    for garbage in (
        other,
        "",
        "Basic",
        "Basic ",
        "Bearer x",
        "Basic \udcff",
        "Basic " + "A" * 10_000,
        "\x00",
        "Basic é==",
    ):
        with pytest.raises(Unauthorized):
            connector.verify(Request(b"", {"authorization": garbage}))
    without = Mixpanel(MixpanelConfig(project_id=1, secret="s"))  # type: ignore[arg-type]
    assert without.routes == ()
    with pytest.raises(Unauthorized):
        without.verify(connector.sample("cohort"))
