"""The whole way as real processes: calls of Miso's API and signed JSON in, records at the sandbox, tasks answered."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from misoflow import sign_hmac
from misoflow.config import load
from misoflow.inbox import InboxReader
from misoflow.status import dead_letters
from misoflow.vault import Vault

from tests.harness.world import World
from tests.http.kit import AT, KEY, PAGE_KEY, SECRET, like
from tests.real.expected import settled
from tools.generate_mapping_docs import DOCS

if TYPE_CHECKING:
    from tests.conftest import StartWorld

PAGE = DOCS / "http.md"
TOML = f"""
[instances.site]
connector = "http"
api_key = "{KEY}"
publishable_key = "{PAGE_KEY}"
origins = ["https://shop.example"]

[instances.crm]
connector = "http"
auth = "hmac"
secret = "{SECRET}"
signature_header = "x-hub-signature-256"
signature_prefix = "sha256="
id_path = "id"
time_path = "at"

[[instances.crm.rules]]
match = "order.paid"
type = "checkout"
user_id = "$.customer"
product_ids = {{ "@arrayPath" = ["$.lines", {{ "@path" = "$.sku" }}] }}
revenue = "$.total"
"""


@pytest.fixture(scope="module")
def world(live: StartWorld) -> World:
    return live(TOML)


class Said:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers = answer.status, {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(base: str, path: str, data: Any = None, method: str = "POST", **headers: str) -> Said:
    """One request; header names with underscores."""
    body = data if isinstance(data, bytes | None) else json.dumps(data).encode()
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=15)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Said(connection.getresponse())
    finally:
        connection.close()


def api(world: World, path: str, data: Any = None, method: str = "POST", **headers: str) -> Said:
    return ask(world.hooks, f"/hooks/site/v1/{path}", data, method, **{"x_api_key": KEY, **headers})


def finished(world: World, kind: str, task: str) -> Any:
    """The task's last answer, as Miso's own clients wait for it: until ``errors`` is there."""
    for _ in range(300):
        said = api(world, f"{kind}/_status/{task}", method="GET")
        assert said.status == 200
        if "errors" in said.json:
            return said.json
        time.sleep(0.1)
    raise AssertionError(said.json)


def held(world: World, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in world.get(f"/_sandbox/records?kind={kind}").splitlines()]


def test_interactions_arrive_once_however_often_the_call_is_made(world: World) -> None:
    body = {"data": [like(user_id="once"), like(user_id="once"), like(user_id="once", product_ids=["p2"])]}
    before = world.status()["instances"]["site"]["accepted"]
    for _ in range(3):
        said = api(world, "interactions", body)
        assert (said.status, said.json) == (200, {"message": "success"})
    settled(world, "site", before + 3)
    mine = [one for one in held(world, "interactions") if one.get("user_id") == "once"]
    assert sorted(one["product_ids"][0] for one in mine) == ["p1", "p1", "p2"]
    assert len({one["context"]["custom_context"]["uuid"] for one in mine}) == 3


def test_a_task_says_what_became_of_each_record(world: World) -> None:
    products = [{"product_id": "Lamp", "title": "A lamp"}, {"product_id": "_no"}, {"product_id": "Chair"}]
    said = api(world, "products", {"data": products})
    assert said.json["message"] == "success"
    task = said.json["data"]["task_id"]
    end = finished(world, "products", task)
    assert end["errors"] is True
    assert end["data"] == ["data.1.product_id is invalid. must not start with '_'"]
    assert end["records"] == {"delivered": 2, "dead": 1}
    assert {"Lamp", "Chair"} <= {one["product_id"] for one in held(world, "products")}
    again = api(world, "products", {"data": products[:1]}).json["data"]["task_id"]
    assert again != task
    assert finished(world, "products", again) == {
        **{"took": 0, "errors": False, "data": [], "code": 200, "records": {"delivered": 1}}
    }


@pytest.mark.parametrize("number", ["0", "999999", "x", "1" * 400, "-1", "%31", "1.5"])
def test_a_task_that_is_none_is_404(world: World, number: str) -> None:
    said = api(world, f"products/_status/{number}", method="GET")
    # delivery 1 is one of this instance's
    assert said.status == (200 if number == "%31" else 404)


def test_what_miso_refuses_is_told_in_its_words(world: World) -> None:
    world.faults([{"match": {"path": "/v1/users"}, "bad_ids": ["refused-user"]}])
    task = api(world, "users", {"data": [{"user_id": "u-good"}, {"user_id": "refused-user"}]}).json["data"]["task_id"]
    end = finished(world, "users", task)
    world.faults([])
    assert end["records"] == {"delivered": 1, "dead": 1}
    (line,) = end["data"]
    assert line.startswith("data.1")
    assert line.count(" is invalid. ") == 1


def test_deletes_reach_miso_even_of_what_we_never_delivered(world: World) -> None:
    ask(world.miso, "/v1/products", {"data": [{"product_id": "Old-1"}, {"product_id": "Old-2"}]}, x_api_key="sandbox")
    ask(world.miso, "/v1/users", {"data": [{"user_id": "Old-U"}]}, x_api_key="sandbox")
    api(world, "interactions", {"data": [like(user_id="Old-U")]})
    one = api(world, "products/Old-1", method="DELETE")
    assert one.json["message"] == "deleted"
    many = api(world, "products/_delete", {"data": {"product_ids": ["Old-2", "nowhere"]}})
    user = api(world, "users/Old-U", b"{}", method="DELETE")
    for kind, said in (("products", one), ("products", many), ("users", user)):
        assert finished(world, kind, said.json["data"]["task_id"])["errors"] is False
    assert not {"Old-1", "Old-2"} & {one["product_id"] for one in held(world, "products")}
    assert "Old-U" not in {one["user_id"] for one in held(world, "users")}
    settled(world, "site", 0)
    assert [one["type"] for one in held(world, "interactions") if one.get("user_id") == "Old-U"] == ["like"]


def test_a_deleted_product_can_come_again(world: World) -> None:
    for call in range(2):
        task = api(world, "products", {"data": [{"product_id": "Back"}]}).json["data"]["task_id"]
        finished(world, "products", task)
        assert "Back" in {one["product_id"] for one in held(world, "products")}, call
        task = api(world, "products/Back", method="DELETE").json["data"]["task_id"]
        finished(world, "products", task)
        assert "Back" not in {one["product_id"] for one in held(world, "products")}, call


def test_the_interactions_of_a_user_are_deleted(world: World) -> None:
    before = settled(world, "site", 0)["accepted"]
    api(world, "interactions", {"data": [like(user_id="leaving")]})
    settled(world, "site", before + 1)
    assert api(world, "interactions", {"user_ids": ["leaving"]}, method="DELETE").json == {"message": "success"}
    settled(world, "site", before + 2)
    assert "leaving" not in {one.get("user_id") for one in held(world, "interactions")}


def test_gzip_is_taken_and_a_broken_one_refused(world: World) -> None:
    body = json.dumps({"data": [like(user_id="zipped")]}).encode()
    before = settled(world, "site", 0)["accepted"]
    assert api(world, "interactions", gzip.compress(body), content_encoding="gzip").status == 200
    said = api(world, "interactions", gzip.compress(body)[:-9], content_encoding="gzip")
    assert (said.status, said.json["errors"]) == (400, True)
    bomb = api(world, "interactions", gzip.compress(b" " * (65 * 1024 * 1024)), content_encoding="gzip")
    assert (bomb.status, bomb.json["errors"]) == (413, True)
    settled(world, "site", before + 1)
    assert "zipped" in {one.get("user_id") for one in held(world, "interactions")}


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "interactions", b"", 400),
        ("POST", "interactions", b"{", 400),
        ("POST", "interactions", b'{"data":[' + b"[" * 300 + b"]" * 300 + b"]}", 400),
        ("POST", "interactions", {"data": []}, 400),
        ("POST", "products", [], 400),
        ("POST", "products/_delete", {"data": {}}, 400),
        ("GET", "interactions", None, 400),
        ("GET", "products/_ids", None, 400),
        ("GET", "products/P/x", None, 400),
        ("POST", "search/search", {}, 400),
        ("POST", "bulk", {}, 400),
    ],
)
def test_what_cannot_be_taken_is_told_as_misos_clients_read_it(
    world: World, method: str, path: str, data: Any, status: int
) -> None:
    said = api(world, path, data, method)
    assert said.status == status
    assert said.json["errors"] is True
    assert said.json["message"]


def test_a_wrong_key_is_an_error_even_to_clients_that_look_at_errors_only(world: World) -> None:
    said = api(world, "interactions", {"data": [like()]}, x_api_key="wrong")
    assert (said.status, said.json["errors"]) == (401, True)


def test_a_page_is_let_in_by_its_key_and_origin(world: World) -> None:
    path = f"/hooks/site/v1/interactions?api_key={PAGE_KEY}"
    body = {"data": [{"type": "like", "anonymous_id": "visitor", "product_ids": ["p"]}]}
    before = settled(world, "site", 0)["accepted"]
    good = ask(world.hooks, path, body, origin="https://shop.example", content_type="text/plain;charset=UTF-8")
    assert good.status == 200
    assert good.headers["access-control-allow-origin"] == "https://shop.example"
    assert ask(world.hooks, path, body, origin="https://other.example").status == 403
    settled(world, "site", before + 1)
    (mine,) = [one for one in held(world, "interactions") if one.get("anonymous_id") == "visitor"]
    assert abs(time.time() - time.mktime(time.strptime(mine["timestamp"][:19], "%Y-%m-%dT%H:%M:%S"))) < 86400


def test_keys_stand_neither_in_what_is_stored_nor_in_logs(world: World) -> None:
    path = f"/hooks/site/v1/interactions?api_key={KEY}&async=1"
    assert ask(world.hooks, path, {"data": [like(user_id="query")]}).status == 200
    bad = ask(world.hooks, path, {"data": [like(user_id=None)]})
    assert bad.status == 200
    settled(world, "site", 1)
    settings = load(world.config)
    vault = Vault.from_settings(settings)
    inbox = InboxReader(settings.data, vault)
    stored = [one.request for one in inbox.read(0, 10_000, 1 << 30) if one.request is not None]
    inbox.close()
    assert any(dict(one.query) == {"async": "1"} for one in stored)
    letters = dead_letters(settings, vault, instance="site", limit=10_000)
    everything = repr(stored) + repr([(one.reason, one.path, one.raw) for one in letters]) + world.logs()
    assert KEY not in everything
    assert PAGE_KEY not in everything
    assert any(letter.path == "$.data[0].user_id" for letter in letters)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide shows a call by curl, which is not installed")
def test_the_guides_call_works(world: World) -> None:
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    before = settled(world, "site", 0)["accepted"]
    command = command.replace("https://<your host>", world.hooks)
    done = subprocess.run(["sh", "-c", command], env={**os.environ, "SITE_KEY": KEY}, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"message": "success"}
    settled(world, "site", before + 1)


def test_check_has_nothing_to_say(world: World) -> None:
    command = [sys.executable, "-m", "misoflow", "check", "crm", "--json", "--quiet", "--config", str(world.config)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["text"] for one in found if one["where"] == "instances.crm"] == ["http, deliveries to /hooks/crm"]


@pytest.mark.parametrize("more", [["--path", "v1/interactions"], ["--set", "auth=hmac"]])
def test_explain_needs_no_settings(tmp_path: Path, more: list[str]) -> None:
    file = tmp_path / "call.json"
    file.write_text(json.dumps({"data": [like()]}))
    command = [sys.executable, "-m", "misoflow", "explain", "http", str(file), "--json", *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    (event,) = json.loads(done.stdout)["events"]
    assert event["outcome"] == ("translated" if "--path" in more else "skipped")


def test_json_by_rules_of_a_signed_webhook(world: World) -> None:
    order = {"event": "order.paid", "id": "o-1", "customer": "crm-1", "total": 12.5, "at": AT, "lines": [{"sku": "p1"}]}
    bodies = [json.dumps(order).encode(), json.dumps([order, {"event": "news", "id": 2}, 3]).encode()]
    for body in bodies:
        said = ask(world.hooks, "/hooks/crm", body, x_hub_signature_256="sha256=" + sign_hmac(body, SECRET))
        assert (said.status, said.json) == (200, {"success": True})
    assert ask(world.hooks, "/hooks/crm", bodies[0], x_hub_signature_256="sha256=" + "0" * 64).status == 401
    counts = settled(world, "crm", 3)
    assert {name: counts[name] for name in ("accepted", "delivered", "skipped", "dead", "duplicates")} == {
        **{"accepted": 3, "delivered": 1, "skipped": 1, "dead": 1, "duplicates": 1}
    }
    (mine,) = [one for one in held(world, "interactions") if one.get("user_id") == "crm-1"]
    assert (mine["type"], mine["revenue"], mine["product_ids"]) == ("checkout", 12.5, ["p1"])
    assert mine["timestamp"] == AT
