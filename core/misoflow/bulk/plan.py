"""Which requests a batch still owes Miso, and what its answers make of them. Pure.

The rules are those of ``misoflow.delivery``: records that a 422 names are only suspects until the rest of the
request was taken; after three rounds, or where no record is named, the request is halved.
"""

from __future__ import annotations

import msgspec

from misoflow import plan

PARSED_ROUNDS = 3
Why = tuple[str, str]
"""(reason, JSON path)."""
NO_REASON: Why = ("Miso refuses this record without saying why", "$")
TOO_LARGE: Why = ("Miso refuses this record as too large", "$")


class Plan(msgspec.Struct):
    """``todo``: requests still owed, as ranges of record numbers. ``refused``: records that Miso does not take."""

    todo: list[plan.Request]
    other_half: plan.Request = []
    suspects: dict[int, Why] = {}
    refused: dict[int, Why] = {}
    rounds: int = 0
    requests: int = 0
    lost: int = 0
    task: str | None = None

    @classmethod
    def of(cls, records: int) -> Plan:
        return cls([[(0, records)]] if records else [])

    def taken(self, named: dict[int, Why]) -> None:
        """Miso has the first request, but for what it named by record number on the way."""
        self.refused |= named
        self.todo.pop(0)
        rest = self.todo[0] if self.todo else []
        if not named and rest and rest == self.other_half and plan.size(rest) > 1:
            self._halve(rest)
        self.suspects, self.rounds, self.task, self.lost = {}, 0, None, 0

    def accepted(self, named: dict[int, Why]) -> None:
        """The same, with ``named`` by place in the request, as Miso's answers have it."""
        every = plan.indices(self.todo[0])
        self.taken({**self.suspects, **{every[n]: why for n, why in named.items() if n < len(every)}})

    def unprocessable(self, named: dict[int, Why]) -> None:
        """422: nothing of the first request was taken; ``named`` by place in the request."""
        request = self.todo[0]
        every = plan.indices(request)
        fresh = {every[n]: why for n, why in named.items() if n < len(every)}
        if len(every) == 1:
            self.taken(fresh or {every[0]: NO_REASON})
            return
        rest = plan.without(request, set(fresh))
        bisecting = len(self.todo) > 1 or self.rounds >= PARSED_ROUNDS
        if fresh and not bisecting:
            if not rest:
                self.taken({**self.suspects, **fresh})
                return
            self.suspects |= fresh
            self.todo[0] = rest
        else:
            whole = plan.joined(request, self.suspects)
            self.suspects = {}
            self._halve(whole)
        self.rounds += 1

    def too_large(self) -> None:
        """413: the first request in two."""
        if plan.size(self.todo[0]) == 1:
            self.taken({self.todo[0][0][0]: TOO_LARGE})
        else:
            self.todo[0:1] = list(plan.halves(self.todo[0]))

    def _halve(self, request: plan.Request) -> None:
        first, second = plan.halves(request)
        self.todo[0:1] = [first, second]
        self.other_half = second
