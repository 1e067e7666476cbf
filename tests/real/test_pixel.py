"""The web pixel of deploy/shopify, run as Shopify's strict sandbox does: what it posts, and what it keeps to itself.

What it posts for each event stands in tests/shopify/pixel; ``MISOFLOW_RECORD=1`` before pytest writes it anew.
https://shopify.dev/docs/api/web-pixels-api
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.real import pixel_events as shopify
from tests.real.pixel_events import ALLOWED, CANARY, UNDECIDED, Json

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "deploy" / "shopify" / "extensions" / "miso-pixel" / "src" / "index.js"
WIRE = ROOT / "tests" / "shopify"
RECORDED = WIRE / "pixel"
RECORD = bool(os.environ.get("MISOFLOW_RECORD"))
SCHEMA = jsonschema_rs.validator_for(json.loads((WIRE / "pixel.schema.json").read_text()))
SETTINGS = {"accountID": "pk-shop-code", "endpoint": "https://ingest.example/hooks/shop"}
STANDARD = shopify.standard_events()
EVENTS = {**STANDARD, **shopify.custom_events()}
OF_NO_USE = {"alert_displayed", "ui_extension_errored"}
SENT = [name for name in EVENTS if name not in OF_NO_USE]
KEEPALIVE_BYTES = 64 * 1024
CHECKED = [
    *("--noEmit", "--allowJs", "--checkJs", "--strict", "--skipLibCheck", "--target", "es2022"),
    *("--lib", "es2022,webworker,webworker.iterable", "--module", "esnext", "--moduleResolution", "bundler"),
]
"""The compiler's options: a worker's globals, and none of a page's."""
Play = Callable[..., Json]


@pytest.fixture(scope="module")
def folder(sdks: Path) -> Path:
    """Where the source lies with Shopify's package beside it."""
    folder = sdks / "pixel"
    folder.mkdir(exist_ok=True)
    shutil.copy(SOURCE, folder / "index.js")
    return folder


@pytest.fixture(scope="module")
def bundle(sdks: Path, folder: Path) -> Path:
    """The pixel as Shopify CLI packs it: one script."""
    esbuild = sdks / "node_modules" / ".bin" / "esbuild"
    out = folder / "bundle.js"
    subprocess.run(
        [esbuild, folder / "index.js", "--bundle", "--target=es2020", f"--outfile={out}", "--log-level=error"],
        check=True,
    )
    return out


