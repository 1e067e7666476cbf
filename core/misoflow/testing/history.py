"""Contract tests of history: complete, without repeats, resumable from every page, and honest about failures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from misoflow.cli.explaining import explain_event
from misoflow.connector import Connector, Event
from misoflow.errors import Halt, MisoflowError, Retry
from misoflow.streams import stream_of
from misoflow.testing import tape
from misoflow.testing.base import Given, fail, has_cassette, has_history, has_own_upstream, has_upstream, only_if
from misoflow.testing.deliveries import has_deliveries
from misoflow.testing.judging import crash_of
from misoflow.testing.pulling import (
    HOW_TO_RECORD,
    RECEIVED_AT,
    Fault,
    Pulled,
    asked_for,
    cassette_of,
    gives_events,
    part_of,
    pull,
    streams_of,
)
from misoflow.testing.samples import all_events, all_samples
from misoflow.testing.subject import make, secrets_of

FAILURES = {
    "401": (Fault(status=401), Halt),
    "403": (Fault(status=403), Halt),
    "429": (Fault(status=429, headers={"Retry-After": "17"}), Retry),
    "500": (Fault(status=500), Retry),
    "lost": (Fault(lost=True), Retry),
    "cut": (Fault(cut=True), Retry),
}
DAY = timedelta(days=1)
NOTHING = "[]"
MOST_REQUESTS = 3
"""The first request may differ from the others (a token, a first page), and so may the second."""


class HistoryContract(Given):
    """``backfill`` gives all there is, once, and says what kept it from doing so."""

    @only_if(has_history)
    def test_backfill_is_complete(self, request: pytest.FixtureRequest) -> None:
        """The pages hold as many different events as ``history`` says; each cursor is a text or None."""
        for stream, count in streams_of(self).items():
            found = _whole(self, stream, record=request.config.getoption("--record-cassettes"))
            ids = found.ids()
            repeated = sorted({one for one in ids if ids.count(one) > 1})
            if repeated:
                fail(
                    f"stream {stream!r} gave the event {repeated[0]!r} more than once (of {len(repeated)} such events)"
                )
            if len(ids) != count:
                fail(f"stream {stream!r} gave {len(ids)} events of the {count} that `history` says the source holds")

    @only_if(has_history)
    def test_backfill_resumes_from_every_page(self) -> None:
        """From any page's cursor, by a new object, exactly the rest comes.

        A page that carries the cursor of before proves nothing, so its events may come again.
        """
        for stream in streams_of(self):
            whole = _whole(self, stream)
            for place in _resumable(whole):
                rest = pull(self, stream, cursor=place.cursor, state=whole.state)
                if rest.error is not None:
                    fail(f"stream {stream!r} raised {rest.error!r} when it was resumed from cursor {place.cursor!r}")
                got = set(rest.ids())
                lost = [one for one in place.after if one not in got]
                again = [one for one in rest.ids() if one in place.proven]
                where = f"stream {stream!r}, resumed after page {place.page} from the cursor {place.cursor!r},"
                if lost:
                    fail(
                        f"{where} lost {len(lost)} of {len(place.after)} events that were still to come, such as "
                        f"{lost[0]!r}: a page's cursor must lead to the page after it"
                    )
                if again:
                    fail(
                        f"{where} gave {len(again)} events again, such as {again[0]!r}: "
                        "`backfill` must go on from `part.cursor`"
                    )

    @only_if(has_own_upstream)
    @pytest.mark.parametrize("side", ["start", "end"])
    def test_backfill_asks_for_its_slice(self, side: str) -> None:
        """Another start, and another end, is asked for otherwise; but by streams that are polled."""
        connector = make(self)
        for stream in streams_of(self):
            shape = stream_of(connector, stream)
            part = part_of(self, stream)
            more = max(shape.step, DAY)
            other = replace(part, start=part.start - more) if side == "start" else replace(part, end=part.end + more)
            if shape.poll or asked_for(self, part) != asked_for(self, other):
                continue
            empty = replace(part, start=part.end) if side == "start" else replace(part, end=part.start)
            if gives_events(self, empty):  # where the platform cannot be asked by time, `backfill` has to choose
                fail(
                    f"stream {stream!r} asks the platform for the same whatever the slice's {side} is: `backfill` must "
                    f"give the events of [part.start, part.end) only, or each slice pulls everything (set `poll` if "
                    "the stream goes by its cursor alone)"
                )

    @only_if(has_history)
    def test_pulled_events_are_translated(self) -> None:
        """Each event of history has an id of its own and a declared topic, and becomes records, a Skip or a Reject."""
        connector = make(self)
        topics = self.connector.topics
        for stream in streams_of(self):
            for event in _whole(self, stream).events():
                if not isinstance(event.id, str) or not event.id:
                    fail(f"stream {stream!r} gives an event with the id {event.id!r}: an id is a text, not empty")
                if event.topic not in topics:
                    fail(f"stream {stream!r} gives the topic {event.topic!r}, which `topics` does not name")
                crash = crash_of(connector, event)
                if crash:
                    fail(f"stream {stream!r}, event {event.id!r}: {crash}")

    @only_if(has_history, has_deliveries)
    def test_ids_are_the_same_by_webhook_and_by_history(self) -> None:
        """An event that comes by both channels has one id, or it is counted twice. Pairs are found by equal records."""
        connector = make(self)
        pulled: dict[str, set[str]] = {}
        for stream in streams_of(self):
            for event in _whole(self, stream).events():
                pulled.setdefault(_records(connector, event), set()).add(event.id)
        pairs = 0
        for sample in all_samples(self):
            for event in all_events(sample, connector) if sample.is_delivery else ():
                made = _records(connector, event)
                if made == NOTHING or made not in pulled:
                    continue
                pairs += 1
                if event.id not in pulled[made]:
                    fail(
                        f"{sample.name!r} holds an event with the id {event.id!r}; history gives the same event the id "
                        f"{sorted(pulled[made])[0]!r}, so it is counted twice. Make the id of what both channels name"
                    )
        if not pairs:
            pytest.skip(
                "no event of a delivery's sample comes by history too: let the history (`upstream`, the cassette or "
                "the files) hold an event that is also in a sample"
            )

    @only_if(has_cassette)
    def test_cassette_is_clean_and_recent(self) -> None:
        """No secret and no e-mail address is in the cassette; one older than 180 days is warned of."""
        path = cassette_of(self)
        text = path.read_text(encoding="utf-8")
        forms = [form for secret in secrets_of(make(self).config) for form in tape.forms_of(secret)]
        if any(form in text for form in forms):
            fail(f"{path.name} holds a secret of `config`: {HOW_TO_RECORD}, or strike it out by hand")
        people = sorted({found[0] for found in tape.EMAIL.finditer(text) if not found[0].endswith("@example.com")})
        if people:
            fail(f"{path.name} holds {len(people)} e-mail addresses: {HOW_TO_RECORD}, or strike them out by hand")
        if old := tape.age(path):
            warnings.warn(old, stacklevel=1)

    @only_if(has_upstream)
    @pytest.mark.parametrize("failure", FAILURES)
    def test_failures_are_classified(self, failure: str) -> None:
        """401 and 403 are ``Halt``; 429 with its wait, 500 and a lost connection are ``Retry``: at any request."""
        fault, wanted = FAILURES[failure]
        for stream in streams_of(self):
            whole = _whole(self, stream)
            requests = len(whole.requests)
            if requests == 0:
                fail(f"stream {stream!r} asked the platform nothing: does it use `self.http`?")
            for number in range(1, min(requests, MOST_REQUESTS) + 1):
                found = pull(self, stream, fault=fault, at=number)
                if found.error is None and wanted is Retry and found.ids() == whole.ids():
                    continue  # it was asked again, by an SDK say, and nothing is missing
                _classified(
                    found.error, failure, wanted, f"stream {stream!r}, request {number} answered with {failure}:"
                )


def _records(connector: Connector[Any], event: Event) -> str:
    """What an event becomes, as text that is equal for equal records."""
    stamped = Event(event.id, event.topic, event.data, RECEIVED_AT)
    return json.dumps(explain_event(connector, stamped, None)["records"], sort_keys=True)


@dataclass(frozen=True)
class _Place:
    """Where a pull can go on: the cursor after a page, and what has to come from there."""

    page: int
    cursor: str | None
    after: list[str]
    proven: set[str]


def _whole(contract: Given, stream: str, *, record: bool = False) -> Pulled:
    """All pages of a stream; fails where they cannot be had or a cursor is none."""
    found = pull(contract, stream, record=record)
    if found.error is not None:
        kind = type(found.error).__name__
        hint = f"\nIf the cassette does not hold the request: {HOW_TO_RECORD}" if contract.cassette else ""
        fail(f"stream {stream!r} raised {kind} although the platform answered: {found.error}{hint}")
    for number, page in enumerate(found.pages, 1):
        if not isinstance(page.cursor, str | None):
            kind = type(page.cursor).__name__
            fail(f"stream {stream!r}: the cursor of page {number} is a {kind}; it is kept as a text, so make it one")
    return found


def _resumable(whole: Pulled) -> Iterator[_Place]:
    """After each page whose cursor has moved; events of pages that moved none are unproven until then."""
    before: str | None = None
    proven: set[str] = set()
    for number, page in enumerate(whole.pages, 1):
        if page.cursor in (before, None):  # None begins anew, which repeats and loses nothing
            continue
        before = page.cursor
        proven |= {event.id for event in page.events}
        after = [event.id for later in whole.pages[number:] for event in later.events]
        yield _Place(number, page.cursor, after, set(proven))


def _classified(error: BaseException | None, failure: str, wanted: type[MisoflowError], where: str) -> None:
    if error is None:
        fail(
            f"{where} `backfill` went on as if nothing had happened. It must let {wanted.__name__} through, or a gap "
            "in the history is reported by nobody"
        )
    if not isinstance(error, wanted):
        fail(f"{where} `backfill` raised {type(error).__name__} ({error}) instead of {wanted.__name__}")
    if failure == "429" and isinstance(error, Retry) and error.after != 17:
        fail(f"{where} the platform asked for 17 seconds (Retry-After), and Retry.after is {error.after}: pass it on")
