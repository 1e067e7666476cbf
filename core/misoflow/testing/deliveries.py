"""Contract tests of what comes by webhook: who is let in, and how a delivery is split."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from misoflow.cli.explaining import explain_event
from misoflow.connector import Connector, Event, Request
from misoflow.errors import Reject, Unauthorized
from misoflow.pipeline import DATA_ERRORS
from misoflow.testing.base import Given, fail, has_own_samples, only_if, signed, signs, takes_deliveries
from misoflow.testing.guarded import reached
from misoflow.testing.samples import Sample, all_events, all_samples, holds_delivery, named, sample_paths
from misoflow.testing.subject import make

CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "appended": lambda body: body + b" ",
    "cut": lambda body: body[:-1],
    "empty": lambda body: b"",
    "not_utf8": lambda body: b"\xff\xfe" + body,
    "empty_object": lambda body: b"{}",
}
GARBAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda genuine: "",
    "blank": lambda genuine: " ",
    "one_sign": lambda genuine: "=",
    "words": lambda genuine: "this is no signature",
    "zeros": lambda genuine: "0" * len(genuine),
    "wrong_hex": lambda genuine: "deadbeef" * 8,
    "wrong_base64": lambda genuine: "AAAA" * 11,
    "not_ascii": lambda genuine: "Ünterschrift €",
    "endless": lambda genuine: "a" * 100_000,
    "pairs": lambda genuine: "t=,v1=,,=;v1,",
    "cut": lambda genuine: genuine[:-1],
}
EDGE_SECONDS = 60


def has_deliveries(contract: type[Given]) -> bool:
    return takes_deliveries(contract) and any(map(holds_delivery, sample_paths(contract)))


def signs_bodies(contract: type[Given]) -> bool:
    return has_deliveries(contract) and contract.signs_body


def signs_headers(contract: type[Given]) -> bool:
    return has_deliveries(contract) and signs(contract)


def signs_times(contract: type[Given]) -> bool:
    return has_deliveries(contract) and contract.tolerance is not None


def takes_two_secrets(contract: type[Given]) -> bool:
    return has_deliveries(contract) and contract.rotated != {}


class DeliveriesContract(Given):
    """``verify`` lets in what is genuine and nothing else; ``events`` gives each event one id for ever."""

    @only_if(has_deliveries)
    def test_accepts_a_genuine_delivery(self, delivery: str) -> None:
        """``verify`` passes for each sample, signed by ``sign``, without files or network."""
        connector = make(self)
        request = genuine(self, connector, named(self, delivery))
        _accepted(connector, request, f"the genuine delivery {delivery!r}")
        _, _, place = reached(lambda: connector.verify(request))
        if place:
            fail(f"`verify` reached for {place}: it stands between the platform and its answer; read it in `__init__`")

    @only_if(signs_bodies)
    @pytest.mark.parametrize("change", CHANGES)
    def test_refuses_a_changed_body(self, change: str) -> None:
        """A body that is not what was signed is ``Unauthorized``."""
        for connector, sample in _one_of_each_path(self):
            body = CHANGES[change](sample.body)
            if body != sample.body:
                request = genuine(self, connector, sample, body=body)
                _refused(connector, request, f"{sample.name!r} with its body changed ({change})")

    @only_if(signs_headers)
    def test_refuses_a_missing_signature(self) -> None:
        """Without any one of ``signature_headers`` a delivery is ``Unauthorized``."""
        for connector, sample in _one_of_each_path(self):
            for name in _signature_headers(self):
                headers = signed(self, sample.body, time.time())
                kept = {key: value for key, value in headers.items() if key != name.lower()}
                if len(kept) == len(headers):
                    fail(f"`sign` gives no header {name!r}; it gives {', '.join(headers)}: correct `signature_headers`")
                _refused(connector, sample.request(connector, kept), f"{sample.name!r} without the header {name}")

    @only_if(signs_headers)
    @pytest.mark.parametrize("garbage", GARBAGE)
    def test_refuses_a_garbage_signature(self, garbage: str) -> None:
        """Whatever stands in place of a signature is ``Unauthorized``, and no other exception."""
        for connector, sample in _one_of_each_path(self):
            for name in _signature_headers(self):
                headers = signed(self, sample.body, time.time())
                headers[name.lower()] = GARBAGE[garbage](headers.get(name.lower(), ""))
                what = f"{sample.name!r} with garbage ({garbage}) in the header {name}"
                _refused(connector, sample.request(connector, headers), what)

    @only_if(signs_times)
    @pytest.mark.parametrize("when", ["stale", "future"])
    def test_refuses_a_timestamp_out_of_tolerance(self, when: str) -> None:
        """A delivery signed longer ago than ``tolerance``, or as far ahead, is ``Unauthorized``; one within passes."""
        tolerance = self.tolerance or 0
        away = -(tolerance + EDGE_SECONDS) if when == "stale" else tolerance + EDGE_SECONDS
        for connector, sample in _one_of_each_path(self):
            within = genuine(self, connector, sample, at=time.time() - tolerance / 2)
            _accepted(connector, within, f"{sample.name!r}, signed {tolerance / 2:.0f} s ago, within `tolerance`")
            request = genuine(self, connector, sample, at=time.time() + away)
            side = "ago" if when == "stale" else "ahead"
            _refused(connector, request, f"{sample.name!r}, signed {abs(away):.0f} s {side} (a delivery sent again)")

    @only_if(takes_two_secrets)
    def test_accepts_the_second_secret(self) -> None:
        """While a secret is replaced, deliveries signed with the old one pass."""
        if self.rotated is None:
            pytest.skip("give `rotated`: settings in which the secret of `sign` stands second; {} if there is only one")
        connector = make(self, changes=self.rotated)
        for sample in _deliveries(self):
            _accepted(connector, genuine(self, connector, sample), "a delivery signed with the second of two secrets")
            return

    @only_if(has_deliveries)
    def test_event_ids_are_stable_and_distinct(self, delivery: str) -> None:
        """The same delivery gives the same ids, whenever and by whichever object it is split; each event its own."""
        sample = named(self, delivery)
        first = _ids(sample, make(self))
        later = Sample(sample.path, {**sample.content, "received_at": "2031-01-01T00:00:00Z"})
        for other in (_ids(sample, make(self)), _ids(later, make(self))):
            if other != first:
                fail(
                    f"{delivery!r} was split twice and gave other event ids: {first} and {other}. An id must come "
                    "from the payload, or a delivery that is repeated is counted twice"
                )
        repeated = sorted({one for one in first if first.count(one) > 1})
        if repeated:
            fail(f"{delivery!r} holds several events with the id {repeated[0]!r}: all but one would be lost as repeats")

    @only_if(has_deliveries)
    def test_different_events_have_different_ids(self) -> None:
        """No two deliveries' samples give one id for what becomes different records: the later one would be lost."""
        connector = make(self)
        seen: dict[str, tuple[str, str]] = {}
        for sample in _deliveries(self):
            for event in all_events(sample, connector):
                made = json.dumps(explain_event(connector, event, None)["records"], sort_keys=True)
                other, first = seen.setdefault(event.id, (sample.name, made))
                if made != first:
                    fail(
                        f"{sample.name!r} and {other!r} give different events the id {event.id!r}, so one would be "
                        "taken for a repeat: an id names the event, not what it is about"
                    )

    @only_if(has_own_samples)
    def test_own_samples_are_genuine(self) -> None:
        """Each delivery that ``sample(topic)`` gives passes ``verify`` and holds an event of that topic."""
        connector = make(self)
        given = 0
        for topic in self.connector.topics:
            try:
                request = connector.sample(topic)
            except LookupError:
                continue  # a topic of history
            given += 1
            _accepted(connector, request, f"what `sample({topic!r})` gives")
            found = [event.topic for event in connector.events(request)]
            if topic not in found:
                fail(f"`sample({topic!r})` gives a delivery with the topics {found}: it must hold one of that topic")
        if not given:
            fail("`sample` knows none of the `topics`: raise LookupError only for what comes by history")

    @only_if(has_deliveries)
    def test_answers_are_pure_json(self, delivery: str) -> None:
        """``answer`` gives the same JSON for the same delivery, without files, network or clock."""
        connector = make(self)
        request = named(self, delivery).request(connector, {})
        given = []
        for _ in range(2):
            value, error, place = reached(lambda: connector.answer(request))
            if place:
                fail(f"`answer` reached for {place}: it must be pure")
            if error is not None:
                fail(f"`answer` raised {type(error).__name__} for {delivery!r}: it must never raise")
            try:
                given.append(json.dumps(value))
            except (TypeError, ValueError) as wrong:
                fail(f"what `answer` gives for {delivery!r} is no JSON: {wrong}")
        if given[0] != given[1]:
            fail(f"`answer` gave {given[0]} and then {given[1]} for the same delivery {delivery!r}")


