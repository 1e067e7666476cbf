"""Misbehaviour on request."""

from __future__ import annotations

import socket
import time
import zlib
from typing import Any

import httpx
import pytest
from misoflow_sandbox.faults import gzip_bomb
from misoflow_sandbox.miso import MisoSandbox


def record(n: int, **more: Any) -> dict[str, Any]:
    custom = {"uuid": f"uuid-{n}"}
    return {"type": "like", "product_ids": [f"p{n}"], "user_id": f"u{n}", "context": {"custom_context": custom}, **more}


def send(client: httpx.Client, *records: Any) -> httpx.Response:
    return client.post("/v1/interactions", json={"data": records})


def rules(client: httpx.Client, *given: Any) -> None:
    answer = client.post("/_sandbox/faults", json=list(given))
    assert answer.status_code == 200, answer.text


def held(client: httpx.Client) -> int:
    found: int = client.get("/_sandbox/state").json()["interactions"]
    return found


def test_a_status_with_headers_for_some_requests(client: httpx.Client) -> None:
    match = {"method": "POST", "path": "/v1/inter"}
    rules(client, {"match": match, "after": 1, "times": 2, "action": {"status": 503, "headers": {"Retry-After": "3"}}})
    assert client.get("/v1/users/_ids").status_code == 404
    answers = [send(client, record(n)) for n in range(4)]
    assert [one.status_code for one in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "3"
    assert "errors" not in answers[1].json()
    assert held(client) == 2


def test_rules_that_answer_take_turns(client: httpx.Client) -> None:
    rules(client, {"action": {"status": 500}}, {"action": {"status": 429, "body": "slow down"}})
    answers = [send(client, record(n)) for n in range(3)]
    assert [one.status_code for one in answers] == [500, 429, 200]
    assert answers[0].json() == {"message": "Something went wrong. Please contact miso product team."}
    assert answers[1].text == "slow down"


def test_the_timeout_of_400_has_its_colon(client: httpx.Client) -> None:
    rules(client, {"action": {"status": 400}})
    assert client.post("/v1/products", json={"data": []}).json() == {"message:": "Request timeout."}


def test_a_rule_for_ever_ends_when_cleared(client: httpx.Client) -> None:
    rules(client, {"times": -1, "action": {"status": 502}})
    assert [send(client, record(1)).status_code for _ in range(3)] == [502] * 3
    assert client.get("/_sandbox/faults").json()["rules"][0]["fired"] == 3
    client.delete("/_sandbox/faults")
    assert send(client, record(1)).status_code == 200


@pytest.mark.parametrize("rule", [{"action": {"stauts": 500}}, {"action": {"status": "x"}}, {"when": 1}, 7])
def test_a_rule_with_a_mistake_is_refused(client: httpx.Client, rule: Any) -> None:
    answer = client.post("/_sandbox/faults", json=[rule])
    assert answer.status_code == 400
    assert "these are not rules" in answer.json()["message"]


@pytest.mark.parametrize(("when", "applied", "error"), [("before", 0, 1), ("mid", 1, 2), ("after", 1, 1)])
def test_resets(client: httpx.Client, when: str, applied: int, error: int) -> None:
    rules(client, {"action": {"reset": when}})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        send(client, record(1))
    assert held(client) == applied
    (seen,) = client.get("/_sandbox/wire").json()
    assert (seen["status"], seen["records"]) == (0, applied)
    assert send(client, record(2)).status_code == 200


def test_a_reset_is_a_tcp_reset_and_mid_is_half_an_answer(client: httpx.Client) -> None:
    rules(client, {"action": {"reset": "mid"}})
    body = b'{"data":[]}'
    head = b"POST /v1/interactions HTTP/1.1\r\nhost: x\r\nx-api-key: key\r\ncontent-length: %d\r\n\r\n" % len(body)
    got = b""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10) as raw:
        raw.sendall(head + body)
        while not got.endswith(b'"message"'):
            part = raw.recv(65536)
            assert part, got
            got += part
        with pytest.raises(ConnectionResetError):
            raw.recv(65536)
    assert got.endswith(b'\r\n\r\n{"message"')


def test_applied_yet_answers_500(client: httpx.Client) -> None:
    rules(client, {"action": {"apply": True, "status": 500}})
    assert send(client, record(1)).status_code == 500
    assert held(client) == 1


def test_a_reset_before_applying_when_told(client: httpx.Client) -> None:
    rules(client, {"action": {"apply": False, "reset": "after"}})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        send(client, record(1))
    assert held(client) == 0


def test_html_and_a_gzip_bomb_are_no_success(client: httpx.Client) -> None:
    rules(client, {"action": {"html": True}}, {"action": {"gzip_bomb": 2}})
    page = send(client, record(1))
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    with client.stream("POST", "/v1/interactions", json={"data": [record(1)]}) as bomb:
        raw = b"".join(bomb.iter_raw())
    assert bomb.headers["content-encoding"] == "gzip"
    assert len(raw) < 20_000
    whole = zlib.decompress(raw, 31)
    assert len(whole) == 2 * 1024 * 1024 + 21
    assert whole.lstrip() == b'{"message":"success"}'
    assert held(client) == 0


def test_a_large_bomb_is_small_on_the_wire() -> None:
    assert len(gzip_bomb(512)) < 1024 * 1024


