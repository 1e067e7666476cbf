"""Files read and checked without any network: what an upload of them would send and refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from misoflow.bulk.batches import Refused
from misoflow.bulk.journal import Totals
from misoflow.bulk.letters import reason_of
from misoflow.bulk.reading import File
from misoflow.errors import Reject, Retry
from misoflow.files import BadRow, Format, Row, Truncated, read


def look(
    files: Sequence[File],
    format: Format | None,
    on_bad: Callable[[Refused], object],
    on_ids: Callable[[list[str]], object] = lambda ids: None,
    progress: Callable[[int], object] = lambda size: None,
) -> Totals:
    """Every row once; ``delivered`` counts those that would be sent. Files get their ``problem``. Raises Halt."""
    totals = Totals()
    reasons: Counter[str] = Counter()
    for index, file in enumerate(files):
        try:
            for block in read(file.source, format, progress=progress):
                for row in block:
                    refused = _row(index, row, file, totals, on_ids)
                    if refused is not None:
                        reasons[reason_of(refused.reason, refused.path)] += 1
                        on_bad(refused)
        except (Reject, Retry) as error:
            file.problem = error.reason
            file.truncated = isinstance(error, Truncated)
        else:
            file.whole = True
    totals.reasons = dict(reasons)
    return totals


def _row(
    index: int, row: Row | BadRow, file: File, totals: Totals, on_ids: Callable[[list[str]], object]
) -> Refused | None:
    totals.read += 1
    try:
        if isinstance(row, BadRow):
            raise Reject(row.reason)
        records, ids = file.check(row.raw)
    except Reject as error:
        totals.bad += 1
        return Refused(index, row.number, error.reason, error.path, row.raw)
    on_ids(ids)
    if records:
        totals.delivered += 1
    else:
        totals.skipped += 1
    return None
