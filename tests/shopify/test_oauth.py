"""The browser's side of an install: what is refused, in which order, and that nothing is asked of anybody before."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow import Reject, Reply, Unauthorized, Visit
from misoflow_shopify import Shopify, oauth
from misoflow_shopify.domains import is_shop
from shopify import Session  # type: ignore[import-untyped]
from shopify.session_token import decode_from_header  # type: ignore[import-untyped]

from tests.shopify.fake import SECRET, SHOP, config

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
URL = "https://misoflow.example/install/shop"


def visit(path: str, fields: dict[str, str], cookies: dict[str, str] | None = None, *, sign: bool = True) -> Visit:
    query = tuple(fields.items())
    if sign:
        query = (*query, ("hmac", oauth.signature(query, SECRET)))
    return Visit(path=path, query=query, url=URL, now=NOW, cookies=cookies or {})


def reply(made: Visit) -> Reply:
    return Shopify(config()).visit(made)


def begun(shop: str = SHOP) -> tuple[str, dict[str, str]]:
    """The state and the cookies of a browser that was sent to Shopify."""
    sent = reply(visit("", {"shop": shop, "timestamp": STAMP})).unless_installed
    assert sent is not None
    state = parse_qs(urlsplit(sent.location).query)["state"][0]
    return state, {cookie.name: cookie.value for cookie in sent.cookies}


def back(**changes: str) -> Visit:
    state, cookies = begun()
    return visit("callback", {"code": "c0de", "shop": SHOP, "state": state, "timestamp": STAMP, **changes}, cookies)


def test_the_apps_address_leads_to_shopifys_consent_or_to_the_page() -> None:
    found = reply(visit("", {"shop": SHOP, "timestamp": STAMP, "host": "aG9zdA"}))
    assert found.tenant == SHOP
    assert found.grant is None
    sent = found.unless_installed
    assert sent is not None
    assert sent.status == 302
    parts = urlsplit(sent.location)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", SHOP, "/admin/oauth/authorize")
    query = parse_qs(parts.query)
    assert query["client_id"] == ["client"]
    assert query["redirect_uri"] == [f"{URL}/callback"]
    assert "scope" not in query
    assert SECRET not in sent.location
    assert [cookie.seconds for cookie in sent.cookies] == [600]


def test_a_custom_app_says_its_scopes_itself() -> None:
    made = Shopify(config(subscriptions="shop")).visit(visit("", {"shop": SHOP, "timestamp": STAMP}))
    assert made.unless_installed is not None
    assert "read_products" in parse_qs(urlsplit(made.unless_installed.location).query)["scope"][0]


def test_the_way_back_brings_the_code() -> None:
    made = back()
    found = reply(made)
    assert found.grant == {"shop": SHOP, "code": "c0de", "url": URL}
    assert found.tenant == SHOP
    assert found.once == dict(made.query)["state"]
    assert [(cookie.name, cookie.seconds) for cookie in found.cookies] == [(oauth.COOKIE, 0)]


def test_01_a_replay_is_told_by_its_nonce() -> None:
    made = back()
    assert reply(made).once == reply(made).once != ""


def test_01_an_old_state_is_refused() -> None:
    made = back()
    late = datetime.fromtimestamp(NOW.timestamp() + 601, UTC)
    fields = {**dict(made.query), "timestamp": str(int(late.timestamp()))}
    fields.pop("hmac")
    again = visit("callback", fields, dict(made.cookies))
    with pytest.raises(Unauthorized, match="too long ago"):
        reply(Visit(path=again.path, query=again.query, url=URL, now=late, cookies=again.cookies))


@pytest.mark.parametrize(
    "wrong",
    ["state-missing", "state-wrong", "no-cookie", "other-browser", "other-shop", "unsigned", "changed", "no-code"],
)
def test_s3_what_does_not_fit_together_is_refused(wrong: str) -> None:
    made = back()
    match wrong:
        case "state-missing":
            made = back(state="")
        case "state-wrong":
            made = back(state="another")
        case "no-cookie":
            made = Visit(path="callback", query=made.query, url=URL, now=NOW)
        case "other-browser":
            made = Visit(path="callback", query=made.query, url=URL, now=NOW, cookies=begun()[1])
        case "other-shop":
            made = back(shop="other-shop.myshopify.com")
        case "unsigned":
            query = tuple(pair for pair in made.query if pair[0] != "hmac")
            made = Visit(path="callback", query=query, url=URL, now=NOW, cookies=made.cookies)
        case "changed":
            query = tuple((name, "stolen" if name == "code" else value) for name, value in made.query)
            made = Visit(path="callback", query=query, url=URL, now=NOW, cookies=made.cookies)
        case "no-code":
            made = back(code="")
    with pytest.raises(Unauthorized):
        reply(made)


@pytest.mark.parametrize("age", [-91, 91, 86_000])
def test_s3_a_link_of_another_time_is_refused(age: int) -> None:
    with pytest.raises(Unauthorized, match="too old"):
        reply(back(timestamp=str(int(STAMP) - age)))
    with pytest.raises(Unauthorized, match="too old"):
        reply(visit("", {"shop": SHOP, "timestamp": str(int(STAMP) - age)}))


@pytest.mark.parametrize("stamp", ["", "x", "1e9", "-1", "９９", "9" * 30, f" {STAMP}"])
def test_s3_a_timestamp_is_a_number(stamp: str) -> None:
    with pytest.raises(Unauthorized):
        reply(visit("", {"shop": SHOP, "timestamp": stamp}))


@pytest.mark.parametrize("name", ["hmac", "shop", "state", "code"])
def test_s3_a_field_that_is_given_twice_is_refused(name: str) -> None:
    made = back()
    doubled = Visit(path="callback", query=(*made.query, (name, "x")), url=URL, now=NOW, cookies=made.cookies)
    with pytest.raises(Unauthorized):
        reply(doubled)


def test_s3_the_order_of_the_fields_does_not_matter() -> None:
    made = back()
    turned = Visit(path="callback", query=tuple(reversed(made.query)), url=URL, now=NOW, cookies=made.cookies)
    assert reply(turned).grant == reply(made).grant


NO_SHOPS = [
    "",
    "x.myshopify.com.evil.com",
    "evil.com",
    "evil.com/.myshopify.com",
    "x.myshopify.com@evil.com",
    "evil.com@x.myshopify.com",
    "user:pass@x.myshopify.com",
    "x.myshopify.com:80",
    "x.myshopify.com:80@evil.com",
    "x.myshopify.com\n",
    "\nx.myshopify.com",
    "x.myshopify.com\r\nHost: evil.com",
    "x.myshopify.com\t",
    "x.myshopify.com ",
    " x.myshopify.com",
    "x.myshopify.com\0",
    "x.myshopify.com/",
    "x.myshopify.com/admin",
    "x.myshopify.com?y=1",
    "x.myshopify.com#y",
    "x.myshopify.com\\@evil.com",
    "https://x.myshopify.com",
    "http://x.myshopify.com",
    "//x.myshopify.com",
    "x..myshopify.com",
    ".myshopify.com",
    "myshopify.com",
    "-x.myshopify.com",
    "_x.myshopify.com",
    "x_y.myshopify.com",
    "x.y.myshopify.com",
    "x.myshopify.com.",
    "x.myshopify.comm",
    "x.myshopify.co",
    "xmyshopify.com",
    "x.myshopify。com",
    "x。myshopify.com",
    "ⅹ.myshopify.com",
    "х.myshopify.com",
    "x.myshopıfy.com",
    "x.myſhopify.com",
    "\u212a.myshopify.com",
    "x\u200b.myshopify.com",
    "x\u202e.myshopify.com",
    "é.myshopify.com",
    "１.myshopify.com",
    "%78.myshopify.com",
    "x%2emyshopify.com",
    "x.myshopify.com%00",
    "x.myshopify.com%0a",
    "127.0.0.1",
    "localhost",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "2852039166",
    "0251.0376.0251.0376",
    "metadata.google.internal",
    "x.myshopify.com,y.myshopify.com",
    "x.myshopify.com;y",
    "*.myshopify.com",
    "a" * 250 + ".myshopify.com",
]


@pytest.mark.parametrize("name", NO_SHOPS)
def test_02_what_is_no_shop_is_a_400_before_anything_else(name: str) -> None:
    for path in ("", "callback", "connect"):
        with pytest.raises(Reject):
            reply(visit(path, {"shop": name, "timestamp": STAMP, "code": "c", "state": "s"}))


def test_02_upper_case_is_the_same_shop() -> None:
    assert reply(visit("connect", {"shop": SHOP.upper()}, sign=False)).location.startswith(f"https://{SHOP}/")


@given(st.text())
def test_02_no_text_gets_a_host_of_its_own(name: str) -> None:
    if is_shop(name):
        assert urlsplit(f"https://{name}").hostname == name
        assert name.endswith(".myshopify.com")


def test_a_link_to_connect_again_needs_no_signature_and_goes_to_the_shop_only() -> None:
    found = reply(visit("connect", {"shop": SHOP}, sign=False))
    assert urlsplit(found.location).netloc == SHOP
    assert found.grant is None


def test_other_pages_there_are_none() -> None:
    with pytest.raises(Reject):
        reply(visit("other", {"shop": SHOP, "timestamp": STAMP}))


# ---- the signature of queries, held against Shopify's own library

NAMES = st.sampled_from(["code", "host", "shop", "state", "timestamp", "locale", "a=b", "p&q", "c%20"])


@given(st.dictionaries(NAMES, st.text(), min_size=1), st.text(min_size=1))
def test_the_signature_is_that_of_shopifyapi(fields: dict[str, str], secret: str) -> None:
    try:
        secret.encode()
        "".join(fields.values()).encode()
    except UnicodeEncodeError:
        return
    Session.secret = secret
    try:
        theirs = Session.calculate_hmac(fields)
    finally:
        Session.secret = None
    assert oauth.signature(tuple(fields.items()), secret) == theirs


def test_the_signature_of_lists_and_of_escapes() -> None:
    query = (("ids[]", "1"), ("ids[]", "2"), ("b", "x&y=z%"), ("a", "one two+three"), ("signature", "old"))
    text = 'a=one two+three&b=x%26y=z%25&ids=["1", "2"]'
    expected = hmac.new(b"s", text.encode(), hashlib.sha256).hexdigest()
    assert oauth.signature(query, "s") == expected
    Session.secret = "s"
    try:
        assert Session.calculate_hmac({"ids[]": [1, 2], "b": "x&y=z%", "a": "one two+three"}) == expected
    finally:
        Session.secret = None
    assert oauth.is_signed((*query, ("hmac", expected)), ["other", "s"])
    assert not oauth.is_signed((*query, ("hmac", "ä" * 64)), ["s"])
    assert not oauth.is_signed(query, ["s"])


# ---- embedded


def token(**claims: object) -> str:
    now = int(NOW.timestamp())
    usual = {
        "iss": f"https://{SHOP}/admin",
        "dest": f"https://{SHOP}",
        "aud": "client",
        "sub": "1",
        "exp": now + 60,
        "nbf": now,
        "iat": now,
        "jti": "j",
        "sid": "s",
    }
    return jwt.encode({**usual, **claims}, SECRET, algorithm="HS256")


def test_an_embedded_page_may_be_framed_by_its_shop_only() -> None:
    proof = token()
    found = reply(visit("", {"shop": SHOP, "embedded": "1", "id_token": proof, "timestamp": STAMP}))
    assert found.grant == {"shop": SHOP, "id_token": proof, "url": URL}
    assert found.frames == (f"https://{SHOP}", "https://admin.shopify.com")


def test_an_embedded_page_without_a_token_says_how_to_connect() -> None:
    found = reply(visit("", {"shop": SHOP, "embedded": "1", "timestamp": STAMP}))
    assert found.unless_installed is not None
    assert f"{URL}/connect?shop={SHOP}" in found.unless_installed.text
    assert found.unless_installed.location == ""


NOW_S = int(NOW.timestamp())


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW_S - 11},
        {"nbf": NOW_S + 11},
        {"aud": "another"},
        {"iss": "https://evil.com/admin"},
        {"iss": "https://evil.com/admin", "dest": "https://evil.com"},
        {"dest": "https://other.myshopify.com"},
        {"iss": f"http://{SHOP}/admin"},
        {"iss": f"https://{SHOP}:444/admin", "dest": f"https://{SHOP}:444"},
        {"iss": f"https://u@{SHOP}/admin", "dest": f"https://u@{SHOP}"},
        {"iss": 7},
        {"exp": "soon"},
    ],
)
def test_an_id_token_that_is_not_good_is_refused(claims: dict[str, object]) -> None:
    try:
        proof = token(**claims)
    except TypeError:  # the library itself makes no such token
        return
    with pytest.raises(Unauthorized):
        reply(visit("", {"shop": SHOP, "id_token": proof, "timestamp": STAMP}))


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "é.é.é", jwt.encode({"aud": "client"}, None, algorithm="none")])
def test_what_is_no_id_token_is_refused(proof: str) -> None:
    with pytest.raises(Unauthorized):
        reply(visit("", {"shop": SHOP, "id_token": proof, "timestamp": STAMP}))


def test_an_id_token_of_another_shop_than_the_links_is_refused() -> None:
    with pytest.raises(Unauthorized):
        reply(visit("", {"shop": "other.myshopify.com", "id_token": token(), "timestamp": STAMP}))


@pytest.mark.parametrize("wrong", [{}, {"exp": 1}, {"aud": "x"}, {"dest": "https://other.myshopify.com"}])
def test_id_tokens_are_judged_as_by_shopifyapi(wrong: dict[str, object]) -> None:
    now = int(time.time())
    proof = token(**{"exp": now + 60, "nbf": now, "iat": now, **wrong})
    try:
        theirs = decode_from_header(f"Bearer {proof}", "client", SECRET)["dest"].removeprefix("https://")
    except Exception:
        theirs = None
    try:
        ours = oauth.embedded_shop(config(), proof, now)
    except Unauthorized:
        ours = None
    assert ours == theirs
