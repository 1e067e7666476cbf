"""Miso's client against the sandbox: each documented answer is one decision (M2, M3, M5, M9, M11)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from misoflow.miso import (
    Bad,
    Done,
    Envelope,
    Later,
    Miso,
    Stop,
    TaskDone,
    TaskFailed,
    TaskGone,
    TaskPending,
    TooLarge,
)
from misoflow.miso_lines import BadRecord, read_detail, read_line, read_lines
from misoflow_sandbox.miso import MisoSandbox, served
from pydantic import SecretStr

GOOD = {"type": "like", "user_id": "u", "product_ids": ["p"], "timestamp": "2026-01-01T00:00:00Z"}


def upload(*records: dict[str, Any]) -> bytes:
    return json.dumps({"data": records}).encode()


@pytest.fixture
def sandbox() -> MisoSandbox:
    return MisoSandbox("key")


@pytest.fixture
def url(sandbox: MisoSandbox) -> Iterator[str]:
    with served(sandbox) as address:
        yield address


@pytest_asyncio.fixture
async def miso(url: str) -> AsyncIterator[Miso]:
    made = Miso(url, SecretStr("key"), timeout=5)
    yield made
    await made.close()


def fault(sandbox: MisoSandbox, action: dict[str, Any], **more: Any) -> None:
    sandbox.faults.add(json.dumps([{"action": action, **more}]).encode())


async def test_interactions_are_taken(miso: Miso, sandbox: MisoSandbox) -> None:
    assert await miso.upload("interactions", upload(GOOD)) == Done(None, [])


async def test_products_are_taken_as_a_task_that_is_followed(miso: Miso) -> None:
    answer = await miso.upload("products", upload({"product_id": "p", "title": "t"}))
    assert isinstance(answer, Done)
    assert answer.task_id
    assert await miso.task("products", answer.task_id) == TaskDone([])
    assert await miso.ids("products") == ["p"]


async def test_no_data_set_yet_means_no_ids(miso: Miso) -> None:
    assert await miso.ids("users") == []


async def test_a_422_names_its_records(miso: Miso) -> None:
    bad = {**GOOD, "product_ids": "p"}
    answer = await miso.upload("interactions", upload(GOOD, bad, GOOD, {**GOOD, "timestamp": "yesterday"}))
    assert isinstance(answer, Bad)
    assert [(one.index, one.path) for one in answer.bad] == [(1, "$.product_ids"), (3, "$.timestamp")]
    assert answer.unread == 0
    assert "yesterday" not in str(answer)


@pytest.mark.parametrize("body", [b"{}", b"not json", b'{"data": 3}'])
async def test_a_422_about_the_envelope_is_not_about_a_record(miso: Miso, body: bytes) -> None:
    assert isinstance(await miso.upload("interactions", body), Envelope)


async def test_an_unreadable_422_is_bad_without_names(miso: Miso, sandbox: MisoSandbox) -> None:
    fault(sandbox, {"unparseable_422": True})
    answer = await miso.upload("interactions", upload({**GOOD, "product_ids": "p"}))
    assert isinstance(answer, Bad)
    assert (answer.bad, answer.unread > 0) == ([], True)


async def test_a_wrong_key_stops(url: str) -> None:
    miso = Miso(url, SecretStr("wrong"))
    for answer in (await miso.upload("interactions", upload(GOOD)), await miso.ids("users"), await miso.check()):
        assert isinstance(answer, Stop)
        assert "key" in answer.fix
    await miso.close()


@pytest.mark.parametrize(("key", "word"), [("key-publishable", "publishable"), ("key-playground", "Playground")])
async def test_the_other_kinds_of_key_are_told(url: str, key: str, word: str) -> None:
    miso = Miso(url, SecretStr(key))
    answer = await miso.upload("interactions" if "play" in key else "users", upload(GOOD))
    assert isinstance(answer, Stop)
    assert word in answer.reason
    await miso.close()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"status": 503, "headers": {"Retry-After": "3"}}, Later("Miso answered 503", 3, True)),
        ({"status": 429, "headers": {"Retry-After": "7"}}, Later("Miso answered 429", 7, False)),
        ({"status": 500}, Later("Miso answered 500", None, True)),
        ({"status": 413}, TooLarge()),
        ({"status": 401}, Stop),
        ({"status": 403}, Stop),
        ({"status": 400, "body": {"message:": "Request timeout."}}, Later("Miso timed out", None, True)),
        ({"status": 400, "body": {"message": "out of memory"}}, TooLarge()),
        ({"status": 405}, Envelope),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, Envelope),
        ({"reset": "before"}, Later),
        ({"reset": "mid"}, Later),
        ({"reset": "after"}, Later),
        ({"html": True}, Later),
        ({"gzip_bomb": 512}, Later),
        ({"envelope_422": True}, Envelope),
    ],
)
async def test_each_answer_is_one_decision(miso: Miso, sandbox: MisoSandbox, action: Any, expected: Any) -> None:
    fault(sandbox, action)
    answer = await miso.upload("interactions", upload(GOOD))
    if isinstance(expected, type):
        assert isinstance(answer, expected), answer
        assert not isinstance(answer, Later) or answer.outcome_unknown
    else:
        assert answer == expected


async def test_a_200_with_errors_names_what_was_not_taken(miso: Miso, sandbox: MisoSandbox) -> None:
    fault(sandbox, {"errors_true": ["data.0.user_id is invalid. No."]})
    assert await miso.upload("interactions", upload(GOOD)) == Done(
        None, [BadRecord(0, "$.user_id", "data.0.user_id is invalid. No.")]
    )


@pytest.mark.parametrize(
    ("task", "expected"), [("never", TaskPending), ("failed", (TaskFailed, TaskDone)), ("404", TaskGone)]
)
async def test_tasks(miso: Miso, sandbox: MisoSandbox, task: str, expected: Any) -> None:
    fault(sandbox, {"task": task})
    answer = await miso.upload("users", upload({"user_id": "u"}))
    assert isinstance(answer, Done)
    state = await miso.task("users", answer.task_id or "")
    assert isinstance(state, expected), state


async def test_deletes_use_the_documented_shapes(miso: Miso, sandbox: MisoSandbox) -> None:
    await miso.upload("interactions", upload(GOOD))
    await miso.upload("users", upload({"user_id": "u"}))
    assert isinstance(await miso.delete("interactions", ["u"]), Done)
    assert isinstance(await miso.delete("users", ["u"]), Done)
    assert await miso.ids("users") == []


@pytest.mark.parametrize(
    ("line", "index", "path"),
    [
        ("data.0.product_ids is invalid. The attribute was expected to be of type 'array'.", 0, "$.product_ids"),
        ("data.17.custom_attributes.my key is invalid. Wrong.", 17, "$.custom_attributes.my key"),
        ("data.3.url (http://x/(a)(b)) is invalid. Wrong.", 3, "$.url"),
        ("  data.4 is invalid. Wrong.", 4, "$"),
        ("data.5 (whole) is invalid. Wrong.", 5, "$"),
    ],
)
def test_a_line_is_read(line: str, index: int, path: str) -> None:
    found = read_line(line)
    assert found is not None
    assert (found.index, found.path) == (index, path)
    assert "http://x" not in found.sentence


@pytest.mark.parametrize(
    "line", ["", "data.x.y is invalid.", "Datensatz 3 ist falsch", "data.-1.a is invalid.", "data"]
)
def test_a_line_that_names_no_record_is_counted(line: str) -> None:
    assert read_lines([line, 3, None]) == ([], 3)


@given(st.lists(st.one_of(st.text(), st.from_regex(r"data\.\d+\.\S+ (\(.*\) )?is invalid\..*"), st.integers())))
def test_reading_never_fails_and_accounts_for_every_line(lines: list[Any]) -> None:
    found, unread = read_lines(lines)
    assert unread + len(found) <= len(lines)
    assert unread + len({one.index for one in found}) <= len(lines)


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        ([{"loc": ["body", "data", 2, "user_id"], "msg": "too long"}], [BadRecord(2, "$.user_id", "too long")]),
        ([{"loc": ["body", "data"], "msg": "field required"}], None),
        ([{"loc": ["body"], "msg": "x"}], None),
        ([], None),
        ("text", None),
        ([3], None),
    ],
)
def test_fastapis_shape(detail: Any, found: Any) -> None:
    assert read_detail(detail) == found
