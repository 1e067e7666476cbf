"""What the receiver takes in, what it answers, and what it lets a stranger learn."""

from __future__ import annotations

import gzip
import json
import logging
import random
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

BODY = b'{"type":"track","event":"Product Viewed"}'
MALFORMED_GZIP = {"success": False, "errors": True, "message": "Malformed gzip content"}


def test_a_signed_delivery_is_stored_before_the_2xx(server: Any) -> None:
    answer = server.post("/hooks/web", BODY, x_topic="track", authorization="Bearer secret")
    assert (answer.status, answer.json) == (200, {"success": True, "bytes": len(BODY)})
    (delivery,) = server.stored()
    assert (delivery.instance, delivery.request.body, delivery.request.channel) == ("web", BODY, "webhook")
    assert delivery.request.headers == {"content-type": "application/json", "x-topic": "track"}
    assert delivery.request.received_at.timestamp() * 1000 // 1 == delivery.received_ms


@pytest.mark.parametrize("path", ["/hooks/web/", "/HOOKS/Web", "/hooks/web//", "/hooks/%77eb"])
def test_case_and_trailing_slashes_are_served_not_redirected(server: Any, path: str) -> None:
    assert server.post(path, BODY).status == 200


def test_declared_sub_paths_with_a_star_for_one_segment(server: Any) -> None:
    assert server.post("/hooks/web/pixel/AbC/", BODY).status == 200
    assert server.post("/hooks/web/pixel", BODY).status == 401
    assert server.post("/hooks/web/pixel/a/b", BODY).status == 401
    assert server.post("/hooks/web/pixel//", BODY).status == 401
    assert [(d.request.path, d.request.channel) for d in server.stored()] == [("pixel/AbC", "pixel")]


def test_query_and_tenant_are_kept(server: Any) -> None:
    assert server.post("/hooks/web?a=1&b=%20x", BODY, x_tenant="demo.shop.example").status == 200
    (delivery,) = server.stored()
    assert delivery.instance == "web/demo.shop.example"
    assert delivery.request.query == {"a": "1", "b": " x"}


def test_a_tenant_that_makes_no_sense_is_400(server: Any) -> None:
    assert server.post("/hooks/web", BODY, x_tenant="t" * 300).status == 400
    assert server.stored() == []


def test_strangers_get_one_and_the_same_answer(server: Any) -> None:
    wrong = server.post("/hooks/web", BODY, x_signature="0" * 64)
    unknown = server.post("/hooks/nobody", BODY)
    path = server.post("/hooks/web/other", BODY)
    assert wrong.status == unknown.status == path.status == 401
    assert wrong.body == unknown.body == path.body
    keep = {"content-type", "content-length"}
    assert {k: v for k, v in wrong.headers.items() if k in keep} == {
        k: v for k, v in unknown.headers.items() if k in keep
    }
    assert server.stored() == []


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz", "/hooks", "/docs", "/../etc/passwd", "//hooks/web"])
def test_the_public_listener_has_nothing_else(server: Any, path: str) -> None:
    answer = server.request("GET", path)
    assert (answer.status, answer.json["message"]) == (404, "nothing is here")


def test_healthz_is_public(server: Any) -> None:
    assert server.request("GET", "/healthz").json == {"status": "ok"}
    assert server.request("POST", "/healthz").status == 405


@pytest.mark.parametrize(
    ("what", "status"),
    [("reject", 400), ("retry", 503), ("halt", 503), ("oserror", 503), ("bug", 401)],
)
def test_what_verify_raises_decides_the_status(server: Any, what: str, status: int) -> None:
    answer = server.post("/hooks/web", BODY, x_do=what)
    assert answer.status == status
    assert answer.json["success"] is False
    assert ("retry-after" in answer.headers) == (status == 503)
    if what == "reject":
        assert answer.json["message"] == "the batch needs a second factor"
    assert server.stored() == []


def test_a_failing_answer_is_still_a_2xx(server: Any) -> None:
    answer = server.post("/hooks/web", BODY, x_answer="bug")
    assert (answer.status, answer.json) == (200, {"success": True})


@pytest.mark.parametrize("name", ["bad", "unset"])
def test_an_instance_that_cannot_start_is_503(server: Any, name: str) -> None:
    answer = server.post(f"/hooks/{name}", BODY)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "TRACE", "PUT", "PATCH"])
@pytest.mark.parametrize("name", ["web", "nobody"])
def test_other_methods_are_405_for_any_name(only_plain: Any, method: str, name: str) -> None:
    assert only_plain.request(method, f"/hooks/{name}").status == 405


def test_an_instance_may_bound_its_rate(server: Any) -> None:
    assert server.post("/hooks/slow", BODY, x_signature="x").status == 401  # strangers use nothing up
    assert server.post("/hooks/slow", BODY).status == 200
    refused = server.post("/hooks/slow", BODY)
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert len(server.stored()) == 1


