"""How the Mixpanel stand-in misbehaves: rules posted to ``/_sandbox/faults``."""

from __future__ import annotations

import random
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from misoflow_sandbox.faults import Match

Ending = Literal["cut", "clean", "terminated", "export_terminated", "error_tail", "half_line"]
MARKERS: dict[str, bytes] = {
    "terminated": b"terminated early\n",
    "export_terminated": b"export terminated early\n",
    "error_tail": b'{"error": "export failed, see request',
}
"""How an export breaks off inside an answer 200: https://github.com/mixpanel/mixpanel-utils/issues/5."""


class Action(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What goes wrong. Several keys of one action work together.

    Instead of Mixpanel's answer: ``status``, with ``headers`` (``Retry-After``) and ``body`` (an object or a text).

    To the body of an export: after ``after_rows`` rows, or with the last one, it ends by ``ends``: ``cut`` (the
    connection is reset), ``clean`` (HTTP ends as it should, but a gzip is unfinished and a plain body stops inside a
    line), one of the markers (``terminated``, ``export_terminated``), an ``error_tail``, or ``half_line`` (the gzip
    is finished, the last line is not). ``members``: a new gzip member after so many rows. ``identity``: no gzip.
    ``bad_lines``: a broken line after each of these numbers of rows. ``bytes_a_second``: that slow; ``stall``:
    seconds of silence after ``after_rows`` rows. ``delay``: seconds before any answer.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    ends: Ending | None = None
    after_rows: int = 100
    members: int | None = None
    identity: bool = False
    bad_lines: list[int] = field(default_factory=list)
    bytes_a_second: float | None = None
    stall: float = 0.0
    delay: float = 0.0


class Rule(Struct, forbid_unknown_fields=True):
    """An action for the requests that match: the first ``after`` are spared, then ``times`` go wrong (-1: all).

    ``share``: each of them only with this probability, by ``seed``.
    """

    action: Action
    match: Match = field(default_factory=Match)
    times: int = 1
    after: int = 0
    share: float = 1.0
    seed: int = 1
    fired: int = 0
    seen: int = 0

    def takes(self, method: str, path: str) -> bool:
        """Whether it is the turn of this request; counts it."""
        if self.match.method not in (None, method) or not path.startswith(self.match.path or ""):
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

    def add_json(self, body: bytes) -> None:
        """Add rules from JSON: one or a list. Raises msgspec.DecodeError or ValidationError, which says where."""
        given = msgspec.json.decode(body)
        self.add(*msgspec.convert(given if isinstance(given, list) else [given], list[Rule]))

    def action(self, method: str, path: str) -> Action:
        """What is to go wrong with this request."""
        return next((rule.action for rule in self.rules if rule.takes(method, path)), Action())
