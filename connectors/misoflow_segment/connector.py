"""Segment: webhooks of every kind, and the Tracking API that Segment's own libraries speak."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from misoflow import (
    Connector,
    Effect,
    Event,
    Page,
    Problem,
    Record,
    Reject,
    Request,
    Route,
    Skip,
    Slice,
    Stream,
    Unauthorized,
    files,
)
from pydantic import SecretStr

from misoflow_segment import archive, deliveries, samples
from misoflow_segment.config import SegmentConfig
from misoflow_segment.mapping import MALFORMED, TOPICS, classify, translated
from misoflow_segment.plan import Plan
from misoflow_segment.signature import basic_user, bearer, function_signed, signed, token_matches

MIB = 1024 * 1024
DAY = timedelta(days=1)
MAX_BODY = 16 * MIB
"""Segment's framework sends batches of up to 4 MB, more where a customer raised it; a 413 would lose one whole."""
TRACKING = "tracking"
NO_CALLS = frozenset({*archive.TOPICS, MALFORMED})
UNPROVEN = "the signature does not match; set shared_secret to the destination's Shared Secret"
BATCH_ADVICE = (
    "Segment signs only the first event of a batch; set batch_token and send it as the Authorization header "
    "of the destination's mapping, or end its URL with /t/<token>"
)


def _bytes(secrets: tuple[SecretStr, ...]) -> list[bytes]:
    return [secret.get_secret_value().encode() for secret in secrets]