def test_a_method_that_only_another_route_takes_needs_the_signature_first(server: Any) -> None:
    # Some route of this server takes GET; that must not tell which names exist.
    assert server.request("GET", "/hooks/nobody").status == 401
    assert server.request("GET", "/hooks/plain").status == 401
    assert server.request("GET", "/hooks/web/image").status == 200


def test_preflight_and_cors(server: Any) -> None:
    asked = {"origin": "https://shop.example", "access-control-request-headers": "content-type, x/a"}
    answer = server.request("OPTIONS", "/hooks/web/pixel/1", None, asked)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-max-age"] == "604800"
    assert answer.headers["access-control-allow-headers"] == "content-type"
    assert server.post("/hooks/web/pixel/1", b"{}").headers["access-control-allow-origin"] == "*"
    assert server.post("/hooks/web/pixel/1", b"{").headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in server.post("/hooks/web", b"{}").headers
    assert server.request("OPTIONS", "/hooks/plain", None, asked).status == 405


def test_listed_origins_only(server: Any) -> None:
    listed = server.post("/hooks/listed/pixel/1", b"{}", origin="https://Shop.example")
    assert (listed.status, listed.headers["access-control-allow-origin"]) == (200, "https://Shop.example")
    assert listed.headers["vary"] == "origin"
    other = server.post("/hooks/listed/pixel/1", b"{}", origin="https://evil.example")
    assert other.status == 403
    assert "access-control-allow-origin" not in other.headers
    assert server.post("/hooks/listed/pixel/1", b"{}").status == 200
    assert len(server.stored()) == 2


def test_gzip_is_inflated_also_with_spaces_around_its_name(server: Any) -> None:
    for name in ("gzip", " gzip ", "GZIP"):
        body = BODY + name.encode()
        packed = gzip.compress(body)
        answer = server.request("POST", "/hooks/web/pixel/1", gzip.compress(b'{"a":1}'), {"content-encoding": name})
        assert answer.status == 200, packed
    assert [delivery.request.body for delivery in server.stored()] == [b'{"a":1}'] * 3


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b'{"a":1}')[:-3],
        gzip.compress(b'{"a":1}') + b"junk",
        gzip.compress(b'{"a":1}') + b"\x00\x00\x00\x00",
        b'{"a":1}',
        b"",
        gzip.compress(random.Random(1).randbytes(3000))[:1500],
        gzip.compress(b"a")[:-8] + b"\x00" * 8,
    ],
    ids=["cut", "junk behind", "zeros behind", "plain", "empty", "half", "wrong sum"],  # the bytes hold the time
)
def test_malformed_gzip_is_400(server: Any, packed: bytes) -> None:
    answer = server.post("/hooks/web", packed, content_encoding="gzip")
    assert (answer.status, answer.json) == (400, MALFORMED_GZIP)


def test_bombs_are_413_and_one_layer_only(server: Any) -> None:
    bomb = gzip.compress(b"a" * (8 << 20))
    lying = bomb[:-4] + (100).to_bytes(4, "little")
    assert server.post("/hooks/web", bomb, content_encoding="gzip").status == 413
    assert server.post("/hooks/web", lying, content_encoding="gzip").status == 413
    twice = gzip.compress(gzip.compress(b'{"a":1}'))
    assert server.request("POST", "/hooks/web/pixel/1", twice, {"content-encoding": "gzip"}).status == 400
    for name in ("br", "zstd", "deflate", "gzip, gzip"):
        assert server.post("/hooks/web", zlib.compress(BODY), content_encoding=name).status == 415
    assert server.stored() == []


JSON_ABUSE = [
    b"NaN",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":1e999}',
    b'{"a":"\\ud800"}',
    b"[" * 251 + b"]" * 251,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b"[" * 60_000,
    b'{"a":"\xff"}',
    b'{"a":"\xc0\xaf"}',
    b'{"a":"\x00"}',
    b'{"a":1}x',
    b"",
    b"{",
    b'"\\' * 30_000,
]


@pytest.mark.parametrize("body", JSON_ABUSE, ids=lambda body: repr(body[:12]))
def test_json_abuse_is_400_unsigned_and_kept_when_signed(server: Any, body: bytes) -> None:
    unsigned = server.request("POST", "/hooks/web/pixel/1", body)
    assert (unsigned.status, unsigned.json["success"]) == (400, False)
    assert server.stored() == []
    assert server.post("/hooks/web", body).status == 200
    assert server.post("/hooks/web", body, x_signature="").status == 401
    assert [delivery.request.body for delivery in server.stored()] == [body]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 250 + b"]" * 250,
        b'{"a":18446744073709551616}',
        b'{"a":1,"a":2}',
        b'\xef\xbb\xbf{"a":1}',
        b'["' + b"[" * 300 + b'"]',
        b'{"a":' + b"1" * 300 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_odd_but_well_formed_json_is_taken(server: Any, body: bytes) -> None:
    assert server.request("POST", "/hooks/web/pixel/1", body).status == 200


