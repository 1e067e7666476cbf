"""Files to batches, in a thread of its own: read, checked, joined. What is confirmed already is passed over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from misoflow.bulk import batches
from misoflow.bulk.batches import MAX_RECORDS, Batch, Draft, Refused
from misoflow.bulk.check import Checked, Checker
from misoflow.bulk.journal import Differs, Sealed
from misoflow.bulk.plan import Plan
from misoflow.encode import Kind
from misoflow.errors import Reject, Retry
from misoflow.files import BadRow, Block, Format, Source, Truncated, read

HELD_BYTES = 16 * 1024 * 1024
HELD_BATCHES = 64


class Budget:
    """How much may be read ahead of what Miso has taken: the reader waits in ``take``, ``give`` wakes it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._bytes = 0
        self._batches = 0
        self.stopping = False

    def take(self, size: int) -> None:
        """Wait for room; one batch always has it."""
        with self._condition:
            self._condition.wait_for(lambda: self.stopping or not self._batches or self._room(size))
            self._bytes += size
            self._batches += 1

    def _room(self, size: int) -> bool:
        return self._batches < HELD_BATCHES and self._bytes + size <= HELD_BYTES

    def give(self, size: int) -> None:
        with self._condition:
            self._bytes -= size
            self._batches -= 1
            self._condition.notify()

    def stop(self) -> None:
        """Nothing more is wanted."""
        with self._condition:
            self.stopping = True
            self._condition.notify()


@dataclass
class File:
    """What became of one source: ``problem`` when it was not read to its end."""

    source: Source
    check: Checker
    whole: bool = False
    problem: str = ""
    truncated: bool = False
    later: bool = False
    """Another try may help."""


@dataclass
class Fence:
    """Rows of a file up to ``last`` that an earlier run put into a batch; ``number`` is None where it is done."""

    after: int
    last: int
    number: int | None