class Segment(Connector[SegmentConfig]):
    """What happens on a site, as one Segment source tells it."""

    topics = (*TOPICS, *archive.TOPICS)
    dedup_days = 35
    streams = {"archive": Stream(DAY, step=DAY)}  # noqa: RUF012 (read only)

    def __init__(self, config: SegmentConfig) -> None:
        super().__init__(config)
        self._plan = Plan(config)
        self._secrets = _bytes(config.shared_secret)
        self._write_keys = _bytes(config.write_key)
        self._tokens = _bytes(config.batch_token)
        # whoever types a URL may not mind its case
        self._path_tokens = [token.lower() for token in self._tokens]
        self._batch_deletes = config.batch_auth == "require_second_factor"
        self._open = config.allow_unsigned and not (self._secrets or self._tokens)
        self.routes = self._routes()
        if not config.archive:
            self.streams = {}

    def _routes(self) -> tuple[Route, ...]:
        """Webhooks where something proves them, the Tracking API where there is a write key."""
        routes: list[Route] = []
        if self._secrets or self._tokens or self._open:
            routes.append(Route("", signed=not self._open, max_body=MAX_BODY))
        if self._tokens:
            routes.append(Route("t/*", signed=True, max_body=MAX_BODY))
        if self._write_keys:
            # half of that is Segment's own limit, and verify gives Segment's own answer to what is over it
            limits = Route(channel=TRACKING, signed=False, max_body=MIB, max_inflated=MIB, cors=True)
            routes.append(replace(limits, path="v1/*", methods=("POST", "PUT", "GET")))
            routes.append(replace(limits, path="v1/pixel/*", methods=("GET",)))
        return tuple(routes)

    def verify(self, request: Request) -> None:
        """Unauthorized unless the delivery is Segment's; Reject for a tracking call that can be no event."""
        if request.channel == TRACKING:
            self._verify_tracking(request)
        elif not self._open:
            self._verify_webhook(request)

    def _verify_webhook(self, request: Request) -> None:
        factor = self._second_factor(request)
        header = request.header("x-signature")
        if header:
            proof = signed(request.body, header, self._secrets)
            if not proof:
                raise Unauthorized(UNPROVEN)
            if proof == "weak" and not factor and self.config.batch_auth == "require_second_factor":
                raise Unauthorized(BATCH_ADVICE)
        elif request.header("webhook-signature"):
            stamp, given = request.header("webhook-timestamp"), request.header("webhook-signature")
            if not function_signed(request.body, stamp, given, self._secrets, time.time()):
                raise Unauthorized("the function's signature does not match, or is older than five minutes")
        elif not (factor and (not self._secrets or deliveries.is_form(request))):
            # a form's signature is over the JSON that it was made from, so only a token can prove it
            raise Unauthorized("there is no X-Signature; set the destination's Shared Secret")

    def _second_factor(self, request: Request) -> bool:
        """Whether a batch token came as Authorization or at the end of the URL."""
        if request.path.startswith("t/"):
            return token_matches(request.path[2:].strip("/").lower(), self._path_tokens)
        return token_matches(bearer(request.header("authorization")), self._tokens)

    def _verify_tracking(self, request: Request) -> None:
        """The write key as user of HTTP Basic, else in the body; anybody on a site can read it there."""
        user = basic_user(request.header("authorization"))
        if user is not None and not token_matches(user, self._write_keys):
            raise Unauthorized("the write key is not one of this instance's")
        deliveries.within_limits(request)
        body = deliveries.tracked(request)
        if user is None and not token_matches(str(body.get("writeKey") or ""), self._write_keys):
            raise Unauthorized("the call carries no write key of this instance")
        if deliveries.call_of(request.path) in deliveries.BATCHES and type(body.get("batch")) is not list:
            raise Reject("the batch is not a list", "$.batch")

    def events(self, request: Request) -> Iterable[Event]:
        """One event for each call; what is none has the topic "malformed" and is refused by ``translate``."""
        if request.channel == TRACKING:
            return deliveries.tracking(request)
        return deliveries.webhook(request, deletes=not self._open, batch_deletes=self._batch_deletes)

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """The instance's rules, then the mapping table; Reject says what is wrong with the event."""
        topic = event.topic
        if topic in NO_CALLS:
            if topic == archive.NOT_FOR_US:
                return [Skip("its integrations object leaves Miso out")]
            if topic == archive.UNREADABLE:
                raise Reject(event.data["reason"], f"{event.data['file']}:{event.data['line']}")
            # with newer code it may be an event after all; a delete that was not believed never is
            topic = classify(event.data)
            if topic == "delete":
                raise Reject("a delete is taken from signed webhooks only", "$.type")
        plan = self._plan
        if plan.suppressed and topic != "delete" and plan.is_suppressed(event.data):
            return [Skip("the user is on the list of suppress_file")]
        return translated(plan, self.rules.apply, topic, event.data, event.received_at)

    def answer(self, request: Request) -> Any:
        """For a function's batch a status for each event, which Segment retries one by one; else Segment's own."""
        if request.header("webhook-signature") and request.body.lstrip()[:1] == b"[":
            return deliveries.statuses(request)
        return {"success": True}

    def backfill(self, part: Slice) -> Iterator[Page]:
        """The archive's calls by the day on which Segment received them."""
        return archive.pull(self.config.archive, self.config.archive_destinations, part)

    async def check(self) -> list[Problem]:
        """Settings that leave a door open."""
        found: list[Problem] = []
        if self._open:
            text = "webhooks are taken from anybody"
            found.append(Problem("warn", text, "set shared_secret and take allow_unsigned away"))
        if self.config.batch_auth == "allow_weak":
            text = "all but the first event of a batch are taken without proof"
            found.append(Problem("warn", text, "set batch_token, and batch_auth to require_second_factor"))
        elif self._secrets and not self._tokens:
            text = "batches will be refused, because Segment signs only their first event"
            found.append(Problem("warn", text, "keep batching off in Segment, or set batch_token there and here"))
        if self.config.archive:
            await asyncio.to_thread(files.expand, [self.config.archive])
        return found

    def sample(self, topic: str) -> Request:
        """A delivery of that topic (or of any event name that leads to it), signed as Segment would."""
        return samples.signed_request(topic, self._secrets, self._tokens, self._write_keys)
