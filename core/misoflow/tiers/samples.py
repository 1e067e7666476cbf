"""What the samples of a connector show: which topics, what becomes of them, and where they were found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = ("https://", "http://", "recorded", "dead letter")


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample file: where it is from, and its outcomes."""

    source: str
    """A page of the platform, "recorded …" or "dead letter …"; "" when it is made up."""
    outcomes: list[dict[str, Any]]

    @property
    def topics(self) -> set[str]:
        return {str(outcome.get("topic", "")) for outcome in self.outcomes}

    @property
    def rejections(self) -> set[str]:
        return {str(outcome.get("reason", "")) for outcome in self.outcomes if outcome.get("outcome") == "rejected"}


def of(folders: Iterable[str]) -> list[Sample]:
    """The samples in these folders; several contracts may share one. Unreadable ones are the contract's to report."""
    found = []
    for file in sorted({file for folder in folders if folder for file in Path(folder).glob("*.json")}):
        try:
            tree = json.loads(file.read_bytes())
        except ValueError:
            continue
        if isinstance(tree, dict):
            found.append(Sample(_source(tree), [one for one in tree.get("events") or [] if isinstance(one, dict)]))
    return found


def _source(tree: dict[str, Any]) -> str:
    told = str(tree.get("source") or "").strip()
    return told if told.startswith(SOURCES) else ""


def is_rejected(samples: Iterable[Sample], topic: str) -> bool:
    """Whether events of this topic are always rejected: it stands for what cannot be read, which no platform shows."""
    outcomes = [one.get("outcome") for sample in samples for one in sample.outcomes if one.get("topic") == topic]
    return bool(outcomes) and set(outcomes) == {"rejected"}


def kinds_of(samples: Iterable[Sample], topic: str) -> set[str]:
    """What events of this topic become: types of interactions, ``product``, ``user``, ``forget_user``, …"""
    found = set()
    for sample in samples:
        for outcome in sample.outcomes:
            for made in outcome.get("records") or [] if outcome.get("topic") == topic else []:
                found.add(str(made["record"].get("type")) if made["kind"] == "interaction" else str(made["kind"]))
    return found
