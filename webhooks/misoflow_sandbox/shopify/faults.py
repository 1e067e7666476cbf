"""How the stand-in's HTTP misbehaves: rules in process or posted to ``/_sandbox/faults``."""

from __future__ import annotations

import random
from typing import Any

from msgspec import Struct, field

from misoflow_sandbox.faults import Match


class Action(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What goes wrong. ``status`` with ``headers`` and ``body``: that instead of Shopify's answer.

    ``lost``: the connection is reset ``before`` the request is read or ``after`` it took effect. ``cut``: a file
    breaks off after so many bytes. ``delay``: seconds before the answer. ``throttled``: THROTTLED in a 200.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    lost: str | None = None
    cut: int | None = None
    delay: float = 0.0
    throttled: bool = False


class Rule(Struct, forbid_unknown_fields=True):
    """An action for the requests that match (``name``: of the GraphQL operation): the first ``after`` are spared, then
    ``times`` go wrong (-1: all), each with the probability ``share`` by ``seed``."""

    action: Action
    match: Match = field(default_factory=Match)
    name: str | None = None
    times: int = 1
    after: int = 0
    share: float = 1.0
    seed: int = 1
    fired: int = 0
    seen: int = 0

    def takes(self, method: str, path: str, name: str) -> bool:
        """Whether it is the turn of this request; counts it."""
        fits = self.match.method in (None, method) and path.startswith(self.match.path or "")
        if not fits or self.name not in (None, name):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times >= 0 and self.fired >= self.times):
            return False
        if self.share < 1 and random.Random(f"{self.seed}/{self.seen}").random() >= self.share:  # noqa: S311
            return False
        self.fired += 1
        return True


class Faults:
    """The rules in force; the first that takes a request decides about it."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(self, *given: Rule | Action) -> None:
        self.rules += [one if isinstance(one, Rule) else Rule(one) for one in given]

    def action(self, method: str, path: str, name: str = "") -> Action:
        """What is to go wrong with this request."""
        return next((rule.action for rule in self.rules if rule.takes(method, path, name)), Action())
