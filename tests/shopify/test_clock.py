"""Versions are moments of Shopify's clock, whatever ours shows: bulk operations and single reads must compare."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow_shopify import Shopify
from misoflow_shopify.config import ShopifyConfig
from misoflow_shopify.link import Link
from pydantic import SecretStr

T = 1_800_000_000.0


def link(now: float) -> Link:
    made = Link(Shopify(ShopifyConfig(client_id="id", client_secret=(SecretStr("s"),))))
    made.now = lambda: now
    return made


@given(st.floats(-5000, 5000), st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3)), min_size=1, max_size=8))
def test_after_an_answer_we_are_right_to_a_second_and_the_way(skew: float, calls: list[tuple[float, float]]) -> None:
    made, now = link(T), T
    for wait, way in calls:
        asked_at = now = now + wait
        there = now + way / 2 + skew  # when Shopify wrote its answer
        now += way
        made.now = lambda now=now: now  # type: ignore[misc]
        made.heard(formatdate(there, usegmt=True), asked_at)
        assert abs(made.there_ms() / 1000 - (now + skew)) <= 1.002 + way
    assert made.there_ms(round(T * 1000)) - round(T * 1000) == made.there_ms() - made.now_ms()


@pytest.mark.parametrize("header", ["", "yesterday", "Tue, 99 Dec 2026 00:00:00 GMT"])
def test_what_is_no_date_changes_nothing(header: str) -> None:
    made = link(T)
    made.heard(header, T)
    assert made.there_ms() == made.now_ms()


def test_a_clock_that_agrees_is_left_alone() -> None:
    made = link(T + 0.4)
    made.heard(formatdate(T, usegmt=True), T + 0.2)
    assert made.there_ms() == made.now_ms()
