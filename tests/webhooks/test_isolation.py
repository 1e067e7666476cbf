"""Nothing of one instance opens another: every route of every connector, taken from the route tables."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import misoflow_webhooks.routes
import pytest
from misoflow.config import load
from misoflow.connector import Connector
from misoflow.registry import config_type, installed, load_connector
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.domains import pixel_key

from tests.webhooks import conftest as parts

Server = Any
Sent = tuple[str, str, bytes | None, dict[str, str]]
"""Method, path below the instance, body, headers."""


def secrets(name: str) -> dict[str, str]:
    return {kind: f"{kind}-of-{name}-" + "x" * 22 for kind in ("secret", "token", "key")}


def segment_settings(name: str) -> dict[str, Any]:
    own = secrets(name)
    return {"shared_secret": own["secret"], "batch_token": own["token"], "write_key": own["key"]}


EVENT = {"type": "track", "event": "Product Viewed", "userId": "u", "properties": {"product_id": "p"}}


def _hook(own: dict[str, str], method: str) -> Sent:
    body = json.dumps({**EVENT, "messageId": "hook"}).encode()
    return method, "", body, {"x-signature": hmac.new(own["secret"].encode(), body, hashlib.sha1).hexdigest()}


def _token(own: dict[str, str], method: str) -> Sent:
    _, _, body, headers = _hook(own, method)
    return method, f"t/{own['token']}", body, headers


def _tracking(own: dict[str, str], method: str) -> Sent:
    if method == "GET":
        return _pixel(own, method)
    user = base64.b64encode(f"{own['key']}:".encode()).decode()
    body = json.dumps({**EVENT, "messageId": f"tracking-{method}"}).encode()
    return method, "v1/track", body, {"authorization": f"Basic {user}"}


def _pixel(own: dict[str, str], method: str) -> Sent:
    call = {**EVENT, "messageId": "pixel", "writeKey": own["key"]}
    data = base64.urlsafe_b64encode(json.dumps(call).encode()).decode()
    return method, f"v1/pixel/track?data={data}", None, {}


def mixpanel_settings(name: str) -> dict[str, Any]:
    own = secrets(name)
    cohorts = {"user": "miso", "passwords": [own["key"]]}
    return {"project_id": 1, "username": "account", "secret": own["secret"], "cohorts": cohorts}


def _cohort(own: dict[str, str], method: str) -> Sent:
    user = base64.b64encode(f"miso:{own['key']}".encode()).decode()
    sync = {"action": "add_members", "parameters": {"mixpanel_cohort_name": "c", "members": []}}
    return method, "cohorts", json.dumps(sync).encode(), {"authorization": f"Basic {user}"}


def http_settings(name: str) -> dict[str, Any]:
    own = secrets(name)
    return {"api_key": own["key"], "auth": "bearer", "secret": own["token"]}


def _bearer(own: dict[str, str], method: str) -> Sent:
    return method, "", b'{"event":"x"}', {"authorization": f"Bearer {own['token']}"}


def _upload(path: str, body: dict[str, Any]) -> Callable[[dict[str, str], str], Sent]:
    def sent(own: dict[str, str], method: str) -> Sent:
        return method, path, json.dumps(body).encode(), {"x-api-key": own["key"]}

    return sent


def _interactions(own: dict[str, str], method: str) -> Sent:
    body: dict[str, Any] = {"user_ids": ["u"]} if method == "DELETE" else {"data": [{"type": "like", "user_id": "u"}]}
    return method, f"v1/interactions?api_key={own['key']}", json.dumps(body).encode(), {}


HTTP = {
    **{"": _bearer, "v1/interactions": _interactions},
    **{
        "v1/products": _upload("v1/products", {"data": [{"product_id": "p"}]}),
        "v1/products/*": _upload("v1/products/P", {}),
    },
    **{"v1/users": _upload("v1/users", {"data": [{"user_id": "u"}]}), "v1/users/*": _upload("v1/users/U", {})},
    "v1/products/_delete": _upload("v1/products/_delete", {"data": {"product_ids": ["p"]}}),
    "v1/users/_delete": _upload("v1/users/_delete", {"data": {"user_ids": ["u"]}}),
    "v1/products/_status/*": _upload("v1/products/_status/1", {}),
    "v1/users/_status/*": _upload("v1/users/_status/1", {}),
    **{path: _upload(path.replace("*", "other"), {}) for path in ("v1/*", "v1/*/*", "v1/*/*/*")},
}

SHOP = "isolated-shop.myshopify.com"


def shopify_settings(name: str) -> dict[str, Any]:
    return {"client_id": "app", "client_secret": secrets(name)["secret"], "shop": SHOP}


def _shop_hook(own: dict[str, str], method: str) -> Sent:
    body = b'{"id": 1, "title": "Mug"}'
    code = base64.b64encode(hmac.new(own["secret"].encode(), body, hashlib.sha256).digest()).decode()
    headers = {"x-shopify-topic": "products/update", "x-shopify-shop-domain": SHOP, "x-shopify-webhook-id": "w1"}
    return method, "", body, {**headers, "x-shopify-hmac-sha256": code}


def _shop_pixel(own: dict[str, str], method: str) -> Sent:
    config = ShopifyConfig.model_validate({"client_id": "app", "client_secret": own["secret"]})
    event = {"id": "e1", "name": "page_viewed", "clientId": "c1", "timestamp": "2026-11-01T10:00:00Z", "data": {}}
    body = {"v": 1, "consent": {"analytics": True}, "event": event}
    return method, f"pixel/{pixel_key(config, SHOP)}", json.dumps(body).encode(), {"user-agent": "Mozilla/5.0"}


ROUTES: dict[str, tuple[Callable[[str], dict[str, Any]], dict[str, Callable[[dict[str, str], str], Sent]]]] = {
    "http": (http_settings, HTTP),
    "mixpanel": (mixpanel_settings, {"cohorts": _cohort}),
    "segment": (segment_settings, {"": _hook, "t/*": _token, "v1/*": _tracking, "v1/pixel/*": _pixel}),
    "shopify": (shopify_settings, {"": _shop_hook, "pixel/*": _shop_pixel}),
}
"""Every connector that takes deliveries, and a genuine delivery to each of its routes."""


def made(connector: str, name: str) -> Any:
    kind = load_connector(connector)
    config = config_type(kind).model_validate(ROUTES[connector][0](name))
    return kind, config


CASES = [
    (connector, route.path, method)
    for connector in ROUTES
    for route in made(connector, "alpha")[0](made(connector, "alpha")[1]).routes
    for method in route.methods
    if not route.ledger and route.path not in ("v1/*", "v1/*/*", "v1/*/*/*")
]
LEDGERS = [("http", "v1/products/_status/*", "GET"), ("http", "v1/users/_status/*", "GET")]
"""Routes that take nothing in, but tell of what was."""
ELSEWHERE = [("http", path, method) for path in ("v1/*", "v1/*/*", "v1/*/*/*") for method in ("GET", "POST")]
"""Routes that take nothing in, but tell who has a key where to ask."""


def test_every_route_is_listed_here() -> None:
    for connector in installed():
        kind = load_connector(connector)
        if connector not in ROUTES:
            assert kind.verify is Connector.verify, f"{connector} takes deliveries: list its routes here"
            continue
        live = kind(made(connector, "alpha")[1])
        assert {route.path for route in live.routes} == set(ROUTES[connector][1])


@pytest.fixture(params=sorted(ROUTES))
def two(request: pytest.FixtureRequest, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(misoflow_webhooks.routes, "load_connector", load_connector)
    instances = {}
    for name in ("alpha", "beta"):
        instances[name] = parts.instance(request.param)
        instances[name].config = made(request.param, name)[1]
    server = start(parts.make_settings(tmp_path / "var", **instances))
    server.connector = request.param
    return server


def send(server: Server, instance: str, sent: Sent) -> Any:
    method, path, body, headers = sent
    url = f"/hooks/{instance}/{path}" if path else f"/hooks/{instance}"
    return server.request(method, url, body, {"content-type": "application/json", **headers})


@pytest.mark.parametrize(("two", "path", "method"), CASES, indirect=["two"])
def test_a_genuine_delivery_opens_its_own_instance_only(two: Server, path: str, method: str) -> None:
    build = ROUTES[two.connector][1][path]
    for own, other in (("alpha", "beta"), ("beta", "alpha")):
        sent = build(secrets(own), method)
        before = len(two.stored())
        refused, unknown = send(two, other, sent), send(two, "nobody", sent)
        assert refused.status == unknown.status == 401
        assert len(two.stored()) == before
        assert send(two, own, sent).status in (200, 204)
        stored = two.stored()
        assert [delivery.instance for delivery in stored[before:]] == [own]


@pytest.mark.parametrize(("two", "path", "method"), [*CASES, *LEDGERS, *ELSEWHERE], indirect=["two"])
def test_strangers_learn_nothing(two: Server, path: str, method: str) -> None:
    sent = ROUTES[two.connector][1][path](dict.fromkeys(("secret", "token", "key"), "x" * 30), method)
    known, unknown = send(two, "alpha", sent), send(two, "nobody", sent)
    assert known.status == unknown.status == 401
    assert known.headers.keys() - {"access-control-allow-origin"} == unknown.headers.keys()
    assert b"alpha" not in known.body
    assert not two.stored()


@pytest.mark.parametrize(("two", "path", "method"), ELSEWHERE, indirect=["two"])
def test_what_is_asked_of_the_wrong_house_is_not_taken_in(two: Server, path: str, method: str) -> None:
    answer = send(two, "alpha", HTTP[path](secrets("alpha"), method))
    assert (answer.status, answer.json["message"][-4:]) == (400, "else")
    assert not two.stored()


def test_nobody_is_told_of_another_instances_delivery(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(misoflow_webhooks.routes, "load_connector", load_connector)
    file = tmp_path / "plugins.toml"
    keys = {name: f'[instances.{name}]\nconnector = "http"\napi_key = "{secrets(name)["key"]}"\n' for name in NAMES}
    file.write_text('[miso]\napi_key = "k"\n' + "".join(keys.values()))
    two = start(load(file, strict=True))
    for number, name in enumerate(NAMES, start=1):
        sent = send(two, name, HTTP["v1/products"](secrets(name), "POST"))
        assert sent.json["data"]["task_id"] == str(number)
    for own, other, number in (("alpha", "beta", 1), ("beta", "alpha", 2)):
        ask = _upload(f"v1/products/_status/{number}", {})(secrets(own), "GET")
        assert send(two, own, ask).json["records"] == {"pending": 1}
        assert send(two, other, ask).status == 401
        ask = _upload(f"v1/products/_status/{number}", {})(secrets(other), "GET")
        assert send(two, other, ask).status == 404


NAMES = ("alpha", "beta")


def test_every_ledger_is_listed() -> None:
    routes = ((kind, route) for kind in ROUTES for route in made(kind, "alpha")[0](made(kind, "alpha")[1]).routes)
    assert [(kind, route.path, "GET") for kind, route in routes if route.ledger] == LEDGERS


ADMIN = ("/healthz", "/readyz", "/metrics")


def test_the_public_listener_answers_no_admin_route(two: Server) -> None:
    for path in (*ADMIN[1:], "/", "/docs", "/openapi.json", "/status", "/hooks", "/_sandbox/state"):
        assert two.request("GET", path).status == 404
    assert two.request("GET", "/healthz").body == b'{"status":"ok"}'


def test_the_admin_listener_has_these_routes_only(two: Server) -> None:
    from misoflow_webhooks.admin import admin_app

    assert {route.path for route in admin_app(None, None).routes} == set(ADMIN)  # type: ignore[arg-type, attr-defined]
    assert two.admin("/hooks/alpha").status == 404


@pytest.mark.parametrize("two", ["segment"], indirect=True)
def test_an_instance_is_not_reached_around_its_name(two: Server) -> None:
    sent = _hook(secrets("beta"), "POST")
    for path in ("alpha/../beta", "alpha/%2e%2e/beta", "alpha//beta", "beta%2f..%2falpha", "alpha/beta", "*", ""):
        assert send(two, path, sent).status == 401, path
    assert not two.stored()
