"""The demo: it adds up, and it says so only when it does."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from misoflow.demo import Fate, Result, checks
from misoflow.demo_history import DAYS, PER_DAY, History
from misoflow.demo_history import checks as history_checks
from misoflow.session import departure, visit


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("demo")
    return subprocess.run(
        [sys.executable, "-m", "misoflow", "demo", "--json"], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_the_demo_adds_up(played: subprocess.CompletedProcess[str]) -> None:
    assert played.returncode == 0, played.stdout + played.stderr
    shown = json.loads(played.stdout)
    assert all(check["holds"] for check in shown["checks"])
    counts = shown["counts"]
    states = ("delivered", "skipped", "suppressed", "erased", "dead", "pending")
    assert counts["accepted"] == sum(counts[state] for state in states)
    assert (counts["duplicates"], counts["dead"], counts["pending"]) == (1, 1, 0)


def test_every_delivery_has_its_fate(played: subprocess.CompletedProcess[str]) -> None:
    events = json.loads(played.stdout)["events"]
    assert [one["state"] for one in events] == [step.state for step in [*visit(), *departure()]]
    (dead,) = [one for one in events if one["state"] == "dead"]
    assert dead["reason"]


def test_the_sandbox_forgot_the_customer_who_asked(played: subprocess.CompletedProcess[str]) -> None:
    held = json.loads(played.stdout)["sandbox"]
    assert held["forgotten"] == ["leaver-9"]
    assert held["by_type"]["product_detail_page_view"] == 1
    assert list(held["users"]) == ["shopper-4"]


def test_the_month_of_history_and_the_file_add_up(played: subprocess.CompletedProcess[str]) -> None:
    seen = json.loads(played.stdout)["history"]
    counts = seen["counts"]
    assert counts["accepted"] == DAYS * PER_DAY == counts["delivered"] + counts["skipped"]
    assert seen["held"] == counts["delivered"] + seen["uploaded"]


@pytest.mark.parametrize("name", ["accepted", "delivered", "pending", "dead"])
def test_history_that_does_not_add_up_is_said(name: str) -> None:
    counts = {"accepted": 12_000, "delivered": 9000, "skipped": 3000, "dead": 0, "pending": 0}
    piece = {"state": "done", "read": 5, "taken": 3, "repeats": 2}
    seen = History(counts, [], [piece], uploaded=500, held=9500)
    assert all(held for _, held in history_checks(seen))
    seen.counts = {**counts, name: counts[name] + 1}
    assert not all(held for _, held in history_checks(seen))
    for wrong in ({"state": "failed"}, {"read": 6}):
        assert not all(held for _, held in history_checks(History(counts, [], [piece | wrong], 500, 9500)))


def good() -> Result:
    """What a demo in order has seen, made up."""
    fates = [Fate(step, 200, step.state) for step in [*visit(), *departure()]]
    counts: dict[str, Any] = dict.fromkeys(("suppressed", "erased", "pending"), 0)
    counts |= {"delivered": 10, "skipped": 1, "dead": 1, "accepted": 12, "duplicates": 1}
    types = [kind for fate in fates for kind in fate.step.records if kind not in ("user", "forget_user")]
    by_type = {kind: types.count(kind) for kind in types} | {"product_detail_page_view": 1}
    return Result(fates, counts, {"by_type": by_type, "users": {"shopper-4": {}}})


def set_count(result: Result, name: str, value: int) -> None:
    result.counts[name] = value


@pytest.mark.parametrize(
    "spoil",
    [
        lambda result: set_count(result, "accepted", 13),
        lambda result: set_count(result, "duplicates", 0),
        lambda result: result.counts.update(dead=0, delivered=11),
        lambda result: setattr(result.fates[0], "answer", 503),
        lambda result: setattr(result.fates[0], "state", "pending"),
        lambda result: result.held["by_type"].update(checkout=2),
        lambda result: result.held["by_type"].pop("refund"),
        lambda result: result.held["by_type"].update(product_detail_page_view=2),
        lambda result: result.held["users"].clear(),
    ],
)
def test_a_figure_that_does_not_add_up_is_found(spoil: Callable[[Result], object]) -> None:
    result = good()
    assert all(holds for _, holds in checks(result))
    spoilt = copy.deepcopy(result)
    spoil(spoilt)
    assert not all(holds for _, holds in checks(spoilt))


def test_it_leaves_nothing_behind(played: subprocess.CompletedProcess[str], tmp_path_factory: Any) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    assert not [path for path in folder.glob("demo*/*") if path.exists()]
