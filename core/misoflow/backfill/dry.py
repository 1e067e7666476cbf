"""``misoflow backfill --dry-run``: pull and translate, and keep nothing."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from misoflow.backfill import plan
from misoflow.backfill.pull import as_async
from misoflow.clock import now_ms
from misoflow.connector import Event, Slice
from misoflow.pipeline import from_ms
from misoflow.streams import stream_of

if TYPE_CHECKING:
    from misoflow.engine import Engine
    from misoflow.instances import Instance

DEPTH = timedelta(days=7)
"""Without dates: a dry run is a look, not a pull."""
REASONS = 20


async def dry(
    engine: Engine, instance: Instance, streams: list[str], start: int | None, end: int | None
) -> dict[str, Any]:
    """``streams``: outcome → events by stream; ``reasons`` of what is skipped or refused, most frequent first."""
    reasons: Counter[str] = Counter()
    found: dict[str, dict[str, int]] = {}
    for stream in streams:
        step = plan.ms(stream_of(instance.connector, stream).step)
        high = plan.ceil(end or now_ms(), step)
        low = plan.floor(start or high - plan.ms(DEPTH), step)
        counts: Counter[str] = Counter()
        async for page in as_async(instance.connector.backfill(Slice(stream, from_ms(low), from_ms(high)))):
            for event in page.events:
                counts.update(_outcomes(engine, instance, event, reasons))
        found[stream] = dict(counts.most_common())
    return {"streams": found, "reasons": dict(reasons.most_common(REASONS))}


def _outcomes(engine: Engine, instance: Instance, event: Event, reasons: Counter[str]) -> list[str]:
    """What one event would become: record types, "skipped" or "dead"."""
    made, _ = engine.translator.outcome(instance, event, 0)
    if made.state == "dead":
        reasons[f"{event.topic}: {made.reason} at {made.path}"] += 1
        return ["dead"]
    kinds: list[str] = [str(msgspec.json.decode(piece.body)["type"]) for piece in made.pieces] + [
        part.kind for parts in (made.parts, *(group.parts for group in made.groups)) for part in parts
    ]
    if not kinds and not made.fetches:
        reasons[f"{event.topic}: {made.reason or 'this event has no use in Miso'}"] += 1
        return ["skipped"]
    return kinds
