"""Contract tests of ``translate``: as recorded, pure, and never silent or inventive about malformed events."""

from __future__ import annotations

import copy
import difflib
import json
from functools import partial
from typing import Any

import pytest

from misoflow.cli.explaining import explain_event
from misoflow.connector import Connector, Event
from misoflow.testing.base import Given, fail, only_if
from misoflow.testing.guarded import reached, worlds
from misoflow.testing.judging import Judge
from misoflow.testing.miso import complaint
from misoflow.testing.samples import HOW_TO_UPDATE, all_events, all_samples, has_samples, named, tidy
from misoflow.testing.subject import make


class TranslatingContract(Given):
    """Every event becomes the same valid records for ever, or says why not."""

    def test_every_topic_has_a_sample(self) -> None:
        """Each topic that the connector declares is in a sample, and each topic in a sample is declared."""
        connector = make(self)
        topics = set(self.connector.topics)
        if not topics:
            fail(f"{self.connector.__name__} declares no `topics`: name every topic that its events can have")
        wanted = topics if self.topics is None else set(self.topics)
        found: dict[str, str] = {}
        for sample in all_samples(self):
            for event in all_events(sample, connector):
                found.setdefault(event.topic, sample.name)
        undeclared = sorted(found.keys() - topics)
        if undeclared:
            fail(f"the sample {found[undeclared[0]]!r} gives the topic {undeclared[0]!r}, which `topics` does not name")
        missing = sorted(wanted - found.keys())
        if missing:
            fail(
                f"no sample of the topics {', '.join(missing)}: add one of each to {self.samples}/, so that what "
                "becomes of them is recorded"
            )

    @only_if(has_samples)
    def test_translates_as_recorded(self, sample: str, request: pytest.FixtureRequest) -> None:
        """What becomes of a sample is what its file says. ``pytest --update-samples`` writes it anew."""
        recorded = named(self, sample)
        found = recorded.outcomes(make(self))
        if request.config.getoption("--update-samples"):
            recorded.update(found)
            return
        if "events" not in recorded.content:
            fail(f'{recorded.path.name} does not say what becomes of it ("events"). Run {HOW_TO_UPDATE} and read it')
        if found != recorded.content["events"]:
            difference = _difference(recorded.content["events"], found)
            fail(f"{sample!r} is not translated as recorded. If it should not be: {HOW_TO_UPDATE}\n{difference}")

    @only_if(has_samples)
    def test_translate_is_pure(self, sample: str) -> None:
        """No clock, no chance, no file, no network; the event stays as it was; a new object gives the same."""
        recorded = named(self, sample)
        connector = make(self)
        for event in all_events(recorded, connector):
            before = copy.deepcopy(event.data)
            wanted = explain_event(connector, event, None)
            for _ in worlds():
                if event.data != before:
                    fail(f"`translate` changed the data of {event.topic!r}: a retry would see something else; copy it")
                _, _, place = reached(partial(_outputs, connector, event))
                if place:
                    fail(f"`translate` of {event.topic!r} reached for {place}: read it in `__init__` or `backfill`")
                _same(event, wanted, explain_event(connector, event, None), "at another time, with other chance")
            _same(event, wanted, explain_event(make(self), event, None), "by a new object")

    @only_if(has_samples)
    def test_events_are_pure(self, sample: str) -> None:
        """``events`` splits a delivery the same at any time, and reaches for no file and no network."""
        recorded = named(self, sample)
        connector = make(self)
        if not recorded.is_delivery:
            return
        wanted = all_events(recorded, connector)
        for _ in worlds():
            found, _, place = reached(lambda: all_events(recorded, connector))
            if place:
                fail(f"`events` reached for {place} in {sample!r}: all it may use is the request")
            if found is not None and found != wanted:
                fail(f"`events` gave other events of {sample!r} at another time: all it may use is the request")

    @only_if(has_samples)
    def test_records_are_valid(self, sample: str) -> None:
        """Miso's own schema takes each record."""
        for outcome in named(self, sample).outcomes(make(self)):
            for record in outcome.get("records", ()):
                why = complaint(record)
                if why:
                    fail(f"{sample!r} gives a record that Miso refuses: {why}")

    @only_if(has_samples)
    def test_survives_malformed_events(self, sample: str) -> None:
        """With any one field missing or wrong: valid records, a Skip or a Reject. Never a crash, never silence,
        never a product id that the event does not name."""
        judge = Judge(make(self), named(self, sample))
        wrong = judge.verdicts()
        if wrong:
            more = f"\n… and {len(wrong) - 8} more" if len(wrong) > 8 else ""
            fail(f"{sample!r} with one field wrong:\n" + "\n".join(wrong[:8]) + more)


def _outputs(connector: Connector[Any], event: Event) -> list[Any]:
    return list(connector.translate(event))


def _same(event: Event, wanted: dict[str, Any], found: dict[str, Any], when: str) -> None:
    if wanted != found:
        difference = _difference(tidy(wanted), tidy(found))
        fail(f"`translate` gave something else for the same {event.topic!r} {when}:\n{difference}")


def _difference(wanted: Any, found: Any) -> str:
    one, other = (json.dumps(side, indent=1, ensure_ascii=False).splitlines() for side in (wanted, found))
    return "\n".join(list(difflib.unified_diff(one, other, "recorded", "now", lineterm="", n=2))[:60])
