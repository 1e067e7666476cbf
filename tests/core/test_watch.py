"""The eye on records itself: it sees what is encoded, and refuses what Miso's schema refuses."""

from __future__ import annotations

from typing import Any

import misoflow
import misoflow.encode
import misoflow.outputs
import msgspec
import pytest
from misoflow.records import INTERACTIONS, AddToCart, User

AT = "2026-01-02T03:04:05.678Z"


def test_every_module_encodes_under_the_eye(records_are_miso_s: Any) -> None:
    assert misoflow.encode.encode is records_are_miso_s
    assert misoflow.outputs.encode is records_are_miso_s


def test_an_encoded_record_is_seen(records_are_miso_s: Any) -> None:
    before = records_are_miso_s.seen
    misoflow.encode.encode(AddToCart(product_ids=["p"], quantities=[1], user_id="u", timestamp=AT))
    misoflow.encode.encode(User(user_id="u", custom_attributes={"plan": "pro"}))
    assert records_are_miso_s.seen == before + 2
    assert records_are_miso_s.complaints == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"add_to_cart","product_ids":"p","user_id":"u"}',
        b'{"type":"add_to_cart","product_ids":["p"],"unknown":1}',
        b'{"type":"add_to_cart","product_ids":["p"],"timestamp":"yesterday"}',
        b'{"type":"checkout","product_ids":["p"]}',
    ],
)
def test_a_wrong_record_is_refused(records_are_miso_s: Any, body: bytes) -> None:
    watch = type(records_are_miso_s)(lambda record: body)
    watch(AddToCart(product_ids=["p"], user_id="u", timestamp=AT))
    assert len(watch.complaints) == 1


def test_all_interaction_types_products_and_users_have_a_schema(records_are_miso_s: Any) -> None:
    watch = type(records_are_miso_s)(lambda record: b"[]")
    for cls in (*INTERACTIONS.values(), misoflow.Product, User):
        watch(cls(**{field.name: "x" for field in msgspec.structs.fields(cls) if field.required}))
    assert len(watch.complaints) == len(INTERACTIONS) + 2
