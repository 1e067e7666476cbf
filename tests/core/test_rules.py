"""A person's own mapping: rules, their paths and directives, their conditions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow.conditions import compile_condition
from misoflow.errors import ConfigError
from misoflow.paths import compile_value, path_getter
from misoflow.rules import EMPTY, Rules

DATA: dict[str, Any] = {
    "type": "track",
    "userId": "u",
    "properties": {
        "slug": "news",
        "n": 3,
        "ok": True,
        "items": [{"id": "a", "q": 2}, {"id": "b"}, "junk"],
        "one": {"id": "c"},
        "blank": "",
        "tags": ["x", "y"],
        "word": "MiXed",
    },
}


def rules(*tables: dict[str, Any], key: bytes | None = b"k") -> Rules:
    return Rules.compile(list(tables), where="instances.web.rules", hash_key=key)


def test_the_first_rule_that_matches_wins() -> None:
    made = rules({"match": "Article *", "type": "read"}, {"match": "article opened", "type": "like"})
    assert made.apply("Article Opened", DATA) == [{"type": "read"}]
    assert made.explain("Article Opened", DATA) == 0
    assert made.apply("Something", DATA) is None
    assert EMPTY.apply("Article Opened", DATA) is None
    assert len(made) == 2


@pytest.mark.parametrize("name", ["Article Opened", "article_opened", "ARTICLE-OPENED", " Article.Opened "])
def test_names_are_compared_by_their_letters(name: str) -> None:
    assert rules({"match": ["Other", "Article Opened"], "type": "read"}).apply(name, DATA) == [{"type": "read"}]


def test_fields_by_path_and_the_first_path_that_gives_something() -> None:
    rule = {
        "match": "x",
        "type": "read",
        "product_ids": ["$.properties.nope", "$.properties.slug"],
        "duration": "$.properties.n",
    }
    assert rules(rule).apply("x", DATA) == [{"type": "read", "product_ids": ["news"], "duration": 3}]


def test_also_none_where_and_unless() -> None:
    both = {"match": "x", "type": "read", "also": [{"type": "custom", "custom_action_name": "opened"}]}
    assert rules(both).apply("x", DATA) == [{"type": "read"}, {"type": "custom", "custom_action_name": "opened"}]
    assert rules({"match": "x", "type": "none"}).apply("x", DATA) == []
    assert rules({"where": "properties.n = 3", "type": "read"}).apply("anything", DATA) == [{"type": "read"}]
    assert rules({"match": "x", "unless": "is_true(properties.ok)", "type": "read"}).apply("x", DATA) is None


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("$.properties.slug", "news"),
        ("$.properties.items[1].id", "b"),
        ("$.properties.items[9].id", None),
        ("$.nope.deep", None),
        ({"@path": "$.properties.n"}, 3),
        ({"@template": "{{userId}}-{{properties.n}}!"}, "u-3!"),
        ({"@template": "{{nope}}"}, None),
        ({"@literal": "$.as.it.is"}, "$.as.it.is"),
        ({"@arrayPath": ["$.properties.items", {"@path": "$.id"}]}, ["a", "b"]),
        ({"@arrayPath": ["$.properties.one", {"@path": "$.id"}]}, ["c"]),
        ({"@arrayPath": ["$.properties.tags"]}, ["x", "y"]),
        ({"@case": {"operator": "lower", "value": {"@path": "$.properties.word"}}}, "mixed"),
        ({"@if": {"exists": "$.properties.slug", "then": "yes", "else": "no"}}, "yes"),
        ({"@if": {"exists": "$.nope", "then": "yes", "else": "no"}}, "no"),
        ({"@if": {"blank": "$.properties.blank", "then": "empty", "else": "full"}}, "empty"),
        (["$.nope", {"@literal": "default"}], "default"),
        ({"keywords": "$.properties.slug", "gone": "$.nope"}, {"keywords": "news"}),
        ("plain text", "plain text"),
        (7, 7),
    ],
)
def test_values(spec: Any, value: Any) -> None:
    assert compile_value(spec, b"k")(DATA) == value


def test_the_keyed_hash_is_stable_and_needs_a_key() -> None:
    spec = {"hash": ["$.userId", "$.properties.n"]}
    assert compile_value(spec, b"k")(DATA) == compile_value(spec, b"k")(DATA)
    assert compile_value(spec, b"k")(DATA) != compile_value(spec, b"other")(DATA)
    assert compile_value({"hash": ["$.nope"]}, b"k")(DATA) is None
    with pytest.raises(ConfigError, match="user_id_key"):
        rules({"match": "x", "type": "read", "anonymous_id": spec}, key=None)


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"match": "x", "type": "nonsense"}, "instances.web.rules[0].type"),
        ({"match": "x", "type": "refund", "quantities": "$.q"}, "instances.web.rules[0].quantities"),
        (
            {"match": "x", "type": "read", "also": [{"type": "read", "price": 1}]},
            "instances.web.rules[0].also[0].price",
        ),
        ({"match": 3, "type": "read"}, "instances.web.rules[0].match"),
        ({"type": "read"}, "instances.web.rules[0]"),
        ({"match": "x", "type": "read", "where": "a ="}, "instances.web.rules[0].where"),
        ({"match": "x", "type": "read", "unless": "("}, "instances.web.rules[0].unless"),
        ({"match": "x", "type": "read", "duration": "$.a[b]"}, "instances.web.rules[0].duration"),
        ({"match": "x", "type": "read", "duration": {"@path": 3}}, "instances.web.rules[0].duration"),
        (
            {"match": "x", "type": "read", "duration": {"@path": "$.a", "@literal": 1}},
            "instances.web.rules[0].duration",
        ),
        ("no table", "instances.web.rules[0]"),
    ],
)
def test_a_wrong_rule_is_named_by_its_path(table: Any, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(table)
    assert caught.value.where == path


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('type = "track"', True),
        ("type = 'track' and properties.n > 2", True),
        ("properties.n > 3 or properties.ok = true", True),
        ("properties.n >= 3 and properties.n <= 3 and not properties.n != 3", True),
        ('properties.slug starts_with "ne" and properties.slug ends_with "ws"', True),
        ('properties.slug contains "ew"', True),
        ('properties.tags contains "y"', True),
        ('type in ("page", "track")', True),
        ('type in ["page"]', False),
        ("exists(properties.slug) and not exists(properties.nope)", True),
        ("is_true(properties.n)", False),
        ('properties.n = "3"', False),
        ("properties.ok = 1", False),
        ("properties.nope > 1", False),
        ("properties.slug > 3", False),
        ("properties.nope = null", True),
        ('type = "page" or type = "track" and properties.n = 9', False),
        ('(type = "page" or type = "track") and properties.n = 3', True),
        ('properties.items[0].id = "a"', True),
        ("$.properties.n = 3", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert compile_condition(text)(DATA) is holds


@pytest.mark.parametrize(
    "text",
    ["", "a", "a =", "= 3", "a = 3 b", "a ~ 3", "not", "(" * 100 + "a=1", "x" * 3000, 'a = "', "a in 3", "exists(3)"],
)
def test_what_is_no_condition_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        compile_condition(text)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
words = st.sampled_from(
    ["a", "a.b", "=", "!=", "and", "or", "not", "(", ")", "in", "exists", '"x"', "3", "true", "contains", ","]
)


@given(st.one_of(st.text(max_size=60), st.lists(words, max_size=14).map(" ".join)), anything)
def test_any_condition_either_is_refused_or_answers(text: str, data: Any) -> None:
    try:
        condition = compile_condition(text)
    except ValueError:
        return
    assert condition({"a": data}) in (True, False)


@given(st.text(max_size=30), anything)
def test_any_path_either_is_refused_or_answers(text: str, data: Any) -> None:
    try:
        get = path_getter(text)
    except ValueError:
        return
    get({"a": data})


@given(anything, anything)
def test_any_value_either_is_refused_or_answers(spec: Any, data: Any) -> None:
    try:
        get = compile_value(spec, b"k")
    except ValueError:
        return
    get({"a": data})
