"""Prometheus figures of the receiver, and of the whole engine where its state can be read."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
MOST_REASONS = 50
"""Of an instance: connectors name them, so their number is bounded here as well."""
OTHER = "other"
STATES = ("pending", "delivered", "skipped", "suppressed", "erased", "dead")


class Times:
    """A histogram that costs half a microsecond to fill."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, and the sum."""
        bounds = [*(str(float(bound)) for bound in BUCKETS), "+Inf"]
        return list(zip(bounds, itertools.accumulate(self._counts), strict=True)), self._sum


class Metrics(Collector):
    """The receiver's figures. Labels are bounded by plugins.toml: an instance's name there, never a tenant's."""

    def __init__(self) -> None:
        self.inbox_bytes = 0
        self.disk_free = 0.0
        self._answers: dict[tuple[str, str], int] = {}
        self._unwanted: dict[str, dict[str, int]] = {}
        self._visits: dict[tuple[str, str], int] = {}
        self._accept: dict[str, Times] = {}
        self._commit = Times()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def answered(self, instance: str, outcome: str, seconds: float) -> None:
        """Count one answer."""
        key = instance, outcome
        self._answers[key] = self._answers.get(key, 0) + 1
        times = self._accept.get(instance)
        if times is None:
            times = self._accept[instance] = Times()
        times.observe(seconds)

    def unwanted(self, instance: str, reason: str) -> None:
        """Count a delivery that was answered and not kept."""
        reasons = self._unwanted.setdefault(instance, {})
        if reason not in reasons and len(reasons) >= MOST_REASONS:
            reason = OTHER
        reasons[reason] = reasons.get(reason, 0) + 1

    def visited(self, instance: str, outcome: str) -> None:
        """Count one answer to a browser below /install."""
        key = instance, outcome
        self._visits[key] = self._visits.get(key, 0) + 1

    def committed(self, seconds: float) -> None:
        """Count one commit; called from the writer's thread only."""
        self._commit.observe(seconds)

    def add(self, collector: Collector) -> None:
        """Figures from elsewhere, asked for at each scrape."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without asking."""
        return []

    def collect(self) -> Iterable[Metric]:
        """What was counted so far."""
        answers = CounterMetricFamily(
            "misoflow_deliveries", "Deliveries by what became of them.", labels=["instance", "outcome"]
        )
        for (instance, outcome), count in list(self._answers.items()):
            answers.add_metric([instance, outcome], count)
        unwanted = CounterMetricFamily(
            "misoflow_unwanted", "Deliveries that were answered and not kept.", labels=["instance", "reason"]
        )
        for instance, reasons in list(self._unwanted.items()):
            for reason, count in list(reasons.items()):
                unwanted.add_metric([instance, reason], count)
        visits = CounterMetricFamily(
            "misoflow_installs", "Visits of browsers to install.", labels=["instance", "outcome"]
        )
        for (instance, outcome), count in list(self._visits.items()):
            visits.add_metric([instance, outcome], count)
        accept = HistogramMetricFamily(
            "misoflow_accept_seconds", "From a request's head to its answer.", labels=["instance"]
        )
        for instance, times in list(self._accept.items()):
            accept.add_metric([instance], *times.buckets())
        commit = HistogramMetricFamily("misoflow_commit_seconds", "One commit of the inbox with its fsync.")
        commit.add_metric([], *self._commit.buckets())
        size = GaugeMetricFamily("misoflow_inbox_bytes", "Bytes in use by the inbox.", value=self.inbox_bytes)
        free = GaugeMetricFamily(
            "misoflow_disk_free_ratio", "Free share of the data folder's disk.", value=self.disk_free
        )
        build = GaugeMetricFamily("misoflow_build_info", "Always 1.", labels=["version"])
        build.add_metric([_version()], 1)
        return [answers, unwanted, visits, accept, commit, size, free, build]


class StatusCollector(Collector):
    """States, pauses and circuits as ``misoflow status --json`` has them, so that all surfaces agree."""

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing: the figures are read only when somebody asks."""
        return []

    def collect(self) -> Iterable[Metric]:
        status = self._read()
        events = GaugeMetricFamily("misoflow_events", "Events by state.", labels=["instance", "state"])
        error = GaugeMetricFamily(
            "misoflow_conservation_error", "Accepted minus the sum of all states; must be 0.", labels=["instance"]
        )
        paused = GaugeMetricFamily("misoflow_paused", "1 while it is paused or halted.", labels=["name"])
        circuit = GaugeMetricFamily(
            "misoflow_circuit_open", "1 while a topic is not translated.", labels=["instance", "topic"]
        )
        oldest = GaugeMetricFamily(
            "misoflow_oldest_pending_seconds", "Age of the oldest batch that waits.", labels=["miso"]
        )
        for name, figures in status.get("instances", {}).items():
            for state in STATES:
                events.add_metric([name, state], figures.get(state, 0))
            error.add_metric([name], figures.get("accepted", 0) - sum(figures.get(state, 0) for state in STATES))
            paused.add_metric([name], float(figures.get("state") == "paused"))
            for open_ in figures.get("circuits", []):
                circuit.add_metric([name, open_["topic"]], 1)
        for name, figures in status.get("miso", {}).items():
            paused.add_metric([name], float(figures.get("state") not in ("sending", None)))
            oldest.add_metric([name], figures.get("oldest_seconds") or 0)
        return [events, error, paused, circuit, oldest]


def _version() -> str:
    try:
        return version("misoflow")
    except PackageNotFoundError:
        return "unknown"
