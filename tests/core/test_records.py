"""The record types are what Miso's OpenAPI document says, no more and no less."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from misoflow import records
from misoflow.encode import encode
from misoflow.errors import Reject

from tests.conftest import IN_CI, OPENAPI, ROOT, miso_validators

TIME = "2026-01-01T00:00:00.000Z"


@pytest.mark.skipif(not OPENAPI.is_file() and not IN_CI, reason="Miso's OpenAPI document is not beside the checkout")
def test_the_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate_records.py", str(OPENAPI), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_29_interaction_types() -> None:
    assert len(records.INTERACTIONS) == 29
    for name, cls in records.INTERACTIONS.items():
        assert cls.__struct_config__.tag == name


@pytest.mark.parametrize("name", records.INTERACTIONS)
def test_every_field_of_the_schema_is_there_and_no_other(name: str) -> None:
    fields = set(records.INTERACTIONS[name].__struct_fields__) | {"type"}
    full: dict[str, Any] = {"type": name, "user_id": "u", "timestamp": TIME}
    if name == "custom":
        full["custom_action_name"] = "x"
    samples = {
        "product_ids": ["p"],
        "product_group_ids": ["g"],
        "quantities": [1],
        "revenue": 1.5,
        "rating": 3,
        "duration": 4,
        "category": ["a"],
        "search": {"keywords": "k", "filters": {"f": ["v"]}},
        "question_id": "q",
        "result_type": "r",
        "value": "helpful",
        "anonymous_id": "a",
        "miso_id": "123e4567-e89b-12d3-a456-426614174000",
        "context": {"page": {"url": "https://x.example/"}},
    }
    validator = miso_validators()[name]
    for field, value in samples.items():
        body = {**full, field: value}
        assert validator.is_valid(body) == (field in fields), field
        if field in fields:
            kwargs = {key: item for key, item in body.items() if key != "type"}
            if field == "quantities":
                kwargs["product_ids"] = ["p"]
            encode(records.INTERACTIONS[name](**kwargs))
        else:
            with pytest.raises(TypeError):
                records.INTERACTIONS[name](**{field: value, "user_id": "u"})


def test_what_is_left_out_is_not_written() -> None:
    body = encode(records.Like(product_ids=["p"], user_id="u", timestamp=TIME))
    assert msgspec.json.decode(body) == {"type": "like", "product_ids": ["p"], "user_id": "u", "timestamp": TIME}


def test_kinds() -> None:
    assert records.kind(records.Like()) == "interaction"
    assert records.kind(records.User(user_id="u")) == "user"
    assert records.kind(records.RemoveProduct(product_id="p")) == "remove_product"


def test_a_product_has_no_price() -> None:
    with pytest.raises(TypeError):
        records.Product(product_id="p", price=3)  # type: ignore[call-arg]


def test_only_records_are_encoded() -> None:
    with pytest.raises(Reject):
        encode({"type": "like"})  # type: ignore[arg-type]