class Reader:
    """Reads every source once. ``hand_over`` is given each batch, from the thread that calls ``run``.

    ``most`` gives the records of a batch that is filled now. ``begun``: batches of an earlier run; those not done
    are made again with the same rows, and Differs is raised where they have other bytes now. So are those that are
    done but hold rows of a file in ``changed``, and only compared.
    """

    def __init__(
        self,
        kind: Kind,
        files: Sequence[File],
        hand_over: Callable[[Batch], None],
        *,
        format: Format | None = None,
        begun: Mapping[int, Sealed] | None = None,
        changed: frozenset[int] = frozenset(),
        budget: Budget,
        progress: Callable[[int], object] = lambda size: None,
        most: Callable[[], int] | None = None,
    ) -> None:
        self._kind = kind
        self._files = files
        self._hand_over = hand_over
        self._format = format
        self._budget = budget
        self._progress = progress
        self._most = most or (lambda: MAX_RECORDS[kind])
        self._begun = begun or {}
        self._next = max(self._begun, default=0) + 1
        self._free = Draft(kind)
        self._changed = changed
        self._open = {one.number: Draft(kind) for one in self._begun.values() if not one.done or self._touched(one)}
        self._left = {number: len(self._begun[number].segments) for number in self._open}
        self._after = 0

    def run(self) -> None:
        """Read until the end, or until the budget says stop. Raises Halt and Differs."""
        for number in [number for number, left in self._left.items() if not left]:
            self._rebuilt(number)
        known = {index for one in self._begun.values() for index in one.whole} - self._changed
        for index, file in enumerate(self._files):
            fences = self._fences(index)
            if index in known and all(fence.number is None for fence in fences):
                file.whole = True
                self._progress(file.source.size or 0)
            elif not self._budget.stopping:
                self._file(index, file, fences, known=index in known)
        if self._free and not self._budget.stopping:
            self._seal()

    def _touched(self, one: Sealed) -> bool:
        return any(segment.source in self._changed for segment in one.segments)

    def _fences(self, index: int) -> list[Fence]:
        found = [
            Fence(segment.after, segment.last, one.number if one.number in self._open else None)
            for one in self._begun.values()
            for segment in one.segments
            if segment.source == index
        ]
        return sorted(found, key=lambda fence: fence.last)

    def _file(self, index: int, file: File, fences: list[Fence], *, known: bool) -> None:
        first_open = next((fence for fence in fences if fence.number is not None), None)
        self._after = first_open.after if first_open else fences[-1].last if fences else 0
        fences = [fence for fence in fences if fence.last > self._after]
        try:
            for block in read(file.source, self._format, self._after, self._progress):
                self._block(index, block, fences)
                if self._budget.stopping:
                    return
        except (Reject, Retry) as error:
            file.problem = error.reason
            file.truncated = isinstance(error, Truncated)
            file.later = isinstance(error, Retry)
        else:
            file.whole = True
            if not known:
                self._free.whole.append(index)
        while fences:
            self._passed(fences.pop(0))

    def _block(self, index: int, block: Block, fences: list[Fence]) -> None:
        """Each part of the block to the batch that it belongs to."""
        while block and fences:
            if block[0].number > fences[0].last:
                self._passed(fences.pop(0))
                continue
            inside = sum(row.number <= fences[0].last for row in block)
            if fences[0].number is not None:
                self._refill(index, block[:inside], self._open[fences[0].number])
            self._after = block[inside - 1].number
            block = block[inside:]
        if block:
            self._take(index, block)

    def _take(self, index: int, block: Block) -> None:
        """The rows into the free batch, and on into the next when it is full."""
        draft, most = self._free, self._most()
        outcomes = _outcomes(self._files[index].check, block)
        if self._took_at_once(index, block, outcomes, most):
            return
        for row, outcome in zip(block, outcomes, strict=True):
            if isinstance(outcome, Reject):
                draft.covers(index, self._after, row.number)
                draft.refuse(Refused(index, row.number, outcome.reason, outcome.path, row.raw))
            else:
                if draft.has_no_room(outcome) and draft.segments:
                    draft = self._seal()
                draft.covers(index, self._after, row.number)
                draft.add(index, row.number, outcome)
            self._after = row.number
            if draft.full(most):
                draft = self._seal()
                if self._budget.stopping:
                    return
                most = self._most()

    def _took_at_once(self, index: int, block: Block, outcomes: list[Checked | Reject], most: int) -> bool:
        """Whether the block is in the free batch now: it stays below what is full, and each row is a record."""
        draft = self._free
        if len(draft.records) + len(block) >= most:
            return False
        records = [one[0][0] for one in outcomes if type(one) is tuple and not one[1] and len(one[0]) == 1]
        size = sum(map(len, records)) + len(records)
        if len(records) != len(block) or draft.size + size >= batches.FULL_BYTES:
            return False
        draft.extend(index, self._after, [row.number for row in block], records, size)
        self._after = block[-1].number
        return True

    def _refill(self, index: int, block: Block, draft: Draft) -> None:
        for row, outcome in zip(block, _outcomes(self._files[index].check, block), strict=True):
            if isinstance(outcome, Reject):
                draft.refuse(Refused(index, row.number, outcome.reason, outcome.path, row.raw))
            else:
                draft.add(index, row.number, outcome)

    def _passed(self, fence: Fence) -> None:
        """The rows of an earlier run's batch in this file are all here."""
        if fence.number is not None:
            self._left[fence.number] -= 1
            if not self._left[fence.number]:
                self._rebuilt(fence.number)

    def _rebuilt(self, number: int) -> None:
        begun, draft = self._begun[number], self._open.pop(number)
        draft.segments, draft.whole = begun.segments, begun.whole
        batch = Batch(number, draft)
        if batch.sha256 != begun.sha256:
            changed = [one.source for one in begun.segments if one.source in self._changed]
            what = "the files give other records than when this upload began"
            if changed:
                what = f"{self._files[changed[0]].source.name} has changed in what this upload has sent already"
            raise Differs(f"{what}; --restart sends everything from the start, what had arrived too")
        if begun.done:
            return
        batch.plan = begun.plan or Plan.of(len(batch))
        self._give(batch)

    def _seal(self) -> Draft:
        batch = Batch(self._next, self._free)
        self._next += 1
        self._free = Draft(self._kind)
        self._give(batch)
        return self._free

    def _give(self, batch: Batch) -> None:
        self._budget.take(batch.held)
        if not self._budget.stopping:
            self._hand_over(batch)


def _outcomes(check: Checker, block: Block) -> list[Checked | Reject]:
    """What each row becomes, or why it does not."""
    found: list[Checked | Reject] = []
    for row in block:
        if type(row) is BadRow:
            found.append(Reject(row.reason))
            continue
        try:
            found.append(check(row.raw))
        except Reject as error:
            found.append(error)
    return found
