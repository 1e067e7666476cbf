"""Every status and body that Miso documents for its ingest API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

NOT_INSERTED = (
    "None of the records were inserted because at least one of them contained schema errors. "
    "Please see the `data` field for details."
)
ARE_INSERTED = (
    "None of the records are inserted, because at least one of them contain schema errors. "
    "Please see `data` field for details."
)
BOT = {
    "message": "Request is denied due to bot blocking. "
    "Please only access this API from a real browser or use Secret API Key instead."
}
GOOD = {"type": "like", "product_ids": ["p1"], "user_id": "u1", "timestamp": "2026-01-01T00:00:00.000Z"}


def upload(client: httpx.Client, kind: str, *records: Any, **options: Any) -> httpx.Response:
    return client.post(f"/v1/{kind}", json={"data": records}, **options)


def state(client: httpx.Client) -> Any:
    return client.get("/_sandbox/state").json()


def task_of(client: httpx.Client, kind: str, answer: httpx.Response) -> Any:
    return client.get(f"/v1/{kind}/_status/{answer.json()['data']['task_id']}").json()


def test_takes_interactions(client: httpx.Client) -> None:
    answer = upload(client, "interactions", GOOD, {"type": "home_page_view", "anonymous_id": "a"})
    assert (answer.status_code, answer.json()) == (200, {"message": "success"})
    found = state(client)
    assert found["interactions"] == 2
    assert found["by_type"] == {"home_page_view": 1, "like": 1}


def test_one_bad_interaction_refuses_all(client: httpx.Client) -> None:
    bad = {"type": "like", "product_ids": "p1", "timestamp": "yesterday"}
    answer = upload(client, "interactions", GOOD, bad)
    assert answer.status_code == 422
    assert answer.json() == {
        "errors": True,
        "message": NOT_INSERTED,
        "data": [
            "data.1.product_ids is invalid. "
            "The attribute was expected to be of type ''array', 'null'' but type 'string' was given.",
            "data.1.timestamp is invalid. The attribute should match the 'date-time' format.",
        ],
    }
    assert state(client)["interactions"] == 0


@pytest.mark.parametrize(("kind", "key"), [("products", "product_id"), ("users", "user_id")])
def test_one_bad_product_or_user_refuses_all(client: httpx.Client, kind: str, key: str) -> None:
    answer = upload(client, kind, {key: ["a"], "created_at": "x"}, {key: "good"})
    assert answer.status_code == 422
    assert answer.json() == {
        "errors": True,
        "message": ARE_INSERTED,
        "data": [
            f"data.0.{key} is invalid. The attribute expected to be of type 'string', but 'array' is given.",
            "data.0.created_at is invalid. The attribute should match 'date-time' format.",
        ],
    }
    assert client.get(f"/v1/{kind}/_ids").status_code == 404


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"type": "custom"}, "data.0.custom_action_name is invalid. The attribute is required."),
        ({"user_id": "u"}, "data.0.type is invalid. The attribute is required."),
        ({**GOOD, "price": 3}, "data.0.price is invalid. The attribute is not allowed."),
        (
            {**GOOD, "user_id": "x" * 513},
            "data.0.user_id is invalid. The attribute should have at most 512 characters.",
        ),
        ({**GOOD, "miso_id": "x"}, "data.0.miso_id is invalid. The attribute should match the 'uuid' format."),
        (
            {**GOOD, "timestamp": "2026-01-01T00:00:00"},
            "data.0.timestamp is invalid. The attribute should match the 'date-time' format.",
        ),
        ({**GOOD, "context": {"page": {}}}, "data.0.context.page.url is invalid. The attribute is required."),
        (
            {**GOOD, "product_ids": ["a", 1]},
            "data.0.product_ids.1 is invalid. "
            "The attribute was expected to be of type 'string' but type 'integer' was given.",
        ),
        (
            {"type": "add_to_cart", "quantities": True},
            "data.0.quantities is invalid. "
            "The attribute was expected to be of type ''array', 'number', 'null'' but type 'boolean' was given.",
        ),
        (
            {"type": "add_to_cart", "quantities": [1, "x"]},
            "data.0.quantities.1 is invalid. "
            "The attribute was expected to be of type 'number' but type 'string' was given.",
        ),
        (7, "data.0 is invalid. The attribute was expected to be of type 'object' but type 'integer' was given."),
    ],
)
def test_names_what_is_wrong_with_an_interaction(client: httpx.Client, record: Any, line: str) -> None:
    assert upload(client, "interactions", record).json()["data"] == [line]


@pytest.mark.parametrize(
    ("kind", "record", "line"),
    [
        (
            "products",
            {"product_id": "p", "condition": "BROKEN"},
            "data.0.condition (BROKEN) is invalid. The attribute should be one of 'NEW', 'USED', 'REFURBISHED'.",
        ),
        (
            "products",
            {"product_id": "p", "url": "/p"},
            "data.0.url is invalid. The attribute should match 'uri' format.",
        ),
        (
            "products",
            {"product_id": "_p"},
            "data.0.product_id is invalid. The attribute should match the '^([^_,][^,]*)?$' pattern.",
        ),
        (
            "products",
            {"product_id": "p", "parent_id": ""},
            "data.0.parent_id is invalid. The attribute should have at least 1 characters.",
        ),
        ("products", {"product_id": "p", "rating": 6}, "data.0.rating is invalid. The attribute should be at most 5."),
        ("products", {"product_id": "p", "price": 1}, "data.0.price is invalid. The attribute is not allowed."),
        (
            "users",
            {"user_id": "u", "age": 1.5},
            "data.0.age is invalid. The attribute expected to be of type ''integer', 'null'', but 'number' is given.",
        ),
    ],
)
def test_names_what_is_wrong_with_a_product_or_user(client: httpx.Client, kind: str, record: Any, line: str) -> None:
    assert upload(client, kind, record).json()["data"] == [line]


def test_an_unknown_type_names_those_there_are(client: httpx.Client) -> None:
    (line,) = upload(client, "interactions", {"type": "purchase"}).json()["data"]
    assert line.startswith("data.0.type (purchase) is invalid. The attribute should be one of 'add_to_cart', ")


def test_several_errors_of_a_record_are_several_lines(client: httpx.Client) -> None:
    lines = upload(client, "interactions", {**GOOD, "a": 1, "b": 2, "user_id": 3}).json()["data"]
    assert sorted(line.split(" ")[0] for line in lines) == ["data.0.a", "data.0.b", "data.0.user_id"]


@pytest.mark.parametrize("headers", [{"X-API-KEY": "wrong"}, {"X-API-KEY": ""}])
def test_a_wrong_key_is_refused_without_errors(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = upload(client, "interactions", GOOD, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"message": "invalid api key."})
    assert state(client)["interactions"] == 0


def test_the_key_may_stand_in_the_query_and_is_not_kept(client: httpx.Client) -> None:
    answer = upload(client, "interactions", GOOD, headers={"X-API-KEY": ""}, params={"api_key": "key"})
    assert answer.status_code == 200
    assert [one["path"] for one in client.get("/_sandbox/wire").json()] == ["/v1/interactions"]


def test_a_publishable_key_is_for_browsers_interactions(client: httpx.Client) -> None:
    browser = {"X-API-KEY": "key-publishable", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    assert upload(client, "interactions", GOOD, headers=browser).status_code == 200
    script = upload(client, "interactions", GOOD, headers={"X-API-KEY": "key-publishable"})
    assert (script.status_code, script.json()) == (403, BOT)
    other = upload(client, "users", {"user_id": "u"}, headers=browser)
    assert (other.status_code, other.json()) == (403, BOT)
    forget = client.request("DELETE", "/v1/interactions", json={"user_ids": ["u"]}, headers=browser)
    assert forget.status_code == 403


def test_a_playground_key_cannot_write(client: httpx.Client) -> None:
    answer = upload(client, "interactions", GOOD, headers={"X-API-KEY": "key-playground"})
    assert answer.status_code == 400
    assert "playground" in answer.json()["message"]
    assert "errors" not in answer.json()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{}", {"loc": ["body", "data"], "msg": "field required", "type": "value_error.missing"}),
        (b"", {"loc": ["body"], "msg": "field required", "type": "value_error.missing"}),
        (b'{"data":{}}', {"loc": ["body", "data"], "msg": "value is not a valid list", "type": "type_error.list"}),
        (b"[1]", {"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}),
    ],
)
def test_a_wrong_envelope_has_the_other_shape(client: httpx.Client, content: bytes, detail: Any) -> None:
    answer = client.post("/v1/interactions", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (422, {"detail": [detail]})


@pytest.mark.parametrize("content", [b"{", b'{"data":[NaN]}', b'{"data":["\xff"]}', b"\x1f\x8b\x08\x00"])
def test_a_body_that_is_not_json_has_the_other_shape(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/v1/products", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "value_error.jsondecode"


def test_a_body_must_be_declared_as_json(client: httpx.Client) -> None:
    answer = client.post("/v1/users", content=b'{"data":[]}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]


def test_dry_run_checks_and_changes_nothing(client: httpx.Client) -> None:
    for kind, record in (("interactions", GOOD), ("products", {"product_id": "p"}), ("users", {"user_id": "u"})):
        assert upload(client, kind, record, params={"dry_run": "1"}).status_code == 200
        assert upload(client, kind, {**record, "nope": 1}, params={"dry_run": "1"}).status_code == 422
    found = state(client)
    assert (found["interactions"], found["products"], found["users"]) == (0, {}, {})
    assert client.get("/v1/products/_ids").status_code == 404


def test_deletes_the_interactions_of_users(client: httpx.Client) -> None:
    upload(client, "interactions", GOOD, {**GOOD, "user_id": "u2"}, {**GOOD, "user_id": "u2"})
    answer = client.request("DELETE", "/v1/interactions", json={"user_ids": ["u2", "nobody"]})
    assert (answer.status_code, answer.json()) == (200, {"message": "success"})
    found = state(client)
    assert found["by_type"] == {"like": 1}
    assert found["deleted_users"] == found["forgotten"] == ["u2", "nobody"]
    (left,) = client.get("/_sandbox/records", params={"kind": "interactions"}).text.splitlines()
    assert '"u1"' in left


@pytest.mark.parametrize("body", [{"data": {"user_ids": ["u"]}}, {"user_ids": "u"}, {"user_ids": [1]}])
def test_a_deletion_of_another_shape_is_refused(client: httpx.Client, body: Any) -> None:
    upload(client, "interactions", {**GOOD, "user_id": "u"})
    answer = client.request("DELETE", "/v1/interactions", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", "user_ids"]
    assert state(client)["interactions"] == 1


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    assert client.post("/v1/products/_merge", json={}).status_code == 405
    assert client.get("/v1/interactions").status_code == 405
    answer = client.get("/v2/products")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
