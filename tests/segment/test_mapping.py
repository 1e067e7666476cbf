"""The mapping: every sample of Segment's spec, name variants, products, money, and the settings that change it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from misoflow import INTERACTIONS, Reject
from misoflow.rules import Rules
from misoflow.values import key_of, snake
from misoflow_segment.mapping import CALLS, TOPICS, TRACKS
from misoflow_segment.names import BEYOND, SPEC, TABLE, VIDEO, resolve, spellings

from tests.segment.kit import SAMPLES, call, events, plain, record, segment, track, translate

FILES = sorted(SAMPLES.glob("*.json"))
ONE = ["507f1f77bcf86cd799439011"]
TWO = [*ONE, "505bd76785ebb509fc183733"]
# written by hand from the platform's pages, apart from the recorded samples: type, ids, anything else of the type
TABLE_OF_SPEC: dict[str, list[dict[str, Any]]] = {
    "Products Searched": [{"type": "search", "search": {"keywords": "blue hotpants"}}],
    "Product List Viewed": [
        {"type": "category_page_view", "category": ["Deals"]},
        {"type": "impression", "product_ids": TWO},
    ],
    "Product List Filtered": [
        {"type": "search", "search": {"keywords": "", "filters": {"department": ["beauty"], "price": ["under-$25"]}}},
        {"type": "impression", "product_ids": TWO},
    ],
    "Promotion Viewed": [{"type": "custom", "custom_action_name": "promotion_viewed"}],
    "Promotion Clicked": [{"type": "promo_page_view"}],
    "Product Clicked": [{"type": "click", "product_ids": ONE}],
    "Product Viewed": [{"type": "product_detail_page_view", "product_ids": ONE}],
    "Product Added": [{"type": "add_to_cart", "product_ids": ONE, "quantities": [1]}],
    "Product Removed": [{"type": "remove_from_cart", "product_ids": ONE}],
    "Cart Viewed": [{"type": "custom", "custom_action_name": "cart_viewed", "product_ids": TWO}],
    "Checkout Started": [{"type": "custom", "custom_action_name": "checkout_started", "product_ids": TWO}],
    "Checkout Step Viewed": [{"type": "custom", "custom_action_name": "checkout_step_viewed"}],
    "Checkout Step Completed": [{"type": "custom", "custom_action_name": "checkout_step_completed"}],
    "Payment Info Entered": [{"type": "custom", "custom_action_name": "payment_info_entered"}],
    "Order Updated": [{"type": "custom", "custom_action_name": "order_updated", "product_ids": TWO}],
    "Order Completed": [{"type": "checkout", "product_ids": TWO, "quantities": [1, 2], "revenue": 27.5}],
    "Order Refunded": [{"type": "refund", "product_ids": TWO}],
    "Order Cancelled": [{"type": "refund", "product_ids": TWO}],
    "Coupon Entered": [{"type": "custom", "custom_action_name": "coupon_entered"}],
    "Coupon Applied": [{"type": "custom", "custom_action_name": "coupon_applied"}],
    "Coupon Denied": [{"type": "custom", "custom_action_name": "coupon_denied"}],
    "Coupon Removed": [{"type": "custom", "custom_action_name": "coupon_removed"}],
    "Product Added to Wishlist": [{"type": "add_to_collection", "product_ids": ONE}],
    "Product Removed from Wishlist": [{"type": "remove_from_collection", "product_ids": ONE}],
    "Wishlist Product Added to Cart": [{"type": "add_to_cart", "product_ids": ONE, "quantities": [1]}],
    "Product Shared": [{"type": "share", "product_ids": ONE}],
    "Cart Shared": [{"type": "share", "product_ids": TWO}],
    "Product Reviewed": [{"type": "rate", "product_ids": ONE, "rating": 5}],
}
COMMON = ("user_id", "anonymous_id", "timestamp", "context")


def test_all_28_events_of_the_spec_become_what_the_table_says() -> None:
    assert len(TABLE_OF_SPEC) == len(SPEC) == 28
    for event, wanted in TABLE_OF_SPEC.items():
        sample = json.loads((SAMPLES / f"{event.lower().replace(' ', '-')}.json").read_text())
        made = [output.get("record", output) for output in translate(sample["body"])]
        assert all(one[key] for one in made for key in COMMON)
        assert [{key: value for key, value in one.items() if key not in COMMON} for one in made] == wanted, event


def test_every_topic_has_a_row_and_its_interactions_exist() -> None:
    assert set(TRACKS) == {*SPEC, *VIDEO, *BEYOND, "track"}
    assert len(VIDEO) == 16
    assert set(TOPICS) == {*TRACKS, *CALLS, "malformed"}


def test_all_23_common_interaction_types_are_reachable() -> None:
    made = set()
    for path in FILES:
        for outcome in json.loads(path.read_text())["events"]:
            made |= {one["record"].get("type") for one in outcome.get("records", [])}
    made.add(record(_order(), order_cancelled="custom")["type"])
    assert set(INTERACTIONS) - made <= {"complete", "feedback", "submit", "viewable_impression"}


@pytest.mark.parametrize("event", SPEC)
def test_variants_of_a_name_are_the_same_name(event: str) -> None:
    (thing, action), _ = SPEC[event]
    words = event.split()
    camel = words[0].lower() + "".join(word.title() for word in words[1:])
    variants = [event.lower(), event.upper(), snake(event), camel, event.replace(" ", "."), f"  {event} "]
    variants += [event.replace(" ", "-"), f"{action} {thing}", f"{action}_{thing}".lower().replace(" ", "_")]
    for variant in variants:
        name = resolve(variant)
        assert name is not None
        assert name.topic == event, variant


@pytest.mark.parametrize(
    ("sent", "topic"),
    [
        ("Viewed Product Category", "Product List Viewed"),
        ("Started Order", "Checkout Started"),
        ("Order Canceled", "Order Cancelled"),
        ("Product Added To Cart From Wishlist", "Wishlist Product Added to Cart"),
        ("Checkout Completed", "Order Completed"),
        ("Hit Search", "Products Searched"),
        ("Remove Product", "Product Removed"),
        ("\uff30roduct \uff36iewed", "Product Viewed"),
        ("Viewed Product Page", "track"),
        ("Product", "track"),
        ("Order Completed Again", "track"),
    ],
)
def test_names_are_matched_exactly(sent: str, topic: str) -> None:
    name = resolve(sent)
    assert name is not None
    assert name.topic == topic


def test_no_spelling_means_two_things() -> None:
    owners: dict[str, set[str]] = {}
    for topic in (*SPEC, *VIDEO, *BEYOND):
        for name in spellings(topic):
            owners.setdefault(key_of(name), set()).add(topic)
    assert {key: topics for key, topics in owners.items() if len(topics) > 1} == {}
    assert set(TABLE) == set(owners)


def test_a_custom_event_keeps_the_documented_name_whatever_its_spelling() -> None:
    assert record(track("Started Order"))["custom_action_name"] == "checkout_started"


@pytest.mark.parametrize("event", ["", "  ", "!!!", 7, None, ["Product Viewed"], {}])
def test_a_track_without_a_name_is_refused(event: Any) -> None:
    with pytest.raises(Reject):
        translate({**call(), "event": event})


# products -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({"product_id": "p", "sku": "s", "id": "i"}, "p"),
        ({"productId": "p"}, "p"),
        ({"Product ID": "p"}, "p"),
        ({"PRODUCT-ID": "p", "product_id": "exact"}, "exact"),
        ({"product_id": "exact", "PRODUCT-ID": "p"}, "exact"),
        ({"id": "i", "sku": "s"}, "i"),
        ({"SKU": "s"}, "s"),
        ({"product_id": 12}, "12"),
        ({"product_id": 12.0}, "12"),
        ({"product_id": 123456789012345678901234567890}, "123456789012345678901234567890"),
        ({"product_id": "  p "}, "p"),
        ({"product_id": "p\x00q"}, "pq"),
        ({"product_id": "", "sku": "s"}, "s"),
        ({"product_id": True, "sku": "s"}, "s"),
        ({"product_id": {"id": 1}, "sku": "s"}, "s"),
        ({"product_id": "x" * 513, "sku": "s"}, "s"),
        ({"product_id": "a,b", "sku": "s"}, "s"),
        ({"product_id": "_a", "sku": "s"}, "s"),
        ({"products": [{"product_id": "p"}]}, "p"),
    ],
)
def test_the_product_id_is_found_in_order(properties: dict[str, Any], wanted: str) -> None:
    assert record(track("Product Viewed", properties))["product_ids"] == [wanted]


@pytest.mark.parametrize("value", ["", "   ", 1.5, True, None, [], {}, "x" * 513, ["p"]])
def test_without_a_usable_id_the_event_is_refused(value: Any) -> None:
    with pytest.raises(Reject, match="no_product_id"):
        translate(track("Product Viewed", {"product_id": value}))


def test_the_id_path_template_case_and_group_can_be_set() -> None:
    event = track("Product Viewed", {"sku": "S1", "variant": "Red", "product_id": "p", "variantId": "v", "group": "g"})
    assert record(event, product_id_path=["sku", "product_id"])["product_ids"] == ["S1"]
    assert record(event, product_id_path=["variant_id"])["product_ids"] == ["v"]
    assert record(event, product_id_template="{sku}-{variant}")["product_ids"] == ["S1-Red"]
    assert record(event, product_id_template="{sku}-{variant}", product_id_lowercase=True)["product_ids"] == ["s1-red"]
    assert record(event, product_group_id_path=["group"])["product_group_ids"] == ["g"]
    nested = track("Product Viewed", {"variant": {"id": 5}})
    assert record(nested, product_id_path=["$.variant.id"])["product_ids"] == ["5"]
    with pytest.raises(Reject):
        translate(nested, product_id_template="{variant}-{sku}")


def _order(products: Any = None, **properties: Any) -> dict[str, Any]:
    products = [{"product_id": "a", "quantity": 2}] if products is None else products
    return track("Order Completed", {"order_id": "o1", "products": products, **properties})


def test_one_bad_item_does_not_cost_the_order() -> None:
    items: list[Any] = [{"product_id": "a", "quantity": 2}, {}, None, "x", []]
    items += [{"product_id": {}}, {"id": "b"}, {"sku": 3}]
    made = record(_order(items))
    assert made["product_ids"] == ["a", "b", "3"]
    assert made["quantities"] == [2, 1, 1]


def test_the_same_product_twice_is_added_up() -> None:
    items = [{"product_id": "a", "quantity": 2}, {"product_id": "b"}, {"product_id": "a", "quantity": "3"}]
    made = record(_order(items))
    assert (made["product_ids"], made["quantities"]) == (["a", "b"], [5, 1])


@pytest.mark.parametrize(
    ("quantity", "wanted"), [(2, 2), ("3", 3), (1.5, 1.5), ("x", 1), (None, 1), ([], 1), (True, 1)]
)
def test_quantities_are_read(quantity: Any, wanted: Any) -> None:
    assert record(track("Product Added", {"product_id": "a", "quantity": quantity}))["quantities"] == [wanted]


@pytest.mark.parametrize("quantity", [0, -1, "0", "-2"])
def test_nothing_bought_is_left_out(quantity: Any) -> None:
    items = [{"product_id": "a", "quantity": quantity}, {"product_id": "b"}]
    assert record(_order(items))["product_ids"] == ["b"]
    with pytest.raises(Reject, match="quantity"):
        translate(_order(items[:1]))


def test_products_may_be_one_object_or_a_text_or_beside_the_order() -> None:
    assert record(_order({"product_id": "a"}))["product_ids"] == ["a"]
    assert record(_order('[{"product_id": "a"}]'))["product_ids"] == ["a"]
    assert record(track("Order Completed", {"order_id": "o", "product_id": "a"}))["product_ids"] == ["a"]
    assert record(track("Order Completed", {"id": "o", "sku": "a"}))["product_ids"] == ["a"]
    several: list[Any] = ["[", "text", 5, [], [[]]]
    for unusable in several:
        with pytest.raises(Reject, match="no_product_id"):
            translate(_order(unusable))
    with pytest.raises(Reject, match="no_product_id"):
        translate(track("Order Completed", {"id": "o"}))


def test_a_huge_order_is_one_record() -> None:
    made = record(_order([{"product_id": f"p{number}", "quantity": 2} for number in range(500)]))
    assert len(made["product_ids"]) == len(made["quantities"]) == 500


# money ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({"total": 30, "revenue": 25, "value": 1}, 30),
        ({"revenue": 25, "value": 1}, 25),
        ({"value": "12.50"}, 12.5),
        ({"subtotal": 10, "shipping": "2", "tax": 1.5}, 13.5),
        ({"total": "abc", "revenue": 25}, 25),
        ({"total": -5}, None),
        ({"total": "$1,234.50"}, 1234.5),
        ({"total": "1.234,50 \u20ac"}, 1234.5),
        ({"total": "1,234"}, 1234),
        ({"total": "12,34"}, 12.34),
        ({"total": "1.234.567"}, 1234567),
        ({"total": "1 234,50"}, 1234.5),
        ({"total": "EUR 12"}, 12),
        ({"total": "NaN"}, None),
        ({"total": "inf"}, None),
        ({"total": "about 12"}, None),
        ({"total": True}, None),
        ({"total": {}}, None),
        ({"total": ""}, None),
        ({"total": 10**400}, None),
    ],
)
def test_revenue_is_what_the_order_brought(properties: dict[str, Any], wanted: Any) -> None:
    assert record(_order(**properties)).get("revenue") == wanted


def test_revenue_from_the_prices_when_all_are_known() -> None:
    items = [{"product_id": "a", "price": 19, "quantity": 1}, {"product_id": "b", "price": "3.10", "quantity": 2}]
    assert record(_order(items))["revenue"] == 25.2
    assert "revenue" not in record(_order([*items, {"product_id": "c"}]))


def test_revenue_in_another_currency_is_left_out_on_request() -> None:
    assert record(_order(total=5, currency="usd"), only_currency="USD")["revenue"] == 5
    assert "revenue" not in record(_order(total=5, currency="EUR"), only_currency="USD")
    assert record(_order(total=5, currency="EUR"))["context"]["custom_context"]["currency"] == "EUR"


# orders and settings --------------------------------------------------------------------------------------------


def test_an_order_is_one_checkout_whoever_reports_it() -> None:
    (made,) = translate(_order())
    assert made["once"] == "checkout:o1"
    (by_id,) = translate(track("Completed Order", {"orderId": "o1", "products": [{"id": "a"}]}))
    assert by_id["once"] == "checkout:o1"
    (bare,) = translate(track("Order Completed", {"products": [{"product_id": "a"}]}))
    assert bare["type"] == "checkout"
    (free,) = translate(_order(), once_per_order=False)
    assert free["type"] == "checkout"


def test_only_one_of_started_and_completed_is_the_checkout() -> None:
    started = track("Checkout Started", {"order_id": "o1", "products": [{"product_id": "a"}]})
    assert record(started)["type"] == "custom"
    assert record(started, checkout_on="started")["type"] == "checkout"
    late = record(_order(), checkout_on="started")
    assert (late["type"], late["custom_action_name"]) == ("custom", "order_completed")


def test_a_refund_without_products_is_custom() -> None:
    made = record(track("Order Refunded", {"order_id": "o1"}))
    assert (made["type"], made["custom_action_name"]) == ("custom", "order_refunded")
    assert made["context"]["custom_context"]["order_id"] == "o1"
    assert record(track("Order Cancelled", {"order_id": "o1"}))["custom_action_name"] == "order_cancelled"
    cancelled = track("Order Cancelled", {"order_id": "o1", "products": [{"product_id": "a"}]})
    assert record(cancelled, order_cancelled="custom")["custom_action_name"] == "order_cancelled"


@pytest.mark.parametrize(
    ("rating", "scale", "wanted"),
    [
        ("5", 5, 5),
        (4.5, 5, 4.5),
        ("8", 10, 4),
        (0, 5, 0),
        ("6", 5, None),
        ("great", 5, None),
        (-1, 5, None),
        (None, 5, None),
    ],
)
def test_ratings_are_brought_to_the_scale(rating: Any, scale: int, wanted: Any) -> None:
    made = record(track("Product Reviewed", {"product_id": "a", "rating": rating}), rating_scale=scale)
    if wanted is None:
        assert made["custom_action_name"] == "product_reviewed"
    else:
        assert (made["type"], made["rating"]) == ("rate", wanted)


def test_events_without_a_rule() -> None:
    with_product, without = track("Size Guide Opened", {"sku": "s"}), track("Signed Up", {"id": "7"})
    assert record(with_product)["custom_action_name"] == "size_guide_opened"
    assert "skip" in translate(without)[0]
    assert record(without, unmapped="custom")["custom_action_name"] == "signed_up"
    assert "skip" in translate(with_product, unmapped="drop")[0]
    assert "skip" in translate(track("Article Bookmarked", {}))[0]


# searches and lists ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("shoes", "shoes"),
        (42, "42"),
        ({"text": "a"}, "a"),
        ({"keyword": "b"}, "b"),
        ({"q": "c"}, "c"),
        ({"term": 5}, "5"),
    ],
)
def test_the_query_may_be_an_object(query: Any, wanted: str) -> None:
    assert record(track("Products Searched", {"query": query}))["search"]["keywords"] == wanted


def test_filters_are_grouped_by_field() -> None:
    filters: list[Any] = [
        {"type": "color", "value": "red"},
        {"attribute": "color", "value": "blue"},
        {"type": "size", "value": 42},
    ]
    filters += [
        {"type": "sale", "value": True},
        {"type": "phone", "value": "1"},
        {"type": "x"},
        {"value": "y"},
        "z",
        {"type": "o", "value": {}},
    ]
    made = record(track("Products Searched", {"query": "q", "filters": filters}))
    assert made["search"]["filters"] == {"color": ["red", "blue"], "size": ["42"], "sale": ["true"]}
    mixed = {"color": ["red", "blue"], "size": 3, "first_name": "Jane", "customerEmail": "x"}
    by_name = record(track("Products Searched", {"filters": mixed}))
    assert by_name["search"] == {"keywords": "", "filters": {"color": ["red", "blue"], "size": ["3"]}}


def test_a_search_shows_what_it_found() -> None:
    found = translate(track("Products Searched", {"query": "q", "products": [{"product_id": "a"}]}))
    assert [one["type"] for one in found] == ["search", "impression"]
    with pytest.raises(Reject):
        translate(track("Products Searched", {"products": [{"product_id": "a"}]}))


@pytest.mark.parametrize(
    ("category", "wanted"),
    [
        ("Games > Board > Uno", ["Games", "Board", "Uno"]),
        ("games/board", ["games", "board"]),
        (["a", 1, "b"], ["a", "b"]),
    ],
)
def test_categories_go_from_broad_to_narrow(category: Any, wanted: list[str]) -> None:
    assert record(track("Product List Viewed", {"category": category}))["category"] == wanted


def test_each_half_of_a_list_only_if_its_data_exists() -> None:
    only_products = translate(track("Product List Viewed", {"products": [{"product_id": "a"}]}))
    assert [one["type"] for one in only_products] == ["impression"]
    with pytest.raises(Reject):
        translate(track("Product List Viewed", {"list_id": "x"}))
    filtered = track("Product List Filtered", {"category": "Games", "filters": [{"type": "a", "value": "b"}]})
    assert record(filtered)["search"]["filters"] == {"a": ["b"], "category": ["Games"]}
    assert record(filtered, list_filtered="category_page_view")["category"] == ["Games"]
    with pytest.raises(Reject):
        translate(track("Product List Filtered", {}))


def test_a_promotions_own_id_is_no_product() -> None:
    made = record(track("Promotion Clicked", {"id": "promo", "name": "Sale"}))
    assert "product_ids" not in made
    assert made["context"]["custom_context"]["promotion_id"] == "promo"
    assert record(track("Promotion Clicked", {"id": "promo", "sku": "s"}))["product_ids"] == ["s"]


# video ----------------------------------------------------------------------------------------------------------


def _video(event: str, **properties: Any) -> dict[str, Any]:
    return track(event, {"session_id": "s", "content_asset_id": "v", "asset_id": "v", **properties})


def test_watch_time_is_the_position_at_most_the_length() -> None:
    assert record(_video("Video Playback Paused", position=30, total_length=60))["duration"] == 30
    assert record(_video("Video Playback Exited", position=90, total_length=60))["duration"] == 60
    assert record(_video("Video Playback Completed", total_length=60))["duration"] == 60
    assert "duration" not in record(_video("Video Playback Paused", total_length=60))
    assert record(_video("Video Playback Exited", position=90, total_length=None, livestream=True))["duration"] == 90


def test_the_end_of_a_video_is_told_once() -> None:
    ends = ("Video Playback Completed", "Video Content Completed", "Video Playback Exited")
    keys = {translate(_video(event, position=1))[0]["once"] for event in ends}
    assert keys == {"watch:s:v"}
    both = translate(_video("Completed Video Content", position=1), video_complete=True)
    assert [one.get("record", one)["type"] for one in both] == ["watch", "complete"]
    assert len(translate(_video("Video Playback Exited", position=1), video_complete=True)) == 1


def test_a_video_without_an_asset_is_refused() -> None:
    with pytest.raises(Reject, match="no_product_id"):
        translate(track("Video Playback Paused", {"position": 1, "id": "session"}))
    assert record(track("Video Playback Paused", {"content_asset_ids": ["v", "w"]}))["product_ids"] == ["v"]


# rules of the instance ------------------------------------------------------------------------------------------


def test_the_instances_rules_come_first() -> None:
    connector = segment()
    (event,) = events(track("Lesson Opened", {"lesson": "l1"}), connector)

    class Fixed:
        made: ClassVar[list[dict[str, Any]]] = []

        def apply(self, name: str, data: Any) -> Any:
            return type(self).made if name == "Lesson Opened" else None

    connector.rules = Fixed()  # type: ignore[assignment]
    Fixed.made = [{"type": "read", "product_ids": [" l1 ", None], "context": {"custom_context": {"course": "c"}}}]
    (made,) = [plain(output) for output in connector.translate(event)]
    assert (made["type"], made["product_ids"], made["user_id"]) == ("read", ["l1"], "user-1")
    assert made["context"]["custom_context"] == {"segment_event": "Lesson Opened", "course": "c"}
    Fixed.made = []
    assert ["skip" in plain(output) for output in connector.translate(event)] == [True]
    Fixed.made = [{"type": "checkout", "product_ids": ["a", 2], "quantities": ["3", None], "revenue": "7.50"}]
    (bought,) = [plain(output) for output in connector.translate(event)]
    assert (bought["product_ids"], bought["quantities"], bought["revenue"]) == (["a", "2"], [3, 1], 7.5)
    (ordered,) = events(track("Lesson Opened", {"order_id": "o1"}), connector)
    assert [plain(output)["once"] for output in connector.translate(ordered)] == ["checkout:o1"]
    Fixed.made = [{"type": "read"}]
    with pytest.raises(Reject, match="no_product_id"):
        list(connector.translate(event))


def test_real_rules_map_by_name_and_path() -> None:
    connector = segment()
    table = {"match": "lesson opened", "type": "read", "product_ids": ["$.properties.lesson"]}
    drop = {"match": ["Product *"], "where": "properties.test = true", "type": "none"}
    connector.rules = Rules.compile([drop, table], where="instances.web.rules")
    for sent, wanted in (("Lesson Opened", "read"), ("Product Viewed", "product_detail_page_view")):
        (event,) = events(track(sent, {"lesson": "l1", "product_id": "p"}), connector)
        assert [plain(output)["type"] for output in connector.translate(event)] == [wanted]
    (event,) = events(track("Product Viewed", {"product_id": "p", "test": True}), connector)
    assert ["skip" in plain(output) for output in connector.translate(event)] == [True]