def _deliveries(contract: Given) -> Iterator[Sample]:
    return (sample for sample in all_samples(contract) if sample.is_delivery)


def _one_of_each_path(contract: Given) -> Iterator[tuple[Connector[Any], Sample]]:
    """A connector and the first sample of each path, as each path may be verified in its own way."""
    seen = set()
    for sample in _deliveries(contract):
        path = sample.content.get("path", "")
        if path not in seen:
            seen.add(path)
            yield make(contract), sample


def _signature_headers(contract: Given) -> tuple[str, ...]:
    if contract.signature_headers is None:
        fail("give `signature_headers`: which headers of `sign` prove the sender; () where something else does")
    return contract.signature_headers


def genuine(
    contract: Given, connector: Connector[Any], sample: Sample, *, body: bytes | None = None, at: float | None = None
) -> Request:
    """The sample as a request with genuine headers; with another ``body`` than was signed, if there is one."""
    headers = signed(contract, sample.body, time.time() if at is None else at)
    return sample.request(connector, headers, body)


def _accepted(connector: Connector[Any], request: Request, what: str) -> None:
    try:
        connector.verify(request)
    except Exception as error:
        fail(f"`verify` refused {what}: {type(error).__name__}: {error}")


def _refused(connector: Connector[Any], request: Request, what: str) -> None:
    try:
        connector.verify(request)
    except Unauthorized:
        return
    except Exception as error:
        fail(
            f"`verify` raised {type(error).__name__} for {what}. Raise Unauthorized for whatever is not genuine, "
            "malformed headers included"
        )
    fail(f"`verify` let in {what}. Raise Unauthorized for whatever is not genuine")


def _ids(sample: Sample, connector: Connector[Any]) -> list[str]:
    """Of its events; none where the delivery cannot be split, which is for the recorded outcome to say."""
    try:
        found: list[Event] = sample.events(connector)
    except (Reject, *DATA_ERRORS):
        return []
    for event in found:
        if not isinstance(event.id, str) or not event.id:
            fail(f"{sample.name!r} gives an event with the id {event.id!r}: an id is a text that is not empty")
    return [event.id for event in found]
