"""HTTP: everything that has no connector of its own, as Miso's own uploads or as JSON mapped by rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from misoflow import Connector, Effect, Event, Problem, Record, Request, Route, Unauthorized

from misoflow_http import samples, upload
from misoflow_http.config import HttpConfig
from misoflow_http.mapped import DELIVERY_ID, TOPIC, Mapped
from misoflow_http.proof import KEY_FIELD, check_sender, is_one_of, key_of

MIB = 1024 * 1024
MAX_BODY = 16 * MIB
INTERACTIONS = "v1/interactions"
ELSEWHERE = ("GET", "POST")


class Http(Connector[HttpConfig]):
    """Uploads that Miso's own SDKs send, and JSON of any shape."""

    topics = (*upload.TOPICS, TOPIC)

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self._mapped = Mapped(config)
        self.routes = self._routes()

    def _routes(self) -> tuple[Route, ...]:
        """Miso's API where there is a key for it, and the instance's own address where ``auth`` is set."""
        config, routes = self.config, []
        if config.auth is not None:
            routes.append(Route("", signed=config.auth != "none", max_body=MAX_BODY, keep=(DELIVERY_ID,)))
        # a browser's origin needs an answer that it may read, whatever else is wrong
        api = Route(
            channel=upload.CHANNEL,
            signed=False,
            max_body=MAX_BODY,
            hide=(KEY_FIELD,),
            cors=bool(config.publishable_key),
        )
        if config.api_key or config.publishable_key:
            routes.append(replace(api, path=INTERACTIONS, methods=("POST", "DELETE")))
        if config.api_key:
            for kind in ("products", "users"):
                routes.append(replace(api, path=f"v1/{kind}"))
                routes.append(replace(api, path=f"v1/{kind}/_delete"))
                routes.append(replace(api, path=f"v1/{kind}/_status/*", methods=("GET",), ledger=True))
                routes.append(replace(api, path=f"v1/{kind}/*", methods=("DELETE",)))
        if config.api_key or config.publishable_key:
            # whoever has a key and asks for something else is told where that is
            routes += [replace(api, path=path, methods=ELSEWHERE) for path in ("v1/*", "v1/*/*", "v1/*/*/*")]
        return tuple(routes)

    def verify(self, request: Request) -> None:
        """Unauthorized unless the key or signature is right; Reject for a call that Miso would not understand."""
        if request.channel != upload.CHANNEL:
            check_sender(self.config, request)
            return
        given = key_of(request)
        if not is_one_of(given, self.config.api_key):
            if not is_one_of(given, self.config.publishable_key):
                raise Unauthorized("the api_key is not one of this instance's")
            if upload.kind_of(request) is not None and (request.method, request.path) != ("POST", INTERACTIONS):
                raise Unauthorized("a publishable_key opens POST /v1/interactions only")
        upload.call_of(request)

    def events(self, request: Request) -> Iterable[Event]:
        """One event for each record, id or item of a list."""
        return upload.events(request) if request.channel == upload.CHANNEL else self._mapped.events(request)

    def translate(self, event: Event) -> Iterable[Record | Effect]:
        """Miso's records as they are; everything else by the instance's rules."""
        return self._mapped.translated(event, self.rules) if event.topic == TOPIC else upload.translated(event)

    def answer(self, request: Request) -> Any:
        """What Miso's clients expect, with a task to ask for."""
        return upload.answer(request) if request.channel == upload.CHANNEL else {"success": True}

    async def check(self) -> list[Problem]:
        """Doors that stand open, and JSON of which nothing would become."""
        config, found = self.config, []
        if config.auth == "none":
            found.append(Problem("warn", "JSON is taken from anybody", "set auth, and secret"))
        if config.secret and config.auth in (None, "none"):
            found.append(Problem("warn", "secret is not used without auth", "set auth, or take secret away"))
        if config.auth is not None and not len(self.rules):
            found.append(Problem("warn", "no rule maps the JSON that comes", "add [[instances.NAME.rules]]"))
        if config.auth is None and len(self.rules):
            found.append(Problem("warn", "the rules are for JSON, of which none is taken in", "set auth, and secret"))
        if config.auth not in (None, "standard-webhooks") and not (config.id_path or config.time_path):
            text = "a delivery that comes again cannot be told from a new one"
            found.append(Problem("warn", text, "set id_path, or time_path"))
        return found

    def sample(self, topic: str) -> Request:
        """A delivery of that topic, with the instance's own key or signature."""
        return samples.made(self.config, topic)
