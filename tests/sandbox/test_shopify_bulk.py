"""Bulk operations of Shopify's stand-in: what may be asked, how they run, what their files hold, how they go wrong."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from misoflow_sandbox.faults import Match
from misoflow_sandbox.shopify import (
    Action,
    BulkRule,
    Options,
    Rule,
    ShopifySandbox,
    ShopifyWorld,
    ShopSpec,
    shopify_thread,
)

from tests.sandbox.shopify_calls import START, AppClient, receiver

RUN = """mutation($q: String!, $g: Boolean!) { bulkOperationRunQuery(query: $q, groupObjects: $g) {
  bulkOperation { id status } userErrors { field code message } } }"""
READ = """query($id: ID!) { bulkOperation(id: $id) { id status errorCode createdAt completedAt objectCount
  rootObjectCount
  fileSize url partialDataUrl type query } }"""
CATALOG = """{ products { edges { node { __typename id title variants { edges { node { __typename id price } } }
  collections { edges { node { __typename id } } } metafields { edges { node { id key } } } } } } }"""
ORDERS = "{ orders { edges { node { id refunds { id createdAt } lineItems { edges { node { id quantity } } } } } } }"


@pytest.fixture
def shopify() -> Iterator[ShopifySandbox]:
    with shopify_thread(ShopifyWorld(shops=(ShopSpec(),), start=START), Options(speed=0)) as found:
        yield found


@pytest.fixture
def app(shopify: ShopifySandbox) -> AppClient:
    return AppClient(shopify)


def start(app: AppClient, query: str, *, group: bool = False) -> str:
    answer = app(RUN, q=query, g=group)["bulkOperationRunQuery"]
    assert answer["userErrors"] == []
    id_: str = answer["bulkOperation"]["id"]
    return id_


def ended(app: AppClient, id_: str) -> dict[str, Any]:
    """The operation once its file is written."""
    while True:
        found: dict[str, Any] = app(READ, id=id_)["bulkOperation"]
        if found["status"] not in ("CREATED", "RUNNING", "CANCELING"):
            return found
        time.sleep(0.01)


def rows(url: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in httpx.get(url).text.splitlines()]


@pytest.mark.parametrize("group", [True, False])
def test_a_file_holds_every_node_once_per_parent(app: AppClient, group: bool) -> None:
    done = ended(app, start(app, CATALOG, group=group))
    found = rows(done["url"])
    kinds = Counter(one.get("__typename", "Metafield") for one in found)
    products = list(app.shop.products)
    assert kinds["Product"] == int(done["rootObjectCount"]) == len(products)
    assert kinds["ProductVariant"] == sum(len(one.variants) for one in products)
    assert kinds["Metafield"] == sum(len(one.metafields) for one in products)
    assert kinds["Collection"] == sum(len(app.shop.collections_of(one)) for one in products)
    assert len(found) == int(done["objectCount"])
    shared = Counter(one["id"] for one in found if one.get("__typename") == "Collection")
    assert max(shared.values()) > 1
    assert len({(one.get("__parentId"), one["id"]) for one in found}) == len(found)


def adjacent(found: list[dict[str, Any]]) -> bool:
    """Whether every child comes after its parent, before the next parent."""
    parent = None
    for one in found:
        if "__parentId" not in one:
            parent = one["id"]
        elif one["__parentId"] != parent:
            return False
    return True


def test_only_grouped_files_keep_children_with_their_parent(app: AppClient) -> None:
    assert adjacent(rows(ended(app, start(app, CATALOG, group=True))["url"]))
    assert not adjacent(rows(ended(app, start(app, CATALOG))["url"]))


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("{ shop { id } }", "at least one connection"),
        ('{ node(id: "gid://shopify/Product/1") { id } }', "`node`"),
        ("{ products { edges { node { nothing } } } }", "Cannot query field"),
        ("{ products {", "Syntax Error"),
        ("mutation { bulkOperationCancel(id: 1) { userErrors { message } } }", "one query operation"),
        ("{ orders { edges { node { id refunds { refundLineItems { edges { node { id } } } } } } } }", "inside a list"),
        (
            "{ collections { edges { node { products { edges { node { variants { edges { node { id } } } } } } } } } }",
            "nested",
        ),
        (
            "{ products { edges { node { a: variants { nodes { id } } b: variants { nodes { id } } "
            "c: variants { nodes { id } } d: variants { nodes { id } } e: variants { nodes { id } } } } } }",
            "more than 5",
        ),
    ],
)
def test_queries_that_cannot_run_in_bulk(app: AppClient, query: str, part: str) -> None:
    answer = app(RUN, q=query, g=False)["bulkOperationRunQuery"]
    assert answer["bulkOperation"] is None
    assert answer["userErrors"][0]["code"] == "INVALID"
    assert part in answer["userErrors"][0]["message"]


def test_no_rows_is_a_success_without_a_link(app: AppClient) -> None:
    done = ended(app, start(app, "{ orders(query: \"created_at:<'2001-01-01'\") { edges { node { id } } } }"))
    assert (done["status"], done["url"], done["objectCount"]) == ("COMPLETED", None, "0")


def test_a_range_of_time_is_honoured_and_first_is_not(app: AppClient) -> None:
    low = "2026-09-01T00:00:00Z"
    found_in = f"(first: 1, query: \"created_at:>='{low}'\", sortKey: CREATED_AT)"
    query = f"{{ orders{found_in} {{ edges {{ node {{ id createdAt }} }} }} }}"
    found = rows(ended(app, start(app, query))["url"])
    assert len(found) > 5
    assert min(one["createdAt"] for one in found) >= low


def test_six_are_one_too_many(shopify: ShopifySandbox, app: AppClient) -> None:
    shopify.options.bulk_seconds = 60
    ids = [start(app, ORDERS) for _ in range(5)]
    answer = app(RUN, q=ORDERS, g=False)["bulkOperationRunQuery"]
    assert answer["userErrors"][0]["code"] == "LIMIT_REACHED"
    assert app(READ, id=ids[0])["bulkOperation"]["status"] == "RUNNING"
    listed = app('{ bulkOperations(first: 9, query: "status:RUNNING type:QUERY") { nodes { id } } }')
    assert [one["id"] for one in listed["bulkOperations"]["nodes"]] == ids
    shopify.clock.advance(61)
    assert {ended(app, one)["status"] for one in ids} == {"COMPLETED"}
    assert start(app, ORDERS)


def test_an_operation_can_be_cancelled_while_it_runs(shopify: ShopifySandbox, app: AppClient) -> None:
    shopify.options.bulk_seconds = 60
    cancel = "mutation($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { status } userErrors { message } } }"
    id_ = start(app, ORDERS)
    assert app(cancel, id=id_)["bulkOperationCancel"]["bulkOperation"]["status"] == "CANCELING"
    assert ended(app, id_)["status"] == "CANCELED"
    assert app(cancel, id=id_)["bulkOperationCancel"]["userErrors"] != []


def test_a_missing_scope_fails_the_operation(shopify: ShopifySandbox) -> None:
    app = AppClient(shopify, scopes=["read_orders"])
    done = ended(app, start(app, "{ orders { edges { node { id customer { id } } } } }"))
    assert (done["status"], done["errorCode"], done["url"]) == ("FAILED", "ACCESS_DENIED", None)


def test_a_failed_one_has_part_of_the_data_later(shopify: ShopifySandbox, app: AppClient) -> None:
    rule = BulkRule(
        contains="products", status="FAILED", error_code="INTERNAL_SERVER_ERROR", partial=17, partial_after=90
    )
    shopify.bulk_fault(rule)
    done = ended(app, start(app, CATALOG, group=True))
    assert (done["status"], done["errorCode"], done["url"]) == ("FAILED", "INTERNAL_SERVER_ERROR", None)
    assert done["partialDataUrl"] is None
    shopify.clock.advance(91)
    assert len(rows(app(READ, id=done["id"])["bulkOperation"]["partialDataUrl"])) == 17
    assert ended(app, start(app, CATALOG))["status"] == "COMPLETED"


@pytest.mark.parametrize("status", ["CANCELED", "EXPIRED"])
def test_shopify_ends_one_by_itself(shopify: ShopifySandbox, app: AppClient, status: str) -> None:
    shopify.bulk_fault(BulkRule(status=status))
    assert ended(app, start(app, ORDERS))["status"] == status


def test_files_that_are_wrong(shopify: ShopifySandbox, app: AppClient) -> None:
    whole = httpx.get(ended(app, start(app, ORDERS, group=True))["url"]).text
    shopify.bulk_fault(BulkRule(truncate=True), BulkRule(miscount=-3), BulkRule(duplicates=2), BulkRule(orphans=2))
    cut = httpx.get(ended(app, start(app, ORDERS, group=True))["url"]).text
    assert whole.startswith(cut)
    assert not cut.endswith("\n")
    fewer = ended(app, start(app, ORDERS))
    assert int(fewer["objectCount"]) == len(rows(fewer["url"])) - 3
    twice = ended(app, start(app, ORDERS))
    assert int(twice["objectCount"]) == len(rows(twice["url"])) == len(whole.splitlines()) + 2
    orphans = rows(ended(app, start(app, ORDERS))["url"])
    assert sum(one.get("__parentId") == "gid://shopify/Product/1" for one in orphans) == 2


def test_links_are_signed_and_end(shopify: ShopifySandbox, app: AppClient) -> None:
    done = ended(app, start(app, ORDERS))
    assert httpx.get(done["url"] + "0").status_code == 403
    assert httpx.get(done["url"].replace("Expires=1", "Expires=2")).status_code == 403
    shopify.clock.advance(7 * 86_400 + 1)
    assert httpx.get(done["url"]).status_code == 400


def test_a_file_can_be_read_from_any_byte_and_breaks_off(shopify: ShopifySandbox, app: AppClient) -> None:
    done = ended(app, start(app, ORDERS))
    whole = httpx.get(done["url"]).content
    assert len(whole) == int(done["fileSize"])
    part = httpx.get(done["url"], headers={"Range": "bytes=100-"})
    assert (part.status_code, part.content) == (206, whole[100:])
    assert part.headers["content-range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    assert httpx.get(done["url"], headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    shopify.faults.add(Rule(Action(cut=50), Match(path=f"/{app.shop.domain}/bulk/")))
    got: list[bytes] = []
    with httpx.stream("GET", done["url"]) as answer, pytest.raises(httpx.TransportError):
        got.extend(answer.iter_raw())
    assert b"".join(got) == whole[:50]


def test_the_app_hears_of_the_end_in_lower_case(shopify: ShopifySandbox, app: AppClient) -> None:
    with receiver() as received:
        shopify.app_config.webhook_url = received.url
        id_ = start(app, ORDERS)
        ended(app, id_)
        shopify.settle()
        [body] = received.bodies("bulk_operations/finish")
    assert json.loads(body)["admin_graphql_api_id"] == id_
    assert json.loads(body)["status"] == "completed"
