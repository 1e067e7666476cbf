"""Signatures: genuine ones pass, everything else is Unauthorized and nothing else (R1, R2, R6)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from misoflow.errors import Unauthorized
from misoflow.signing import check_hmac, check_standard_webhook, sign_hmac
from pydantic import SecretStr
from standardwebhooks import Webhook

BODY = b'{"test": 2432232314}'
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
PUBLISHED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_one_of_several_signatures_has_to_match() -> None:
    right = sign_hmac(b"body", "secret")
    check_hmac(b"body", ["0" * 64, right], ["other", "secret"])
    check_hmac(b"body", ["0" * 64] * 7 + [right], "secret")
    for wrong in ([], [""], ["0" * 64], ["0" * 64] * 8 + [right], ["é", "x" * 5000]):
        with pytest.raises(Unauthorized):
            check_hmac(b"body", wrong, "secret")


def standard(
    signature: str, *, body: bytes = BODY, secret: object = KEY, at: str = str(AT), now: float = AT, id: str = ID
) -> None:
    check_standard_webhook(body, webhook_id=id, timestamp=at, signature=signature, secret=secret, now=now)  # type: ignore[arg-type]


def test_the_published_vector() -> None:
    standard(PUBLISHED)
    assert Webhook(KEY).sign(ID, datetime.fromtimestamp(AT, UTC), BODY.decode()) == PUBLISHED


def test_several_signatures_and_several_secrets() -> None:
    standard(f"v1,AAAA v2,zzz {PUBLISHED}")
    standard(PUBLISHED, secret=["whsec_" + base64.b64encode(b"new").decode(), SecretStr(KEY)])


def test_only_eight_signatures_are_looked_at() -> None:
    with pytest.raises(Unauthorized):
        standard("v1,AAAA " * 8 + PUBLISHED)


def test_ed25519() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    signature = "v1a," + base64.b64encode(private.sign(f"{ID}.{AT}.".encode() + BODY)).decode()
    standard(signature, secret=public)
    with pytest.raises(Unauthorized):
        standard(signature, secret=public, body=BODY + b" ")
    with pytest.raises(Unauthorized):
        standard(signature.replace("v1a", "v1"), secret=public)


@pytest.mark.parametrize("now", [AT - 299, AT + 299])
def test_a_clock_off_by_less_than_five_minutes_is_fine(now: float) -> None:
    standard(PUBLISHED, now=now)


@pytest.mark.parametrize("now", [AT - 301, AT + 301, AT + 86400])
def test_a_stale_delivery_is_refused(now: float) -> None:
    with pytest.raises(Unauthorized):
        standard(PUBLISHED, now=now)


GARBAGE = [
    "",
    " ",
    "v1",
    "v1,",
    "v1,a,b",
    "v1,====",
    "v1,é",
    "v1,\ud800",
    "v1," + "A" * 100_000,
    "v1,AAAA " * 100_000,
    "v2," + PUBLISHED[3:],
    PUBLISHED[3:],
    PUBLISHED.lower(),
    PUBLISHED[:-1],
    PUBLISHED + "=",
    "\x00",
    ",",
    "v1a,AAAA",
]


@pytest.mark.parametrize("signature", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_unauthorized_and_nothing_else(signature: str) -> None:
    with pytest.raises(Unauthorized):
        standard(signature)


@pytest.mark.parametrize("at", ["", "x", "-1", "1e9", "9" * 50, "\u0661\u0662", " 1614265330"])
def test_a_bad_timestamp(at: str) -> None:
    with pytest.raises(Unauthorized):
        standard(PUBLISHED, at=at)


@pytest.mark.parametrize("id", ["", "\ud800", "x" * 5000])
def test_a_bad_id(id: str) -> None:
    with pytest.raises(Unauthorized):
        standard(PUBLISHED, id=id)


@given(st.text(), st.text(max_size=20), st.text(max_size=20), st.binary(max_size=50))
def test_anything_at_all_is_unauthorized(signature: str, at: str, id: str, body: bytes) -> None:
    with pytest.raises(Unauthorized):
        standard(signature, at=at, id=id, body=body)


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_hmac_with_rotation(digest: str, encoding: str) -> None:
    options = {"digest": digest, "encoding": encoding}
    given_ = sign_hmac(BODY, "old", **options)  # type: ignore[arg-type]
    check_hmac(BODY, given_, ["new", SecretStr("old")], **options)  # type: ignore[arg-type]
    for body, secret in ((BODY + b" ", "old"), (b"", "old"), (BODY, "new"), (BODY, ""), (BODY, [])):
        with pytest.raises(Unauthorized):
            check_hmac(body, given_, secret, **options)  # type: ignore[arg-type]


def test_hex_may_be_upper_case_and_base64_not() -> None:
    check_hmac(BODY, sign_hmac(BODY, "s").upper(), "s")
    with pytest.raises(Unauthorized):
        check_hmac(BODY, sign_hmac(BODY, "s", encoding="base64").lower(), "s", encoding="base64")


@given(st.text())
def test_any_hmac_header_is_unauthorized(header: str) -> None:
    with pytest.raises(Unauthorized):
        check_hmac(BODY, header, "secret")
