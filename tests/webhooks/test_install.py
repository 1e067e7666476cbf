"""What a browser gets below /install, and what it cannot have."""

from __future__ import annotations

import html
import json
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote

import misoflow.clock
import pytest
from misoflow.inbox import Inbox, InboxUnavailable
from misoflow.standing import Finding, Pulling, Standing
from misoflow_webhooks.nonces import MOST_NONCES, TOKEN_SECONDS, Nonces, Tokens

from tests.webhooks.conftest import CONNECTORS, Answer, instance, make_settings
from tests.webhooks.toyshop import OneShop, ToyShop

SHOP = "demo.shop.example"
FRAMES = ("https://demo.shop.example", "https://admin.shop.example")
NOW = 1_790_000_000_000
LATER = 1 << 42
"""Of a click that the engine has taken up."""


@pytest.fixture
def standings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Name of an install → how it stands; an exception is raised."""
    known: dict[str, Any] = {}

    def standing(_settings: Any, _vault: Any, name: str) -> Standing | None:
        if isinstance(known.get(name), Exception):
            raise known[name]
        return known.get(name)

    monkeypatch.setattr("misoflow.standing.standing", standing)
    return known


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standings: dict[str, Any]) -> Any:
    monkeypatch.setitem(CONNECTORS, "toyshop", ToyShop)
    monkeypatch.setitem(CONNECTORS, "oneshop", OneShop)
    names = {"shop": "toyshop", "other": "toyshop", "one": "oneshop", "plain": "plain", "bad": "broken"}
    return make_settings(tmp_path / "var", **{name: instance(kind) for name, kind in names.items()})


@pytest.fixture
def app(start: Any, settings: Any) -> Any:
    return start(settings)


@pytest.fixture
def secure(start: Any, settings: Any, tmp_path: Path) -> Any:
    """The same behind a public address, below a path of it."""
    names = {"shop": instance("toyshop"), "bad": instance("broken")}
    return start(make_settings(tmp_path / "secure", public_url="https://ingest.example.com/miso", **names))


def ask(app: Any, reply: dict[str, Any], path: str = "/install/shop", method: str = "GET", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: Answer = app.request(method, f"{path}?reply={quote(json.dumps(reply))}", headers=sent)
    return answer


def cookie_of(answer: Answer) -> str:
    name, value = next(iter(SimpleCookie(answer.headers["set-cookie"]).items()))
    return f"{name}={value.value}"


def token_of(answer: Answer) -> str:
    found = re.search(rb'data-token="([^"]*)"', answer.body)
    assert found is not None
    return found[1].decode()


def page_of(app: Any, tenant: str = SHOP, path: str = "/install/shop") -> Answer:
    """The page that a click leads to."""
    clicked = ask(app, {"tenant": tenant, "grant": {"code": "c"}}, path)
    answer: Answer = app.request("GET", clicked.headers["location"], headers={"cookie": cookie_of(clicked)})
    assert answer.status == 200
    return answer


def state(app: Any, token: str, path: str = "/install/shop/state") -> Answer:
    answer: Answer = app.request("GET", path, headers={"x-install-token": token})
    return answer


def live(**changes: Any) -> Standing:
    counts = {"accepted": 6, "delivered": 3, "pending": 1, "skipped": 1, "dead": 1}
    return Standing(
        **{"state": "live", "tenant": SHOP, "installed_at": NOW, "counts": counts, "asked": LATER, **changes}
    )


# who is answered


@pytest.mark.parametrize("path", ["", "/", "/plain", "/one", "/nobody", "/nobody/callback", "/_static/x", "/_static/"])
def test_what_cannot_be_installed_is_not_there(app: Any, path: str) -> None:
    answer = app.request("GET", f"/install{path}")
    assert (answer.status, answer.json["message"]) == (404, "nothing is here")


def test_a_visit_has_everything_in_the_order_sent(app: Any) -> None:
    sent = {"cookie": 'a=1; b="two"', "x-own": "yes"}
    answer = app.request("GET", "/install/SHOP/call/Back/?b=%20x&a=1&b=%26%C3%A9&empty=&c+d=1%2B1", headers=sent)
    seen = json.loads(html.unescape(answer.body.decode()).partition("<p>")[2].partition(".</p>")[0])
    query = [["b", " x"], ["a", "1"], ["b", "&é"], ["empty", ""], ["c d", "1+1"]]
    assert seen == ["call/Back", query, f"http://127.0.0.1:{app.port}/install/shop", {"a": "1", "b": "two"}, "yes"]


def test_only_browsers_that_look_are_answered(app: Any) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = app.request(method, "/install/shop")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_looking_alone_uses_nothing_up(app: Any) -> None:
    reply = {"tenant": SHOP, "grant": {"code": "c"}, "once": "n"}
    looked = ask(app, reply, method="HEAD")
    assert (looked.status, looked.body) == (302, b"")
    assert app.stored() == []
    assert ask(app, reply).status == 302
    assert len(app.stored()) == 1


@pytest.mark.parametrize(
    ("what", "status", "text"),
    [
        ("unauthorized", 403, "<p>The signature does not fit.</p>"),
        ("reject", 400, "<p>The shop&#39;s name is none.</p>"),
        ("halt", 503, "on our side"),
        ("bug", 503, "on our side"),
        ("exit", 503, "on our side"),
    ],
)
def test_whatever_visit_raises_is_a_page(
    app: Any, caplog: pytest.LogCaptureFixture, what: str, status: int, text: str
) -> None:
    answer = app.request("GET", f"/install/shop?raise={what}&code=canary-code")
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert text in answer.body.decode()
    assert "Traceback" not in answer.body.decode()
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "canary" not in answer.body.decode() + caplog.text


@pytest.mark.parametrize("path", ["/install/bad", "/install/bad/callback", "/install/unset"])
def test_an_instance_that_cannot_start_asks_to_come_again(app: Any, path: str) -> None:
    answer = app.request("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")


def test_a_query_of_too_many_fields_is_400(app: Any) -> None:
    assert app.request("GET", "/install/shop?" + "a=1&" * 500).status == 400


def test_a_sender_is_bounded(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("misoflow_webhooks.installs.PER_ADDRESS", 2.0)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    assert [app.request("GET", "/install/shop").status for _ in range(3)] == [200, 200, 429]


# the address


def test_another_host_is_believed_in_the_settings_only(app: Any, secure: Any) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost:8400@evil.example", "127.0.0.1:80:80", ""):
        answer = app.request("GET", "/install/shop", headers={"host": host})
        assert answer.status == 503
        assert "public_url" in answer.body.decode()
    for host in ("localhost:1", "127.0.0.1", "[::1]:8400"):
        assert (
            f"http://{host}/install/shop" in app.request("GET", "/install/shop", headers={"host": host}).body.decode()
        )
    answer = secure.request("GET", "/install/shop", headers={"host": "evil.example"})
    assert "https://ingest.example.com/miso/install/shop" in answer.body.decode()
    assert "evil" not in answer.body.decode()


GOOD_PLACES = ["https://demo.shop.example/admin/oauth?a=b&c=%2F", "/install/shop", "/", "http://127.0.0.1:8620/x/auth"]
BAD_PLACES = [
    "http://demo.shop.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "https:///evil.example", "javascript:alert(1)", "data:text/html,x", "https://shop.example@evil.example",
    "http://127.0.0.1@evil.example", "http://127.0.0.1.evil.example", "install/shop", " https://a.example",
    "https://a.example/\r\nset-cookie: x=1", "https://a.example/\x00", "https://\u0430.example", "ftp://a.example",
    "/\t/evil.example", "HTTPS:/\\evil.example", "https://[bad",
]  # fmt: skip


@pytest.mark.parametrize("place", GOOD_PLACES)
def test_a_redirect(app: Any, place: str) -> None:
    answer = ask(app, {"location": place})
    assert (answer.status, answer.headers["location"], answer.body) == (302, place, b"")


@pytest.mark.parametrize("place", BAD_PLACES)
def test_no_open_redirect(app: Any, place: str) -> None:
    answer = ask(app, {"location": place, "tenant": SHOP, "grant": {"code": "c"}})
    assert answer.status == 503
    assert "location" not in answer.headers
    assert app.stored() == []


BAD_REPLIES: list[dict[str, Any]] = [
    {"frames": ["https://a.example; script-src *"]}, {"frames": ["*"]}, {"frames": ["https://a.example/path"]},
    {"frames": ["http://a.example"]}, {"frames": ["https://a.example\r\nx: y"]}, {"frames": ["'self'"]},
    {"cookies": [{"name": "a", "value": "b; Domain=evil.example", "seconds": 1}]},
    {"cookies": [{"name": "a b", "value": "c", "seconds": 1}]},
    {"cookies": [{"name": "a", "value": "b\r\nx: y", "seconds": 1}]},
    {"grant": {"code": "c"}}, {"grant": {"code": 1}, "tenant": SHOP}, {"tenant": "a\nb"}, {"tenant": "a" * 256},
    {"status": 0}, {"status": 999}, {"status": "200"}, {"unless_installed": {"text": "x"}},
]  # fmt: skip


@pytest.mark.parametrize("reply", BAD_REPLIES, ids=json.dumps)
def test_a_reply_that_must_not_reach_a_browser(app: Any, reply: dict[str, Any]) -> None:
    for given in (reply, {"tenant": SHOP, "unless_installed": reply}):
        answer = ask(app, given)
        assert (answer.status, "set-cookie" in answer.headers) == (503, False)
    assert app.stored() == []


def test_no_reply_at_all(app: Any) -> None:
    assert app.request("GET", "/install/shop?odd=1").status == 503


# headers


def test_every_answer_has_its_headers(app: Any, secure: Any, standings: dict[str, Any]) -> None:
    standings[f"shop/{SHOP}"] = live()
    for server in (app, secure):
        clicked = ask(server, {"tenant": SHOP})
        page = server.request("GET", "/install/shop/page", headers={"cookie": cookie_of(clicked)})
        answers = [
            clicked, page, state(server, token_of(page)), ask(server, {"text": "hello", "status": 418}),
            ask(server, {"location": "/"}), state(server, "x"),
            server.request("GET", "/install/shop?raise=bug"), server.request("GET", "/install/shop/page"),
            server.request("POST", "/install/shop"), server.request("GET", "/install/bad"),
        ]  # fmt: skip
        assert [one.status for one in answers] == [302, 200, 200, 418, 302, 401, 503, 403, 405, 503]
        for answer in answers:
            policy = answer.headers["content-security-policy"]
            assert policy == (
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-frame-options"] == "DENY"
            assert ("strict-transport-security" in answer.headers) == (server is secure)


def test_only_the_shop_itself_may_frame_its_page(app: Any, standings: dict[str, Any]) -> None:
    standings[f"shop/{SHOP}"] = live()
    framed = ask(app, {"tenant": SHOP, "frames": FRAMES})
    assert framed.status == 200
    assert framed.headers["content-security-policy"].endswith(
        "; frame-ancestors https://demo.shop.example https://admin.shop.example"
    )
    assert "x-frame-options" not in framed.headers
    assert "set-cookie" not in framed.headers
    assert state(app, token_of(framed)).status == 200
    other = ask(app, {"tenant": "b.shop.example", "frames": ["https://b.shop.example"]})
    assert other.headers["content-security-policy"].endswith("; frame-ancestors https://b.shop.example")


def test_nothing_is_loaded_but_two_files_of_ours(app: Any, standings: dict[str, Any]) -> None:
    standings[f"shop/{SHOP}"] = live()
    text = page_of(app).body.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert [one.partition("?")[0] for one in loaded] == [
        "data:,",
        "/install/_static/install.css",
        "/install/_static/install.js",
    ]
    assert not re.search(r"<script>|style=|\son\w+=|<style", text)
    for path, kind in ((loaded[1], "text/css; charset=utf-8"), (loaded[2], "text/javascript; charset=utf-8")):
        answer = app.request("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in answer.headers["cache-control"]


# cookies and nonces


def test_cookies_are_of_this_install_and_for_no_script(app: Any, secure: Any) -> None:
    given = {"text": "x", "cookies": [{"name": "state", "value": "abc.def", "seconds": 600}]}
    assert (
        ask(app, given).headers["set-cookie"]
        == "state=abc.def; Path=/install/shop; Max-Age=600; HttpOnly; SameSite=Lax"
    )
    assert ask(secure, given).headers["set-cookie"] == (
        "state=abc.def; Path=/miso/install/shop; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
    )


def test_a_nonce_is_good_for_one_reply(app: Any) -> None:
    reply = {"tenant": SHOP, "grant": {"code": "canary-code"}, "once": "nonce"}
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: ask(app, reply).status, range(8)))
    assert sorted(statuses) == [302] + [403] * 7
    assert len(app.stored()) == 1
    assert ask(app, reply, "/install/other").status == 302  # that is another instance's


def test_nonces_are_remembered_for_ten_minutes_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    nonces = Nonces(most=3)
    assert [nonces.take("a"), nonces.take("a"), nonces.take("b"), nonces.take("c")] == [True, False, True, True]
    assert nonces.take("d") is False  # full: nothing is good, rather than anything twice
    nonces.give_back("b")
    assert [nonces.take("d"), nonces.take("a")] == [True, False]
    clock[0] += 599
    assert nonces.take("a") is False
    clock[0] += 1
    assert nonces.take("a") is True
    assert MOST_NONCES >= 10_000


# grants


def test_a_grant_is_stored_before_the_answer_and_leads_to_a_clean_address(app: Any) -> None:
    answer = ask(app, {"tenant": SHOP, "grant": {"code": "canary-code", "url": "u"}}, "/install/shop/callback")
    (delivery,) = app.stored()
    assert (delivery.instance, delivery.request.channel) == (f"shop/{SHOP}", "install")
    assert json.loads(delivery.request.body) == {"code": "canary-code", "url": "u"}
    assert delivery.request.query == {}
    assert (answer.status, answer.headers["location"]) == (302, "/install/shop/page")
    assert "Path=/install/shop; Max-Age=3600; HttpOnly; SameSite=Lax" in answer.headers["set-cookie"]
    page = app.request("GET", "/install/shop/page", headers={"cookie": cookie_of(answer)})
    assert (page.status, b"Connecting" in page.body, SHOP.encode() in page.body) == (200, True, True)
    assert b"canary" not in page.body


def test_a_grant_may_lead_elsewhere(app: Any) -> None:
    answer = ask(app, {"tenant": SHOP, "grant": {"code": "c"}, "location": "https://demo.shop.example/apps/miso"})
    assert (answer.status, answer.headers["location"]) == (302, "https://demo.shop.example/apps/miso")
    assert len(app.stored()) == 1


def test_a_grant_that_cannot_be_stored_may_be_brought_again(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {"tenant": SHOP, "grant": {"code": "c"}, "once": "n"}
    with monkeypatch.context() as patched:

        async def fails(*_: Any) -> list[int]:
            raise InboxUnavailable("the disk is gone")

        patched.setattr(Inbox, "append", fails)
        failed = ask(app, reply)
    assert (failed.status, "set-cookie" in failed.headers) == (503, False)
    assert ask(app, reply).status == 302
    assert len(app.stored()) == 1


def test_codes_and_signatures_reach_no_log(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reply = {"tenant": "canary.shop.example", "grant": {"code": "canary-code"}, "once": "canary-nonce"}
    for _ in range(2):
        ask(app, reply, "/install/shop/canary-path", cookie="state=canary-cookie", authorization="Bearer canary-token")
    ask(app, {"location": "http://canary.example"})
    app.request("GET", "/install/shop?raise=bug&hmac=canary")
    assert "canary" not in caplog.text


# the page of an install


@pytest.mark.parametrize("known", [None, "uninstalled", "failed"])
def test_where_it_is_not_installed_the_other_reply_counts(
    app: Any, standings: dict[str, Any], known: str | None
) -> None:
    standings[f"shop/{SHOP}"] = known and live(state=known)
    reply = {"tenant": SHOP, "unless_installed": {"location": "https://demo.shop.example/oauth"}}
    assert ask(app, reply).headers["location"] == "https://demo.shop.example/oauth"
    standings[f"shop/{SHOP}"] = live(state="degraded")
    assert ask(app, reply).headers["location"] == "/install/shop/page"


def test_the_page_says_everything(app: Any, standings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misoflow.clock, "now_ms", lambda: NOW)
    monkeypatch.setattr("misoflow_webhooks.installs.now_ms", lambda: NOW)
    standings[f"shop/{SHOP}"] = live(
        state="degraded",
        last_event=NOW - 3 * 60_000,
        streams=(Pulling("all_orders", "pulling", 1234, 0.456, "60 days"), Pulling("catalog", "done", 7, None)),
        problems=(Finding("warn", "Only 60 days can be read.", "Ask for more."), Finding("fail", "No pixel.", "")),
    )
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.unescape(page_of(app).body.decode())))
    for part in (
        "Needs attention",
        "Connected since 2026-09-21 14:13 UTC",
        "Last event 3 minutes ago 2026-09-21 14:10 UTC",
        "Note: Only 60 days can be read. What to do: Ask for more. Problem: No pixel. History",
        "All orders 1,234 read · being read · 46% 46% 60 days",
        "Catalog 7 read · complete 100%",
        "Arrived in Miso 3 On their way 1 Not needed by Miso 1 Could not be delivered 1 All received 6",
    ):
        assert part in text


def test_figures_that_do_not_add_up_are_said(app: Any, standings: dict[str, Any]) -> None:
    standings[f"shop/{SHOP}"] = live(counts={"accepted": 2, "delivered": 1})
    assert b"do not add up: 1 events" in page_of(app).body


def test_why_it_failed_and_what_to_do(app: Any, standings: dict[str, Any]) -> None:
    standings[f"shop/{SHOP}"] = live(state="failed", reason="the code was refused", fix="Install it again.", counts={})
    text = page_of(app).body.decode()
    assert "The code was refused." in text
    assert "What to do: Install it again." in text
    assert "<table" not in text  # there is nothing to count
    standings[f"shop/{SHOP}"] = live(state="uninstalled", reason="the app was uninstalled")
    assert b"What is missing" not in page_of(app).body


def test_no_text_from_elsewhere_becomes_markup(app: Any, standings: dict[str, Any]) -> None:
    bad = "\"><script>alert(1)</script>'{{7*7}}"
    standings[f"shop/{SHOP}"] = Standing(
        bad,
        bad,
        bad,
        bad,
        NOW,
        NOW,
        {"accepted": 0},
        (Pulling(bad, bad, 0, 0.5, bad),),
        (Finding(bad, bad, bad),),
        LATER,
    )
    page = page_of(app)
    bodies = [page.body, json.loads(state(app, token_of(page)).body)["html"].encode()]
    bodies += [ask(app, {"text": bad}).body, ask(app, {"tenant": bad, "frames": FRAMES}).body]
    for body in bodies:
        assert b"<script>alert" not in body
        assert b"&lt;script&gt;" in body
        assert b"{{7*7}}" in body
        assert b"&#34;&gt;" in body  # a quote ends no attribute


def test_until_a_click_is_taken_up_nobody_is_shown_how_the_install_before_it_ended(
    app: Any, standings: dict[str, Any]
) -> None:
    standings[f"shop/{SHOP}"] = live(state="uninstalled", asked=0)
    page = page_of(app)
    assert b"Uninstalled" not in page.body
    assert state(app, token_of(page)).json["state"] == "connecting"
    standings[f"shop/{SHOP}"] = live(state="failed", asked=app.stored()[-1].received_ms)
    assert state(app, token_of(page)).json["state"] == "failed"
    standings[f"shop/b.{SHOP}"] = live(state="uninstalled", asked=0)
    assert b"Uninstalled" in ask(app, {"tenant": f"b.{SHOP}", "frames": FRAMES}).body


def test_a_standing_that_cannot_be_read_is_a_503(app: Any, standings: dict[str, Any]) -> None:
    page = page_of(app)
    standings[f"shop/{SHOP}"] = RuntimeError("canary")
    for answer in (state(app, token_of(page)), ask(app, {"tenant": SHOP, "frames": FRAMES})):
        assert (answer.status, b"canary" in answer.body) == (503, False)


# tokens of the page


def test_the_state_of_an_install_is_for_its_page_alone(app: Any, standings: dict[str, Any]) -> None:
    standings[f"shop/{SHOP}"] = live()
    token = token_of(page_of(app))
    answer = state(app, token)
    assert (answer.status, answer.json["state"], "Live" in answer.json["html"]) == (200, "live", True)
    assert state(app, answer.json["token"]).status == 200
    standings[f"shop/{SHOP}"] = live(state="pulling")
    assert state(app, token).json["state"] == "pulling"

    name, until, code = token.split(".")
    other = token_of(page_of(app, "b.shop.example"))
    forged = [
        "", ".", "..", "x", f"{name}.{until}.", f"{name}.{int(until) + 1}.{code}",
        f"{other.split('.')[0]}.{until}.{code}", f"{name}.{until}.{other.split('.')[2]}", f"é.{until}.{code}",
        f"{name}.²{until}.{code}", f"!.{until}.{code}",
        f"{name}.{'9' * 400}.{code}", token + "0", token.upper(),
    ]  # fmt: skip
    for one in forged:
        answer = app.request("GET", "/install/shop/state", headers={"x-install-token": one.encode("latin-1")})
        assert (answer.status, "html" in answer.json) == (401, False), one
    assert state(app, token, "/install/other/state").status == 401
    assert state(app, token, f"/install/shop/state?token={token}").status == 200
    assert app.request("GET", f"/install/shop/state?token={token}").status == 401


def test_a_page_shows_the_install_of_its_cookie_and_no_other(app: Any, standings: dict[str, Any]) -> None:
    clicked = ask(app, {"tenant": SHOP, "grant": {"code": "c"}})
    assert app.request("GET", "/install/other/page", headers={"cookie": cookie_of(clicked)}).status == 403
    for cookie in ("", "misoflow_page=x", cookie_of(clicked)[:-1]):
        answer = app.request("GET", f"/install/shop/page?shop={SHOP}&tenant={SHOP}", headers={"cookie": cookie})
        assert (answer.status, SHOP.encode() in answer.body) == (403, False)


def test_a_token_is_good_for_an_hour_and_over_a_change_of_key(monkeypatch: pytest.MonkeyPatch, app: Any) -> None:
    from misoflow.vault import Vault

    clock = [NOW]
    monkeypatch.setattr("misoflow_webhooks.nonces.now_ms", lambda: clock[0])
    old, new, both = Vault(b"o" * 32), Vault(b"n" * 32), Vault(b"n" * 32, b"o" * 32)
    token = Tokens(old).make("shop", SHOP)
    assert [Tokens(vault).tenant("shop", token) for vault in (old, both, new)] == [SHOP, SHOP, None]
    clock[0] += TOKEN_SECONDS * 1000
    assert Tokens(old).tenant("shop", token) == SHOP
    clock[0] += 1000
    assert Tokens(old).tenant("shop", token) is None


def test_a_receiver_of_plain_hooks_loads_neither_templates_nor_the_store() -> None:
    code = (
        "import sys, misoflow_webhooks.serve; print([n for n in ('jinja2', 'misoflow.standing') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_visits_are_counted(app: Any, standings: dict[str, Any]) -> None:
    page = page_of(app)
    state(app, token_of(page))
    app.request("GET", "/install/shop?raise=unauthorized")
    app.request("GET", "/install/shop?raise=bug")
    ask(app, {"location": "/"})
    text = app.admin("/metrics").body.decode()
    for outcome in ("granted", "page", "state", "refused", "failed", "redirect"):
        assert f'misoflow_installs_total{{instance="shop",outcome="{outcome}"}} 1.0' in text
