"""Misbehaviour on request: rules that say which requests go wrong, how, and how often."""

from __future__ import annotations

import zlib
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

MIB = 1024 * 1024
GZIP_HEAD = b"\x1f\x8b\x08" + bytes(6) + b"\xff"


class Match(Struct, forbid_unknown_fields=True):
    """Which requests; None: any. ``path`` is a prefix."""

    method: str | None = None
    path: str | None = None


class Action(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What goes wrong. Several keys of one action work together.

    Instead of Miso's answer: ``status`` (with ``headers`` and ``body``), ``reset`` (close the connection before
    reading, in the ``mid``dle of the answer, or ``after`` applying), ``gzip_bomb`` (MiB), ``html``, ``errors_true``
    (a 200 that refuses the records its lines name), ``envelope_422``. Only ``mid``, ``after`` and ``errors_true``
    apply the request's records; ``apply`` says otherwise.

    Beside it: ``delay`` (seconds before anything), ``drip`` (bytes of the answer per second), ``bad_ids`` (product
    ids, user ids or custom_context uuids) and ``reject_marker`` (a text) make records bad; ``partial_422`` (only the
    first n bad records are named), ``shift_422`` (indices moved by k) and ``unparseable_422`` (in another language)
    spoil a 422; ``task`` is the fate of an upload's task (``bad``: the refused indices of a partial one), with
    ``task_delay`` in seconds.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    apply: bool | None = None
    reset: Literal["before", "mid", "after"] | None = None
    gzip_bomb: int | None = None
    html: bool = False
    errors_true: list[str] | None = None
    envelope_422: bool = False
    delay: float = 0.0
    drip: float | None = None
    bad_ids: list[str] = field(default_factory=list)
    reject_marker: str | None = None
    partial_422: int | None = None
    shift_422: int = 0
    unparseable_422: bool = False
    task: Literal["never", "failed", "404", "partial"] | None = None
    bad: list[int] = field(default_factory=list)
    task_delay: float | None = None

    def answers(self) -> bool:
        """Whether it takes the place of Miso's answer."""
        instead = (self.status, self.reset, self.gzip_bomb, self.errors_true)
        return self.html or self.envelope_422 or any(one is not None for one in instead)

    def stays(self) -> bool:
        """Whether it only says which records are bad, which is as true the second time."""
        rest = msgspec.structs.replace(self, bad_ids=[], reject_marker=None)
        return rest == Action() and self != rest


class Rule(Struct, forbid_unknown_fields=True):
    """An action for the requests that match: the first ``after`` are spared, then ``times`` go wrong (-1: all).

    Without ``times`` it is one request, or all of them where the action only says which records are bad.
    """

    action: Action
    match: Match = field(default_factory=Match)
    times: int | None = None
    after: int = 0
    fired: int = 0

    def takes(self, method: str, path: str) -> bool:
        """Whether it is the turn of this request; counts it."""
        if self.match.method not in (None, method) or not path.startswith(self.match.path or ""):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        times = self.times if self.times is not None else -1 if self.action.stays() else 1
        if times >= 0 and self.fired >= times:
            return False
        self.fired += 1
        return True


class Plan(Struct):
    """What goes wrong with one request: the answer of the first rule that has one, and all that goes beside it."""

    answer: Action | None = None
    delay: float = 0.0
    drip: float | None = None
    bad_ids: set[str] = field(default_factory=set)
    markers: list[bytes] = field(default_factory=list)
    partial: int | None = None
    shift: int = 0
    unparseable: bool = False
    task: str | None = None
    task_bad: list[int] = field(default_factory=list)
    task_delay: float | None = None

    @property
    def spoils(self) -> bool:
        return self.unparseable or self.partial is not None or self.shift != 0

    def add(self, action: Action) -> None:
        if action.answers():
            self.answer = action
        self.delay += action.delay
        self.drip = action.drip if action.drip is not None else self.drip
        self.bad_ids.update(action.bad_ids)
        if action.reject_marker:
            self.markers.append(action.reject_marker.encode())
        self.partial = action.partial_422 if action.partial_422 is not None else self.partial
        self.shift += action.shift_422
        self.unparseable = self.unparseable or action.unparseable_422
        if action.task is not None:
            self.task, self.task_bad = action.task, action.bad or [0]
        self.task_delay = action.task_delay if action.task_delay is not None else self.task_delay


class Faults:
    """The rules in force, in order."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(self, body: bytes) -> None:
        """Add rules from JSON: one or a list. A rule's action may stand in the rule itself.

        Raises msgspec.DecodeError or msgspec.ValidationError, which says where.
        """
        given = msgspec.json.decode(body)
        rules = given if isinstance(given, list) else [given]
        self.rules += msgspec.convert([_spelled_out(rule) for rule in rules], list[Rule])

    def plan(self, method: str, path: str) -> Plan:
        """What is to go wrong with this request. A rule whose answer is not used is not used up."""
        plan = Plan()
        for rule in self.rules:
            if plan.answer is not None and rule.action.answers():
                continue
            if rule.takes(method, path):
                plan.add(rule.action)
        return plan


def _spelled_out(rule: Any) -> Any:
    if not isinstance(rule, dict) or "action" in rule:
        return rule
    own = ("match", "times", "after")
    action = {key: value for key, value in rule.items() if key not in own}
    return {"action": action, **{key: rule[key] for key in own if key in rule}}


def gzip_bomb(mib: int) -> bytes:
    """A gzip of so many MiB: blanks, then a JSON success. Made of equal blocks, so it costs next to nothing."""
    chunk, tail = b" " * MIB, b'{"message":"success"}'
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = squeeze.compress(chunk) + squeeze.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = last.compress(tail) + last.flush()
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(chunk, checksum)
    checksum = zlib.crc32(tail, checksum)
    size = (mib * MIB + len(tail)) % 2**32
    return GZIP_HEAD + block * mib + end + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")
