"""Contract tests of what must not go on to Miso: personal data, named or not."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from misoflow.cli.explaining import explain, explain_event
from misoflow.connector import Connector, Event
from misoflow.testing.base import Given, fail, only_if
from misoflow.testing.mutations import at, objects, path_text
from misoflow.testing.samples import Sample, all_events, body_of, has_samples, named
from misoflow.testing.subject import make

EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
MARK = "qzcanary"
PERSONAL = {
    name: f"{MARK} {name}"
    for name in (
        "first_name",
        "firstName",
        "last_name",
        "full_name",
        "name",
        "username",
        "phone",
        "phone_number",
        "address",
        "address1",
        "street",
        "zip",
        "company",
        "birthday",
        "note",
        "token",
        "password",
    )
} | {"email": f"{MARK}@leak.example", "customer_email": f"{MARK}.too@leak.example", "ip": "203.0.113.77"}
"""Fields that no platform's mapping asks for; ``ip`` may be used in its truncated form."""
A_PRODUCTS_OWN = ("name",)
"""On a product it is the product's."""


class PrivacyContract(Given):
    """Of an event only what is on the connector's list is sent."""

    @only_if(has_samples)
    def test_unknown_fields_stay_out(self, sample: str) -> None:
        """An email, phone, first_name, address or ip, added to any object of a sample, is in no record."""
        connector = make(self)
        recorded = named(self, sample)
        for place, outcomes in _planted(connector, recorded):
            for kind, path, text in _texts(outcomes):
                found = next((name for name, value in PERSONAL.items() if value in text), None)
                if found and not (kind == "product" and found in A_PRODUCTS_OWN):
                    fail(
                        f"{sample!r} with an unknown field {found!r} in {place}: its value is sent on in {path} of a "
                        f"{kind} record. List the fields that go on, instead of copying what comes"
                    )

    @only_if(has_samples)
    def test_no_email_in_records(self, sample: str) -> None:
        """Nothing that looks like an e-mail address is in a record."""
        for kind, path, text in _texts(named(self, sample).outcomes(make(self))):
            if EMAIL.search(text):
                fail(
                    f"{sample!r} gives a {kind} record with something like an e-mail address in {path}. Leave it out, "
                    "or use the platform's own id of that person (misoflow.privacy helps with free texts)"
                )


def _planted(connector: Connector[Any], sample: Sample) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The outcomes with all of PERSONAL added to one object, for each object of the payload."""
    payload = sample.payload()
    if payload is not None:
        for steps, value in _with_personal(payload):
            request = sample.stored(connector, body_of(value))
            yield path_text(steps), explain(connector, request)["events"]
        return
    for event in all_events(sample, connector):
        for steps, value in _with_personal(event.data):
            changed = Event(event.id, event.topic, value, event.received_at)
            yield path_text(steps), [explain_event(connector, changed, None)]


def _with_personal(payload: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for steps in objects(payload):
        value = copy.deepcopy(payload)
        place = at(value, steps)
        place |= {name: text for name, text in PERSONAL.items() if name not in place}
        yield steps, value


def _texts(outcomes: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(kind of record, path, text) of everything in the records, keys included."""
    for outcome in outcomes:
        for made in outcome.get("records", ()):
            for name, value in made["record"].items():
                yield made["kind"], name, json.dumps({name: value}, ensure_ascii=False)
