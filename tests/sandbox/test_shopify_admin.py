"""The Admin API of Shopify's stand-in: versions, points, scopes, pages, and what the mutations refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from graphql import OperationDefinitionNode, parse
from misoflow_sandbox.shopify import Action, Options, Rule, ShopifySandbox, ShopifyWorld, ShopSpec, shopify_thread
from misoflow_sandbox.shopify.admin import SCHEMA
from misoflow_sandbox.shopify.cost import Cost

from tests.sandbox.shopify_calls import START, AppClient

WORLD = ShopifyWorld(shops=(ShopSpec(), ShopSpec(domain="yen.myshopify.com", currency="JPY")), start=START)
LARGE = ShopifyWorld(shops=(ShopSpec(products=2, orders=0, most_variants=2048),), start=START)
SCOPES = ["read_products", "read_inventory", "read_publications", "read_orders", "read_customers", "write_pixels"]
PIXEL = (
    "mutation($s: JSON!) { webPixelCreate(webPixel: {settings: $s}) { webPixel { id settings } userErrors { code } } }"
)
SUBSCRIBE = """mutation($t: WebhookSubscriptionTopic!, $u: String!, $f: [String!]) {
  webhookSubscriptionCreate(topic: $t, webhookSubscription: {uri: $u, includeFields: $f}) {
    webhookSubscription { id topic uri apiVersion { handle } } userErrors { message } } }"""


@pytest.fixture
def shopify() -> Iterator[ShopifySandbox]:
    with shopify_thread(WORLD, Options(speed=0)) as found:
        yield found


@pytest.fixture
def app(shopify: ShopifySandbox) -> AppClient:
    return AppClient(shopify)


def code_of(answer: httpx.Response) -> str:
    code: str = answer.json()["errors"][0]["extensions"]["code"]
    return code


def test_a_shop_tells_what_it_is(app: AppClient) -> None:
    shop = app("{ shop { id myshopifyDomain primaryDomain { host } currencyCode ianaTimezone plan { shopifyPlus } } }")[
        "shop"
    ]
    assert shop["myshopifyDomain"] == "demo-shop.myshopify.com"
    assert shop["primaryDomain"]["host"] == "www.demo-shop.example"


def test_versions_that_are_not_supported_fall_forward(app: AppClient) -> None:
    assert app.raw("{ shop { id } }").headers["x-shopify-api-version"] == "2026-10"
    assert app.raw("{ shop { id } }", version="2024-01").headers["x-shopify-api-version"] == "2025-10"


def test_bad_tokens_and_closed_shops_are_refused(shopify: ShopifySandbox, app: AppClient) -> None:
    shopify.shop().frozen = 402
    assert app.raw("{ shop { id } }").status_code == 402
    app.token = "shpat_other"
    assert app.raw("{ shop { id } }").status_code == 401
    assert httpx.post(f"{shopify.url}/none.myshopify.com/admin/api/2026-10/graphql.json").status_code == 404


def test_what_the_schema_does_not_have_is_an_error_without_data(app: AppClient) -> None:
    body = app.raw("{ shop { nothing } }").json()
    assert "data" not in body
    assert body["errors"][0]["extensions"]["code"] == "undefinedField"
    assert app.raw("{ shop").status_code == 200


def test_points_run_out_and_come_back(shopify: ShopifySandbox, app: AppClient) -> None:
    query = "{ products(first: 250) { nodes { id variants(first: 50) { nodes { id image { url } } } } } }"
    cost = app.raw(query).json()["extensions"]["cost"]
    assert cost["throttleStatus"]["maximumAvailable"] == 2000
    assert cost["actualQueryCost"] <= cost["requestedQueryCost"]
    for _ in range(20):
        body = app.raw(query).json()
        if "errors" in body:
            break
    assert body["errors"] == [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
    cost = body["extensions"]["cost"]
    assert cost["actualQueryCost"] is None
    missing = cost["requestedQueryCost"] - cost["throttleStatus"]["currentlyAvailable"]
    assert missing > 0
    shopify.clock.advance(missing / cost["throttleStatus"]["restoreRate"] + 0.01)
    assert "data" in app.raw(query).json()


def test_a_query_that_is_too_dear_is_refused_whatever_is_in_the_bucket(app: AppClient) -> None:
    line = "product { id } variant { id product { id } }"
    query = f"{{ orders(first: 250) {{ nodes {{ lineItems(first: 250) {{ nodes {{ {line} }} }} }} }} }}"
    assert code_of(app.raw(query)) == "MAX_COST_EXCEEDED"


def test_the_cost_counts_pages_given_by_variables() -> None:
    document = parse(
        "query($n: Int!) { products(first: $n) { nodes { ...P } } } fragment P on Product { category { id } }"
    )
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    one, many = (Cost(SCHEMA, document, {"n": n}).of(operation) for n in (1, 100))
    assert (one, many) == (4, 22)


def test_a_missing_scope_denies_its_field_and_leaves_the_rest(shopify: ShopifySandbox) -> None:
    app = AppClient(shopify, scopes=["read_orders"])
    body = app.raw("{ orders(first: 1) { nodes { id customer { id } } } }").json()
    assert body["data"]["orders"]["nodes"][0]["customer"] is None
    assert body["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
    assert body["errors"][0]["path"] == ["orders", "nodes", 0, "customer"]
    assert app.raw("{ products(first: 1) { nodes { id } } }").json()["data"] is None


def test_protected_data_is_null_without_an_error(shopify: ShopifySandbox, app: AppClient) -> None:
    query = "{ customers(first: 3) { nodes { id firstName email phone defaultAddress { countryCodeV2 address1 } } } }"
    assert "canary" not in json.dumps(app(query)).lower()
    shopify.app_config.protected = True
    assert "canary" in json.dumps(app(query)).lower()


def test_pages_hold_everything_once(app: AppClient) -> None:
    found = app.pages("products", "first: 7", "id")
    assert [one["id"] for one in found] == [f"gid://shopify/Product/{one.id}" for one in app.shop.products]
    newest = app.pages("orders", "first: 11, sortKey: UPDATED_AT, reverse: true,", "id updatedAt")
    times = [one["updatedAt"] for one in newest]
    assert times == sorted(times, reverse=True)
    assert len({one["id"] for one in newest}) == len(times) > 20


def test_a_page_survives_changes_of_what_was_read(shopify: ShopifySandbox, app: AppClient) -> None:
    first = app("{ products(first: 5) { nodes { id } pageInfo { endCursor } } }")["products"]
    shopify.merchant().delete_product(int(first["nodes"][-1]["id"].rpartition("/")[2]))
    rest = app(
        "query($a: String) { products(first: 50, after: $a) { nodes { id } } }", a=first["pageInfo"]["endCursor"]
    )
    assert len(rest["products"]["nodes"]) == 35


@pytest.mark.parametrize("arguments", ["", "(first: 251)", '(first: 1, after: "!")'])
def test_pages_must_be_asked_for_rightly(app: AppClient, arguments: str) -> None:
    assert "errors" in app.raw(f"{{ products{arguments} {{ nodes {{ id }} }} }}").json()


def test_all_variants_of_a_large_product_come_in_two_pages() -> None:
    with shopify_thread(LARGE, Options(speed=0)) as shopify:
        app = AppClient(shopify)
        id_ = f"gid://shopify/Product/{list(app.shop.products)[1].id}"
        query = """query($id: ID!, $a: String) { product(id: $id) { variantsCount { count }
          variants(first: 2000, after: $a) {
          nodes { id price inventoryItem { unitCost { amount } } selectedOptions { name value } }
          pageInfo { hasNextPage endCursor } } } }"""
        first = app(query, id=id_)["product"]
        second = app(query, id=id_, a=first["variants"]["pageInfo"]["endCursor"])["product"]
        found = {one["id"] for one in first["variants"]["nodes"] + second["variants"]["nodes"]}
        assert len(found) == first["variantsCount"]["count"] == 2048
        assert second["variants"]["pageInfo"]["hasNextPage"] is False


def test_searches_narrow_by_time_and_state(shopify: ShopifySandbox, app: AppClient) -> None:
    orders = [one for one in app.shop.orders if one.created_at > START - 50 * 86_400_000]
    middle = app("query($q: String!) { orders(first: 1, query: $q) { nodes { createdAt } } }", q=f"id:{orders[5].id}")
    start = middle["orders"]["nodes"][0]["createdAt"]
    query = "query($q: String!) { orders(first: 250, query: $q, sortKey: CREATED_AT) { nodes { id } } }"
    late = app(query, q=f"created_at:>='{start}'")["orders"]["nodes"]
    early = app(query, q=f"created_at:<'{start}'")["orders"]["nodes"]
    assert late[0]["id"].endswith(str(orders[5].id))
    assert {one["id"] for one in late}.isdisjoint(one["id"] for one in early)
    active = app('{ products(first: 250, query: "status:active") { nodes { status } } }')["products"]["nodes"]
    assert {one["status"] for one in active} == {"ACTIVE"}
    shopify.clock.advance(60)
    changed = shopify.merchant().update_product(next(iter(app.shop.products)).id, title="Changed")
    recent = app('{ products(first: 9, query: "updated_at:>2026-09-21T00:00:00Z") { nodes { title } } }')
    assert {"title": changed.title} in recent["products"]["nodes"]


def test_orders_end_at_sixty_days_without_the_scope(shopify: ShopifySandbox, app: AppClient) -> None:
    old = next(iter(app.shop.orders))
    assert app("query($id: ID!) { order(id: $id) { id } }", id=f"gid://shopify/Order/{old.id}")["order"] is None
    assert len(app.pages("orders", "first: 50", "id")) < len(app.shop.orders)
    shopify.app_config.all_orders = True
    seeing = AppClient(shopify, scopes=[*SCOPES, "read_all_orders"])
    assert len(seeing.pages("orders", "first: 50", "id")) == len(app.shop.orders)


def test_an_order_shows_refunds_and_lines_without_a_variant(shopify: ShopifySandbox, app: AppClient) -> None:
    order = next(one for one in reversed(list(app.shop.orders)) if not one.refunds and len(one.lines) > 1)
    refund = shopify.merchant().refund(order.id, {order.lines[0].id: 1})
    shopify.merchant().delete_product(order.lines[1].product or 0)
    query = """query($id: ID!) { order(id: $id) { cartToken checkoutToken totalPriceSet { shopMoney { amount } }
      lineItems(first: 9) { nodes { id quantity currentQuantity variant { id } product { id } } }
      refunds { id refundLineItems(first: 9) { nodes { quantity lineItem { id } } } } } }"""
    found = app(query, id=f"gid://shopify/Order/{order.id}")["order"]
    first = found["lineItems"]["nodes"][0]
    assert first["quantity"] - first["currentQuantity"] == 1
    assert found["lineItems"]["nodes"][1]["variant"] is None
    assert found["lineItems"]["nodes"][1]["product"] is None
    line = {"quantity": 1, "lineItem": {"id": f"gid://shopify/LineItem/{order.lines[0].id}"}}
    assert found["refunds"][-1]["refundLineItems"]["nodes"] == [line]
    node = app(
        "query($id: ID!) { node(id: $id) { ... on Refund { createdAt } } }", id=f"gid://shopify/Refund/{refund.id}"
    )
    assert node["node"]["createdAt"]


def test_money_has_a_decimal_even_where_the_currency_has_none(shopify: ShopifySandbox) -> None:
    app = AppClient(shopify, "yen.myshopify.com")
    order = app("{ orders(first: 1) { nodes { totalPriceSet { shopMoney { amount currencyCode } } } } }")["orders"][
        "nodes"
    ][0]
    amount = order["totalPriceSet"]["shopMoney"]
    assert amount["currencyCode"] == "JPY"
    assert amount["amount"].endswith(".0")
    assert (
        "."
        not in app('{ productVariant(id: "gid://shopify/ProductVariant/42000000000000") { price } }')["productVariant"][
            "price"
        ]
    )


def test_the_online_store_decides_about_the_url(app: AppClient) -> None:
    found = app.pages("products", "first: 50", "status publishedAt onlineStoreUrl handle publishedOnCurrentPublication")
    for one in found:
        assert (one["onlineStoreUrl"] is None) == (one["publishedAt"] is None)
        assert one["publishedOnCurrentPublication"] == (one["publishedAt"] is not None)


def test_a_pixel_is_one_and_has_the_declared_settings(app: AppClient) -> None:
    good = json.dumps({"accountID": "pk", "endpoint": "http://127.0.0.1:1"})
    for bad in (
        '{"accountID": "pk"}',
        '{"accountID": "", "endpoint": "e"}',
        '{"accountID":"a","endpoint":"e","x":"y"}',
    ):
        assert app(PIXEL, s=bad)["webPixelCreate"]["userErrors"] == [{"code": "INVALID_SETTINGS"}]
    assert app(PIXEL, s="no")["webPixelCreate"]["userErrors"] == [{"code": "INVALID_CONFIGURATION_JSON"}]
    made = app(PIXEL, s=good)["webPixelCreate"]["webPixel"]
    assert app(PIXEL, s=good)["webPixelCreate"] == {"webPixel": None, "userErrors": [{"code": "TAKEN"}]}
    update = (
        "mutation($id: ID!, $s: JSON!) { webPixelUpdate(id: $id, webPixel: {settings: $s}) { userErrors { code } } }"
    )
    changed = json.dumps({"accountID": "pk2", "endpoint": "http://127.0.0.1:1"})
    assert app(update, id=made["id"], s=changed)["webPixelUpdate"]["userErrors"] == []
    assert app("{ webPixel { settings } }")["webPixel"]["settings"]["accountID"] == "pk2"
    assert app(update, id="gid://shopify/WebPixel/1", s=changed)["webPixelUpdate"]["userErrors"] == [
        {"code": "NOT_FOUND"}
    ]
    delete = "mutation($id: ID!) { webPixelDelete(id: $id) { deletedWebPixelId } }"
    assert app(delete, id=made["id"])["webPixelDelete"]["deletedWebPixelId"] == made["id"]
    assert "errors" in app.raw("{ webPixel { id } }").json()


def test_subscriptions_of_a_shop(shopify: ShopifySandbox, app: AppClient) -> None:
    uri = "https://ingest.example/hooks/shop"
    made = app(SUBSCRIBE, t="INVENTORY_LEVELS_UPDATE", u=uri)["webhookSubscriptionCreate"]["webhookSubscription"]
    assert (made["topic"], made["uri"], made["apiVersion"]["handle"]) == ("INVENTORY_LEVELS_UPDATE", uri, "2026-10")
    again = app(SUBSCRIBE, t="INVENTORY_LEVELS_UPDATE", u=uri)["webhookSubscriptionCreate"]
    assert "already been taken" in again["userErrors"][0]["message"]
    assert app(SUBSCRIBE, t="SHOP_UPDATE", u="nonsense")["webhookSubscriptionCreate"]["userErrors"]
    assert "errors" in app.raw(SUBSCRIBE, {"t": "CUSTOMERS_REDACT", "u": uri}).json()
    assert app.pages("webhookSubscriptions", "first: 1, ", "id") == [{"id": made["id"]}]
    delete = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { message } } }"
    assert app(delete, id=made["id"])["webhookSubscriptionDelete"]["userErrors"] == []
    assert app(delete, id=made["id"])["webhookSubscriptionDelete"]["userErrors"] != []
    poor = AppClient(shopify, scopes=["read_products"])
    assert (
        "permission"
        in poor(SUBSCRIBE, t="ORDERS_CREATE", u=uri)["webhookSubscriptionCreate"]["userErrors"][0]["message"]
    )


def test_rules_make_requests_go_wrong(shopify: ShopifySandbox, app: AppClient) -> None:
    shopify.faults.add(Rule(Action(status=429, headers={"Retry-After": "2"}), name="Products"))
    shopify.faults.add(Rule(Action(throttled=True), name="Products"), Rule(Action(lost="after"), name="Products"))
    query = "query Products { products(first: 1) { nodes { id } } }"
    assert "data" in app.raw("{ shop { id } }").json()
    first = app.raw(query)
    assert (first.status_code, first.headers["retry-after"]) == (429, "2")
    assert code_of(app.raw(query)) == "THROTTLED"
    with pytest.raises(httpx.TransportError):
        app.raw(query)
    assert "data" in app.raw(query).json()
    assert [one.status for one in shopify.calls if one.name == "Products"] == [429, 200, 0, 200]
