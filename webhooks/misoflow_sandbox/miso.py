"""A stand-in for Miso's ingest API, for people without a key, for tests and for benchmarks.

It is written from Miso's documents (https://docs.miso.ai/api-reference), shows what it holds at ``/`` and under
``/_sandbox/``, and misbehaves by the rules posted to ``/_sandbox/faults`` (see ``misoflow_sandbox.faults``).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from misoflow_sandbox import control
from misoflow_sandbox.answers import Answer, answer, scripted
from misoflow_sandbox.api import Api
from misoflow_sandbox.envelope import Call
from misoflow_sandbox.faults import Faults
from misoflow_sandbox.page import page
from misoflow_sandbox.protocol import Receive, Scope, Send, body_of, reset
from misoflow_sandbox.schema import Schema
from misoflow_sandbox.serving import run, sandbox_process, served
from misoflow_sandbox.state import Exchange, Holdings, Options

__all__ = ["MisoSandbox", "Options", "run", "sandbox_process", "served"]

FLUSH_SECONDS = 0.05
DRIP_SECONDS = 0.1


class MisoSandbox:
    """One stand-in: its state (``held``, ``faults``, ``options``) and its ASGI application ``app``.

    ``schema`` names an OpenAPI document of Miso to validate against. ``clock`` gives monotonic seconds.
    Raises OSError, ValueError or KeyError when the schema cannot be used.
    """

    def __init__(
        self,
        api_key: str = "sandbox",
        schema: Path | None = None,
        options: Options | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options or Options()
        self.faults = Faults()
        self._clock = clock
        self._schema = Schema(schema)
        self._api_key = api_key
        self.reset()

    def reset(self) -> None:
        """Hold nothing, and behave."""
        self.held = Holdings(self._clock)
        self.faults.rules.clear()
        self._api = Api(self._api_key, self._schema, self.held, self.options)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        if path == "/" or path.startswith("/_sandbox/"):
            await _send(send, self._control(scope, path, await body_of(receive)))
        else:
            await self._miso(scope, receive, send, path)

    async def _miso(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answer a request to Miso's API, or let it go wrong as the rules want."""
        plan = self.faults.plan(scope["method"], path)
        script = plan.answer
        seen = Exchange(len(self.held.wire) + 1, scope["method"], path, "", 0, 0, time.time())
        self.held.wire.append(seen)
        if script and script.reset == "before":
            await reset(scope, receive)
            return
        body = await body_of(receive)
        seen.sha256 = hashlib.sha256(body).hexdigest()
        if self.options.store_wire:
            self.held.bodies[seen.n] = body
        await asyncio.sleep(plan.delay)
        segments = [unquote(part) for part in path.split("/")[1:]]
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        call = Call(scope["method"], segments, query, dict(scope["headers"]), body, plan)
        given = self._given(call)
        seen.records = call.records
        if script and script.reset == "after":
            await reset(scope, receive)
        elif script and script.reset == "mid":
            await _send_half(send, given)
            await reset(scope, receive)
        else:
            seen.status = given.status
            await _send(send, given, plan.drip)

    def _given(self, call: Call) -> Answer:
        """The answer: Miso's, or the one of a rule; with the latter the records are applied where it says so."""
        script = call.plan.answer
        if script is None:
            return self._api.answer(call)
        applies = script.reset in ("mid", "after") or script.errors_true is not None
        if applies if script.apply is None else script.apply:
            real = self._api.answer(call)
            if script.reset or real.status != 200:
                return real
        return scripted(script)

    def _control(self, scope: Scope, path: str, body: bytes) -> Answer:
        method: str = scope["method"]
        match method, path.split("/")[1:]:
            case "GET", [""]:
                self.held.settle()
                return page(self.held)
            case "GET", ["_sandbox", "state"]:
                return control.state(self.held)
            case "GET", ["_sandbox", "records"]:
                query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
                return control.records(self.held, query.get("kind", "interactions"))
            case "GET", ["_sandbox", "wire", *rest] if len(rest) < 2:
                return control.wire(self.held, rest[0] if rest else None)
            case (("GET" | "POST" | "DELETE"), ["_sandbox", "faults"]):
                return control.change_faults(self.faults, method, body)
            case (("GET" | "POST"), ["_sandbox", "options"]):
                return control.change_options(self.options, body)
            case "POST", ["_sandbox", "reset"]:
                self.reset()
                return answer(200, {"message": "reset"})
        return answer(404, {"message": f"the sandbox has no {method} {path}"})


async def _send(send: Send, given: Answer, drip: float | None = None) -> None:
    """Send an answer; ``drip``: its body at so many bytes a second."""
    await send({"type": "http.response.start", "status": given.status, "headers": given.fields()})
    if drip is not None:
        size = max(1, int(drip * DRIP_SECONDS))
        for start in range(0, len(given.body), size):
            await send({"type": "http.response.body", "body": given.body[start : start + size], "more_body": True})
            await asyncio.sleep(size / drip)
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.body", "body": given.body})


async def _send_half(send: Send, given: Answer) -> None:
    await send({"type": "http.response.start", "status": given.status, "headers": given.fields()})
    half = given.body[: len(given.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
    await asyncio.sleep(FLUSH_SECONDS)
