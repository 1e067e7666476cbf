"""Products: their fields, prices and attributes; rows 34 to 40 of the failure modes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from misoflow import Event, Reject
from misoflow_shopify import attributes
from misoflow_shopify.catalogue import absolute, plain_text

from tests.shopify.mapped import NOW, product, read, shopify, split, translate, variant, webhook


def records(data: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    (group,) = read("product", data, **settings)
    assert group["group"] == f"product/{data['id']}"
    assert group["version"] == data["read_at"]
    found: list[dict[str, Any]] = group["records"]
    return found


def record(*variants: dict[str, Any], **own: Any) -> dict[str, Any]:
    (found,) = records(product(*variants, **own))
    return found


def test_a_variant_is_a_product_with_all_its_fields() -> None:
    own = variant(
        title="Red / L",
        sku="L-1",
        barcode="4006381333931",
        compare_at_price="12.50",
        image="//cdn.example/red.jpg",
        cost="4.25",
        updated_at="2026-02-01T00:00:00Z",
        options=[{"name": "Color", "value": "Red"}, {"name": "Größe", "value": "L"}, {"name": "Plug", "value": "EU"}],
    )
    assert records(product(own), language="en") == [
        {
            "product_id": "11",
            "product_group_id": "1",
            "title": "Lamp - Red / L",
            "description": "Warm light",
            "html": "<p>Warm <b>light</b></p>",
            "language": "en",
            "created_at": "2026-01-01T00:00:00Z",
            "published_at": "2026-01-03T00:00:00Z",
            "updated_at": "2026-02-01T00:00:00Z",
            "categories": [["Home & Garden", "Lighting", "Lamps"], ["light"], ["Lamps"]],
            "collections": ["Light"],
            "tags": ["new"],
            "brand": "Acme",
            "url": "https://shop.example/products/lamp?variant=11",
            "cover_image": "https://cdn.example/red.jpg",
            "sale_price": 10,
            "original_price": 12.5,
            "margin": 5.75,
            "size": "L",
            "color": "Red",
            "availability": "IN_STOCK",
            "custom_attributes": {
                "handle": "lamp",
                "product_type": "Lamps",
                "gift_card": False,
                "sku": "L-1",
                "barcode": "4006381333931",
                "option_plug": "EU",
            },
        }
    ]


def test_the_only_variant_has_the_products_title() -> None:
    assert record(variant(title="Default Title"))["title"] == "Lamp"
    assert record(variant(title=None))["title"] == "Lamp"


OFF = [
    {"status": "DRAFT"},
    {"status": "ARCHIVED"},
    {"status": "UNLISTED"},
    {"status": "A_NEW_ONE"},
    {"published": False},
]


@pytest.mark.parametrize("own", OFF, ids=str)
def test_36_what_is_not_on_sale_is_an_empty_group(own: dict[str, Any]) -> None:
    assert records(product(**own)) == []


def test_15_a_product_that_is_gone_is_an_empty_group() -> None:
    assert read("product", {"shop": "s", "id": "1", "read_at": 5, "gone": True}) == [
        {"group": "product/1", "version": 5, "records": []}
    ]


@pytest.mark.parametrize("own", [{"published": None}, {"status": None}], ids=str)
def test_what_does_not_say_whether_it_is_on_sale_removes_nothing(own: dict[str, Any]) -> None:
    with pytest.raises(Reject):
        read("product", product(**own))


def test_34_all_2048_variants_are_there() -> None:
    many = [variant(str(number)) for number in range(1, 2049)]
    found = records(product(*many))
    assert len(found) == 2048
    assert {one["product_group_id"] for one in found} == {"1"}


def test_35_a_variant_that_is_no_more_is_not_in_the_group() -> None:
    assert [one["product_id"] for one in records(product(variant("11"), variant("12")))] == ["11", "12"]
    assert [one["product_id"] for one in records(product(variant("12"), variant("12")))] == ["12"]


PRICES = [
    # price, compare-at price, sale_price, original_price
    ("10.00", None, 10, 10),
    ("10.00", "", 10, 10),
    ("10.00", "0.00", 10, 10),
    ("10.00", "0", 10, 10),
    ("10.00", "-5.00", 10, 10),
    ("10.00", "10.00", 10, 10),
    ("10.00", "9.99", 10, 10),
    ("10.00", "10.01", 10, 10.01),
    ("0.00", "5.00", 0, 5),
    ("1980", None, 1980, 1980),  # JPY has no decimals
    ("1980", "2480", 1980, 2480),
    ("125000.0", "150000.0", 125000, 150000),  # VND
    ("3.125", "4.500", 3.125, 4.5),  # KWD has three
    ("19.99", "24.99", 19.99, 24.99),
    (19.99, 25, 19.99, 25),
    (None, "5.00", None, None),
    ("", "5.00", None, None),
    ("free", None, None, None),
    ("-1.00", None, None, None),
]


@pytest.mark.parametrize(("price", "compared", "sale", "original"), PRICES)
def test_38_39_prices(price: Any, compared: Any, sale: Any, original: Any) -> None:
    found = record(variant(price=price, compare_at_price=compared))
    assert (found.get("sale_price"), found.get("original_price")) == (sale, original)


@pytest.mark.parametrize(("cost", "margin"), [("4.25", 5.75), ("10", 0), ("12", None), (None, None), ("0", 10)])
def test_a_margin_is_price_less_cost(cost: str | None, margin: float | None) -> None:
    assert record(variant(cost=cost)).get("margin") == margin


@pytest.mark.parametrize(
    ("available", "wanted"), [(True, "IN_STOCK"), (False, "OUT_OF_STOCK"), (None, None), ("x", None)]
)
def test_availability_is_never_guessed(available: Any, wanted: str | None) -> None:
    assert record(variant(available=available)).get("availability") == wanted


OPTIONS = [
    ("Size", "size"),
    ("SIZE ", "size"),
    ("Größe", "size"),
    ("Taille", "size"),
    ("Talla", "size"),
    ("サイズ", "size"),
    ("尺码", "size"),
    ("Colour", "color"),
    ("Farbe", "color"),
    ("couleur", "color"),
    ("颜色", "color"),
    ("Цвет", "color"),
    ("Matière", "material"),
    ("材质", "material"),
]


@pytest.mark.parametrize(("name", "field"), OPTIONS)
def test_options_are_known_in_many_languages(name: str, field: str) -> None:
    found = record(variant(options=[{"name": name, "value": "V"}]))
    assert found[field] == "V"
    assert not [key for key in found["custom_attributes"] if key.startswith("option_")]


def test_other_options_are_attributes_and_a_second_size_is_one_too() -> None:
    pairs = [{"name": "Size", "value": "L"}, {"name": "Taille", "value": "42"}, {"name": "Ring size", "value": "7"}]
    found = record(variant(options=pairs))
    assert found["size"] == "L"
    assert found["custom_attributes"]["option_taille"] == "42"
    assert found["custom_attributes"]["option_ring_size"] == "7"


def test_the_title_of_a_product_without_options_is_none() -> None:
    found = record(variant(options=[{"name": "Title", "value": "Default Title"}]))
    assert "option_title" not in found["custom_attributes"]


METAFIELDS = [
    ("single_line_text_field", "Oak", "Oak"),
    ("multi_line_text_field", "Oak\nand iron", "Oak and iron"),
    ("boolean", "true", True),
    ("boolean", "yes", None),
    ("number_integer", "3", 3),
    ("number_integer", "3.5", None),
    ("number_integer", "99999999999999999", None),
    ("number_decimal", "3", 3.0),
    ("number_decimal", "3.25", 3.25),
    ("number_decimal", "many", None),
    ("rating", '{"value": "4.5", "scale_min": "1", "scale_max": "5"}', 4.5),
    ("money", '{"amount": "5.99", "currency_code": "CAD"}', 5.99),
    ("weight", '{"value": 2.5, "unit": "KILOGRAMS"}', "2.5 kilograms"),
    ("dimension", "broken", None),
    ("date", "2026-01-02", "2026-01-02"),
    ("color", "#fff123", "#fff123"),
    ("url", "https://x.example/manual", "https://x.example/manual"),
    ("product_reference", "gid://shopify/Product/12", "12"),
    ("list.product_reference", '["gid://shopify/Product/12", "gid://shopify/Product/13"]', ["12", "13"]),
    ("list.single_line_text_field", '["a", "b"]', ["a", "b"]),
    ("list.number_integer", "[1, 2]", [1, 2]),
    ("list.number_decimal", '["1", "2.5"]', [1.0, 2.5]),
    ("list.number_integer", "[]", None),
    ("list.number_integer", "7", None),
    ("list.rating", '[{"value": "1"}]', [1.0]),
    ("rich_text_field", '{"type":"root","children":[{"children":[{"type":"text","value":"Hi"}]}]}', "Hi"),
    ("json", '{"a": 1}', '{"a": 1}'),
    ("a_type_of_tomorrow", "x", "x"),
    ("a_type_of_tomorrow", 5, None),
    ("boolean", None, None),
]


@pytest.mark.parametrize(("kind", "value", "wanted"), METAFIELDS)
def test_37_a_metafields_type_is_that_of_its_definition(kind: str, value: Any, wanted: Any) -> None:
    given = [{"namespace": "custom", "key": "field-1", "type": kind, "value": value}]
    (found,) = records(product(metafields=given), metafields=["custom.field-1"])
    made = found["custom_attributes"].get("mf_custom_field_1")
    assert made == wanted
    assert type(made) is type(wanted)


def test_metafields_that_are_not_asked_for_stay_out() -> None:
    given = [{"namespace": "custom", "key": "secret", "type": "single_line_text_field", "value": "x"}]
    assert "mf_custom_secret" not in record(metafields=given)["custom_attributes"]


def test_one_key_has_one_type_over_many_products() -> None:
    kinds: dict[str, set[type]] = {}
    texts = ["3", "3.5", "x", "true", "", None, '{"value": 1, "unit": "kg"}', "[1]", "[]", '["a"]', 7]
    for kind in [*attributes.READERS, "single_line_text_field", "file_reference", "new"]:
        for value in texts:
            made = attributes.metafield(kind, value)
            if made is not None:
                kinds.setdefault(kind, set()).add(type(made))
    assert all(len(types) == 1 for types in kinds.values()), kinds


def test_40_addresses_follow_the_shops_domain() -> None:
    assert record(url=None, domain="new.example")["url"] == "https://new.example/products/lamp?variant=11"
    assert "url" not in record(url=None, domain=None)
    assert record(url="https://x.example/p?a=1")["url"] == "https://x.example/p?a=1&variant=11"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("//cdn.example/a b.jpg", "https://cdn.example/a%20b.jpg"),
        ("https://x.example/products/größe", "https://x.example/products/gr%C3%B6%C3%9Fe"),
        ("https://x.example/100%?v=[1]", "https://x.example/100%25?v=%5B1%5D"),
        ("https://x.example/%C3%B6", "https://x.example/%C3%B6"),
        ("javascript:alert(1)", None),
        ("/relative", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_are_absolute_and_ascii(given: Any, wanted: str | None) -> None:
    assert absolute(given) == wanted


@pytest.mark.parametrize(
    ("markup", "wanted"),
    [
        ("<p>A &amp; B</p><p>C</p>", "A & B C"),
        ("a<br/>b&nbsp;c\nd\te", "a b c d e"),
        ("<style>p{}</style><script>x()</script>text<!-- no -->", "text"),
        ("  ", None),
        ("<p></p>", None),
        (None, None),
    ],
)
def test_descriptions_are_plain_text(markup: Any, wanted: str | None) -> None:
    assert plain_text(markup) == wanted


def test_a_whole_product_is_one_record_with_what_its_variants_offer() -> None:
    many = [
        variant("11", price="9.00", available=False, sku="a", options=[{"name": "Size", "value": "S"}]),
        variant("12", price="12.00", compare_at_price="15.00", sku="b", options=[{"name": "Size", "value": "M"}]),
        variant("13", price="14.00", options=[{"name": "Size", "value": "M"}]),
    ]
    (found,) = records(product(*many), group_mode="product")
    assert found["product_id"] == found["product_group_id"] == "1"
    assert (found["sale_price"], found["original_price"]) == (12, 15)  # of the cheapest that can be bought
    assert found["availability"] == "IN_STOCK"
    assert found["url"] == "https://shop.example/products/lamp"
    assert found["custom_attributes"]["option_size"] == ["S", "M"]
    assert found["custom_attributes"]["skus"] == ["a", "b"]


def test_49_titles_of_collections_are_no_categories() -> None:
    own = {"collections": [{"id": "5", "handle": "light", "title": "Lumière"}], "category": None, "product_type": ""}
    found = record(**own)
    assert found["categories"] == [["light"]]
    assert found["collections"] == ["Lumière"]


def test_a_collections_handle_is_known_by_its_id() -> None:
    data = {"shop": "s", "id": "5", "handle": "light", "title": "Light", "read_at": 1}
    assert read("collection", data) == [{"alias": "collection:5", "is": "light"}]
    assert "skip" in read("collection", {**data, "handle": None})[0]


def test_the_end_of_a_full_reading_removes_what_it_lacked() -> None:
    assert read("catalog_end", {"version": 9}) == [{"absent": "product/", "version": 9}]


TOUCHES = [
    ("products/create", {"id": 5}, {"fetch": ["product", "5"], "after": 10}),
    ("products/update", {"id": 632910392, "variants": []}, {"fetch": ["product", "632910392"], "after": 10}),
    ("products/delete", {"id": 788032119674292922}, {"fetch": ["product", "788032119674292922"], "after": 10}),
    ("product_listings/remove", {"product_listing": {"product_id": 7}}, {"fetch": ["product", "7"], "after": 10}),
    (
        "inventory_levels/update",
        {"inventory_item_id": 3, "available": 0},
        {"fetch": ["inventory_item", "3"], "after": 10},
    ),
    ("inventory_levels/disconnect", {"inventory_item_id": 3}, {"fetch": ["inventory_item", "3"], "after": 10}),
    ("collections/delete", {"id": 5}, {"pull": "catalog", "after": 600}),
    ("shop/update", {"id": 5, "email": "owner@example.com"}, {"fetch": ["shop", "shop"], "after": 10}),
    ("app/scopes_update", {"id": 5, "current": ["read_products"]}, {"fetch": ["scopes", "scopes"], "after": 0}),
]


@pytest.mark.parametrize(("topic", "body", "wanted"), TOUCHES)
def test_a_webhook_is_a_reason_to_read_again(topic: str, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert translate(webhook(topic, body)) == [wanted]


def test_events_of_the_next_generation_name_the_object_in_a_header() -> None:
    given = {"family": "shopify-", "resource_id": "gid://shopify/Product/77"}
    (event,) = split(webhook("Product", {"title": "x"}, action="update", **given))
    assert (event.topic, event.data["id"]) == ("product_touched", "77")
    (event,) = split(webhook("Product", {}, action="delete", **given))
    assert event.topic == "product_deleted"


def test_a_collection_that_changed_tells_its_handle_at_once() -> None:
    body = {"id": 5, "handle": "light", "title": "Light", "updated_at": "2026-11-20T12:00:00Z"}
    first, second = split(webhook("collections/update", body))
    assert (first.topic, first.data["handle"], first.id) == ("collection", "light", "collection/5@1795176000000")
    assert second.topic == "collection_touched"


def test_14_two_topics_of_one_action_are_two_events() -> None:
    first = split(webhook("products/update", {"id": 5}, webhook_id="w-1", event_id="same"))
    second = split(webhook("inventory_levels/update", {"inventory_item_id": 5}, webhook_id="w-2", event_id="same"))
    assert first[0].id != second[0].id


def test_13_a_delivery_that_comes_again_has_the_same_id() -> None:
    ids = {split(webhook("products/update", {"id": 5}, triggered_at=at))[0].id for at in ("", "2026-11-20T12:00:00Z")}
    assert ids == {"product_touched/w-1"}
    without = {
        split(webhook("products/update", body, webhook_id=""))[0].id for body in ({"id": 5}, {"id": 6}, {"id": 5})
    }
    assert len(without) == 2


def test_19_another_version_of_the_api_is_taken() -> None:
    assert translate(webhook("products/update", {"id": 5}, api_version="2031-01"))


def test_a_topic_that_nothing_is_made_of_is_skipped() -> None:
    assert translate(webhook("themes/publish", {"id": 5})) == [{"skip": "a topic that nothing is made of"}]
    assert translate(webhook("", b"not even JSON")) == [{"skip": "a topic that nothing is made of"}]


def test_a_broken_variant_is_not_left_out_in_silence() -> None:
    data = json.loads(json.dumps(product(variant(), {"id": "12"})))
    with pytest.raises((Reject, KeyError)):
        list(shopify().translate(Event("p", "product", data, NOW)))