def test_a_200_with_errors_refuses_what_it_names(client: httpx.Client) -> None:
    lines = ["data.1.user_id is invalid. The attribute should match the '^x' pattern."]
    rules(client, {"action": {"errors_true": lines}})
    answer = send(client, record(0), record(1), record(2))
    assert (answer.status_code, answer.json()) == (200, {"errors": True, "data": lines})
    left = client.get("/_sandbox/records").text
    assert ("u0" in left, "u1" in left, "u2" in left) == (True, False, True)


def test_delay_and_drip_keep_the_answer(client: httpx.Client) -> None:
    rules(client, {"action": {"delay": 0.05}}, {"action": {"drip": 100}})
    started = time.monotonic()
    answer = send(client, record(1))
    assert answer.json() == {"message": "success"}
    assert time.monotonic() - started >= 0.2
    assert held(client) == 1


def test_poison_by_marker_stays_until_cleared(client: httpx.Client) -> None:
    rules(client, {"reject_marker": "p1"})
    for _ in range(2):
        answer = send(client, record(0), record(1))
        assert answer.status_code == 422
        (line,) = answer.json()["data"]
        assert line.startswith("data.1.product_ids is invalid. ")
    assert send(client, record(0)).status_code == 200


def test_poison_by_id(client: httpx.Client) -> None:
    rules(client, {"action": {"bad_ids": ["p1", "uuid-3"]}})
    answer = send(client, *[record(n) for n in range(5)], {"type": "no"})
    assert [line.split(" ")[0] for line in answer.json()["data"]] == [
        "data.1.product_ids",
        "data.3.product_ids",
        "data.5.type",
    ]
    assert client.post("/v1/products", json={"data": [{"product_id": "p1"}]}).json()["data"][0].startswith("data.0.")
    assert held(client) == 0


@pytest.mark.parametrize(
    ("spoil", "named"),
    [({"partial_422": 1}, ["data.1.a", "data.1.b"]), ({"shift_422": 2}, ["data.3.a", "data.3.b", "data.4.a"])],
)
def test_a_422_that_names_the_wrong_records(client: httpx.Client, spoil: dict[str, int], named: list[str]) -> None:
    rules(client, {"times": -1, "action": spoil})
    answer = send(client, record(0), record(1, a=1, b=2), record(2, a=1))
    assert sorted(line.split(" ")[0] for line in answer.json()["data"]) == named
    assert answer.json()["errors"] is True


def test_an_unparseable_422_names_nothing(client: httpx.Client) -> None:
    rules(client, {"reject_marker": "p1"}, {"times": -1, "action": {"unparseable_422": True}})
    answer = send(client, record(0), record(1))
    assert answer.status_code == 422
    assert len(answer.json()["data"]) == 1
    assert "data." not in answer.text
    assert send(client, record(0)).status_code == 200


def test_an_envelope_422(client: httpx.Client) -> None:
    rules(client, {"action": {"envelope_422": True}})
    answer = send(client, record(1))
    assert (answer.status_code, list(answer.json())) == (422, ["detail"])
    assert held(client) == 0


@pytest.mark.parametrize(
    ("fate", "status", "kept"),
    [("never", 200, []), ("failed", 200, []), ("404", 404, []), ("partial", 200, ["b"])],
)
def test_the_fate_of_a_task(client: httpx.Client, clock: Any, fate: str, status: int, kept: list[str]) -> None:
    rules(client, {"match": {"method": "POST", "path": "/v1/products"}, "action": {"task": fate}})
    answer = client.post("/v1/products", json={"data": [{"product_id": "a"}, {"product_id": "b"}]})
    clock.now += 10_000_000
    found = client.get(f"/v1/products/_status/{answer.json()['data']['task_id']}")
    assert found.status_code == status
    assert list(client.get("/_sandbox/state").json()["products"]) == kept
    expected = {"never": None, "failed": True, "404": None, "partial": True}
    assert found.json().get("errors") == expected[fate]
    if fate == "partial":
        assert found.json()["data"][0].startswith("data.0.custom_attributes is invalid. ")
    again = client.post("/v1/products", json={"data": [{"product_id": "a"}]})
    assert client.get(f"/v1/products/_status/{again.json()['data']['task_id']}").json()["errors"] is False


def test_a_partial_task_counts_its_lines_in_the_request(client: httpx.Client) -> None:
    rules(client, {"action": {"task": "partial", "bad": [0]}})
    client.post("/v1/users", json={"data": []})
    rules(client, {"action": {"task": "partial", "bad": [0]}})
    attributes = [{"x": 1}, {"x": 1}, {"x": "text"}]
    users = [{"user_id": f"u{n}", "custom_attributes": one} for n, one in enumerate(attributes)]
    answer = client.post("/v1/users", json={"data": users})
    done = client.get(f"/v1/users/_status/{answer.json()['data']['task_id']}").json()
    assert [line.split(" ")[0] for line in done["data"]] == ["data.2.custom_attributes.x", "data.0.custom_attributes"]


def test_the_task_of_one_upload_may_take_longer(client: httpx.Client, sandbox: MisoSandbox, clock: Any) -> None:
    rules(client, {"action": {"task_delay": 60}})
    client.post("/v1/users", json={"data": [{"user_id": "u"}]})
    assert client.get("/_sandbox/state").json()["users"] == {}
    clock.now += 60
    assert client.get("/_sandbox/state").json()["users"] == {"u": {"user_id": "u"}}
