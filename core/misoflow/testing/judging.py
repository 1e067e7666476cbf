"""What malformed events may become, and the verdict over each mutation of a sample."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any

from misoflow.cli.explaining import explain_event
from misoflow.connector import Connector, Event
from misoflow.errors import Reject
from misoflow.pipeline import DATA_ERRORS
from misoflow.testing.miso import complaint
from misoflow.testing.mutations import KINDS, Mutation, leaves, mutations
from misoflow.testing.samples import Sample, all_events, body_of

CRASHES = (Exception, SystemExit, asyncio.CancelledError)
WORDS = re.compile(r"\w+")
NO_REASON = "the connector makes nothing of it"
REJECTED_WHOLE = {"topic": "", "outcome": "rejected"}
Outcomes = list[dict[str, Any]]


class Judge:
    """Holds what becomes of each mutation against what becomes of the sample as it is."""

    def __init__(self, connector: Connector[Any], sample: Sample) -> None:
        self._connector = connector
        self._sample = sample
        self._body = sample.payload()
        self._plain = all_events(sample, connector)
        outcomes, _ = self._of_delivery(sample.body) if sample.is_delivery else self._of_events([sample.event()])
        self._events = len(outcomes)
        self._useful = {one["topic"] for one in outcomes if one["outcome"] == "translated"}
        self._ids = set(product_ids(outcomes))
        data = self._body if self._body is not None else [event.data for event in self._plain]
        self._constants = words(self._ids) - self._words_of(data)

    def verdicts(self) -> list[str]:
        """A sentence for each mutation that came out badly."""
        return [f"  {mutation}: {why}" for mutation, found in self._tried() for why in self._judged(mutation, *found)]

    def _tried(self) -> Iterator[tuple[Mutation, tuple[Outcomes, str]]]:
        """Of a delivery of JSON its body is mutated, of anything else the data of its events."""
        if self._body is not None:
            for mutation in mutations(self._body):
                yield mutation, self._of_delivery(body_of(mutation.value))
            return
        for event in self._plain:
            for mutation in mutations(event.data):
                yield mutation, self._of_events([Event(event.id, event.topic, mutation.value, event.received_at)])

    def _of_delivery(self, body: bytes) -> tuple[Outcomes, str]:
        """The outcomes of a body's events, and what crashed; a delivery that is rejected whole is one outcome."""
        request = self._sample.stored(self._connector, body)
        try:
            found = list(self._connector.events(request))
        except (Reject, *DATA_ERRORS):
            return [REJECTED_WHOLE], ""
        except CRASHES as error:
            return [], _crash("events", error)
        if not all(isinstance(one.id, str) and isinstance(one.topic, str) for one in found):
            return [REJECTED_WHOLE], ""  # the engine takes no event without a name
        return self._of_events(found)

    def _of_events(self, events: list[Event]) -> tuple[Outcomes, str]:
        outcomes = []
        for event in events:
            try:
                outcome = explain_event(self._connector, event, self._sample.received_at)
            except CRASHES as error:
                return [], _crash("translate", error)
            if outcome["outcome"] == "rejected" and (crash := crash_of(self._connector, event)):
                return [], crash
            outcomes.append(outcome)
        return outcomes, ""

    def _judged(self, mutation: Mutation, outcomes: Outcomes, crash: str) -> Iterator[str]:
        if crash:
            yield crash
            return
        if REJECTED_WHOLE in outcomes:
            return
        if self._lost(mutation, len(outcomes)):
            yield f"of {self._events} events {len(outcomes)} were left and nothing says why: raise Reject in `events`"
        for one in outcomes:
            if one["outcome"] == "skipped" and one["reason"] == NO_REASON and one["topic"] in self._useful:
                yield f"{one['topic']!r} became nothing in silence: raise Reject, or yield Skip with the reason"
            for record in one.get("records", ()):
                if why := complaint(record):
                    yield f"a record that Miso refuses: {why}"
        for product_id in sorted(set(product_ids(outcomes))):
            if self._invented(product_id, mutation):
                yield f"the product id {product_id!r} is not in the event; index the payload, do not default"

        yield from _nobody(mutation, outcomes)

    def _lost(self, mutation: Mutation, count: int) -> bool:
        """Fewer events than before, where it is not that a list became shorter."""
        if count >= self._events or (mutation.kind == "empty text" and isinstance(mutation.was, list)):
            return False
        return count == 0 or mutation.in_list

    def _invented(self, product_id: str, mutation: Mutation) -> bool:
        if mutation.kind in ("list", "object") and any(sign in product_id for sign in "[{"):
            return True  # the text of what should have been an id
        own = words([product_id])
        if own <= self._constants:
            return product_id not in self._ids
        return not own <= self._constants | self._words_of(mutation.value)

    def _words_of(self, data: Any) -> set[str]:
        """All words that an id may be made of: the payload's, and those of the request around it."""
        content = self._sample.content
        around = [content.get("path", ""), content.get("query", {}), content.get("headers", {})]
        return words(str(leaf) for leaf in leaves([data, *around]))


def _nobody(mutation: Mutation, outcomes: Outcomes) -> Iterator[str]:
    """Ids of people that are the text of what is no id: all who have none would be one person."""
    if mutation.kind not in ("null", "bool", "list", "object"):
        return
    text = str(KINDS[mutation.kind])
    for made in (made for one in outcomes for made in one.get("records", ())):
        for field in ("user_id", "anonymous_id"):
            if made["record"].get(field) == text:
                yield f"the {field} is {text!r}, the text of what is no id: Reject it unless it is a text or a number"


def crash_of(connector: Connector[Any], event: Event) -> str:
    """What ``translate`` raises that is no finding about the data; "" for nothing."""
    try:
        list(connector.translate(event))
    except (Reject, *DATA_ERRORS):
        return ""
    except CRASHES as error:
        return _crash("translate", error)
    return ""


def product_ids(outcomes: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Every product id in the records of outcomes."""
    for one in outcomes:
        for made in one.get("records", ()):
            record = made["record"]
            yield from record.get("product_ids") or ()
            yield from (child["id"] for child in record.get("children") or ())
            if "product_id" in record:
                yield record["product_id"]


def words(texts: Iterable[str]) -> set[str]:
    """The words in texts, without case."""
    return {word.casefold() for text in texts for word in WORDS.findall(text)}


def _crash(verb: str, error: BaseException) -> str:
    return (
        f"`{verb}` raised {type(error).__name__}, which counts as a bug of the connector: raise Reject about bad data"
    )
