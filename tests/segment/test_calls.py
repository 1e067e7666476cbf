"""Identity, pages, users, consent and context: what is said of a person, and what never is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from misoflow import ConfigError, Event, Reject
from misoflow.config import load
from misoflow.rules import Rules
from misoflow_segment.times import corrected, moment_of, parse, timestamp_of
from pydantic import ValidationError

from tests.segment.kit import NOW, call, events, plain, record, segment, track, translate

HOME = {"url": "https://shop.example/", "path": "/"}


def view(**own: Any) -> dict[str, Any]:
    return track("Product Viewed", {"product_id": "p"}, **own)


# identity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("u", "u"),
        ("  u ", "u"),
        (7, "7"),
        (7.0, "7"),
        (2**70, str(2**70)),
        ("a\x00b\x1f", "ab"),
        ("jane@example.com",) * 2,
    ],
)
def test_user_ids_are_cleaned(sent: Any, wanted: str) -> None:
    assert record(view(userId=sent))["user_id"] == wanted


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        "null",
        "NULL",
        "undefined",
        "None",
        "NaN",
        "nil",
        "(null)",
        "[object Object]",
        "0",
        0,
        "-1",
        -1,
        True,
        [],
        {},
    ],
)
def test_what_only_looks_like_an_id_is_none(sent: Any) -> None:
    assert "user_id" not in record(view(userId=sent))
    with pytest.raises(Reject, match="no_identity"):
        translate(view(userId=sent, anonymousId=sent))


def test_sentinels_and_the_underscore_can_be_set() -> None:
    assert record(view(userId="0"), sentinel_ids=[])["user_id"] == "0"
    assert "user_id" not in record(view(userId="Guest"), sentinel_ids=["guest"])
    with pytest.raises(Reject):
        translate(view(userId="_u"))
    assert record(view(userId="_u"), underscore_prefix="x")["user_id"] == "x_u"
    with pytest.raises(Reject):
        translate(view(userId="u" * 513))


def test_ids_are_linked_as_the_instance_says() -> None:
    always = record(view())
    assert (always["user_id"], always["anonymous_id"]) == ("user-1", "visitor-1")
    for link in ("identify_only", "never"):
        made = record(view(), link=link)
        assert made["user_id"] == "user-1"
        assert "anonymous_id" not in made
        assert record(view(userId=None), link=link)["anonymous_id"] == "visitor-1"
    identify = call(type="identify")
    assert len(translate(identify, link="identify_only")) == 2
    assert len(translate(identify, link="never")) == 1


# users ----------------------------------------------------------------------------------------------------------


def identify(traits: Any, **own: Any) -> dict[str, Any]:
    made: dict[str, Any] = translate(call(type="identify", traits=traits, **own), traits=["plan", "vip", "n"])[0]
    return made


def test_identify_gives_the_users_part_and_the_pair_once() -> None:
    part, link = translate(call(type="identify", traits={"age": 30}))
    moment = datetime(2026, 2, 23, 22, 28, 55, 111000, UTC)
    assert part["merge"] == "user-1"
    assert (part["source"], part["version"]) == ("traits", int(moment.timestamp() * 1000))
    assert part["part"] == {"kind": "User", "user_id": "user-1", "age": 30}
    assert link["record"]["custom_action_name"] == "identify_link"
    assert (link["record"]["user_id"], link["record"]["anonymous_id"]) == ("user-1", "visitor-1")
    other = translate(call(type="identify", messageId="m-2", timestamp="2026-02-23T22:29:55.111Z"))[1]
    assert other["once"] == link["once"]
    assert translate(call(type="identify", anonymousId="visitor-2"))[1]["once"] != link["once"]
    # the lengths keep ids apart that would run together
    assert (
        translate(call(type="identify", userId="a", anonymousId="b:c"))[1]["once"]
        != (translate(call(type="identify", userId="a:b", anonymousId="c"))[1]["once"])
    )


@pytest.mark.parametrize(
    ("traits", "wanted"),
    [
        ({"age": "33"}, {"age": 33}),
        ({"age": "x"}, {}),
        ({"age": -3}, {}),
        ({"age": True}, {}),
        ({"createdAt": "2015-2-02"}, {"created_at": "2015-02-02T00:00:00.000Z"}),
        ({"created_at": 1700000000}, {"created_at": "2023-11-14T22:13:20.000Z"}),
        ({"created_at": "soon"}, {}),
        ({"address": {"city": "B", "State": "S", "street": "x", "postalCode": "1"}}, {"city": "B", "state": "S"}),
        ({"city": "B", "address": "6th St"}, {"city": "B"}),
        ({"company": {"id": 5, "name": "x"}}, {"group_id": "5"}),
        ({"groupId": "g"}, {"group_id": "g"}),
        ({"gender": "f", "description": "d"}, {"gender": "f", "description": "d"}),
        (
            {"Plan": "pro", "vip": True, "n": 3, "secret": 1},
            {"custom_attributes": {"plan": "pro", "vip": True, "n": 3}},
        ),
        ({"plan": {"nested": 1}}, {}),
        (None, {}),
        ("text", {}),
        ([], {}),
    ],
)
def test_traits(traits: Any, wanted: dict[str, Any]) -> None:
    assert identify(traits)["part"] == {"kind": "User", "user_id": "user-1", **wanted}


def test_null_clears_a_trait() -> None:
    made = identify({"age": None, "plan": None, "address": {"city": None}, "email": None})
    assert sorted(made["remove"]) == ["age", "city", "custom_attributes.plan"]


def test_an_anonymous_identify_or_group_makes_no_user() -> None:
    assert "skip" in translate(call(type="identify", userId=None))[0]
    assert "skip" in translate(call(type="group", userId=None, groupId="g"))[0]
    with pytest.raises(Reject, match="no_identity"):
        translate(call(type="identify", userId=None, anonymousId=None))


def test_group() -> None:
    (made,) = translate(call(type="group", groupId=7, traits={"email": "x@example.com"}))
    assert made["part"] == {"kind": "User", "user_id": "user-1", "group_id": "7"}
    with pytest.raises(Reject):
        translate(call(type="group"))


def test_alias_links_what_was_anonymous() -> None:
    made = record(call(type="alias", userId="u", previousId="a"))
    assert (made["user_id"], made["anonymous_id"], made["custom_action_name"]) == ("u", "a", "identify_link")
    assert "skip" in translate(call(type="alias", userId="u", previousId="u"))[0]
    assert "skip" in translate(call(type="alias", userId="u", previousId="jane@example.com"))[0]
    assert "skip" in translate(call(type="alias", userId="u", previousId="a"), link="never")[0]
    for missing in ("userId", "previousId"):
        with pytest.raises(Reject):
            translate({**call(type="alias", userId="u", previousId="a"), missing: None})


def test_delete_forgets_the_user() -> None:
    assert translate({"type": "delete", "userId": "u"}) == [{"kind": "ForgetUser", "user_id": "u"}]
    assert translate({"type": "Delete", "userId": 5}) == [{"kind": "ForgetUser", "user_id": "5"}]
    with pytest.raises(Reject):
        translate({"type": "delete"})


# pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        {"name": "Home"},
        {"name": "home page"},
        {"properties": {"title": "Homepage"}},
        {"properties": {"path": "/"}},
        {"properties": {"url": "https://shop.example"}},
        {"properties": {"url": "https://shop.example/?utm_source=x"}},
        {"context": {"page": {"url": "https://shop.example/"}}},
    ],
)
def test_home_pages(page: dict[str, Any]) -> None:
    assert record(call(type="page", **page))["type"] == "home_page_view"


def test_other_pages_make_nothing_and_their_name_is_no_product() -> None:
    for page in ({"name": "Imprint"}, {"properties": {"path": "/x"}}, {}, {"properties": None}):
        assert translate(call(type="page", **page)) == [{"skip": "no rule for this page"}]
    assert translate(call(type="screen", name="Home")) == [{"skip": "no rule for this screen"}]
    assert record(call(type="page", properties={"path": "/en/"}), home_paths=["/", "/en"])["type"] == "home_page_view"


RULES = [
    {"path": "/products/{id}", "type": "product_detail_page_view"},
    {"path": "/c/{category...}", "type": "category_page_view"},
    {"path": "/*/blog/{id}", "type": "read"},
    {"name": "Sale", "type": "promo_page_view"},
    {"name": "Article", "type": "read", "id_property": "slug"},
    {"name": "Shelf", "type": "category_page_view"},
]


def test_page_rules() -> None:
    def of(kind: str = "page", **own: Any) -> dict[str, Any]:
        made: dict[str, Any] = translate(call(type=kind, **own), pages=RULES)[0]
        return made

    product = of(properties={"url": "https://shop.example/products/a%20b?x=1"})
    assert (product["type"], product["product_ids"]) == ("product_detail_page_view", ["a b"])
    assert of(properties={"path": "/c/Games/Board/"})["category"] == ["Games", "Board"]
    assert of(properties={"path": "/en/blog/7"})["product_ids"] == ["7"]
    assert of("screen", name="SALE")["type"] == "promo_page_view"
    article = of("screen", name="article", properties={"slug": "s"})
    assert (article["type"], article["product_ids"]) == ("read", ["s"])
    assert of("screen", name="Shelf", properties={"category": "Books"})["category"] == ["Books"]
    assert "skip" in of(properties={"path": "/products"})
    assert "skip" in of(properties={"path": "/products/a/b"})
    assert "skip" in of(properties={"path": "/c"})
    with pytest.raises(Reject, match="no_product_id"):
        of("screen", name="Article")


# time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("2026-02-03T04:05:06.789Z", "2026-02-03T04:05:06.789Z"),
        ("2026-02-03T04:05:06Z", "2026-02-03T04:05:06.000Z"),
        ("2026-02-03T04:05:06.1Z", "2026-02-03T04:05:06.100Z"),
        ("2026-02-03T04:05:06.123456789Z", "2026-02-03T04:05:06.123Z"),
        ("2026-02-03T04:05:06.789+05:30", "2026-02-02T22:35:06.789Z"),
        ("2026-02-03T04:05:06.789-0800", "2026-02-03T12:05:06.789Z"),
        ("2026-02-03T04:05:06.789", "2026-02-03T04:05:06.789Z"),
        ("2026-02-03 04:05:06", "2026-02-03T04:05:06.000Z"),
        ("2026-02-03", "2026-02-03T00:00:00.000Z"),
        ("2014", "2014-01-01T00:00:00.000Z"),
        ("2015-2-02T04:05:06Z", "2015-02-02T04:05:06.000Z"),
        ("2015-2-2", "2015-02-02T00:00:00.000Z"),
        (1700000000, "2023-11-14T22:13:20.000Z"),
        (1700000000.5, "2023-11-14T22:13:20.500Z"),
        (1700000000123, "2023-11-14T22:13:20.123Z"),
        ("1700000000", "2023-11-14T22:13:20.000Z"),
        ("1700000000123", "2023-11-14T22:13:20.123Z"),
    ],
)
def test_times_in_every_form(sent: Any, wanted: str) -> None:
    assert record(view(timestamp=sent))["timestamp"] == wanted


RECEIVED = "2026-02-23T22:28:56.000Z"


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "soon",
        None,
        True,
        [],
        {},
        "0001-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.000Z",
        "1999-12-31T23:59:59.999Z",
        "2026-02-23T22:44:00.000Z",
        "2036-02-23T22:28:55.111Z",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59-05:00",
        "2026-13-01T00:00:00.000Z",
        "2026-02-30T00:00:00.000Z",
        "2026-W01-1T00:00:00.000Z"[:10],
        -5,
        10**30,
        "1e400",
    ],
)
def test_unbelievable_times_become_the_arrival(sent: Any) -> None:
    assert record(view(timestamp=sent))["timestamp"] in (RECEIVED, "2025-12-29T00:00:00.000Z")


def test_a_quarter_of_an_hour_ahead_is_believed() -> None:
    assert record(view(timestamp="2026-02-23T22:43:00.000Z"))["timestamp"] == "2026-02-23T22:43:00.000Z"


def test_the_order_of_times() -> None:
    base = {"type": "track", "originalTimestamp": "2026-02-23T20:00:00Z", "sentAt": "2026-02-23T20:00:05Z"}
    arrived = datetime(2026, 2, 23, 22, 0, 5, tzinfo=UTC)
    assert timestamp_of(base, arrived) == "2026-02-23T22:00:00.000Z"
    assert timestamp_of({"receivedAt": RECEIVED}, arrived) == RECEIVED
    assert timestamp_of({}, arrived) == "2026-02-23T22:00:05.000Z"
    assert record(view(timestamp=None, receivedAt=None))["timestamp"] == "2026-02-23T22:30:00.000Z"
    with pytest.raises(Reject):
        moment_of({}, None)
    assert corrected("2026-02-23T20:00:00Z", "9999-01-01", parse("2026-01-01")) is not None


# context --------------------------------------------------------------------------------------------------------


def test_context_is_taken_over() -> None:
    context = {
        "ip": "8.8.8.8",
        "locale": "de-DE",
        "userAgent": "Mozilla",
        "campaign": {"source": "news", "medium": 5, "name": "Spring"},
        "page": {
            "url": "https://shop.example/a?utm_campaign=x&utm_term=t&gclid=1",
            "referrer": "https://x.example/?s=1",
            "title": "A",
        },
    }
    made = record(view(context=context))["context"]
    assert made == {
        "locale": "de-DE",
        "user_agent": "Mozilla",
        "truncated_ip": "8.8.8.0",
        "campaign": {"source": "news", "name": "Spring", "term": "t"},
        "page": {
            "url": "https://shop.example/a?utm_campaign=x&utm_term=t",
            "referrer": "https://x.example/",
            "title": "A",
        },
        "custom_context": {"segment_event": "Product Viewed"},
    }


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("https://shop.example/a#secret", "https://shop.example/a"),
        ("https://shop.example/a?q=x#secret", "https://shop.example/a?q=x"),
        ("https://user:pass@shop.example/a", "https://shop.example/a"),
        ("https://shop.example/a?Q=x&email=e&page=2&UTM_source=n", "https://shop.example/a?q=x&page=2&utm_source=n"),
        ("https://shop.example/u/jane%40x.example/a?q=jane%2540", "https://shop.example/u//a?q=jane%2540"),
        ("https://shop.example/?q=jane%40x.example", "https://shop.example/"),
        ("https://shop.example", "https://shop.example"),
        ("javascript:alert(1)", None),
        ("https:///a", None),
        ("https://a.example\\@b.example/", None),
        ("https://shop.example/" + "x" * 3000, None),
    ],
)
def test_urls_lose_what_identifies_a_person(sent: str, wanted: str | None) -> None:
    page = record(view(context={"page": {"url": sent}}))["context"].get("page", {})
    assert page.get("url") == wanted


def test_the_campaign_comes_from_the_url_where_there_is_none() -> None:
    page = {"url": "https://shop.example/?utm_campaign=Spring+Sale&utm_source=a%40b.cc&utm_id=7&utm_medium=mail"}
    assert record(view(context={"page": page}))["context"]["campaign"] == {"name": "Spring Sale", "medium": "mail"}
    assert record(view(context={"page": page, "campaign": None}))["context"]["campaign"]["medium"] == "mail"


@pytest.mark.parametrize(
    "context", [None, "x", [], 5, {"page": None}, {"page": "x"}, {"page": {"title": "T"}}, {"ip": 5}]
)
def test_a_context_that_is_none_counts_as_empty(context: Any) -> None:
    assert record({**view(), "context": context})["context"] == {"custom_context": {"segment_event": "Product Viewed"}}


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("8.8.8.8", "8.8.8.0"),
        ("8.8.4.4, 10.0.0.1", "8.8.4.0"),
        ("10.0.0.1", None),
        ("127.0.0.1", None),
        ("192.168.1.1", None),
        ("2001:db8::1", None),
        ("::ffff:8.8.8.8", None),
        ("", None),
        ("8.8.8", None),
        ("224.0.0.1", None),
        ("x" * 5000, None),
    ],
)
def test_addresses_are_cut(sent: str, wanted: str | None) -> None:
    assert record(view(context={"ip": sent}))["context"].get("truncated_ip") == wanted


MISO = "0123abcd-0123-4567-89ab-0123456789ab"


@pytest.mark.parametrize(
    "own",
    [
        {"properties": {"product_id": "p", "miso_id": MISO}},
        {"properties": {"product_id": "p", "misoId": MISO}},
        {"context": {"miso_id": MISO}},
        {"integrations": {"Miso": {"miso_id": MISO}}},
        {"context": {"page": {"url": f"https://shop.example/?miso_id={MISO}"}}},
    ],
)
def test_the_miso_id_is_carried(own: dict[str, Any]) -> None:
    assert record({**view(), **own})["miso_id"] == MISO


def test_a_miso_id_must_be_a_uuid_and_agree() -> None:
    assert "miso_id" not in record(track("Product Viewed", {"product_id": "p", "miso_id": "x"}))
    one, other = {"product_id": "a", "miso_id": MISO}, {"product_id": "b", "miso_id": MISO.replace("0", "1")}
    same = record(track("Order Completed", {"products": [one, {**one, "product_id": "b"}]}))
    assert same["miso_id"] == MISO
    assert "miso_id" not in record(track("Order Completed", {"products": [one, other]}))


def test_custom_context_is_flat_bounded_and_listed() -> None:
    properties = {
        "product_id": "p",
        "cart_id": "c",
        "position": 3,
        "coupon": ["a", "b"],
        "list_id": None,
        "affiliation": {"a": 1},
        "store": {"id": 5, "deep": {"x": 1}},
        "tags": ["x"] * 500,
        "other": "no",
        "big": 2**80,
    }
    made = record(track("Product Viewed", properties), properties=["store", "tags", "big"])
    custom = made["context"]["custom_context"]
    assert custom["cart_id"] == "c"
    assert custom["coupon"] == ["a", "b"]
    assert custom["store_id"] == 5
    assert len(custom["tags"]) == 20
    assert "other" not in custom
    assert "list_id" not in custom
    wide = {f"k{number}": "x" * 1000 for number in range(300)}
    bounded = record(track("Product Viewed", {"product_id": "p", **wide}), properties=list(wide))
    assert len(json.dumps(bounded["context"])) < 8000


@pytest.mark.parametrize("mail", ["jo.doe@shop.example", "jo.doe%40shop.example", "jo.doe%252540shop.example"])
def test_a_mail_address_leaves_in_no_place_and_as_no_key(mail: str) -> None:
    keyed = {mail: "x", "code": mail, "inner": {"mail": mail}}
    properties = {"product_id": "p", "coupon": keyed, "affiliation": [mail], "store": keyed, "reason": f"of {mail}"}
    context = {
        "campaign": {"name": mail},
        "page": {"url": f"https://shop.example/{mail}/?q={mail}&utm_term={mail}#{mail}", "title": mail},
    }
    made = record(track("Product Viewed", properties, context=context, anonymousId=mail), properties=["store"])
    assert "doe" not in json.dumps(made)
    assert made["user_id"]


def test_an_object_brings_no_personal_field_and_only_where_it_is_listed() -> None:
    inner = {"id": 7, "First Name": "Jo", "phone": "+49 170 1234567", "+49 170 1234567": 1, "city_id": "b"}
    made = record(track("Product Viewed", {"product_id": "p", "coupon": inner, "store": inner}), properties=["store"])
    assert made["context"]["custom_context"] == {"segment_event": "Product Viewed", "store_id": 7, "store_city_id": "b"}


def test_consent() -> None:
    def with_consent(granted: Any) -> dict[str, Any]:
        return view(context={"consent": {"categoryPreferences": granted}})

    needs = {"required_consent": ["Advertising"]}
    assert "skip" in translate(with_consent({"Advertising": False}), **needs)[0]
    assert "skip" in translate(with_consent({"Analytics": True}), **needs)[0]
    assert record(with_consent({"Advertising": True}), **needs)["product_ids"] == ["p"]
    assert record(view(), **needs)["product_ids"] == ["p"]
    assert record(with_consent({"Advertising": False}))["product_ids"] == ["p"]
    assert translate({"type": "delete", "userId": "u", **with_consent({})} | {"type": "delete"}, **needs)


def test_translate_changes_nothing_and_repeats_itself() -> None:
    connector = segment()
    data = view(context={"page": {"url": "https://shop.example/?miso_id=x"}, "campaign": {"name": "n"}})
    (event,) = events(data, connector)
    before = json.dumps(event.data)
    first = [plain(output) for output in connector.translate(event)]
    assert [plain(output) for output in connector.translate(event)] == first
    assert json.dumps(event.data) == before
    other = segment()
    assert [plain(output) for output in other.translate(Event(event.id, event.topic, event.data, NOW))] == first


# privacy --------------------------------------------------------------------------------------------------------

MAIL, PHONE, NAME, STREET = "jane.roe@mail.example", "+1-555-0100-canary", "Canary Roe", "Canary Street 1"
DIALLED, ADDRESS = "(202) 555-0186", "2001:db8::cafe:1"
REACH = f"{MAIL} {DIALLED} {ADDRESS} 81.2.69.142"
PERSONAL = {
    "email": MAIL,
    "phone": PHONE,
    "firstName": NAME,
    "lastName": NAME,
    "name": NAME,
    "username": NAME,
    "avatar": f"https://x.example/{MAIL}",
    "birthday": "1990-01-01-canary",
    "ip": "81.2.69.142",
    "website": f"https://{NAME}",
    "address": {"street": STREET, "postalCode": "canary-zip", "city": "Berlin"},
    "company": {"name": NAME, "id": "c1"},
}
URL = (
    f"https://jane:pw-canary@shop.example/u/{MAIL}/+12025550186/x?email={MAIL}&q={MAIL}&page=202-555-0186"
    f"&utm_source={MAIL}&utm_term={DIALLED}&utm_content=81.2.69.142&token=canary#canary"
)
EVERYWHERE = {
    "properties": {
        **PERSONAL,
        "product_id": "p",
        "order_id": "o",
        "recipient": MAIL,
        "share_message": f"hi {NAME}",
        "review_body": f"by {NAME}",
        "coupon": REACH,
        "affiliation": f"shop of {REACH}",
        "query": f"gift for {REACH}",
        "category": f"for {REACH}",
        "filters": [{"type": "owner", "value": REACH}],
        "products": [{"product_id": "p", "email": MAIL, "name": NAME}],
        "url": URL,
        "title": f"Hello {REACH}",
        "rating": "4",
        "position": 3,
        "content_asset_id": "v",
        "path": "/",
    },
    "traits": PERSONAL,
    "context": {
        "ip": "81.2.69.142",
        "traits": PERSONAL,
        "page": {"url": URL, "referrer": URL, "title": f"Hello {REACH}", "search": f"?e={MAIL}", "path": f"/u/{MAIL}"},
        "campaign": {"name": REACH, "source": REACH, "email": MAIL},
        "device": {"id": "canary-device", "advertisingId": "canary-ad", "token": "canary-token", "name": NAME},
        "location": {"city": "canary-city", "latitude": 1.2345},
        "network": {"carrier": "canary-carrier"},
        "userAgent": f"agent {REACH}",
        "locale": "en",
        "userAgentData": {"brands": ["canary"]},
        "referrer": {"url": URL, "id": "canary"},
    },
    "integrations": {"Other": {"email": MAIL, "token": "canary"}},
    "name": "Home",
    "groupId": "g",
    "previousId": "a",
    "writeKey": "canary-key",
    "_metadata": {"canary": 1},
}


@pytest.mark.parametrize("topic", segment().topics)
def test_personal_data_stays_here(topic: str) -> None:
    kinds = ("page", "screen", "identify", "group", "alias", "delete")
    event = (
        {"type": topic}
        if topic in kinds
        else {"type": "track", "event": f"{topic} {REACH}" if topic == "track" else topic}
    )
    data = {**call(), **EVERYWHERE, **event}
    if topic.startswith("Promotion"):  # there the name is the promotion's
        data["properties"] = {**EVERYWHERE["properties"], "name": "Sale"}  # type: ignore[dict-item]
    settings = {"unmapped": "custom", "video_complete": True}
    text = json.dumps(translate(data, **settings))
    for canary in ("canary", "Canary", "jane", "mail.example", "81.2.69.142", "pw-", PHONE, "555", "cafe"):
        assert canary not in text, canary
    assert "81.2.69.0" in text or topic in ("group", "delete") or topic.startswith("Video") or topic == "screen"


@pytest.mark.parametrize("setting", ["properties", "traits", "url_query_keys"])
def test_personal_names_are_refused_at_load_in_any_spelling(setting: str, tmp_path: Path) -> None:
    for name in ("phone", "E-Mail", "customer.firstName", "$.shipping_address", "clientIP", "access token", "name"):
        with pytest.raises(ValidationError, match="personal data"):
            segment(**{setting: ["store_id", name]})
    segment(**{setting: ["store_id", "store_name", "phone_model", "email_template", "zip_lining"]})
    path = tmp_path / "plugins.toml"
    path.write_text(
        f"[miso]\napi_key = 'k'\n[instances.web]\nconnector = 'segment'\nshared_secret = 's'\n{setting} = ['phone']"
    )
    with pytest.raises(ConfigError, match=rf"instances\.web\.{setting}.*'phone' names personal data.*take it out"):
        load(path, strict=True)


def test_a_listed_object_brings_no_compound_personal_field() -> None:
    store = {"id": 7, "contact_email_2": "x", "userPhone": 5550186, "auth_token": "t"}
    made = record(track("Product Viewed", {"product_id": "p", "store": store}), properties=["store"])
    assert made["context"]["custom_context"] == {"segment_event": "Product Viewed", "store_id": 7}


def test_what_a_rule_takes_out_of_an_event_is_cleaned_too() -> None:
    connector = segment()
    rule = {
        "match": "Asked",
        "type": "search",
        "search": {"keywords": "$.properties.text"},
        "context": {"custom_context": {"note": "$.properties.note"}},
    }
    connector.rules = Rules.compile([rule], where="rules")
    (event,) = events(track("Asked", {"text": f"ring {REACH}", "note": [REACH, "kept"]}), connector)
    (made,) = (plain(output) for output in connector.translate(event))
    assert made["search"]["keywords"] == "ring"
    assert made["context"]["custom_context"]["note"] == ["kept"]


# suppress_file --------------------------------------------------------------------------------------------------


def test_users_of_the_suppress_file_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "suppressed.txt"
    path.write_bytes("\ufeffuser-1\r\n\n  77 \njörg".encode())
    settings = {"suppress_file": str(path)}
    skipped = [{"skip": "the user is on the list of suppress_file"}]
    for user in ("user-1", " user-1 ", 77, "77", "jörg"):
        assert translate(view(userId=user), **settings) == skipped
        assert translate(call(type="identify", userId=user), **settings) == skipped
    assert translate(call(type="alias", userId="new", previousId="user-1"), **settings) == skipped
    for user in ("user-2", "USER-1", "user", ""):
        assert record(view(userId=user), **settings)["type"] == "product_detail_page_view"
    # what a person asked for is done
    assert translate({"type": "delete", "userId": "user-1"}, **settings) == translate(
        {"type": "delete", "userId": "user-1"}
    )
    assert "skip" not in translate(view())[0]


def test_a_suppress_file_that_cannot_be_read_is_refused_at_load(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"j\xf6rg")
    for path, why in ((tmp_path / "none.txt", "cannot be read: No such file"), (latin, "is not UTF-8")):
        with pytest.raises(ValidationError, match=why):
            segment(suppress_file=str(path))
