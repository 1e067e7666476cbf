"""Signatures of several kinds through the real receiver, good ones and the ones that make libraries crash."""

from __future__ import annotations

import base64
import hmac
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

SECRET = b"a-secret-of-the-tests"
STANDARD = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = '{"test": 2432232314}'


def signed(body: str, shift: timedelta = timedelta()) -> dict[str, str]:
    now = datetime.now(UTC) + shift
    return {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": STANDARD.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", now, body),
    }


def post(server: Any, headers: dict[str, str], body: str = BODY) -> int:
    status: int = server.request("POST", "/hooks/standard", body.encode(), headers).status
    return status


def test_the_published_vector() -> None:
    moment = datetime.fromtimestamp(1614265330, UTC)
    wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert STANDARD.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", moment, BODY) == wanted


def test_genuine_deliveries_and_clocks_that_differ(server: Any) -> None:
    assert post(server, signed(BODY)) == 200
    for minutes, status in ((4, 200), (-4, 200), (6, 401), (-6, 401)):
        assert post(server, signed(BODY, timedelta(minutes=minutes))) == status
    several = signed(BODY)
    several["webhook-signature"] = "v1,AAAA v2,x " + several["webhook-signature"]
    assert post(server, several) == 200
    assert post(server, signed(BODY), BODY + " ") == 401


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,a,b"),
        ("webhook-signature", "v1,===="),
        ("webhook-signature", "v1,é"),
        ("webhook-signature", ""),
        ("webhook-signature", "v1," * 1000),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "1e400"),
        ("webhook-timestamp", "9" * 5000),
        ("webhook-timestamp", "-1"),
        ("webhook-id", ""),
    ],
)
def test_headers_that_make_the_library_crash_are_401(server: Any, name: str, value: str) -> None:
    assert post(server, {**signed(BODY), name: value}) == 401


def test_a_body_that_is_no_text_is_401(server: Any) -> None:
    answer = server.request("POST", "/hooks/standard", b"\xff\xfe", signed(BODY))
    assert answer.status == 401


def test_generated_bodies_arrive_byte_for_byte(server: Any) -> None:
    luck = random.Random(5)
    sent = []
    for number in range(100):
        event = {"n": number, "t": "".join(chr(luck.choice([34, 92, 47, 233, 8232, 128512, 65])) for _ in range(30))}
        body = json.dumps(event, ensure_ascii=bool(number % 2), separators=(",", ":")).encode()
        sent.append(body)
        headers = {"x-signature": base64.b64encode(hmac.digest(SECRET, body, "sha256")).decode()}
        assert server.request("POST", "/hooks/base64", body, headers).status == 200
    assert [delivery.request.body for delivery in server.stored()] == sent
