"""What connectors may rely on: the public names are pinned, and the base class stays small."""

from __future__ import annotations

import ast
import inspect

import misoflow
import misoflow.connector
import pytest
from misoflow import Connector

PUBLIC = [
    *("Absent", "Cookie", "Erase", "Group", "Installable", "Installed", "Pull", "Reply", "Unwanted", "Visit", "known"),
    *("AddToCart", "AddToCollection", "Alias", "Bookmark", "CategoryPageView", "Checkout", "Click", "Complete"),
    *("Config", "ConfigError", "Connector", "Custom", "Disconnect", "Dislike", "Effect", "Event", "Fate"),
    "Feedback",
    *("Fetch", "ForgetUser", "Halt", "HomePageView", "INTERACTIONS", "Impression", "Interaction", "LateId", "Like"),
    *("Listen", "Listing", "MisoflowError", "Page", "Problem", "Product", "ProductDetailPageView", "ProductImageView"),
    *("PromoPageView", "Rate", "Read", "Record", "Refund", "Reject", "RemoveFromCart", "RemoveFromCollection"),
    *("RemoveProduct", "RemoveUser", "Request", "Retry", "Route", "Search", "Share", "Skip", "Slice"),
    *(
        "Stream",
        "Submit",
        "Subscribe",
        "Suggestion",
        "Unauthorized",
        "Unsubscribe",
        "User",
        "ViewableImpression",
        "Watch",
        "aliased",
        "check_hmac",
    ),
    *("check_standard_webhook", "files", "latest", "merge", "once", "privacy", "sign_hmac", "values"),
]
METHODS = {
    *("verify", "events", "translate", "backfill", "check", "fetch", "sample", "tenant", "answer"),
}


def test_the_public_names_are_these() -> None:
    assert sorted(misoflow.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(misoflow, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        misoflow.Nonsense  # noqa: B018


def test_the_base_class_has_fewer_than_12_methods_and_only_these() -> None:
    public = {name for name, value in vars(Connector).items() if callable(value) and not name.startswith("_")}
    assert public == METHODS
    assert len(public) < 12


def test_only_translate_is_abstract() -> None:
    assert Connector.__abstractmethods__ == {"translate"}


def test_the_base_class_is_no_longer_than_150_lines() -> None:
    tree = ast.parse(inspect.getsource(misoflow.connector))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Connector")
    assert body.end_lineno is not None
    assert body.end_lineno - body.lineno + 1 <= 150


def test_every_public_method_says_what_it_does() -> None:
    assert [name for name in METHODS if not inspect.getdoc(getattr(Connector, name))] == []
