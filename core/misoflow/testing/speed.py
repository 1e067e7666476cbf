"""How fast a connector translates, for the terminal's summary: a figure to compare with, and no verdict."""

from __future__ import annotations

import time
from typing import Any

from misoflow.cli.explaining import explain_event
from misoflow.connector import Connector, Event
from misoflow.effects import Group, Known, Latest, Merge, Once, Skip
from misoflow.encode import encode

SECONDS = 0.2
figures: dict[str, tuple[float, int]] = {}
"""Contract class → events a second of translate and encode on one core, and how many different events were used."""


def measure(connector: Connector[Any], events: list[Event]) -> float:
    """Events a second, over those that become something."""
    rounds, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < SECONDS:
        for event in events:
            for output in connector.translate(event):
                _encoded(output)
        rounds += 1
    return rounds * len(events) / spent


def useful(connector: Connector[Any], events: list[Event]) -> list[Event]:
    """The events that are translated."""
    return [event for event in events if explain_event(connector, event, None)["outcome"] == "translated"]


def summary(reporter: Any) -> None:
    """Print the figures of this run, once."""
    if figures:
        reporter.section("translate + encode, one core (misoflow)", sep="-")
        for name, (speed, events) in figures.items():
            reporter.line(f"{name}: {speed:,.0f} events/s over {events} sample events")
        figures.clear()


def _encoded(output: Any) -> None:
    match output:
        case Once(record=record) | Latest(record=record) | Merge(part=record) | Known(record=record):
            encode(record, late=True)
        case Group(records=records):
            for record in records:
                encode(record)
        case Skip():
            pass
        case _ if hasattr(output, "__struct_fields__"):
            encode(output, late=True)
