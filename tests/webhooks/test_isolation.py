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
from misoflow.connector import Connector
from misoflow.registry import config_type, installed, load_connector

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


ROUTES: dict[str, tuple[Callable[[str], dict[str, Any]], dict[str, Callable[[dict[str, str], str], Sent]]]] = {
    "mixpanel": (mixpanel_settings, {"cohorts": _cohort}),
    "segment": (segment_settings, {"": _hook, "t/*": _token, "v1/*": _tracking, "v1/pixel/*": _pixel}),
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
]


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
        assert send(two, own, sent).status == 200
        stored = two.stored()
        assert [delivery.instance for delivery in stored[before:]] == [own]


@pytest.mark.parametrize(("two", "path", "method"), CASES, indirect=["two"])
def test_strangers_learn_nothing(two: Server, path: str, method: str) -> None:
    sent = ROUTES[two.connector][1][path](dict.fromkeys(("secret", "token", "key"), "x" * 30), method)
    known, unknown = send(two, "alpha", sent), send(two, "nobody", sent)
    assert known.status == unknown.status == 401
    assert known.headers.keys() - {"access-control-allow-origin"} == unknown.headers.keys()
    assert b"alpha" not in known.body
    assert not two.stored()


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
