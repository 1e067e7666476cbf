"""The files under deploy/shopify that `shopify app deploy` takes, held against what misoflow expects of them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from misoflow_shopify import scopes, subscriptions
from misoflow_shopify.config import API_VERSION, ShopifyConfig
from misoflow_shopify.deliveries import WEBHOOKS

DEPLOY = Path(__file__).parents[2] / "deploy" / "shopify"
PIXEL = DEPLOY / "extensions" / "miso-pixel"
APP: dict[str, Any] = tomllib.loads((DEPLOY / "shopify.app.toml").read_text())
EXTENSION: dict[str, Any] = tomllib.loads((PIXEL / "shopify.extension.toml").read_text())
SUBSCRIPTIONS: list[dict[str, Any]] = APP["webhooks"]["subscriptions"]
SCOPES = {
    *("read_products", "read_inventory", "read_publications", "read_orders", "read_customers"),
    *("write_pixels", "read_customer_events"),
}
TOPICS = {
    *("app/uninstalled", "app/scopes_update", "bulk_operations/finish", "shop/update"),
    *("products/create", "products/update", "products/delete"),
    *("collections/create", "collections/update", "collections/delete"),
    *("inventory_levels/update", "inventory_levels/connect", "inventory_levels/disconnect"),
    *("orders/create", "orders/updated", "orders/cancelled", "orders/edited", "orders/paid", "refunds/create"),
    *("customers/create", "customers/update", "customers/delete"),
}
CARTS = {"carts/create", "carts/update"}
COMPLIANCE = {"customers/data_request", "customers/redact", "shop/redact"}
NEEDS = {
    **{"products": "read_products", "collections": "read_products", "inventory_levels": "read_inventory"},
    **{"orders": "read_orders", "refunds": "read_orders", "carts": "read_orders", "customers": "read_customers"},
}
"""What a topic begins with -> the scope without which Shopify refuses it: https://shopify.dev/docs/api/webhooks"""


def test_the_scopes_are_the_ones_that_are_used() -> None:
    asked = APP["access_scopes"]["scopes"].split(",")
    assert len(asked) == len(set(asked))
    assert set(asked) == SCOPES
    assert set(asked) == set(scopes.required(ShopifyConfig(client_id="app", client_secret=("secret",))))
    # whoever declares it without Shopify's approval cannot deploy
    assert APP["access_scopes"]["optional_scopes"] == []
    assert "read_all_orders" in (DEPLOY / "shopify.app.toml").read_text()


def test_every_topic_is_subscribed_to_once_and_allowed_by_a_scope() -> None:
    topics = [topic for one in SUBSCRIPTIONS for topic in one["topics"]]
    assert len(topics) == len(set(topics))
    assert set(topics) == TOPICS
    needed = {NEEDS[topic.split("/")[0]] for topic in TOPICS | CARTS if topic.split("/")[0] in NEEDS}
    assert needed <= SCOPES


def test_what_misoflow_subscribes_to_in_one_shop_is_the_same() -> None:
    own = {topic for topics in subscriptions.TOPICS.values() for topic in topics}
    assert {topic.replace("/", "_").upper() for topic in TOPICS} == own
    assert {topic.replace("/", "_").upper() for topic in CARTS} == set(subscriptions.CARTS)


def test_each_topic_is_understood() -> None:
    assert not {*TOPICS, *CARTS, *COMPLIANCE} - set(WEBHOOKS)


def test_the_topics_of_carts_are_there_for_a_shop_without_a_pixel() -> None:
    text = (DEPLOY / "shopify.app.toml").read_text()
    allowed = tomllib.loads(re.sub(r'^(\s*)# ("carts/\w+",)', r"\1\2", text, flags=re.MULTILINE))
    topics = {topic for one in allowed["webhooks"]["subscriptions"] for topic in one["topics"]}
    assert topics == TOPICS | CARTS


def test_the_compliance_topics_are_subscribed_to() -> None:
    """https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance"""
    assert sorted(topic for one in SUBSCRIPTIONS for topic in one.get("compliance_topics", ())) == sorted(COMPLIANCE)


def test_the_version_is_the_one_that_misoflow_speaks() -> None:
    assert APP["webhooks"]["api_version"] == API_VERSION


def test_all_addresses_are_of_one_instance() -> None:
    assert {one["uri"] for one in SUBSCRIPTIONS} == {"https://REPLACE-HOST/hooks/shop"}
    assert APP["application_url"] == "https://REPLACE-HOST/install/shop"
    assert APP["auth"]["redirect_urls"] == ["https://REPLACE-HOST/install/shop/callback"]


def test_what_is_to_be_filled_in_is_marked_and_explained() -> None:
    """And nothing else is: no app of ours is named here."""
    marks = set(re.findall(r"REPLACE-[A-Z-]*[A-Z]", (DEPLOY / "shopify.app.toml").read_text()))
    assert marks == {"REPLACE-CLIENT-ID", "REPLACE-APP-NAME", "REPLACE-APP-HANDLE", "REPLACE-HOST"}
    for key in ("client_id", "name", "handle"):
        assert APP[key].startswith("REPLACE-")
    readme = (DEPLOY / "README.md").read_text()
    assert not [mark for mark in marks if f"`{mark}`" not in readme]


def test_only_known_keys_are_set() -> None:
    """Shopify CLI refuses others: https://shopify.dev/docs/apps/build/cli-for-apps/app-configuration"""
    top = {"client_id", "name", "handle", "application_url", "embedded", "access_scopes", "auth", "webhooks"}
    assert set(APP) == top
    assert set(APP["webhooks"]) == {"api_version", "subscriptions"}
    assert all(set(one) <= {"uri", "topics", "compliance_topics"} for one in SUBSCRIPTIONS)


def test_the_pixel_asks_for_consent_to_analytics_only() -> None:
    assert EXTENSION["type"] == "web_pixel_extension"
    assert EXTENSION["runtime_context"] == "strict"
    assert EXTENSION["customer_privacy"] == {
        "analytics": True,
        "marketing": False,
        "preferences": False,
        "sale_of_data": "disabled",
    }


def test_the_pixel_takes_the_settings_that_an_install_gives_it() -> None:
    """``webPixelCreate`` refuses settings that are not declared: https://shopify.dev/docs/api/admin-graphql/latest/mutations/webPixelCreate"""
    assert EXTENSION["settings"]["type"] == "object"
    fields = EXTENSION["settings"]["fields"]
    assert set(fields) == {"accountID", "endpoint"}
    for field in fields.values():
        assert field["name"]
        assert field["type"] == "single_line_text_field"
        assert field["validations"] == [{"name": "min", "value": "1"}]


def test_the_pixel_is_small() -> None:
    assert (PIXEL / "src" / "index.js").stat().st_size <= 10 * 1024


def test_the_packages_are_the_ones_that_the_tests_use() -> None:
    pinned = json.loads((PIXEL / "package.json").read_text())
    tested = json.loads((DEPLOY.parents[1] / "tests" / "real" / "package.json").read_text())
    name = "@shopify/web-pixels-extension"
    assert pinned["dependencies"] == {name: tested["dependencies"][name]}
    assert re.fullmatch(r"[\d.]+", pinned["dependencies"][name])
    assert (PIXEL / pinned["main"]).exists()
    assert json.loads((DEPLOY / "package.json").read_text())["workspaces"] == ["extensions/*"]
