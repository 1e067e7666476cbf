"""The page on monitoring names every figure and label that `/metrics` has, and no other."""

from __future__ import annotations

import re

from misoflow_webhooks import answers
from misoflow_webhooks.metrics import STATES, Metrics, StatusCollector
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "monitoring.md").read_text()
FIGURES = PAGE.partition("## Every figure")[2]
STATUS = {
    "instances": {"web": {"accepted": 1, "dead": 1, "state": "paused", "circuits": [{"topic": "t"}]}},
    "miso": {"default": {"state": "halted", "oldest_seconds": 3}},
}
OF_FORMAT = {"le"}


def exposed() -> dict[str, set[str]]:
    """Name → labels of everything that `/metrics` can say."""
    metrics = Metrics()
    metrics.answered("web", "accepted", 0.1)
    metrics.unwanted("web", "a bot")
    metrics.visited("web", "page")
    metrics.add(StatusCollector(lambda: STATUS))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = {label for sample in family.samples for label in sample.labels} - OF_FORMAT
    return found


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(misoflow_\w+)` \| (.*?) \|", FIGURES, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_every_figure_and_its_labels_are_documented() -> None:
    assert len(exposed()) > 10
    assert documented() == exposed()


def test_alerts_are_about_figures_that_exist() -> None:
    assert set(re.findall(r"misoflow_\w+", PAGE)) <= exposed().keys()


def test_every_state_and_outcome_is_named() -> None:
    outcomes = {one.outcome for one in vars(answers).values() if isinstance(one, answers.Answer)}
    unnamed = [name for name in [*STATES, *outcomes - {answers.ALIVE.outcome}] if f"`{name}`" not in FIGURES]
    assert unnamed == []
