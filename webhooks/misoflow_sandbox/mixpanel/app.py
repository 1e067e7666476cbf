"""The stand-in's HTTP side: export, engage, cohorts, event names, the account, and ``/_sandbox/``.

Endpoints: https://developer.mixpanel.com/reference/raw-event-export, …/engage-query, …/rate-limits.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from misoflow_sandbox.mixpanel import export
from misoflow_sandbox.mixpanel.world import MISO, World
from misoflow_sandbox.serving import serve_forever

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

STATUSES = {
    "401": (401, "Invalid service account credentials"),
    "402": (402, "Your plan does not allow API calls. Upgrade at mixpanel.com/pricing"),
    "403": (403, "Permission denied"),
    "429": (429, "too many export requests in progress for this project"),
    "429_hour": (429, "Query rate limit exceeded"),
    "429_retry_after": (429, "Query rate limit exceeded"),
    "500": (500, "Internal server error"),
    "503": (503, "Service unavailable"),
    "too_late": (400, "to_date cannot be later than today"),
    "expired": (401, "Service account expired"),
}
HOUR = 3600.0
LIMITS = {"export": (60, 3), "query": (60, 1000)}
"""Family -> calls an hour, calls a second."""
PAGE = 1000
CUT_AFTER = 3


class Answered(Exception):
    """Ends a request with a status and a text."""

    def __init__(self, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(status)
        self.status, self.text, self.headers = status, text, list(headers)


class MixpanelSandbox:
    """One project. ``now`` (ms): what is processed later is not there yet; ``limits``: rate limits are in force."""

    def __init__(self, world: World | None = None, *, now: int | None = None, limits: bool = False) -> None:
        self.world = world or World()
        self.now = now
        self.limits = limits
        self.faults: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self._times: dict[str, list[float]] = {"export": [], "query": []}

    async def app(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI application."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path: str = scope["path"]
        params = dict(parse_qsl(scope["query_string"].decode()))
        try:
            if path.startswith("/_sandbox/"):
                await _send_json(send, 200, self._control(scope["method"], path, body))
            else:
                await self._mixpanel(scope, path, params, body, send)
        except Answered as answer:
            if self.calls and not path.startswith("/_sandbox/"):
                self.calls[-1]["status"] = answer.status
            await _send_json(send, answer.status, {"error": answer.text, "status": answer.status}, answer.headers)

    async def _mixpanel(
        self, scope: dict[str, Any], path: str, params: dict[str, str], body: bytes, send: Send
    ) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        call: dict[str, Any] = {"path": path, "params": params, "status": 200, "rows": 0}
        self.calls.append(call)
        fault = self._fault(path)
        self._authorized(headers, params, path)
        if fault in STATUSES:
            wait = [(b"retry-after", b"1")] if fault == "429_retry_after" else []
            raise Answered(*STATUSES[fault], wait)
        self._limited("export" if path == "/api/2.0/export" else "query")
        if path == "/api/2.0/export" and scope["method"] == "GET":
            await self._export(headers, params, fault, call, send)
            return
        form = dict(parse_qsl(body.decode()))
        found: Any
        match path:
            case "/api/app/me":
                found = {"status": "ok", "results": {"projects": {str(self.world.project_id): {"name": "stand-in"}}}}
            case "/api/query/engage":
                found = self._engage(form)
            case "/api/query/cohorts/list":
                found = [{"id": 7, "name": "Gold", "count": 2, "is_visible": 1, "project_id": self.world.project_id}]
            case "/api/query/events/names":
                found = [*MISO, "App Opened"]
            case _:
                raise Answered(404, "not found")
        await _send_json(send, 200, found)

    def _authorized(self, headers: dict[str, str], params: dict[str, str], path: str) -> None:
        """Basic auth by a service account with its project, or by the legacy project secret."""
        kind, _, value = headers.get("authorization", "").partition(" ")
        try:
            user, _, secret = base64.b64decode(value).decode().partition(":") if kind == "Basic" else ("", "", "")
        except ValueError:
            user, secret = "", ""
        world = self.world
        if user == world.project_secret and not secret:
            return
        if (user, secret) != (world.username, world.secret):
            raise Answered(401, "Invalid service account credentials")
        if path != "/api/app/me" and params.get("project_id") != str(world.project_id):
            raise Answered(403 if params.get("project_id") else 400, "Unable to authenticate request")

    def _limited(self, family: str) -> None:
        """https://developer.mixpanel.com/reference/rate-limits"""
        now, times = time.monotonic(), self._times[family]
        times[:] = [one for one in times if now - one < HOUR]
        an_hour, a_second = LIMITS[family]
        if self.limits and (len(times) >= an_hour or sum(now - one < 1 for one in times) >= a_second):
            raise Answered(*STATUSES["429_hour"])
        times.append(now)

    def _fault(self, path: str) -> str | None:
        for rule in self.faults:
            if not path.startswith(rule.get("path", "/api/2.0/export")):
                continue
            if rule.get("after", 0) > 0:
                rule["after"] -= 1
                continue
            rule["times"] = rule.get("times", 1) - 1
            if rule["times"] <= 0:
                self.faults.remove(rule)
            return str(rule["fault"])
        return None

    async def _export(
        self, headers: dict[str, str], params: dict[str, str], fault: str | None, call: dict[str, Any], send: Send
    ) -> None:
        try:
            first, last = date.fromisoformat(params["from_date"]), date.fromisoformat(params["to_date"])
            keep = export.wanted(params.get("event"), params.get("where"))
        except (KeyError, ValueError) as error:
            raise Answered(400, f"invalid parameter: {error}") from None
        if params.get("time_in_ms") != "true":
            raise Answered(400, "the stand-in exports milliseconds only")
        every = export.lines(self.world, first, last, self.now, keep, int(params.get("limit") or 0))
        half = max(1, self.world.per_day * ((last - first).days + 1) // 2)
        source = export.blocks(_counted(export.spoiled(every, fault, half), call))
        start = next(source, b"")
        rest = itertools.chain((start,), source) if start else iter(())
        encoded = "gzip" in headers.get("accept-encoding", "") and len(start) > export.GZIP_FROM and fault != "identity"
        chunks = export.gzipped(rest, fault) if encoded else rest
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*export.answer_of(headers, encoded), (b"date", formatdate(usegmt=True).encode())],
            }
        )
        for number, chunk in enumerate(chunks):
            if fault == "cut_socket" and number == CUT_AFTER:
                raise ConnectionResetError("as asked for")
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0.05 if fault == "slow" else 0)
        if fault == "cut_socket":
            raise ConnectionResetError("as asked for")
        await send({"type": "http.response.body", "body": b""})

    def _engage(self, form: dict[str, str]) -> dict[str, Any]:
        page = int(form.get("page") or 0)
        if page and form.get("session_id") != "session-1":
            raise Answered(400, "session_id is needed for pages after the first")
        total = self.world.profiles
        rows = [self.world.profile(number) for number in range(page * PAGE, min(total, (page + 1) * PAGE))]
        found = {"page": page, "page_size": PAGE, "session_id": "session-1", "status": "ok", "results": rows}
        return {**found, "total": total} if page == 0 else found

    def _control(self, method: str, path: str, body: bytes) -> Any:
        given = json.loads(body) if body else {}
        match method, path.removeprefix("/_sandbox/"):
            case "GET", "state":
                return {"calls": self.calls, "faults": self.faults, "now": self.now}
            case "POST", "faults":
                self.faults = list(given)
            case "POST", "options":
                self.now = given.get("now", self.now)
                self.limits = given.get("limits", self.limits)
            case "POST", "reset":
                self.faults, self.calls, self.now = [], [], None
            case _:
                raise Answered(404, "not found")
        return {"ok": True}


def _counted(source: Iterator[bytes], call: dict[str, Any]) -> Iterator[bytes]:
    for line in source:
        call["rows"] += 1
        yield line


async def _send_json(send: Send, status: int, content: Any, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    body = json.dumps(content).encode()
    head = [(b"content-type", b"application/json"), (b"date", formatdate(usegmt=True).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def run(
    host: str = "127.0.0.1",
    port: int = 8610,
    *,
    days: int = 30,
    per_day: int = 1000,
    late: float = 0.0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a project whose last day is yesterday, until stopped. Prints ``ready URL``."""
    start = date.fromordinal(datetime.now(UTC).date().toordinal() - days)
    sandbox = MixpanelSandbox(World(start=start, days=days, per_day=per_day, late=late))
    with contextlib.suppress(KeyboardInterrupt):
        serve_forever(sandbox, host, port, ready or (lambda url: print(f"ready {url}", flush=True)))