GARBAGE = [
    "", " ", "v1", "v1,", "v1,a,b", "v1,====", "sha1=", "0" * 64, "0" * 40, "é", "\x80\xff", "=" * 5000, "a" * 60_000,
    "v1," * 15_000, "None", "null", "[]", "{}", "0x0", "-1", "TRUE", "' OR 1=1", "../..", "%00", "%0d%0a", "\t", "a\tb",
    "v1a,x", "v2,x", "Bearer x", "Basic eDp5", ",", ",,,", ";", "\x7f", "sha256=" + "0" * 64, "0" * 63, "0" * 65,
    "ABCDEF" * 10, "g" * 64,
]  # fmt: skip


def test_forty_malformed_signatures_are_401(server: Any) -> None:
    assert len(GARBAGE) == 40
    for value in GARBAGE:
        head = b"POST /hooks/web HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nx-signature: %s\r\n\r\n{}"
        answer = server.raw_once(head % value.encode("latin-1"))
        assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400")), value[:20]
        if value not in ("\x7f",):
            assert answer.startswith(b"HTTP/1.1 401"), value[:20]
    twice = b"POST /hooks/web HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nx-signature: a\r\nx-signature: b\r\n\r\n{}"
    assert server.raw_once(twice).startswith(b"HTTP/1.1 401")
    assert server.stored() == []


def test_too_many_query_fields_are_400(server: Any) -> None:
    query = "&".join(f"k{n}=1" for n in range(10_000))[:50_000]
    assert server.post("/hooks/web?" + query, BODY).status == 400


def test_the_same_delivery_a_hundred_times_is_always_200(server: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server.post("/hooks/plain", BODY).status, range(100)))
    assert answers == [200] * 100
    assert [delivery.id for delivery in server.stored()] == list(range(1, 101))


def test_a_clock_that_jumps_neither_wedges_nor_reorders(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.post("/hooks/plain", BODY).status == 200
    real = time.time

    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    monkeypatch.setattr("misoflow.clock.now_ms", lambda: int((real() - 3600) * 1000))
    assert server.post("/hooks/plain", BODY).status == 200
    assert [delivery.id for delivery in server.stored()] == [1, 2]


def test_nothing_secret_or_multi_line_reaches_the_log(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="misoflow")
    for value in ("a%0d%0ab", "\u2028", "\x1b[31m", "canary-secret"):
        server.raw_once(
            f"POST /hooks/{value} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nx-do: bug\r\n\r\n{{}}".encode()
        )
        server.post("/hooks/web", b'{"canary":1}', x_do="bug")
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("misoflow"))
    assert "canary" not in text
    assert text.count("ZeroDivisionError") == 1  # at most once a minute
    assert "\x1b" not in text


def test_why_a_delivery_was_refused_is_told_in_the_log_alone(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="misoflow")
    for _ in range(3):
        answer = server.post("/hooks/web", BODY, x_signature="x")
        assert (answer.status, b"wrong" in answer.body) == (401, False)
    told = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert told == ["web: a delivery was refused (401): wrong signature"]


def test_metrics_name_what_happened(server: Any) -> None:
    server.post("/hooks/web", BODY)
    server.post("/hooks/web", BODY, x_signature="x")
    server.post("/hooks/nobody", BODY)
    server.post("/hooks/web", b"x" * 70_000)
    text = server.admin("/metrics").body.decode()
    for line in (
        'misoflow_deliveries_total{instance="web",outcome="accepted"} 1.0',
        'misoflow_deliveries_total{instance="web",outcome="unauthorized"} 1.0',
        'misoflow_deliveries_total{instance="",outcome="unauthorized"} 1.0',
        'misoflow_deliveries_total{instance="web",outcome="too_large"} 1.0',
        'misoflow_accept_seconds_count{instance="web"} 3.0',
        "misoflow_commit_seconds_count 1.0",
        "misoflow_build_info{",
    ):
        assert line in text
    assert float(text.split("\nmisoflow_inbox_bytes ")[1].split("\n")[0]) > 0
    assert 0 < float(text.split("\nmisoflow_disk_free_ratio ")[1].split("\n")[0]) < 1


def test_the_admin_listener(server: Any) -> None:
    assert server.admin("/healthz").json == {"status": "ok"}
    ready = server.admin("/readyz")
    assert (ready.status, ready.json["status"]) == (200, "ok")
    assert server.admin("/hooks/web").status == 404


def test_answers_are_clear_json(server: Any) -> None:
    for answer in (server.post("/hooks/web", BODY, x_signature="x"), server.request("DELETE", "/hooks/web")):
        content = json.loads(answer.body)
        assert content["success"] is False
        assert len(content["message"]) > 10
        assert answer.headers["content-type"] == "application/json"
