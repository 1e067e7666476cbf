"""A stand-in for Mixpanel's export, query and app APIs, for people without a project, for tests and for benchmarks.

It is written from Mixpanel's documents (https://developer.mixpanel.com/reference/overview), plays the project that a
``MixpanelWorld`` describes, shows what was asked of it under ``/_sandbox/``, and misbehaves by the rules posted to
``/_sandbox/faults`` (see ``misoflow_sandbox.mixpanel.faults``). All APIs answer under one URL; ``/eu/…`` before a path
stands for the hosts of that region.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

import msgspec
import orjson

from misoflow_sandbox.answers import Answer, answer
from misoflow_sandbox.mixpanel import export
from misoflow_sandbox.mixpanel.access import admit, region_of
from misoflow_sandbox.mixpanel.events import Events
from misoflow_sandbox.mixpanel.faults import Action, Faults
from misoflow_sandbox.mixpanel.query import Queries
from misoflow_sandbox.mixpanel.sending import Body, Gone, send_answer, send_body
from misoflow_sandbox.mixpanel.state import Call, Clock, Family, Limits, Options, Refusal, refused
from misoflow_sandbox.mixpanel.world import MixpanelWorld
from misoflow_sandbox.protocol import Receive, Scope, Send, body_of

HIDDEN = {"api_secret", "secret", "token", "api_key", "sig", "access_token"}
"""Parameters that are credentials."""
MESSAGES = {
    400: "Unable to authenticate request",
    401: "Unable to authenticate request",
    402: "Your plan does not allow API calls. Upgrade at mixpanel.com/pricing",
    403: "The role of this account does not permit this request",
    429: "Query rate limit exceeded",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class MixpanelSandbox:
    """One stand-in: its ``options``, ``faults`` and ``calls``, and its ASGI application ``app``."""

    url = ""
    """Where it is served; set by ``served_mixpanel``."""

    def __init__(self, world: MixpanelWorld | None = None, options: Options | None = None) -> None:
        self.world = world or MixpanelWorld()
        self.options = options or Options()
        self.events = Events(self.world)
        self.faults = Faults()
        self.clock = Clock(self.options)
        self.reset()

    def reset(self) -> None:
        """Forget the calls, and behave. The options stay."""
        self.calls: list[Call] = []
        self.faults.rules.clear()
        self.limits = Limits()
        self._queries = Queries(self.world, self.events, self.options, self.clock)

    def state(self) -> dict[str, object]:
        """What was asked of it."""
        return {
            "calls": msgspec.to_builtins(self.calls),
            "rows": sum(call.rows for call in self.calls),
            "now": self.clock.seconds(),
        }

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        body = await body_of(receive)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if path.startswith("/_sandbox/"):
            await send_answer(send, self._control(scope["method"], path, query, body), self.clock.http_date())
            return
        headers = dict(scope["headers"])
        form = {}
        if headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
            form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        params = {name: value for name, value in {**query, **form}.items() if name not in HIDDEN}
        call = Call(len(self.calls) + 1, scope["method"], path, params, self.clock.seconds())
        self.calls.append(call)
        action = self.faults.action(call.method, path)
        out = Body(scope, receive, send, call, action, self.clock.http_date())
        with contextlib.suppress(Gone):
            await self._answer(call, action, headers, out)

    async def _answer(self, call: Call, action: Action, headers: dict[bytes, bytes], out: Body) -> None:
        """Answer a call, or let it go wrong as the rules want. Raises Gone."""
        if action.status is not None:
            await out.pause(action.delay)
            message = MESSAGES.get(action.status, f"HTTP status {action.status}")
            await out.whole(refused(action.status, message, action.headers, action.body))
            return
        region, segments = region_of([unquote(part) for part in call.path.split("/")[1:]], self.world)
        family = _family(segments)
        try:
            if family is None:
                raise Refusal(404, f"no such endpoint: {call.path}")
            admit(self.world, self.options, family, region, headers.get(b"authorization", b""), call.params)
            if family != "app" and self.options.limits != "off":
                self.limits.take(family, self.clock.for_limits())
            with self.limits.under_way(family):
                await out.pause(action.delay)
                if family == "export":
                    gzip = b"gzip" in headers.get(b"accept-encoding", b"").lower() and not action.identity
                    await send_body(out, self._exported(call, action), gzip=gzip)
                else:
                    await out.whole(self._queries.answer(segments, call))
        except Refusal as stopped:
            await out.whole(stopped.answer)

    def _exported(self, call: Call, action: Action) -> Iterator[export.Piece]:
        """The body of an export. Raises Refusal."""
        if call.method != "GET":
            raise Refusal(405, "Method Not Allowed", {"Allow": "GET"})
        now = self.clock.ms()
        asked = export.read(call.params, self.world, self.options, now)
        return export.pieces(export.rows(self.events, asked, now), action)

    def _control(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        try:
            match method, path.split("/")[2:]:
                case "GET", ["state"]:
                    return answer(200, self.state())
                case "GET", ["ledger"]:
                    day = msgspec.convert(query.get("day"), type(self.world.start))
                    lines = (orjson.dumps(event._asdict()) + b"\n" for event in self.events.ledger(day))
                    return Answer(200, b"".join(lines), type=b"application/x-ndjson")
                case "POST", ["faults"]:
                    self.faults.add_json(body)
                    return Answer(200, msgspec.json.encode({"rules": self.faults.rules}))
                case (("GET" | "DELETE"), ["faults"]):
                    if method == "DELETE":
                        self.faults.rules.clear()
                    return Answer(200, msgspec.json.encode({"rules": self.faults.rules}))
                case (("GET" | "POST"), ["options"]):
                    self.change(**msgspec.json.decode(body or b"{}"))
                    return Answer(200, msgspec.json.encode(self.options))
                case "POST", ["reset"]:
                    self.reset()
                    return answer(200, {"message": "reset"})
        except (msgspec.MsgspecError, TypeError) as error:
            return answer(400, {"message": f"cannot be read: {error}"})
        return answer(404, {"message": f"the sandbox has no {method} {path}"})

    def change(self, **options: object) -> None:
        """Change some options. Raises msgspec.ValidationError."""
        changed = msgspec.convert({**msgspec.to_builtins(self.options), **options}, Options)
        for name in Options.__struct_fields__:
            setattr(self.options, name, getattr(changed, name))


def _family(segments: list[str]) -> Family | None:
    match segments:
        case ["api", "2.0", "export"]:
            return "export"
        case ["api", ("query" | "2.0"), *_]:
            return "query"
        case ["api", "app", *_] | ["lookup-tables", *_]:
            return "app"
    return None
