"""The Mixpanel stand-in over HTTP: exports, who may have them, and how they break off."""

from __future__ import annotations

import asyncio
import json
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from misoflow_sandbox.mixpanel import (
    Action,
    MixpanelSandbox,
    MixpanelWorld,
    Options,
    Rule,
    mixpanel_process,
    served_mixpanel,
)
from misoflow_sandbox.serving import served

WORLD = MixpanelWorld(days=10)
EXPORT = "/api/2.0/export"
DAY = {"from_date": "2026-09-01", "to_date": "2026-09-01"}
PROJECT = {"project_id": "1234567"}
ACCOUNT = (WORLD.username, WORLD.secret)


@pytest.fixture(scope="module")
def running() -> Iterator[MixpanelSandbox]:
    sandbox = MixpanelSandbox(WORLD)
    with served(sandbox, date_header=False) as url:
        sandbox.url = url
        yield sandbox


@pytest.fixture
def mixpanel(running: MixpanelSandbox) -> MixpanelSandbox:
    running.reset()
    running.change(**{name: getattr(Options(), name) for name in Options.__struct_fields__} | {"limits": "off"})
    return running


@pytest.fixture
async def client(mixpanel: MixpanelSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mixpanel.url, auth=ACCOUNT, params=PROJECT, timeout=10) as found:
        yield found


async def raw(client: httpx.AsyncClient, accept: str = "gzip", **params: str) -> tuple[httpx.Response, bytes, bool]:
    """The answer, its bytes as they came, and whether HTTP ended as it should."""
    found = b""
    async with client.stream("GET", EXPORT, params={**DAY, **params}, headers={"Accept-Encoding": accept}) as answer:
        try:
            async for chunk in answer.aiter_raw():
                found += chunk
        except httpx.TransportError:
            return answer, found, False
        return answer, found, True


def unzipped(data: bytes) -> tuple[bytes, list[bool]]:
    """The content, and of each gzip member whether it is finished."""
    found, ends = b"", []
    while data:
        reader = zlib.decompressobj(31)
        found += reader.decompress(data)
        ends.append(reader.eof)
        data = reader.unused_data
    return found, ends


async def test_an_export(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    answer, data, ended = await raw(client, time_in_ms="true")
    content, ends = unzipped(data)
    held = {(one.insert_id, one.time_ms) for one in mixpanel.events.ledger(date(2026, 9, 1)) if "mx-" in one.insert_id}
    events = [json.loads(line)["properties"] for line in content.split(b"\n")[:-1]]
    shown = {(one.get("$insert_id", ""), one["time"]) for one in events if isinstance(one["time"], int)}
    assert len(shown & held) > 900
    assert (answer.status_code, ended, ends) == (200, True, [True])
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers.get_list("date") == [answer.headers["date"]]
    call = mixpanel.calls[-1]
    assert (call.status, call.rows, call.size, call.ended) == (200, len(events), len(data), True)
    assert call.params == {**PROJECT, **DAY, "time_in_ms": "true"}


async def test_the_dates_are_inclusive(client: httpx.AsyncClient) -> None:
    async def count(first: str, last: str) -> int:
        return (await raw(client, "identity", from_date=first, to_date=last))[1].count(b"\n")

    both = await count("2026-09-01", "2026-09-02")
    assert both == await count("2026-09-01", "2026-09-01") + await count("2026-09-02", "2026-09-02") > 2000
    assert await count("2026-08-30", "2026-08-31") == 0


async def test_small_bodies_and_clients_without_gzip_get_it_plain(client: httpx.AsyncClient) -> None:
    small, data, _ = await raw(client, limit="1")
    assert "content-encoding" not in small.headers
    assert data.count(b"\n") == 1
    plain, data, _ = await raw(client, accept="identity")
    assert "content-encoding" not in plain.headers
    assert data.count(b"\n") > 1000
    empty, data, _ = await raw(client, event='["Nothing"]')
    assert (empty.status_code, data) == (200, b"")


async def test_event_and_where(client: httpx.AsyncClient) -> None:
    async def events(**params: str) -> list[dict[str, Any]]:
        data = (await raw(client, accept="identity", **params))[1]
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    both = await events(event='["Product Added","$session_start"]')
    assert {one["event"] for one in both} == {"Product Added", "$session_start"}
    bound = 1788260000000
    late = await events(where=f'number(properties["mp_processing_time_ms"]) >= {bound}')
    early = await events(where=f'number(properties["mp_processing_time_ms"]) < {bound}')
    assert min(one["properties"]["mp_processing_time_ms"] for one in late) >= bound
    assert len(late) + len(early) == len(await events())
    fives = await events(where='properties["product_id"] == "p-5"')
    assert {one["properties"]["product_id"] for one in fives} == {"p-5"}
    after = await events(where='event["$time"] >= datetime("2026-09-01T12:00:00")')
    assert min(float(one["properties"]["time"]) for one in after) >= 1788264000


async def test_where_can_be_ignored(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    mixpanel.change(honours_where=False)
    content = unzipped((await raw(client, where='properties["x"] == 1'))[1])[0]
    assert content.count(b"\n") > 1000


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"from_date": ""}, "from_date is required"),
        ({"to_date": "2026-9-1"}, "to_date is required"),
        ({"from_date": "2026-09-02"}, "from_date cannot be later than to_date"),
        ({"to_date": "2999-01-01"}, "to_date cannot be later than today"),
        ({"event": "Product Viewed"}, "event must be a JSON array"),
        ({"event": "[1]"}, "event must be a JSON array"),
        ({"where": "properties["}, "invalid where"),
        ({"limit": "100001"}, "limit must be"),
        ({"limit": "0"}, "limit must be"),
        ({"time_in_ms": "maybe"}, "time_in_ms must be"),
    ],
)
async def test_bad_parameters(client: httpx.AsyncClient, params: dict[str, str], message: str) -> None:
    answer = await client.get(EXPORT, params={**DAY, **params})
    assert answer.status_code == 400
    assert message in answer.json()["error"]


