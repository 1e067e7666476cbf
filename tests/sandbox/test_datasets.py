"""Products and users: replaced whole, asynchronous, one data type per custom attribute."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from misoflow_sandbox.miso import MisoSandbox

KINDS = [("products", "product_id"), ("users", "user_id")]


def upload(client: httpx.Client, kind: str, *records: Any) -> str:
    answer = client.post(f"/v1/{kind}", json={"data": records})
    body = answer.json()
    assert (answer.status_code, body["message"]) == (200, "success"), answer.text
    task: str = body["data"]["task_id"]
    return task


def status(client: httpx.Client, kind: str, task: str) -> Any:
    return client.get(f"/v1/{kind}/_status/{task}").json()


@pytest.mark.parametrize(("kind", "key"), KINDS)
def test_a_record_is_replaced_whole(client: httpx.Client, kind: str, key: str) -> None:
    upload(client, kind, {key: "a", "description": "long"})
    upload(client, kind, {key: "a", "custom_attributes": {"x": 1}})
    answer = client.get(f"/v1/{kind}/a")
    assert answer.json() == {"message": "success", "data": {key: "a", "custom_attributes": {"x": 1}}}
    assert client.get("/_sandbox/state").json()[kind] == {"a": {key: "a", "custom_attributes": {"x": 1}}}


@pytest.mark.parametrize(("kind", "key"), KINDS)
def test_reads_and_deletes_by_id(client: httpx.Client, kind: str, key: str) -> None:
    odd = "a/b c?d%é"
    upload(client, kind, {key: odd}, {key: "other"})
    path = f"/v1/{kind}/a%2Fb%20c%3Fd%25%C3%A9"
    assert client.get(path).json()["data"] == {key: odd}
    answer = client.delete(path)
    assert (answer.status_code, answer.json()["message"]) == (200, "deleted")
    done = status(client, kind, answer.json()["data"]["task_id"])
    assert (done["errors"], done["deleted"], done["not_found"]) == (False, {"count": 1}, {"count": 0})
    gone = client.get(path)
    assert (gone.status_code, gone.json()) == (404, {"message": "not found"})
    assert client.get(f"/v1/{kind}/_ids").json() == {"message": "success", "data": {"ids": ["other"]}}


@pytest.mark.parametrize(("kind", "key"), KINDS)
def test_deletes_many(client: httpx.Client, kind: str, key: str) -> None:
    upload(client, kind, {key: "a"}, {key: "b"}, {key: "c"})
    answer = client.post(f"/v1/{kind}/_delete", json={"data": {f"{key}s": ["a", "c", "z"]}})
    done = status(client, kind, answer.json()["data"]["task_id"])
    assert (done["deleted"], done["not_found"]) == ({"count": 2}, {"count": 1})
    assert client.get(f"/v1/{kind}/_ids").json()["data"]["ids"] == ["b"]
    assert client.get("/_sandbox/state").json()["deleted_users"] == (["a", "c", "z"] if kind == "users" else [])


@pytest.mark.parametrize(
    "body", [{}, {"data": []}, {"data": {}}, {"data": {"product_ids": "a"}}, {"product_ids": ["a"]}]
)
def test_a_deletion_of_another_shape_is_refused(client: httpx.Client, body: Any) -> None:
    answer = client.post("/v1/products/_delete", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", "data"]


def test_an_id_is_at_most_512_characters(client: httpx.Client) -> None:
    answer = client.get("/v1/products/" + "x" * 513)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["path", "product_id"]


def test_there_are_no_ids_before_the_data_set(client: httpx.Client) -> None:
    answer = client.get("/v1/products/_ids")
    assert (answer.status_code, answer.json()) == (404, {"message": "not found"})
    upload(client, "products", {"product_id": "a", "type": "book"}, {"product_id": "b"})
    client.delete("/v1/products/b")
    assert client.get("/v1/products/_ids").json()["data"]["ids"] == ["a"]
    assert client.get("/v1/products/_ids", params={"type": "book"}).json()["data"]["ids"] == ["a"]
    assert client.get("/v1/products/_ids", params={"type": "film"}).json()["data"]["ids"] == []
    client.delete("/v1/products/a")
    assert client.get("/v1/products/_ids").json()["data"]["ids"] == []


def test_a_clash_of_attribute_types_shows_in_the_task(client: httpx.Client) -> None:
    upload(client, "products", {"product_id": "a", "custom_attributes": {"designer": "Ada", "tags": []}})
    task = upload(
        client,
        "products",
        {"product_id": "b", "custom_attributes": {"designer": "Bo", "tags": ["x"]}},
        {"product_id": "c", "custom_attributes": {"designer": 3}},
        {"product_id": "d", "custom_attributes": {"tags": [1.5], "new": 1}},
    )
    done = status(client, "products", task)
    assert (done["errors"], done["data"]) == (
        True,
        [
            "data.1.custom_attributes.designer is invalid. Its data type is not consistent with other records",
            "data.2.custom_attributes.tags is invalid. Its data type is not consistent with other records",
        ],
    )
    assert list(client.get("/_sandbox/state").json()["products"]) == ["a", "b"]
    assert status(client, "products", upload(client, "products", {"product_id": "e"}))["errors"] is False
    users = upload(client, "users", {"user_id": "u", "custom_attributes": {"designer": 3}})
    assert status(client, "users", users)["errors"] is False


def test_whole_and_broken_numbers_are_one_type(client: httpx.Client) -> None:
    upload(client, "users", {"user_id": "a", "custom_attributes": {"x": 1, "flag": True}})
    task = upload(
        client,
        "users",
        {"user_id": "b", "custom_attributes": {"x": 1.5}},
        {"user_id": "c", "custom_attributes": {"flag": 1}},
    )
    assert [line.split(" ")[0] for line in status(client, "users", task)["data"]] == ["data.1.custom_attributes.flag"]


def test_a_task_is_done_after_its_delay(client: httpx.Client, sandbox: MisoSandbox, clock: Any) -> None:
    client.post("/_sandbox/options", json={"task_delay": 30})
    task = upload(client, "products", {"product_id": "a"})
    assert "errors" not in status(client, "products", task)
    assert client.get("/v1/products/a").status_code == 404
    assert client.get("/_sandbox/state").json()["tasks_pending"] == 1
    clock.now += 31
    assert status(client, "products", task) == {"took": 100, "errors": False, "data": [], "code": 200}
    assert client.get("/v1/products/a").status_code == 200
    assert client.get(f"/v1/users/_status/{task}").status_code == 404
    assert client.get("/v1/products/_status/unknown").json() == {"message": "not found"}


def test_a_refused_record_does_not_set_the_type(client: httpx.Client) -> None:
    attributes = [{"x": 1}, {"x": "text"}, {"x": 2}]
    users = [{"user_id": f"u{n}", "custom_attributes": one} for n, one in enumerate(attributes)]
    done = status(client, "users", upload(client, "users", *users))
    assert [line.split(" ")[0] for line in done["data"]] == ["data.1.custom_attributes.x"]


def test_a_replaced_record_is_the_newest(client: httpx.Client) -> None:
    upload(client, "users", {"user_id": "a"}, {"user_id": "b"})
    upload(client, "users", {"user_id": "a"})
    assert client.get("/_sandbox/records?kind=users").content == b'{"user_id":"b"}\n{"user_id":"a"}\n'
