"""What the bars of a long command say: how long it still takes, and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from misoflow.cli.bars import Bars, clock, seconds_left
from misoflow.cli.output import Output

PER_DAY, DAYS, WIDTH, RATE = 1000, 90, 8, 50.0


def row(read: int, **more: Any) -> dict[str, Any]:
    """A pull of DAYS days in slices of WIDTH, of which ``read`` events have come."""
    whole = read // (PER_DAY * WIDTH) * WIDTH
    known = {"job": 1, "instance": "mix", "stream": "events", "purpose": "history", "state": "open"}
    figures = {"share": whole / DAYS, "read": read, "started": read - whole * PER_DAY}
    return {**known, **figures, "now": None, "waits": None, "error": None, "due": None, **more}


@pytest.mark.parametrize("read", range(PER_DAY * WIDTH + 1, PER_DAY * DAYS, 1777))
def test_the_time_left_is_right_inside_of_a_slice_too(read: int) -> None:
    left = seconds_left(row(read), RATE)
    true = (PER_DAY * DAYS - read) / RATE
    assert left == pytest.approx(true, rel=0.05)


def test_without_anything_whole_no_time_is_told() -> None:
    assert seconds_left(row(500), RATE) is None
    assert seconds_left(row(20_000), 0.0) is None


def test_more_than_a_day() -> None:
    assert clock(100 * 3600 + 61) == "100:01:01"


def test_each_job_has_its_own_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(Output()) as bars:
        for second in range(0, 12, 6):
            bars.show([row(second * 10), row(0, job=2, stream="profiles", waits="waits for events")], float(second))
    lines = capsys.readouterr().err.splitlines()
    assert "10/s" in lines[2]
    assert lines[1] == "mix profiles  0%  0 events  waits for events"


def test_a_plain_line_is_said_again_only_as_a_sign_of_life(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(Output()) as bars:
        for second in range(0, 120, 2):
            bars.show([row(0, waits="the hour's calls are used up")], float(second))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_what_went_wrong_is_said_with_the_next_try(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(Output()) as bars:
        bars.show([row(0, error="no connection", due=1_790_000_000_000)], 0.0)
    assert "tried again at 14:13:20Z: no connection" in capsys.readouterr().err
