"""When to try again (M2, M3)."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misoflow.retry import LONGEST_SECONDS, backoff, retry_after

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("0", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0),
        (str(10 * 365 * 86400), LONGEST_SECONDS),
        (format_datetime(NOW + timedelta(days=3650), usegmt=True), LONGEST_SECONDS),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 500, None),
        ("\u0663", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text(max_size=60))
def test_retry_after_never_raises_and_is_bounded(header: str) -> None:
    wait = retry_after(header, NOW)
    assert wait is None or 0 <= wait <= LONGEST_SECONDS


@given(st.integers(0, 10_000), st.integers())
def test_backoff_is_full_jitter_up_to_30_seconds(attempt: int, seed: int) -> None:
    assert 0 <= backoff(attempt, random.Random(seed)) <= min(30, 2 ** min(attempt, 10))


def test_backoff_spreads() -> None:
    waits = {round(backoff(5, random.Random(seed)), 3) for seed in range(100)}
    assert len(waits) > 90
    assert max(waits) > 20
    assert min(waits) < 5