async def test_the_clock_stands_where_it_is_put(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/options", json={"now": "2026-09-01T12:00:00Z"})
    answer, data, _ = await raw(client)
    assert answer.headers["date"] == "Tue, 01 Sep 2026 12:00:00 GMT"
    assert 450 < unzipped(data)[0].count(b"\n") < 510
    assert (await client.get(EXPORT, params={**DAY, "to_date": "2026-09-02"})).status_code == 400
    mixpanel.change(now=datetime(2026, 9, 1, 6, tzinfo=UTC).timestamp())
    assert unzipped((await raw(client))[1])[0].count(b"\n") < 260


@pytest.mark.parametrize(
    ("path", "auth", "params", "options", "status"),
    [
        (EXPORT, ("sandbox-project-secret", ""), {}, {}, 200),
        (EXPORT, ACCOUNT, PROJECT, {}, 200),
        ("/us" + EXPORT, ACCOUNT, PROJECT, {}, 200),
        (EXPORT, ACCOUNT, {}, {}, 400),
        (EXPORT, ACCOUNT, {"project_id": "x"}, {}, 400),
        (EXPORT, ACCOUNT, {"project_id": "7"}, {}, 403),
        (EXPORT, (WORLD.username, "wrong"), PROJECT, {}, 401),
        (EXPORT, (WORLD.username, "wrong"), PROJECT, {"refusal": 400}, 400),
        (EXPORT, None, PROJECT, {}, 401),
        ("/eu" + EXPORT, ACCOUNT, PROJECT, {}, 401),
        (EXPORT, ACCOUNT, PROJECT, {"expired": True}, 401),
        (EXPORT, ("sandbox-project-secret", ""), {}, {"expired": True}, 200),
        (EXPORT, ACCOUNT, PROJECT, {"no_plan": ["query"]}, 200),
        (EXPORT, ACCOUNT, PROJECT, {"no_plan": ["export"]}, 402),
        (EXPORT, ACCOUNT, PROJECT, {"forbidden": ["export"]}, 403),
        (EXPORT, ACCOUNT, PROJECT, {"export_history_days": 5, "now": "2026-09-09T00:00:00Z"}, 403),
        (EXPORT, ACCOUNT, PROJECT, {"export_history_days": 8, "now": "2026-09-09T00:00:00Z"}, 200),
        ("/api/query/events/names", ACCOUNT, {**PROJECT, "type": "general"}, {"no_plan": ["query"]}, 402),
        ("/api/query/events/names", ACCOUNT, {**PROJECT, "type": "general"}, {}, 200),
        ("/api/app/me", ACCOUNT, {}, {"no_plan": ["query"]}, 200),
        ("/in/api/app/me", ACCOUNT, {}, {}, 401),
        ("/api/app/me", ("sandbox-project-secret", ""), {}, {}, 401),
        ("/api/2.0/nothing", ACCOUNT, PROJECT, {}, 404),
    ],
)
async def test_access(
    mixpanel: MixpanelSandbox, path: str, auth: Any, params: dict[str, str], options: dict[str, Any], status: int
) -> None:
    mixpanel.change(**options)
    async with httpx.AsyncClient(base_url=mixpanel.url, auth=auth) as client:
        answer = await client.get(path, params={**DAY, **params})
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["error"]
    assert mixpanel.calls[-1].status == status


async def test_credentials_may_be_plain_text_and_are_shown_nowhere(mixpanel: MixpanelSandbox) -> None:
    header = {"Authorization": f"Basic {WORLD.username}:{WORLD.secret}"}
    async with httpx.AsyncClient(base_url=mixpanel.url) as client:
        answer = await client.get(EXPORT, params={**PROJECT, **DAY, "api_secret": WORLD.secret}, headers=header)
        state = (await client.get("/_sandbox/state")).text
    assert answer.status_code == 200
    assert WORLD.secret not in state + repr(WORLD)


async def test_limits(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    async def status(path: str = EXPORT) -> int:
        method = "GET" if path == EXPORT else "POST"
        return (await client.request(method, path, params={**DAY, "limit": "1"})).status_code

    start = datetime(2026, 9, 9, tzinfo=UTC).timestamp()
    mixpanel.change(limits="virtual", now=start)
    assert [await status() for _ in range(4)] == [200, 200, 200, 429]
    for n in range(57):
        mixpanel.change(now=start + 1 + n)
        assert await status() == 200
    mixpanel.change(now=start + 3599)
    answer = await client.get(EXPORT, params=DAY)
    assert (answer.status_code, answer.json()["error"]) == (429, "Query rate limit exceeded")
    assert "retry-after" not in answer.headers
    assert await status("/api/query/cohorts/list") == 200, "a bucket of its own"
    mixpanel.change(now=start + 3600)
    assert await status() == 200
    mixpanel.change(limits="off")
    assert [await status() for _ in range(5)] == [200] * 5


async def test_queries_at_once(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    mixpanel.change(limits="real")
    mixpanel.faults.add(Rule(Action(delay=60), times=5))
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(client.post("/api/query/cohorts/list")) for _ in range(5)]
        while len(mixpanel.calls) < 5:
            await asyncio.sleep(0.01)
        answer = await client.post("/api/query/cohorts/list")
        for task in waiting:
            task.cancel()
    assert answer.status_code == 429
    assert answer.json()["error"].startswith("too many query requests in progress")


@pytest.mark.parametrize(
    ("ends", "http", "gzip", "tail", "lines"),
    [
        ("cut", False, False, b"", 100),
        ("clean", True, False, b"", 100),
        ("terminated", True, True, b"}\nterminated early\n", 101),
        ("export_terminated", True, True, b"}\nexport terminated early\n", 101),
        ("error_tail", True, True, b'}\n{"error": "export failed, see request', 100),
        ("half_line", True, True, b"", 100),
    ],
)
async def test_ways_to_break_off(
    mixpanel: MixpanelSandbox, client: httpx.AsyncClient, ends: Any, http: bool, gzip: bool, tail: bytes, lines: int
) -> None:
    mixpanel.faults.add(Rule(Action(ends=ends), times=2))
    answer, data, ended = await raw(client)
    content, finished = unzipped(data)
    assert (answer.status_code, ended, finished) == (200, http, [gzip])
    assert content.count(b"\n") == lines
    assert content.endswith(tail)
    assert tail or not content.endswith(b"\n")
    _, plain, ended = await raw(client, accept="identity")
    assert (plain, ended) == (content, http)
    assert mixpanel.calls[-1].rows == 100
    assert unzipped((await raw(client))[1])[1] == [True], "the rule is used up"


async def test_an_answer_shorter_than_the_rule_breaks_off_at_its_end(
    mixpanel: MixpanelSandbox, client: httpx.AsyncClient
) -> None:
    mixpanel.faults.add(Rule(Action(ends="terminated"), times=1), Rule(Action(ends="half_line"), times=1))
    assert (await raw(client, accept="identity", limit="3"))[1].endswith(b"}\nterminated early\n")
    content = (await raw(client, accept="identity", limit="3"))[1]
    assert content.count(b"\n") == 3
    assert not content.endswith(b"\n")


async def test_harmless_and_harmful_oddities(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    good, _ = unzipped((await raw(client))[1])
    mixpanel.faults.add(Action(members=300), Action(identity=True), Action(bad_lines=[10, 500]))
    content, ends = unzipped((await raw(client))[1])
    assert content == good
    assert len(ends) == 4
    assert all(ends)
    answer, data, _ = await raw(client)
    assert data == good
    assert "content-encoding" not in answer.headers
    content, ends = unzipped((await raw(client))[1])
    assert ends == [True]
    lines = content.split(b"\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[10])
    assert [line for n, line in enumerate(lines) if n not in (10, 501)] == good.split(b"\n")


async def begun(client: httpx.AsyncClient, lines: int, size: int) -> bytes:
    """The beginning of an export: so many lines, or so many bytes."""
    found = b""
    async with client.stream("GET", EXPORT, params=DAY, headers={"Accept-Encoding": "identity"}) as answer:
        async for chunk in answer.aiter_raw():
            found += chunk
            if found.count(b"\n") >= lines or len(found) >= size:
                return found
    raise AssertionError("it came to its end")


async def test_slow_bodies(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    mixpanel.faults.add(Action(stall=60), Action(bytes_a_second=2000), Action(delay=0.1))
    assert (await begun(client, 100, 10**9)).count(b"\n") == 100
    assert len(await begun(client, 10**9, 500)) < 700
    assert (await raw(client))[0].status_code == 200
    assert not any(call.ended for call in mixpanel.calls[:2])


async def test_statuses(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    given = [
        {"action": {"status": 429, "headers": {"Retry-After": "7"}}, "match": {"path": EXPORT}},
        {"action": {"status": 429}, "match": {"method": "GET"}},
        *({"action": {"status": status}} for status in (401, 402, 403, 500, 503)),
        {"action": {"status": 502, "body": "<html>"}},
    ]
    assert (await client.post("/_sandbox/faults", json=given)).status_code == 200
    answers = [await client.get(EXPORT, params=DAY) for _ in range(9)]
    assert [one.status_code for one in answers] == [429, 429, 401, 402, 403, 500, 503, 502, 200]
    assert [one.headers.get("retry-after") for one in answers[:2]] == ["7", None]
    assert all(one.json()["status"] == "error" for one in answers[:7])
    assert answers[7].text == "<html>"


async def test_rules(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    async def statuses(n: int) -> list[int]:
        return [(await client.get(EXPORT, params={**DAY, "limit": "1"})).status_code for _ in range(n)]

    mixpanel.faults.add(Rule(Action(status=500), after=1, times=2))
    assert await statuses(4) == [200, 500, 500, 200]
    await client.delete("/_sandbox/faults")
    mixpanel.faults.add(Rule(Action(status=500), times=-1, share=0.5, seed=3))
    first = await statuses(20)
    assert 4 < first.count(500) < 16
    await client.post("/_sandbox/reset")
    mixpanel.faults.add(Rule(Action(status=500), times=-1, share=0.5, seed=3))
    assert await statuses(20) == first
    assert (await client.post("/_sandbox/faults", json={"action": {"stats": 1}})).status_code == 400
    assert (await client.post("/_sandbox/options", json={"nonsense": 1})).status_code == 400
    assert (await client.get("/_sandbox/nothing")).status_code == 404


async def test_a_client_that_leaves_ends_the_work() -> None:
    async with served_mixpanel(MixpanelWorld(events_per_day=2_000_000), Options(limits="off")) as big:
        host, port = big.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as wire:
            request = f"GET {EXPORT}?project_id=1234567&from_date=2026-09-01&to_date=2026-09-30 HTTP/1.1\r\nHost: x\r\n"
            wire.sendall(f"{request}Authorization: Basic {WORLD.username}:{WORLD.secret}\r\n\r\n".encode())
            assert wire.recv(15) == b"HTTP/1.1 200 OK"
        async with httpx.AsyncClient(base_url=big.url) as other:
            before = -1
            for _ in range(100):
                call = (await other.get("/_sandbox/state")).json()["calls"][0]
                if call["rows"] == before:
                    break
                before = call["rows"]
                await asyncio.sleep(0.1)
        assert call["rows"] == before < 2_000_000
        assert call["ended"] is False


async def test_the_ledger_over_http(mixpanel: MixpanelSandbox, client: httpx.AsyncClient) -> None:
    lines = (await client.get("/_sandbox/ledger", params={"day": "2026-09-03"})).text.split("\n")[:-1]
    assert [json.loads(line)["time_ms"] for line in lines] == [
        one.time_ms for one in mixpanel.events.ledger(date(2026, 9, 3))
    ]
    assert (await client.get("/_sandbox/ledger", params={"day": "soon"})).status_code == 400


async def test_a_process_of_its_own() -> None:
    with mixpanel_process(MixpanelWorld(events_per_day=10), Options(limits="off")) as url:
        answer = httpx.get(url + EXPORT, params={**PROJECT, **DAY}, auth=ACCOUNT)
        assert answer.text.count("\n") >= 10
        assert httpx.get(url + "/_sandbox/state").json()["rows"] == answer.text.count("\n")
