"""Mixpanel: history by raw export, the tail of it every few minutes, user profiles, and cohort webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

from misoflow import Connector, Effect, Event, Page, Problem, Record, Reject, Request, Slice, Stream, Suggestion

from misoflow_mixpanel import checking, cohorts, mapping, profiles, suggesting
from misoflow_mixpanel.client import Client
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.pull import Pull
from misoflow_mixpanel.rows import MALFORMED, TOPICS

DAY = timedelta(days=1)
DAY_OVER = timedelta(hours=14)
"""Days are the project's: the westernmost ends 12 hours after UTC's, and its last rows show up within two."""


class Mixpanel(Connector[MixpanelConfig]):
    """Events and profiles of one Mixpanel project."""

    topics = TOPICS
    streams = {  # noqa: RUF012 (read only)
        "identity": Stream(DAY * 30, step=DAY, settle=DAY_OVER),
        "events": Stream(DAY, step=DAY, after=("identity",), settle=DAY_OVER),
        "profiles": Stream(DAY, poll=True, after=("identity", "events")),
        "tail": Stream(DAY * 5, poll=True, background=True),
    }
    # a day is final after 35: late devices, imports and identity merges are over by then
    dedup_days = 40

    def __init__(self, config: MixpanelConfig) -> None:
        super().__init__(config)
        if not config.profiles:
            self.streams = {name: stream for name, stream in self.streams.items() if name != "profiles"}
        self.routes = () if config.cohorts is None else (cohorts.ROUTE,)
        self._door = cohorts.Doorkeeper(config.cohorts)
        self.client = Client(self)
        self._mapping = mapping.Mapping(config)

    def verify(self, request: Request) -> None:
        """Basic auth of the cohort webhook; the only thing that may be answered with 401."""
        self._door.check(request.header("authorization"))

    def events(self, request: Request) -> Iterable[Event]:
        """The members that a cohort sync names."""
        return cohorts.events(self.config, request)

    def answer(self, request: Request) -> dict[str, object]:
        """The action echoed, and success or failure."""
        return cohorts.answer(self.config, request)

    def sample(self, topic: str) -> Request:
        """A call of a cohort sync, which is the one delivery there is."""
        if topic != cohorts.TOPIC:
            raise LookupError(topic)
        return cohorts.sample(self.config)

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """The instance's rules, then the usual event names; Reject says what is wrong with the event."""
        if event.topic == MALFORMED:
            raise Reject("a line of the export is no event", f"$ at byte {event.data['offset']}")
        if event.topic == cohorts.TOPIC:
            return cohorts.translated(self.config, event)
        if event.topic == "profile":
            return profiles.translated(self.config, event)
        return self._mapping.records(event, self.rules)

    def backfill(self, part: Slice) -> AsyncIterator[Page]:
        """Pages of one stream; all but the last carry the old cursor, as only a whole answer proves anything."""
        if part.stream == "profiles":
            return profiles.pull(self, part)
        pull = Pull(self, part)
        return {"identity": pull.identity, "events": pull.days, "tail": pull.tail}[part.stream]()

    async def check(self) -> list[Problem]:
        """Credentials, region, project and plan, told apart."""
        return await checking.problems(self)

    async def suggest(self) -> list[Suggestion]:
        """A mapping to be read, from a sample of the last days."""
        return await suggesting.suggestions(self)
