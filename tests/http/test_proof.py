"""Every proof passes as its sender makes it, and everything else is Unauthorized and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from misoflow import Reject, Request, Unauthorized
from misoflow_http.proof import check_sender, signed_content
from misoflow_http.samples import proof
from standardwebhooks import Webhook

from tests.http.kit import KEY, PAGE_KEY, SECRET, call, hook, http, like

BODY = b'{"event":"like","user":"u1"}'
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WAYS: dict[str, dict[str, Any]] = {
    "hex": {"auth": "hmac"},
    "github": {"auth": "hmac", "signature_header": "X-Hub-Signature-256", "signature_prefix": "sha256="},
    "shopify": {"auth": "hmac", "signature_header": "x-shopify-hmac-sha256", "encoding": "base64"},
    "old": {"auth": "hmac", "digest": "sha1"},
    "timed": {
        **{"auth": "hmac", "digest": "sha512", "timestamp_header": "x-time", "signature_prefix": "v0="},
        "signed_content": "v0:{timestamp}:{body}",
    },
    "standard": {"auth": "standard-webhooks", "secret": STANDARD},
    "plain standard": {"auth": "standard-webhooks"},
    "bearer": {"auth": "bearer"},
    "basic": {"auth": "basic", "username": "shöp"},
}
PROVES_THE_BODY = [name for name, way in WAYS.items() if way["auth"] not in ("bearer", "basic")]


def made(way: str, **more: Any) -> Any:
    return http(**{"secret": SECRET, **WAYS[way], **more})


def refused(connector: Any, request: Request) -> None:
    with pytest.raises(Unauthorized):
        connector.verify(request)


def signed(connector: Any, body: bytes = BODY, at: float | None = None) -> dict[str, str]:
    """Headers as the receiver gives them: lower-case names, latin-1 values."""
    return {name.lower(): value for name, value in proof(connector.config, body, at or time.time()).items()}


@pytest.mark.parametrize("way", WAYS)
def test_a_genuine_delivery_passes_and_the_second_secret_too(way: str) -> None:
    connector = made(way)
    headers = signed(connector)
    connector.verify(Request(BODY, headers))
    secret = WAYS[way].get("secret", SECRET)
    made(way, secret=["another-secret-than-before", secret]).verify(Request(BODY, headers))
    refused(made(way, secret="another-secret-than-before"), Request(BODY, headers))


@pytest.mark.parametrize("way", PROVES_THE_BODY)
@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b"", b"\xff\xfe", b"{}"])
def test_a_changed_body_is_refused(way: str, body: bytes) -> None:
    connector = made(way)
    refused(connector, Request(body, signed(connector)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("garbage", ["", " ", "x", "=", "sha256=", "Bearer ", "Basic !!!", "v1,AAAA", "\x00", "é" * 9])
def test_garbage_is_refused(way: str, garbage: str) -> None:
    connector = made(way)
    for name in signed(connector):
        refused(connector, Request(BODY, {**signed(connector), name: garbage}))
    refused(connector, Request(BODY, {}))


@pytest.mark.parametrize("way", ["timed", "standard"])
def test_a_stale_time_is_refused_and_cannot_be_exchanged(way: str) -> None:
    connector, now = made(way, tolerance=60), time.time()
    for off in (-50, 50):
        connector.verify(Request(BODY, signed(connector, at=now + off)))
    for off in (-70, 70):
        refused(connector, Request(BODY, signed(connector, at=now + off)))
    stamp = next(name for name in signed(connector) if "time" in name)
    old = signed(connector, at=now - 500)
    refused(connector, Request(BODY, {**old, stamp: str(int(now))}))
    refused(connector, Request(BODY, {**old, stamp: ""}))


def test_hmacs_are_those_of_the_standard_library() -> None:
    def by_hand(content: bytes, digest: Any) -> Any:
        return hmac.new(SECRET.encode(), content, digest)

    github = "sha256=" + by_hand(BODY, hashlib.sha256).hexdigest()
    made("github").verify(Request(BODY, {"x-hub-signature-256": github}))
    shopify = base64.b64encode(by_hand(BODY, hashlib.sha256).digest()).decode()
    made("shopify").verify(Request(BODY, {"x-shopify-hmac-sha256": shopify}))
    stamp = str(int(time.time()))
    slack = "v0=" + by_hand(b"v0:" + stamp.encode() + b":" + BODY, hashlib.sha512).hexdigest()
    made("timed").verify(Request(BODY, {"x-signature": slack, "x-time": stamp}))


def test_basic_needs_the_user_the_password_and_its_scheme() -> None:
    connector = made("basic")

    def header(user: str, password: str, scheme: str = "Basic") -> Request:
        return Request(BODY, {"authorization": f"{scheme} " + base64.b64encode(f"{user}:{password}".encode()).decode()})

    connector.verify(header("shöp", SECRET, "basic"))
    for wrong in (header("shop", SECRET), header("", SECRET), header("shöp", ""), header("shöp", SECRET, "Bearer")):
        refused(connector, wrong)


def test_what_the_body_holds_is_no_part_of_the_template() -> None:
    assert signed_content("{timestamp}.{body}", b"{timestamp}{body}", "7") == b"7.{timestamp}{body}"


# the vectors of the specification and of its reference library
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def at(moment: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(time, "time", lambda: moment)
    return made("standard")


def test_the_published_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = at(1614265330, monkeypatch)
    connector.verify(Request(VECTOR_BODY, VECTOR))
    several = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= "
    connector.verify(Request(VECTOR_BODY, {**VECTOR, "webhook-signature": several + VECTOR["webhook-signature"]}))


@pytest.mark.parametrize("name", VECTOR)
def test_the_vector_without_one_of_its_headers(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    headers = {key: value for key, value in VECTOR.items() if key != name}
    refused(at(1614265330, monkeypatch), Request(VECTOR_BODY, headers))


@pytest.mark.parametrize("off", [-301, 301])
def test_the_vector_at_another_time(monkeypatch: pytest.MonkeyPatch, off: int) -> None:
    refused(at(1614265330 + off, monkeypatch), Request(VECTOR_BODY, VECTOR))


@pytest.mark.parametrize(
    "value", ["v1,g0hM9SsE+OTPJTGt/dmIKtSyZlE3uFJELVlNIOLJ1OE=", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3=", "v1,"]
)
def test_the_vector_with_another_signature(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    refused(at(1614265330, monkeypatch), Request(VECTOR_BODY, {**VECTOR, "webhook-signature": value}))


def test_the_reference_library_and_ours_agree() -> None:
    now = datetime.now(UTC)
    signature = Webhook(STANDARD).sign("msg_1", now, BODY.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    made("standard").verify(Request(BODY, headers))
    Webhook(STANDARD).verify(BODY, proof(made("standard").config, BODY, time.time()))


def test_public_keys_of_standard_webhooks() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    stamp = str(int(time.time()))
    signature = base64.b64encode(private.sign(f"m.{stamp}.".encode() + BODY)).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": f"v1a,{signature}"}
    made("standard", secret=public).verify(Request(BODY, headers))
    refused(made("standard", secret=public), Request(BODY + b" ", headers))
    with pytest.raises(LookupError):
        made("standard", secret=public).sample("json")


@pytest.mark.parametrize("way", WAYS)
@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=40))
def test_anything_at_all_is_unauthorized_and_nothing_else(way: str, one: str, two: str, body: bytes) -> None:
    connector = made(way)
    with pytest.raises(Unauthorized):
        check_sender(connector.config, Request(body, dict.fromkeys(signed(connector), one) | {"x-time": two}))


def test_auth_none_takes_it_from_anybody() -> None:
    http(auth="none").verify(hook(BODY))


def test_keys_in_both_of_misos_forms() -> None:
    connector, data = http(api_key=["new-key-0123456789", KEY], publishable_key=PAGE_KEY), {"data": [like()]}
    for request in (call("v1/interactions", data), call("v1/interactions", data, key="", api_key=KEY)):
        connector.verify(request)
    connector.verify(call("v1/products", {"data": [{"product_id": "p"}]}, key="new-key-0123456789"))
    for key in ("", "x", KEY + "x", KEY[:-1], KEY.upper(), "é"):
        refused(connector, call("v1/interactions", data, key=key))
        refused(connector, call("v1/interactions", data, key="", api_key=key))


def test_a_key_of_a_page_opens_interactions_only() -> None:
    connector = http()
    connector.verify(call("v1/interactions", {"data": [like()]}, key="", api_key=PAGE_KEY))
    refused(connector, call("v1/interactions", {"user_ids": ["u"]}, method="DELETE", key=PAGE_KEY))
    refused(connector, call("v1/users", {"data": [{"user_id": "u"}]}, key=PAGE_KEY))
    refused(connector, call("v1/users/_delete", {"data": {"user_ids": ["u"]}}, key=PAGE_KEY))
    refused(connector, call("v1/products/_status/1", method="GET", key=PAGE_KEY))


def test_a_stranger_is_refused_before_anything_is_parsed() -> None:
    refused(http(), call("v1/interactions", b"{" * 100, key="x"))
    with pytest.raises(Reject):
        http().verify(call("v1/interactions", b"{" * 100))
