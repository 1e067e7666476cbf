"""Decode, translate and validate Segment events on one core, against the floor of only parsing and writing them.

The floor is ``orjson.loads`` and ``orjson.dumps`` of each event. Ours is what stands between a delivery and a record
that may be sent: the connector's ``events`` and ``translate``, and ``encode``, which validates. Both do the same
events in one process; rounds are interleaved and the figure is the median of the rounds' ratios. Two more figures are
shown: the stricter floor, which writes the (smaller) records instead of the events, and the engine's whole pure
stage with its keyed hashes and accounting. ``python -m bench.translate``.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from misoflow.config import load
from misoflow.connector import Request
from misoflow.effects import Effect, Once
from misoflow.encode import encode
from misoflow.instances import Instance, Instances
from misoflow.pipeline import Translator, split
from misoflow.records import Record, Record_
from misoflow.vault import Vault
from misoflow_segment import Segment
from misoflow_segment.config import SegmentConfig

from bench.events import events

GOAL = 0.5
RECEIVED = datetime(2026, 11, 20, 10, 2, tzinfo=UTC)
TOML = """
[miso]
api_url = "http://127.0.0.1:1"
api_key = "none"
[instances.web]
connector = "segment"
shared_secret = "bench"
"""
Work = Callable[[list[bytes]], None]


def floor(raw: list[bytes]) -> None:
    """Parse and write each event."""
    for one in raw:
        orjson.dumps(orjson.loads(one))


def record_of(output: Record | Effect) -> Record:
    """The record of an output; these events yield nothing but records, some under a ``once``."""
    record = output.record if isinstance(output, Once) else output
    if not isinstance(record, Record_):
        raise SystemExit(f"an event yielded {type(output).__name__}")
    return record


def ours(connector: Segment) -> Work:
    """Decode, translate and validate each event."""

    def work(raw: list[bytes]) -> None:
        for one in raw:
            for event in connector.events(Request(one, received_at=RECEIVED)):
                for output in connector.translate(event):
                    encode(record_of(output))

    return work


def strict_floor(raw: list[bytes], connector: Segment) -> Work:
    """Parse each event and write its ready-made records."""
    made = [
        [
            orjson.loads(encode(record_of(output)))
            for event in connector.events(Request(one, received_at=RECEIVED))
            for output in connector.translate(event)
        ]
        for one in raw
    ]

    def work(raw: list[bytes]) -> None:
        for one, records in zip(raw, made, strict=True):
            orjson.loads(one)
            for record in records:
                orjson.dumps(record)

    return work


def pipeline(instance: Instance) -> Work:
    """What the worker does of each delivery before its transaction."""
    translator = Translator(Vault(b"b" * 32, None))

    def work(raw: list[bytes]) -> None:
        for one in raw:
            found, refused = split(instance, Request(one, received_at=RECEIVED))
            if refused:
                raise SystemExit(f"an event could not be split: {refused}")
            for event in found:
                made, _ = translator.outcome(instance, event, 1)
                if made.state != "pending":
                    raise SystemExit(f"an event became {made.state}: {made.reason}")

    return work


def instance_of_segment() -> Instance:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "plugins.toml"
        file.write_text(TOML)
        found = Instances(load(file)).get("web")
    if found is None:
        raise SystemExit("the Segment instance cannot start")
    return found


def rate(work: Work, raw: list[bytes]) -> float:
    """Events a second of processor time."""
    gc.collect()
    started = time.process_time()
    work(raw)
    return len(raw) / (time.process_time() - started)


def stages(connector: Segment, raw: list[bytes]) -> dict[str, float]:
    """Microseconds an event in each of our stages."""
    marks = [time.process_time()]
    found = [event for one in raw for event in connector.events(Request(one, received_at=RECEIVED))]
    marks.append(time.process_time())
    records = [record_of(output) for event in found for output in connector.translate(event)]
    marks.append(time.process_time())
    for record in records:
        encode(record)
    marks.append(time.process_time())
    names = ("decode and split", "translate", "validate and write")
    return {name: (marks[n + 1] - marks[n]) / len(raw) * 1e6 for n, name in enumerate(names)}


def main() -> int:
    """Exit code 0 when the goal is reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.translate", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    raw = events(options.events, "translate")
    connector = Segment(SegmentConfig.model_validate({"shared_secret": "bench"}))
    works = {
        "floor": floor,
        "ours": ours(connector),
        "strict floor": strict_floor(raw, connector),
        "whole stage": pipeline(instance_of_segment()),
    }
    for work in works.values():
        work(raw)
    rounds = []
    for number in range(options.rounds):
        names = list(works) if number % 2 == 0 else list(reversed(works))
        rounds.append({name: rate(works[name], raw) for name in names})
    print(
        f"{len(raw):,} events of {sum(map(len, raw)) / len(raw):,.0f} bytes, {options.rounds} rounds, events/s (median)"
    )
    for name in works:
        print(f"  {name:12} {statistics.median(one[name] for one in rounds):10,.0f}")
    gc.disable()  # keeping all events and records at once is this figure's own doing
    print("ours, in microseconds: " + ", ".join(f"{name} {us:.1f}" for name, us in stages(connector, raw).items()))
    ratio = statistics.median(one["ours"] / one["floor"] for one in rounds)
    strict = statistics.median(one["ours"] / one["strict floor"] for one in rounds)
    stage = statistics.median(one["whole stage"] / one["floor"] for one in rounds)
    print(f"translate: ratio {ratio:.2f} (goal {GOAL}); to the strict floor {strict:.2f}; whole stage {stage:.2f}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