@pytest.fixture
def play(sdks: Path, bundle: Path) -> Play:
    """Runs the pixel through steps and gives back what it posted, to which events it listens and what it raised."""

    def run(steps: list[Json], init: Any = None, settings: Any = SETTINGS, answers: tuple[Any, ...] = ()) -> Json:
        task = {"bundle": str(bundle), "settings": settings, "steps": steps, "answers": answers}
        task["init"] = shopify.init() if init is None else init
        command = ["node", "pixel_sandbox.cjs"]
        done = subprocess.run(command, cwd=sdks, input=json.dumps(task), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        result: Json = json.loads(done.stdout)
        assert result["surprises"] == []
        return result

    return run


def publish(*events: Any) -> list[Json]:
    return [{"publish": event} for event in events]


def bodies(result: Json) -> list[Json]:
    """What was posted, each of it held against the wire format."""
    found = [json.loads(post["body"]) for post in result["posts"]]
    for body in found:
        SCHEMA.validate(body)
    return found


def compile_types(sdks: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    tsc = sdks / "node_modules" / ".bin" / "tsc"
    return subprocess.run([tsc, *CHECKED, *files], capture_output=True, text=True)


def test_the_source_fits_the_types_that_shopify_publishes(sdks: Path, folder: Path) -> None:
    done = compile_types(sdks, folder / "index.js")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("wrong", ["productVariants?.id", "document?.cookie", "addEventListener"])
def test_the_types_tell_what_is_not_there(sdks: Path, tmp_path: Path, folder: Path, wrong: str) -> None:
    text = SOURCE.read_text()
    changed = {
        "productVariants?.id": text.replace("data?.productVariant, null", "data?.productVariants, null"),
        "document?.cookie": text.replace("context?.document?.title", "context?.document?.cookie"),
        "addEventListener": text + "\nwindow.addEventListener('click', () => {});\n",
    }[wrong]
    assert changed != text
    (folder / "wrong.js").write_text(changed)
    assert "error TS" in compile_types(sdks, folder / "wrong.js").stdout


def test_our_events_are_whole_by_the_types_that_shopify_publishes(sdks: Path, folder: Path) -> None:
    """A field that these events lack, or that Shopify does not know, is an error."""
    names = " | ".join(json.dumps(name) for name in STANDARD)
    lines = [
        "import type {CustomEvent, PixelEvents, RegisterInit} from '@shopify/web-pixels-extension';",
        f"type Untyped = {{[K in {names}]: Omit<PixelEvents[K], 'type'>}};",
        f"export const init: RegisterInit = {json.dumps(shopify.init())};",
        f"export const events: Untyped = {json.dumps(STANDARD)};".replace(
            '"EXTENSION_USAGE_ERROR"', "<any>'x'"
        ).replace('"CONTACT_ERROR"', "<any>'x'"),
        f"export const custom: Omit<CustomEvent, 'type'>[] = {json.dumps([*shopify.custom_events().values()])};",
    ]
    (folder / "whole.ts").write_text("\n".join(lines))
    done = compile_types(sdks, folder / "whole.ts")
    assert (done.returncode, done.stdout) == (0, "")
    declared = (sdks / "node_modules/@shopify/web-pixels-extension/build/ts/types/PixelEvents/index.d.ts").read_text()
    assert declared.count("type: EventType.Standard;") == len(STANDARD)


def test_it_listens_to_what_is_of_use_and_to_nothing_else(play: Play) -> None:
    assert sorted(play([])["names"]) == sorted(SENT)


@pytest.mark.parametrize("name", SENT)
def test_each_event_is_posted_as_recorded(play: Play, name: str) -> None:
    (body,) = bodies(play(publish(EVENTS[name])))
    assert CANARY not in json.dumps(body)
    assert {key: body["event"][key] for key in ("id", "name", "clientId", "seq", "timestamp")} == {
        key: EVENTS[name][key] for key in ("id", "name", "clientId", "seq", "timestamp")
    }
    path = RECORDED / f"{name.replace(':', '_')}.json"
    if RECORD:
        path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    assert body == json.loads(path.read_text())


def test_nothing_but_those_is_recorded() -> None:
    assert sorted(path.stem for path in RECORDED.iterdir()) == sorted(name.replace(":", "_") for name in SENT)


def test_a_request_needs_no_preflight_and_outlives_the_page(play: Play) -> None:
    (post,) = play(publish(EVENTS["page_viewed"]))["posts"]
    assert post["url"] == "https://ingest.example/hooks/shop/pixel/pk-shop-code"
    # no header of its own: a text is sent as text/plain, https://fetch.spec.whatwg.org/#cors-safelisted-request-header
    assert post["options"] == {"method": "POST", "keepalive": True, "credentials": "omit"}


def test_a_slash_at_the_end_of_the_endpoint_changes_nothing(play: Play) -> None:
    settings = {**SETTINGS, "endpoint": f"{SETTINGS['endpoint']}/"}
    (post,) = play(publish(EVENTS["page_viewed"]), settings=settings)["posts"]
    assert post["url"] == "https://ingest.example/hooks/shop/pixel/pk-shop-code"


@pytest.mark.parametrize("settings", [None, {}, {"accountID": "pk-shop-code"}, {"endpoint": "https://ingest.example"}])
def test_without_its_settings_it_does_nothing(play: Play, settings: Any) -> None:
    result = play(publish(*EVENTS.values()), settings=settings)
    assert result["posts"] == result["names"] == []


def nulled(value: Any) -> Any:
    """The value with null in the place of every text, number and list."""
    return {key: nulled(one) for key, one in value.items()} if isinstance(value, dict) else None


def replaced(event: Json, key: str, value: Any) -> Json:
    return {**event, key: value}


HOSTILE: dict[str, Any] = {
    "null": None,
    "number": -1,
    "fraction": 4.5,
    "big number": 2**60,
    "bool": True,
    "text": "\ud800<script>\u0000",
    "list": [None, [], {"id": {}}],
    "object": {"id": {"id": []}, "length": 7, "toString": None},
    "long": "9" * 100_000,
}


@pytest.mark.parametrize("name", SENT)
def test_an_event_of_nulls_is_still_an_event(play: Play, name: str) -> None:
    full = EVENTS[name]
    key = "customData" if ":" in name else "data"
    empty = [
        replaced(full, key, nulled(full[key])),
        replaced(full, key, None),
        replaced(full, "context", nulled(full["context"])),
        replaced(full, "context", None),
    ]
    events = [replaced(one, "id", f"empty-{number}") for number, one in enumerate(empty)]
    init = {"customerPrivacy": ALLOWED, "context": None, "data": None}
    found = bodies(play(publish(*events), init=init))
    assert [body["event"]["id"] for body in found] == [one["id"] for one in events]
    assert found[3]["event"]["page"] == {"url": None, "referrer": None, "title": None}
    assert found[0]["event"]["data"] == found[1]["event"]["data"]
    assert found[0]["event"]["customer"] is None


@pytest.mark.parametrize("name", SENT)
def test_whatever_a_field_holds_the_form_stays(play: Play, name: str) -> None:
    """Each field of an event in turn becomes each hostile value; without a clientId there is no visitor to tell of."""
    chosen = [path for path in paths(EVENTS[name]) if path not in (("id",), ("name",))]
    broken = [one for path in chosen for one in variations(EVENTS[name], path)]
    events = [replaced(one, "id", f"{name}-{number}") for number, one in enumerate(broken)]
    found = bodies(play(publish(*events)))
    assert [body["event"]["id"] for body in found] == [one["id"] for one in events if isinstance(one["clientId"], str)]
    assert all(len(json.dumps(body)) < KEEPALIVE_BYTES for body in found)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the fields are that the pixel might read."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([at] if at else []), *(path for key, one in inner for path in paths(one, (*at, key)))]


def variations(event: Json, path: tuple[Any, ...]) -> list[Json]:
    def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
        if not path:
            return new
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[path[0]] = put(value[path[0]], path[1:], new)
        return copy

    short = {
        key: value for key, value in HOSTILE.items() if key != "long" or path[-1] in ("href", "title", "query", "id")
    }
    return [put(event, path, value) for value in short.values()]


@pytest.mark.parametrize("broken", [None, 0, "", [], {}, {"name": "page_viewed"}, {"name": "page_viewed", "id": 7}])
def test_what_is_no_event_is_not_sent(play: Play, broken: Any) -> None:
    assert play(publish(broken))["posts"] == []
    assert play(publish(replaced(EVENTS["page_viewed"], "id", None)))["posts"] == []


def test_lists_are_cut_and_the_body_stays_small(play: Play) -> None:
    many = [shopify.variant(10**17 + number) for number in range(0, 50_000, 10)]
    names = {"collection_viewed": "collection", "search_submitted": "searchResult"}
    filters = "&".join(f"filter.v.f{number}={'ß' * 300}" for number in range(9))
    places = [shopify.context("/collections/" + "%C3%9F" * 5000), shopify.context("/search", filters)]
    events = []
    for place, (name, key) in zip(places, names.items(), strict=True):
        data = {
            key: {**EVENTS[name]["data"][key], "productVariants": many, "query": "\u0001😀" * 5000, "title": "ß" * 5000}
        }
        place["document"]["title"] = "\ud83d" * 5000
        place["navigator"]["userAgent"] = "ß" * 5000
        events.append({**EVENTS[name], "data": data, "context": place})
    shown = {"items": [{"variant": number, "product": number} for number in range(60)], "miso_id": "m" * 5000}
    events.append({**EVENTS["miso:impression"], "customData": shown})
    result = play(publish(*events))
    found = [body["event"] for body in bodies(result)]
    assert [len(event["data"]["items"]) for event in found] == [50, 50, 50]
    assert all(len(post["body"].encode()) < 16 * 1024 for post in result["posts"])
    assert re.fullmatch(r"https://shop\.example/collections/(%C3%9F)+(%C3)?", found[0]["page"]["url"])
    assert found[1]["page"]["url"].count("filter.v.f") == 1


IDS = [
    ("41", "41"),
    (41, "41"),
    ("gid://shopify/ProductVariant/41", "41"),
    ("/variants/41?key=secret", "41"),
    ("9007199254740993", "9007199254740993"),
    (2**53 + 1, None),
    ("gid://shopify/ProductVariant/", None),
    ("41,42", None),
    ("4e1", None),
    ("-41", None),
    ("", None),
    ("1" * 21, None),
]


def test_ids(play: Play) -> None:
    data = [{"productVariant": {**shopify.variant(), "id": given}} for given, _ in IDS]
    found = bodies(play(publish(*several("product_viewed", "data", data))))
    assert [body["event"]["data"] for body in found] == [
        {"variant": expected, "product": "4", "quantity": None} for _, expected in IDS
    ]


def several(name: str, key: str, values: list[Any]) -> list[Json]:
    """The event once for each value, with an id of its own."""
    return [{**EVENTS[name], "id": f"{name}-{number}", key: value} for number, value in enumerate(values)]


CARTS = [
    ("Z2NwLXVz", "Z2NwLXVz"),
    ("c1-0123abc", "c1-0123abc"),
    ("gid://shopify/Cart/Z2NwLXVz?key=secret", "Z2NwLXVz"),
    ("Z2NwLXVz%3Fkey%3Dsecret", "Z2NwLXVz"),
    ("not a token", None),
    (None, None),
]


def test_tokens_of_carts(play: Play) -> None:
    data = [{"cart": {**shopify.cart(), "id": given}} for given, _ in CARTS]
    found = bodies(play(publish(*several("cart_viewed", "data", data))))
    assert [body["event"]["data"] for body in found] == [{"cart": expected} for _, expected in CARTS]


URLS = [
    ("https://shop.example/", "https://shop.example/"),
    (
        "https://shop.example/en-ca/products/shirt?variant=41#reviews",
        "https://shop.example/en-ca/products/shirt?variant=41",
    ),
    (
        "https://shop.example/collections/orders?utm_source=a&gclid=b",
        "https://shop.example/collections/orders?utm_source=a",
    ),
    ("https://shop.example/pages/account/x", "https://shop.example/pages/account/x"),
    ("https://who:secret@shop.example/", "https://shop.example/"),
    ("//shop.example/cart", "https://shop.example/cart"),
    ("http://127.0.0.1:9292/cart", "http://127.0.0.1:9292/cart"),
    ("https://shop.example/checkouts/cn/Z2NwLXVz/en/information?key=s", "https://shop.example/checkouts/cn/:token"),
    ("https://shop.example/fr/checkouts/cn/Z2NwLXVz", "https://shop.example/checkouts/cn/:token"),
    ("https://shop.example/checkouts/26c9b1a7f0e34d1d", "https://shop.example/checkouts/:token"),
    ("https://shop.example/12345678/checkouts/26c9b1a7", "https://shop.example/checkouts/:token"),
    ("https://shop.example/12345678/orders/26c9b1a7/authenticate?key=s", "https://shop.example/orders/:token"),
    ("https://shop.example/account", "https://shop.example/account"),
    ("https://shop.example/account/reset/123/secret", "https://shop.example/account/:token"),
    ("https://shop.example/cart/c/Z2NwLXVz?key=secret", "https://shop.example/cart/:token"),
    ("https://shop.example/gift_cards/1/secret", "https://shop.example/gift_cards/:token"),
    ("https://shop.example/pages/jane@mail.example/x", "https://shop.example/pages/:hidden/x"),
    ("https://shop.example/pages/jane%40mail.example", "https://shop.example/pages/:hidden"),
    ("https://shop.example/search?q=jane@mail.example+shirt&q=2", "https://shop.example/search?q=shirt&q=2"),
    (
        "https://shop.example/?utm_term=jane%40mail.example&filter.a=1&filter.a=2&filters=c",
        "https://shop.example/?filter.a=1&filter.a=2",
    ),
    ("javascript:alert(1)", None),
    ("about:blank", None),
    ("shop.example/products", None),
    ("https://", None),
    ("", None),
]


def test_urls_are_cut(play: Play) -> None:
    places = [shopify.context("/", referrer=given) for given, _ in URLS]
    for place, (given, _) in zip(places, URLS, strict=True):
        place["document"]["location"]["href"] = given
    pages = [body["event"]["page"] for body in bodies(play(publish(*several("page_viewed", "context", places))))]
    assert [page["url"] for page in pages] == [expected for _, expected in URLS]
    assert [page["referrer"] for page in pages] == [expected for _, expected in URLS]


def test_titles_of_a_visitors_own_pages_may_name_the_visitor(play: Play) -> None:
    own = ["/checkouts/cn/Z2NwLXVz", "/account", "/fr/orders/26c9", "/cart"]
    places = [shopify.context(path) for path in (*own, "/pages/account", "/collections/cart", "/")]
    pages = [body["event"]["page"] for body in bodies(play(publish(*several("page_viewed", "context", places))))]
    assert [page["title"] for page in pages] == [None] * len(own) + ["Shirts – A shop"] * 3


def test_the_window_tells_where_it_is_when_the_document_does_not(play: Play) -> None:
    place = shopify.context("/products/shirt")
    place["document"]["location"] = None
    (body,) = bodies(play(publish(replaced(EVENTS["page_viewed"], "context", place))))
    assert body["event"]["page"]["url"] == f"{shopify.SHOP}/products/shirt"


def test_an_event_that_tells_no_place_is_of_the_page_that_loaded_the_pixel(play: Play) -> None:
    (body,) = bodies(play(publish(replaced(EVENTS["page_viewed"], "context", None))))
    assert body["event"]["page"]["url"] == f"{shopify.SHOP}/"
    assert body["event"]["userAgent"] == shopify.AGENT


def test_nothing_is_sent_before_consent_and_then_all_as_it_was(play: Play) -> None:
    events = [EVENTS["page_viewed"], EVENTS["product_viewed"]]
    before = [*publish(*events), {"wait": 60_000}]
    assert play(before, init=shopify.init(UNDECIDED))["posts"] == []
    late = [*before, {"consent": ALLOWED}]
    found = bodies(play(late, init=shopify.init(UNDECIDED)))
    assert [body["event"]["timestamp"] for body in found] == [event["timestamp"] for event in events]
    assert [body["event"]["id"] for body in found] == [event["id"] for event in events]
    assert found[0]["consent"] == {"analytics": True, "marketing": False, "preferences": True, "sale": False}


@pytest.mark.parametrize("privacy", [None, {}, "yes", {"analyticsProcessingAllowed": "true"}, UNDECIDED])
def test_only_a_plain_yes_is_consent(play: Play, privacy: Any) -> None:
    init = {**shopify.init(), "customerPrivacy": privacy}
    assert play(publish(*EVENTS.values()), init=init)["posts"] == []
    refused = [*publish(EVENTS["page_viewed"]), {"consent": privacy}, *publish(EVENTS["cart_viewed"])]
    assert play(refused, init=shopify.init(UNDECIDED))["posts"] == []


def test_who_refuses_is_not_told_of_even_when_allowing_it_later(play: Play) -> None:
    views = [replaced(EVENTS["page_viewed"], "id", f"view-{number}") for number in range(4)]
    steps = [
        *publish(views[0]),
        {"consent": UNDECIDED},
        *publish(views[1]),
        {"consent": ALLOWED},
        *publish(views[2]),
        {"consent": UNDECIDED},
        *publish(views[3]),
    ]
    found = bodies(play(steps, init=shopify.init(UNDECIDED)))
    assert [body["event"]["id"] for body in found] == ["view-2"]


def test_consent_is_told_as_it_stands(play: Play) -> None:
    more = {**ALLOWED, "marketingAllowed": True, "saleOfDataAllowed": True}
    steps = [*publish(EVENTS["page_viewed"]), {"consent": more}, *publish(EVENTS["cart_viewed"])]
    assert [body["consent"]["marketing"] for body in bodies(play(steps))] == [False, True]


def test_events_that_shopify_replays_are_sent_once(play: Play) -> None:
    events = [EVENTS["page_viewed"], EVENTS["product_viewed"]]
    steps = [*publish(*events), {"consent": ALLOWED}, *publish(*events), {"consent": ALLOWED}, *publish(*events)]
    for first in (UNDECIDED, ALLOWED):
        found = bodies(play(steps, init=shopify.init(first)))
        assert [body["event"]["id"] for body in found] == [event["id"] for event in events]


def test_few_events_wait_for_consent(play: Play) -> None:
    views = [replaced(EVENTS["page_viewed"], "id", f"view-{number}") for number in range(500)]
    found = bodies(play([*publish(*views), {"consent": ALLOWED}], init=shopify.init(UNDECIDED)))
    assert [body["event"]["id"] for body in found] == [f"view-{number}" for number in range(50)]


@pytest.mark.parametrize("answer", ["lost", 429, 500, 503])
def test_what_is_lost_is_tried_again_a_little_later(play: Play, answer: Any) -> None:
    steps = [*publish(EVENTS["page_viewed"]), {"wait": 600_000}]
    posts = play(steps, answers=(answer,))["posts"]
    assert [post["answer"] for post in posts] == [answer, 204]
    assert posts[0]["body"] == posts[1]["body"]
    assert posts[1]["at"] > posts[0]["at"]
    assert posts[1]["options"]["keepalive"] is False
    assert len(play(steps, answers=(answer,) * 99)["posts"]) == 3


@pytest.mark.parametrize("answer", [200, 204, 400, 401, 404, 413])
def test_an_answer_is_final(play: Play, answer: int) -> None:
    assert len(play([*publish(EVENTS["page_viewed"]), {"wait": 600_000}], answers=(answer,) * 9)["posts"]) == 1


def test_little_is_kept_for_another_try(play: Play) -> None:
    views = [replaced(EVENTS["page_viewed"], "id", f"view-{number}") for number in range(200)]
    posts = play([*publish(*views), {"wait": 600_000}], answers=("lost",) * 9999)["posts"]
    assert len(posts) <= 200 + 2 * 50


def test_after_a_bad_hour_lost_requests_are_tried_again_as_before(play: Play) -> None:
    views = [replaced(EVENTS["page_viewed"], "id", f"view-{number}") for number in range(61)]
    lost = ("lost",) * (60 + 2 * 50)  # the last of them is the last try of the first hour
    steps = [*publish(*views[:60]), {"wait": 600_000}, *publish(views[60]), {"wait": 600_000}]
    posts = play(steps, answers=(*lost, "lost"))["posts"]
    assert [post["answer"] for post in posts if '"view-60"' in post["body"]] == ["lost", 204]
