"""What the sandbox shows of itself, its options, and how it is started."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from misoflow_sandbox.miso import MisoSandbox, Options, sandbox_process
from misoflow_sandbox.schema import OWN_SCHEMA, Schema

ATTRIBUTES = ("product_ids", "user_id", "timestamp", "context", "quantities", "duration", "category", "rating", "tags")
PUBLISHED = Path(__file__).parents[3] / "shared/miso/openapi-ingest.json"
LIKE = {"type": "like", "product_ids": ["p1"], "user_id": "u1"}


def send(client: httpx.Client, *records: Any) -> httpx.Response:
    return client.post("/v1/interactions", json={"data": records})


def test_the_page_is_escaped_and_needs_nothing_from_outside(client: httpx.Client) -> None:
    send(client, {**LIKE, "user_id": "<script>alert(1)</script>"})
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script" not in page.text
    assert "<td>like</td><td class=n>1</td>" in page.text


def test_the_records_are_lines_as_they_were_sent(client: httpx.Client) -> None:
    spaced = b'{ "type": "like",\n "user_id": "a b" }'
    plain = b'{"user_id":"\\u00e9","type":"like","product_ids":[]}'
    body = b'{"data":[' + spaced + b"," + plain + b"]}"
    client.post("/v1/interactions", content=body, headers={"content-type": "application/json"})
    lines = client.get("/_sandbox/records", params={"kind": "interactions"}).content.splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(spaced), json.loads(plain)]
    assert lines[1] == plain
    client.post("/v1/users", json={"data": [{"user_id": "u"}]})
    assert client.get("/_sandbox/records?kind=users").content == b'{"user_id":"u"}\n'
    assert client.get("/_sandbox/records?kind=else").status_code == 400


def test_the_wire_lists_every_request_to_the_api(client: httpx.Client, sandbox: MisoSandbox) -> None:
    sandbox.options.store_wire = True
    good = send(client, LIKE, LIKE)
    send(client, {"type": "no"})
    client.get("/v1/users/u%20x?api_key=key")
    client.get("/_sandbox/state")
    first, second, third = client.get("/_sandbox/wire").json()
    body = good.request.content
    assert (first["n"], first["method"], first["path"], first["records"]) == (1, "POST", "/v1/interactions", 2)
    assert (first["status"], first["sha256"]) == (200, hashlib.sha256(body).hexdigest())
    assert first["at"] > 1_700_000_000
    assert (second["status"], second["records"]) == (422, 1)
    assert (third["method"], third["path"], third["status"]) == ("GET", "/v1/users/u%20x", 404)
    assert client.get("/_sandbox/wire/1").content == body
    assert client.get("/_sandbox/wire/9").status_code == 404
    assert client.get("/_sandbox/state").json()["requests"] == 3


def test_reset_forgets_everything(client: httpx.Client) -> None:
    send(client, LIKE)
    client.post("/v1/products", json={"data": [{"product_id": "p"}]})
    client.post("/_sandbox/faults", json=[{"times": -1, "action": {"status": 500}}])
    client.post("/_sandbox/reset")
    found = client.get("/_sandbox/state").json()
    assert (found["interactions"], found["products"], found["requests"]) == (0, {}, 0)
    assert client.get("/v1/products/_ids").status_code == 404


def test_counting_only_still_forgets(client: httpx.Client, sandbox: MisoSandbox) -> None:
    sandbox.options.keep = False
    send(client, LIKE, {**LIKE, "user_id": "u2"})
    client.request("DELETE", "/v1/interactions", json={"user_ids": ["u2"]})
    assert client.get("/_sandbox/state").json()["by_type"] == {"like": 1}
    assert client.get("/_sandbox/records").content == b""


def test_options_for_what_is_not_documented(client: httpx.Client) -> None:
    null = {**LIKE, "miso_id": None}
    translated = {"product_id": "p", "i18n_es": {"title": "té"}, "custom_attributes": {"x": None}}
    assert send(client, null).status_code == 422
    assert client.post("/v1/products", json={"data": [translated]}).status_code == 422
    changed = {"null_allowed": True, "i18n_allowed": True, "refusals_say_errors": True, "max_records": 2}
    assert client.post("/_sandbox/options", json=changed).json()["max_records"] == 2
    assert send(client, null).status_code == 200
    assert client.post("/v1/products", json={"data": [translated]}).status_code == 200
    assert send(client, LIKE, LIKE, LIKE).status_code == 413
    assert send(client, LIKE).request.headers["x-api-key"] == "key"
    denied = client.get("/v1/users/u", headers={"X-API-KEY": "no"})
    assert denied.json() == {"errors": True, "message": "invalid api key."}
    assert client.post("/_sandbox/options", json={"nope": 1}).status_code == 400
    client.post("/_sandbox/options", json={"max_bytes": 10})
    assert send(client, LIKE).status_code == 413


def test_deduplication_by_uuid_keeps_the_newest(client: httpx.Client, sandbox: MisoSandbox) -> None:
    sandbox.options.deduplicate = True
    same = {"context": {"custom_context": {"uuid": "x"}}}
    send(client, {**LIKE, **same}, LIKE, LIKE)
    send(client, {"type": "share", **same})
    assert client.get("/_sandbox/state").json()["by_type"] == {"like": 2, "share": 1}
    assert '"share"' in client.get("/_sandbox/records").text.splitlines()[0]


async def test_runs_without_a_server() -> None:
    sandbox = MisoSandbox("k", options=Options(keep=False))
    transport = httpx.ASGITransport(app=sandbox.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://miso", headers={"X-API-KEY": "k"}) as client:
        assert (await client.post("/v1/interactions", json={"data": [LIKE]})).status_code == 200
        await client.post("/_sandbox/faults", json={"action": {"reset": "after"}})
        with pytest.raises(ConnectionResetError):
            await client.post("/v1/interactions", json={"data": [LIKE]})
    assert sandbox.held.interactions.total() == 2


def test_runs_as_a_process() -> None:
    arguments = ["--schema", str(OWN_SCHEMA), "--store-wire"]
    with sandbox_process("other", *arguments) as url:
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=url, headers={"X-API-KEY": "other"}) as client:
            send(client, LIKE)
            assert b"like" in client.get("/_sandbox/wire/1").content
            with_reset = {"action": {"reset": "after"}}
            client.post("/_sandbox/faults", json=with_reset)
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                send(client, LIKE)
            assert client.get("/_sandbox/state").json()["interactions"] == 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_process_that_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not start"), sandbox_process("k", "--schema", str(tmp_path / "none")):
        pass


@pytest.mark.skipif(not PUBLISHED.exists(), reason="Miso's OpenAPI document is not here")
def test_the_published_document_and_the_own_schema_judge_alike() -> None:
    own, published = Schema(), Schema(PUBLISHED)
    assert own.names == published.names
    assert len(own.names) == 29
    for kind in own.names:
        records = [{"type": kind, name: value} for name in ATTRIBUTES for value in ("x", 1.5, ["x"], {"page": 1}, None)]
        found = own.check("interactions", records)
        assert found
        assert found == published.check("interactions", records)
    products = [{"product_id": "p", name: value} for name in ATTRIBUTES for value in ("x", 6, ["x"], {"a": 1}, None)]
    assert own.check("products", products) == published.check("products", products)
