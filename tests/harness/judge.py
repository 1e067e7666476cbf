"""The judge: after the faults, what misoflow says, what Miso holds and what was acknowledged must agree."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from misoflow.config import load
from misoflow.connector import Event, Request
from misoflow.instances import Instances
from misoflow.pipeline import Translator, from_ms, split
from misoflow.store.values import Outcome, Piece
from misoflow.vault import Vault

from tests.harness.world import World


@dataclass
class Verdict:
    """What the judge found; empty lists are good."""

    missing: list[str]
    invented: list[str]
    changed: list[str]
    duplicates: list[str]
    unmourned: list[str]
    """Acknowledged events that Miso or the mapping refuses, without a dead letter."""
    counts: dict[str, Any]
    resent_requests: int

    def sound(self) -> bool:
        return not (self.missing or self.invented or self.changed or self.duplicates or self.unmourned)


def expected(world: World, events: dict[str, dict[str, Any]]) -> dict[str, list[Piece]]:
    """message id → the interactions that a pure translation makes of it."""
    settings = load(Path(world.config))
    instance = Instances(settings).get("web")
    assert instance is not None
    translator = Translator(Vault(b"j" * 32, None))
    made: dict[str, list[Piece]] = {}
    for message, data in events.items():
        outcomes: list[Outcome] = []
        request = Request(json.dumps(data).encode(), channel="webhook", received_at=from_ms(1_795_000_000_000))
        found, _ = split(instance, request)
        for item in found:
            outcomes.append(translator.outcome(instance, Event(item.id, item.topic, item.data, item.received_at), 1)[0])
        made[message] = [piece for outcome in outcomes for piece in outcome.pieces]
    return made


def canonical(body: bytes) -> str:
    return msgspec.json.encode(msgspec.json.decode(body), order="sorted").decode()


def judge(world: World, *, ignore: str = "\0") -> Verdict:
    """Run when everything is settled; records with ``ignore`` in them, and forgotten users', are left out."""
    lines = world.get("/_sandbox/records?kind=interactions").splitlines()
    blind = [ignore, *(f'"user_id":"{user}"' for user in world.forgotten)]
    at_miso = Counter(line for line in map(canonical, lines) if not any(text in line for text in blind))
    by_uuid: dict[str, set[str]] = {}
    for line in at_miso:
        uuid = json.loads(line)["context"]["custom_context"]["uuid"]
        by_uuid.setdefault(uuid, set()).add(line)
    # of the records that share a ``once`` claim, Miso gets one
    owed: dict[bytes | str, tuple[str, set[str]]] = {}
    for message, pieces in expected(world, world.acknowledged).items():
        for piece in pieces:
            body = canonical(piece.body)
            if not any(text in body for text in blind):
                owed.setdefault(piece.claim or body, (message, set()))[1].add(body)
    possible = {canonical(p.body) for pieces in expected(world, world.sent).values() for p in pieces}
    wire = json.loads(world.get("/_sandbox/wire"))
    posts = Counter(one["sha256"] for one in wire if one["method"] == "POST")
    counts = world.status()["instances"]["web"]
    hopeless = sum(ignore in message for message in world.acknowledged)
    again = {one["sha256"]: one["records"] for one in wire if posts[one["sha256"]] > 1}
    explained = sum((posts[sha] - 1) * records for sha, records in again.items())
    doubled = [body for body, n in at_miso.items() for _ in range(n - 1)]
    return Verdict(
        missing=[message for message, bodies in owed.values() if not bodies & at_miso.keys()],
        invented=[body for body in at_miso if body not in possible],
        changed=[uuid for uuid, versions in by_uuid.items() if len(versions) > 1],
        duplicates=doubled if len(doubled) > explained else [],
        unmourned=[str(hopeless)] if counts["dead"] < hopeless else [],
        counts=counts,
        resent_requests=sum(n - 1 for n in posts.values()),
    )
