"""Who may deliver: every way of signing, every way of getting it wrong, and what a batch's signature proves."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from typing import Any

import pytest
from misoflow import Reject, Request, Unauthorized
from misoflow_segment import Segment, SegmentConfig
from misoflow_segment.signature import first_element, function_signature, signed
from pydantic import ValidationError

from tests.segment.kit import SECRET, TOKEN, call, delivery, segment, sign, track

EVENT = json.dumps(track("Product Viewed", {"product_id": "p", "t": 'a "}],[{ \\ \u00fc'})).encode()
OTHER = json.dumps(track("Product Viewed", {"product_id": "q"})).encode()
BATCH = b"[" + EVENT + b"," + OTHER + b"]"
WRAPPED = b'[{"json":' + EVENT + b'},{"json":' + OTHER + b"}]"
STRICT = {"shared_secret": SECRET, "batch_token": TOKEN}
AUTH = {"authorization": f"Bearer {TOKEN}"}

WAYS: dict[str, tuple[bytes, bytes, dict[str, str]]] = {
    "classic or single": (EVENT, EVENT, {}),
    "batch, whole body": (BATCH, BATCH, {}),
    "batch, first event": (BATCH, EVENT, AUTH),
    "batch of one": (b"[" + EVENT + b"]", EVENT, AUTH),
    "batch with blanks": (b" \n[ " + EVENT + b" , " + OTHER + b" ]", EVENT, AUTH),
    "extensible batch": (WRAPPED, EVENT, AUTH),
    "extensible element": (WRAPPED, b'{"json":' + EVENT + b"}", AUTH),
}


def refused(connector: Segment, request: Request) -> bool:
    try:
        connector.verify(request)
    except Unauthorized:
        return True
    return False


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_signing_is_accepted(way: str) -> None:
    body, part, headers = WAYS[way]
    segment(**STRICT).verify(delivery(body, **headers, **{"x-signature": sign(part)}))


@pytest.mark.parametrize("way", WAYS)
def test_one_flipped_bit_is_refused(way: str) -> None:
    body, part, headers = WAYS[way]
    connector, good = segment(**STRICT), sign(part)
    start = body.index(part)
    for index in range(start, start + len(part)):
        changed = bytearray(body)
        changed[index] ^= 1
        assert refused(connector, delivery(bytes(changed), **headers, **{"x-signature": good})), index
    for index in range(40):
        wrong = good[:index] + ("0" if good[index] != "0" else "1") + good[index + 1 :]
        assert refused(connector, delivery(body, **headers, **{"x-signature": wrong}))


def test_the_rest_of_a_batch_can_be_forged_so_it_needs_the_second_factor() -> None:
    forged = b"[" + EVENT + b"," + json.dumps({"type": "delete", "userId": "victim"}).encode() + b"]"
    headers = {"x-signature": sign(EVENT)}
    for settings in ({"shared_secret": SECRET}, STRICT):
        with pytest.raises(Unauthorized, match="batch_token"):
            segment(**settings).verify(delivery(forged, **headers))
    wrong = {**headers, "authorization": "Bearer " + TOKEN[::-1]}
    assert refused(segment(**STRICT), delivery(forged, **wrong))
    segment(shared_secret=SECRET, batch_auth="allow_weak").verify(delivery(forged, **headers))


def test_a_batch_that_is_taken_on_trust_deletes_nobody() -> None:
    batch = delivery([track("Product Viewed", {"product_id": "p"}), {"type": "delete", "userId": "victim"}])
    topics = [event.topic for event in segment(shared_secret=SECRET, batch_auth="allow_weak").events(batch)]
    assert topics == ["Product Viewed", "malformed"]
    assert [event.topic for event in segment(**STRICT).events(batch)] == ["Product Viewed", "delete"]


@pytest.mark.parametrize("how", ["authorization", "bearer", "path", "second"])
def test_the_second_factor_as_header_or_in_the_path(how: str) -> None:
    mixed = "AbCdEfGhIjKlMnOpQrStUvWx"
    connector = segment(shared_secret=SECRET, batch_token=[mixed, TOKEN])
    headers = {"x-signature": sign(EVENT)}
    match how:
        case "authorization":
            request = delivery(BATCH, **headers, authorization=mixed)
        case "bearer":
            request = delivery(BATCH, **headers, authorization=f"bearer {mixed}")
        case "second":
            request = delivery(BATCH, **headers, authorization=f"Bearer {TOKEN}")
        case _:
            request = Request(BATCH, headers, path=f"t/{mixed.lower()}")
    connector.verify(request)
    assert refused(connector, Request(BATCH, headers, path="t/" + "x" * 24))
    assert refused(connector, Request(BATCH, headers, path="t/"))


def test_two_secrets_while_rotating() -> None:
    connector = segment(shared_secret=["old", "new"])
    for secret in ("old", "new"):
        connector.verify(delivery(EVENT, **{"x-signature": sign(EVENT, secret)}))
    assert refused(connector, delivery(EVENT, **{"x-signature": sign(EVENT, "older")}))


GOOD = sign(EVENT)
GARBAGE = [
    "", " ", "\t", "\x00", "0", "x" * 40, "g" * 40, GOOD[:-1], GOOD + "0", GOOD[1:], GOOD + GOOD, f"{GOOD},{GOOD}",
    f"{GOOD} {GOOD}", f"sha1={GOOD}", f'"{GOOD}"', f"v1,{GOOD}", GOOD[::-1], "0" * 40, "f" * 40, "0" * 39, "-" * 40,
    "+" + GOOD[1:], "0x" + GOOD[2:], GOOD.replace(GOOD[0], "\u00fc", 1), "\u0661" * 40, "\uff10" * 40,
    "\U0001f600" * 40, "\ud800" * 40, "\u2028" * 40, "a\u0301" * 20,
    base64.b64encode(bytes.fromhex(GOOD)).decode(), GOOD * 2500,
    "a," * 100_000, "null", "undefined", "[object Object]", "\r\n" + GOOD[:-2], GOOD[:20] + "\n" + GOOD[20:],
    "%00", "Basic eDp5",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_garbage_signatures_are_unauthorized_and_nothing_else(number: int) -> None:
    for body in (EVENT, BATCH, b"", b"\xff\xfe", b"[", b"[[[[", b'[{"json":', b"[]"):
        for connector in (segment(), segment(**STRICT), segment(write_key="k", shared_secret=SECRET)):
            with pytest.raises(Unauthorized):
                connector.verify(delivery(body, **{"x-signature": GARBAGE[number]}))
    for name in ("authorization", "webhook-signature", "webhook-timestamp"):
        with pytest.raises(Unauthorized):
            segment(**STRICT).verify(delivery(EVENT, **{name: GARBAGE[number]}))


def test_upper_case_and_blanks_around_the_hex_are_accepted() -> None:
    segment().verify(delivery(EVENT, **{"x-signature": f" {sign(EVENT).upper()} "}))


def test_a_missing_signature_is_refused() -> None:
    assert refused(segment(), delivery(EVENT))
    assert refused(segment(**STRICT), delivery(EVENT, **AUTH))


def test_a_form_or_an_instance_without_a_secret_is_proven_by_the_token() -> None:
    form = {**AUTH, "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    segment(**STRICT).verify(Request(b"type=track&event=Signed+Up&userId=u", form))
    segment(batch_token=TOKEN).verify(delivery(BATCH, **AUTH))
    assert refused(segment(batch_token=TOKEN), delivery(BATCH, authorization="Bearer x"))


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"[1,2]", b"1"),
        (b"[ [1,[2]] ,3]", b"[1,[2]]"),
        (b'["a,]\\"","b"]', b'"a,]\\""'),
        (b'[{"a":"}"}]', b'{"a":"}"}'),
        (b'["\\\\",1]', b'"\\\\"'),
        (b"[]", None),
        (b"[ ]", None),
        (b"[", None),
        (b"", None),
        (b"{}", None),
        (b'["', None),
        (b"[" * 5000, None),
        (b"\xef\xbb\xbf [1]", b"1"),
        (b"[" + b" " * 600_000 + b"1]", None),
    ],
)
def test_the_first_element_of_an_array(raw: bytes, wanted: bytes | None) -> None:
    assert first_element(raw) == wanted


NODE = r"""
const crypto = require("crypto");
let seed = 7;
const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
const numbers = [1e-7, 1e21, 123456789012345680000, 0.1 + 0.2, -0, 1/3, 5e-324, 1.7976931348623157e308, 1e-10, 2**53];
const texts = ["a", "\u00fc", "\ud83d\ude00", "\u2028", "\"", "\\", "]", "}", ",", "\u0000", "</script>", "\ud800"];
const value = (depth) => {
  switch (random(depth > 3 ? 5 : 7)) {
    case 0: return numbers[random(numbers.length)] * (random(3) + 1);
    case 1: return texts[random(texts.length)] + texts[random(texts.length)];
    case 2: return null;
    case 3: return random(2) === 0;
    case 4: return random(1e9) / 1000;
    case 5: return Array.from({length: random(4)}, () => value(depth + 1));
    default: {
      const pairs = Array.from({length: random(4)}, (_, i) => ["k" + i + texts[random(11)], value(depth + 1)]);
      return Object.fromEntries(pairs);
    }
  }
};
const sign = (text) => crypto.createHmac("sha1", "shared-secret").update(text, "utf8").digest("hex");
const lines = [];
for (let i = 0; i < 3000; i++) {
  const first = {type: "track", event: "E" + i, properties: value(0)}, second = {type: "page", properties: value(0)};
  const [signed, body] = [
    [JSON.stringify(first), JSON.stringify(first)],
    [JSON.stringify(first), JSON.stringify([first, second])],
    [JSON.stringify(first), JSON.stringify([{json: first}, {json: second}])],
  ][i % 3];
  lines.push(sign(signed) + " " + Buffer.from(body, "utf8").toString("base64"));
}
console.log(lines.join("\n"));
"""


@pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed, and only it writes numbers as Segment does"
)
def test_3000_bodies_written_and_signed_by_javascript() -> None:
    done = subprocess.run(["node", "-e", NODE], capture_output=True, text=True, check=True)
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == 3000
    for number, line in enumerate(lines):
        header, encoded = line.split(" ")
        wanted = "strong" if number % 3 == 0 else "weak"
        assert signed(base64.b64decode(encoded), header, [b"other", SECRET.encode()]) == wanted


# our Destination Function ---------------------------------------------------------------------------------------


def from_function(body: bytes, at: float, **changed: str) -> Request:
    stamp = str(int(at))
    signature = "v1," + function_signature(body, stamp, SECRET.encode())
    return delivery(body, **{"webhook-timestamp": stamp, "webhook-signature": signature, **changed})


def test_a_functions_signature_covers_the_whole_body() -> None:
    now = time.time()
    connector = segment()
    for body in (EVENT, BATCH):
        connector.verify(from_function(body, now))
        assert refused(connector, Request(body + b" ", from_function(body, now).headers))
    for skew in (-240, 240):
        connector.verify(from_function(EVENT, now + skew))
    for skew in (-360, 360, -86400):
        assert refused(connector, from_function(EVENT, now + skew))
    good = from_function(EVENT, now).header("webhook-signature")
    connector.verify(from_function(EVENT, now, **{"webhook-signature": f"v1,AAAA {good}"}))
    many = " ".join(["v1,AAAA"] * 100_000 + [good])
    assert refused(connector, from_function(EVENT, now, **{"webhook-signature": many}))
    assert refused(connector, from_function(EVENT, now, **{"webhook-signature": good.replace("v1", "v2")}))
    for stamp in ("", "x", "-1", "1e9", "\u0661", "9" * 400):
        assert refused(connector, from_function(EVENT, now, **{"webhook-timestamp": stamp}))


def test_a_functions_batch_is_answered_event_by_event() -> None:
    connector = segment()
    body = json.dumps([track("Product Viewed"), {"x": 1}, 5]).encode()
    answer = connector.answer(from_function(body, time.time()))
    assert [one["status"] for one in answer] == [200, 400, 400]
    assert answer[1]["errormessage"]
    assert connector.answer(delivery(body)) == {"success": True}
    assert connector.answer(from_function(b"[", time.time())) == {"success": True}


# the Tracking API -----------------------------------------------------------------------------------------------


def tracking(data: Any, path: str = "v1/track", **headers: str) -> Request:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Request(body, headers, "tracking", path)


def basic(user: str, word: str = "Basic") -> str:
    return f"{word} " + base64.b64encode(f"{user}:".encode()).decode()


def test_a_write_key_opens_the_tracking_api() -> None:
    connector = segment(write_key=["k1", "k2"])
    for key in ("k1", "k2"):
        connector.verify(tracking(call(), authorization=basic(key)))
        connector.verify(tracking(call(), authorization=basic(key, "basic")))
        connector.verify(tracking({**call(), "writeKey": key}, **{"content-type": "text/plain"}))
        data = base64.b64encode(json.dumps({**call(), "writeKey": key}).encode()).decode()
        connector.verify(Request(b"", {}, "tracking", "v1/pixel/track", "GET", {"data": data}))
    for request in (
        tracking(call()),
        tracking({**call(), "writeKey": "k3"}),
        tracking({**call(), "writeKey": ["k1"]}),
        tracking(call(), authorization=basic("k3")),
        tracking({**call(), "writeKey": "k1"}, authorization=basic("k3")),
        tracking(call(), authorization="Basic \u00fc"),
        tracking(call(), authorization="Bearer k1"),
    ):
        assert refused(connector, request)
    assert refused(segment(), tracking({**call(), "writeKey": ""}, authorization=basic("")))


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{"event": "e"}' + b" " * 32_755, "v1/track"),
        (b'{"batch": []}' + b" " * 511_988, "v1/batch"),
        ([call()], "v1/track"),
        (b" [1]", "v1/b"),
        ({"batch": {}}, "v1/batch"),
        ({}, "v1/import"),
        (b"{", "v1/t"),
        (b"", "v1/t"),
        (b"5", "v1/t"),
    ],
)
def test_what_segments_api_refuses_is_a_reject(data: Any, path: str) -> None:
    with pytest.raises(Reject):
        segment(write_key="k").verify(tracking(data, path, authorization=basic("k")))


def test_what_is_just_small_enough_passes() -> None:
    connector = segment(write_key="k")
    connector.verify(tracking(b'{"event": "e"}' + b" " * 32_754, "v1/track", authorization=basic("k")))
    connector.verify(tracking(b'{"batch": []}' + b" " * 511_987, "v1/batch", authorization=basic("k")))


def test_a_pixel_that_is_no_json_is_a_reject() -> None:
    for data in ("", "x", "!!!", base64.b64encode(b"[1]").decode(), base64.b64encode(b"\xff").decode()):
        with pytest.raises(Reject):
            segment(write_key="k").verify(
                Request(b"", {"authorization": basic("k")}, "tracking", "v1/t", "GET", {"data": data})
            )


# settings -------------------------------------------------------------------------------------------------------


def test_routes_open_only_with_a_proof() -> None:
    def paths(**settings: Any) -> list[tuple[str, bool]]:
        return [(route.path, route.signed) for route in segment(**settings).routes]

    assert paths(shared_secret=SECRET) == [("", True)]
    assert paths(**STRICT) == [("", True), ("t/*", True)]
    assert paths(write_key="k") == [("v1/*", False), ("v1/pixel/*", False)]
    assert paths(allow_unsigned=True) == [("", False)]
    assert paths(allow_unsigned=True, shared_secret=SECRET) == [("", True)]
    assert segment().routes[0].max_body == 16 * 1024 * 1024


def test_an_unsigned_route_takes_anything_but_deletes() -> None:
    connector = segment(allow_unsigned=True)
    connector.verify(delivery(EVENT))
    assert [event.topic for event in connector.events(delivery({"type": "delete", "userId": "u"}))] == ["malformed"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shared_secret": ""},
        {"shared_secret": ["a", " "]},
        {"write_key": ""},
        {"shared_secret": "s", "batch_token": "short"},
        {"shared_secret": "s", "unknown": 1},
        {"shared_secret": "s", "pages": [{"type": "read"}]},
        {"shared_secret": "s", "pages": [{"path": "/x", "type": "read"}]},
        {"shared_secret": "s", "pages": [{"path": "/x", "type": "category_page_view"}]},
        {"shared_secret": "s", "product_id_path": []},
        {"shared_secret": "s", "rating_scale": 0},
    ],
)
def test_settings_that_would_leave_a_door_open_or_do_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SegmentConfig(**settings)


def test_settings_are_described_and_secrets_hidden() -> None:
    assert all(field.description for field in SegmentConfig.model_fields.values())
    secrets = {"shared_secret": ["top-secret-1", "top-secret-2"], "write_key": "top-secret-3"}
    config = segment(**secrets, batch_token="top-secret-4-0123456789").config
    assert "top-secret" not in repr(config) + str(config) + config.model_dump_json()


async def test_check_names_open_doors() -> None:
    assert await segment(**STRICT).check() == []
    for settings in (
        {"allow_unsigned": True},
        {"shared_secret": "s", "batch_auth": "allow_weak"},
        {"shared_secret": "s"},
    ):
        (problem,) = await segment(**settings).check()
        assert problem.level == "warn"
        assert problem.fix
