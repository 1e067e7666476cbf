"""The public ASGI application: hooks and ``/healthz``, nothing else.

The order of things is the promise: cap and read the body, verify it, put it on the disk, and only then 2xx.
What a stranger can learn is kept small: an unknown name goes through the same steps as a known one.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec
from misoflow import crash
from misoflow.connector import Request
from misoflow.errors import Halt, Reject, Retry, Unauthorized, Unwanted
from misoflow.inbox import Inbox, InboxFull, InboxUnavailable
from misoflow.registry import fault

from misoflow_webhooks import answers
from misoflow_webhooks.answers import Answer, Header
from misoflow_webhooks.body import Crowded, Gone, Held, Malformed, Receive, TooLarge, check_json, inflate, read_body
from misoflow_webhooks.installs import PREFIX as INSTALL
from misoflow_webhooks.installs import Installs
from misoflow_webhooks.ledger import Ledger
from misoflow_webhooks.limits import Rates, Senders
from misoflow_webhooks.metrics import Metrics
from misoflow_webhooks.routes import PREFIX, Routes, Target, cors_headers, preflight_headers

log = logging.getLogger("misoflow.serve")

Send = Callable[[dict[str, Any]], Awaitable[None]]
Scope = dict[str, Any]

MAX_QUERY_FIELDS = 1000
MAX_TENANT = 255
MAX_DIGITS = 18
"""Of a delivery's number: what SQLite can look for."""
NO_CONTENT = 204
HELD_BYTES = 256 * 1024 * 1024
INFLATE_IN_THREAD = 16 * 1024
_ENCODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}


class Refused(Exception):
    """Ends a request with this answer; ``why`` is for whoever owns the connector, never for the sender."""

    def __init__(self, answer: Answer, why: str = "") -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.why = why


class Watch(Protocol):
    """Is told the fate of every delivery, between the fsync and the answer, so it must be quick."""

    def took(self, name: str, request: Request) -> None:
        """It is stored for the instance (and tenant) ``name``, with the headers that are kept."""

    def refused(self, path: str, status: int, why: str) -> None:
        """It was answered with this status; ``why`` says more than the answer does."""


class Receiver:
    """Takes deliveries in. ``stopping`` makes it send new ones away, while those in flight are finished.

    Without a ``ledger`` there may be no ``ledger`` routes; without ``installs`` nothing is below /install.
    """

    def __init__(
        self,
        routes: Routes,
        inbox: Inbox,
        metrics: Metrics,
        *,
        ledger: Ledger | None = None,
        watch: Watch | None = None,
        senders: Senders | None = None,
        installs: Installs | None = None,
    ) -> None:
        self.stopping = False
        self._senders = senders or Senders()
        self._rates = Rates()
        self._installs = installs
        self._watch = watch
        self._routes = routes
        self._ledger = ledger
        self._inbox = inbox
        self._metrics = metrics
        self._held = Held(HELD_BYTES)
        self._complained: dict[str, float] = {}

    def use(self, routes: Routes) -> None:
        """Take in by these routes from the next request on."""
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path[: len(PREFIX)].lower() == PREFIX:
            await self._hook(path, scope, receive, send)
            return
        answer = answers.NOT_FOUND
        if path.startswith(INSTALL) and self._installs is not None:
            answer = await self._visit(self._installs, scope)
        elif path == "/healthz":
            answer = answers.ALIVE if scope["method"] in ("GET", "HEAD") else answers.WRONG_METHOD
        await _send(send, answer)

    async def _visit(self, installs: Installs, scope: Scope) -> Answer:
        if self.stopping:
            return answers.STOPPING
        headers = _headers(scope["headers"])
        return await installs.answer(
            self._routes, scope["method"], scope["path"], scope["query_string"], headers, self._sender(scope, headers)
        )

    async def _hook(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        target = self._routes.find(path)
        headers = _headers(scope["headers"])
        extra: list[Header] | None = []
        if target is not None and target.route.cors:
            extra = cors_headers(target, headers.get("origin", ""))
        try:
            if extra is None:
                raise Refused(answers.WRONG_ORIGIN)
            if scope["method"] == "OPTIONS" and target is not None and target.route.cors:
                preflight = preflight_headers(target, headers.get("access-control-request-headers", ""))
                raise Refused(Answer(200, b"", "preflight", *preflight))
            answer = await self._take(target, scope, headers, receive)
        except Refused as refused:
            answer = refused.answer
            if self._watch is not None and (refused.why or answer.status >= 400):
                self._watch.refused(path, answer.status, refused.why or answers.message(answer))
        except Gone:
            return
        self._metrics.answered(target.hook.name if target else "", answer.outcome, time.perf_counter() - started)
        await _send(send, answer.with_headers(extra) if extra else answer)

    async def _take(self, target: Target | None, scope: Scope, headers: dict[str, str], receive: Receive) -> Answer:
        method: str = scope["method"]
        if method not in self._routes.methods:
            raise Refused(answers.WRONG_METHOD)
        if self.stopping:
            raise Refused(answers.STOPPING)
        if target is not None and target.hook.connector is None:
            raise Refused(answers.BROKEN)
        if target is not None and not self._may_send(target, scope, headers):
            raise Refused(answers.TOO_FAST_SENDER)
        body = await self._body(target, headers, receive)
        crash.point("serve.body_read")
        query = _query(scope["query_string"]) if scope["query_string"] else {}
        if target is None:
            hmac.digest(b"nobody", body, "sha256")  # about what a real check takes
            raise Refused(answers.UNAUTHORIZED, "no instance has this path")
        request = Request(body, headers, target.route.channel, target.path, method, query)
        name = self._verified(target, request)
        if method not in target.route.methods:
            raise Refused(answers.WRONG_METHOD)
        if not target.route.signed and method != "GET" and (body or method != "DELETE"):
            try:
                check_json(body)
            except Malformed as error:
                raise Refused(answers.malformed(str(error))) from None
        if not self._has_room(target, name):
            raise Refused(answers.TOO_FAST)
        if target.route.ledger:
            return await self._looked_up(target, name, request)
        kept = _to_keep(target, request)
        number = await self._store(name, kept)
        if self._watch is not None:
            self._watch.took(name, kept)
        crash.point("serve.before_answer")
        return _answer(target, request, delivery=number)

    def _may_send(self, target: Target, scope: Scope, headers: dict[str, str]) -> bool:
        """Judged before anything is read or proved: a flood of forgeries costs nothing more."""
        bound = target.route.per_address
        if bound is None:
            return True
        return self._rates.take((target.hook.name, target.route.path, self._sender(scope, headers)), bound)

    def _sender(self, scope: Scope, headers: dict[str, str]) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        return self._senders.address(peer, headers.get("x-forwarded-for", ""))

    def _has_room(self, target: Target, name: str) -> bool:
        """Judged once it is proved, so that strangers use nothing up; ``name`` has the install."""
        bound = target.route.per_second
        if bound is not None and not self._rates.take((name, target.route.path), bound):
            return False
        return target.hook.rate is None or target.hook.rate.take()

    async def _body(self, target: Target | None, headers: dict[str, str], receive: Receive) -> bytes:
        limits = target.route if target is not None else self._routes
        zipped = _ENCODINGS.get(headers.get("content-encoding", "").strip().lower())
        if zipped is None:
            raise Refused(answers.UNKNOWN_ENCODING)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > limits.max_body:
            raise Refused(answers.TOO_LARGE)
        try:
            body = await read_body(receive, limits.max_body, self._held)
            if zipped and len(body) < INFLATE_IN_THREAD:
                return inflate(body, limits.max_inflated)
            if zipped:
                return await asyncio.to_thread(inflate, body, limits.max_inflated)
        except TooLarge:
            raise Refused(answers.TOO_LARGE) from None
        except Crowded:
            raise Refused(answers.BUSY) from None
        except Malformed:
            raise Refused(answers.MALFORMED_GZIP) from None
        return body

    def _verified(self, target: Target, request: Request) -> str:
        """The instance's name, with its tenant if it has several; whatever goes wrong ends in an answer."""
        hook = target.hook
        assert hook.connector is not None
        try:
            hook.connector.verify(request)
        except Unauthorized as error:
            # strangers get one and the same answer; what to set is for the operator alone
            self._complain(f"{hook.name}: a delivery was refused (401)", error)
            raise Refused(answers.UNAUTHORIZED, str(error)) from None
        except Unwanted as error:
            self._metrics.unwanted(hook.name, error.reason)
            raise Refused(_unwanted(target), f"it is not kept: {error.reason}") from None
        except Reject as error:
            raise Refused(answers.malformed(error.reason)) from None
        except (Retry, Halt, OSError) as error:
            self._complain(hook.name, error)
            raise Refused(answers.CANNOT_JUDGE, fault(error)) from None
        except BaseException as error:  # SystemExit too: it must not end the receiver of all the others
            self._complain(hook.name, error)
            raise Refused(answers.UNAUTHORIZED, f"verify failed: {fault(error)}") from None
        if hook.one_tenant:
            return hook.name
        try:
            tenant = hook.connector.tenant(request)
            if not isinstance(tenant, str) or len(tenant) > MAX_TENANT or not tenant.isprintable():
                raise ValueError
        except BaseException:
            raise Refused(answers.malformed("the delivery does not say which install it belongs to")) from None
        return f"{hook.name}/{tenant}" if tenant else hook.name

    async def _looked_up(self, target: Target, name: str, request: Request) -> Answer:
        number = request.path.rpartition("/")[2]
        if not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
            raise Refused(answers.UNKNOWN_DELIVERY)
        assert self._ledger is not None
        try:
            fates = await self._ledger.fates(name, int(number))
        except Exception as error:
            self._complain("ledger", error)
            raise Refused(answers.CANNOT_READ) from None
        if fates is None:
            raise Refused(answers.UNKNOWN_DELIVERY)
        return _answer(target, request, delivery=int(number), fates=fates)

    async def _store(self, name: str, request: Request) -> int:
        try:
            return (await self._inbox.append([(name, request)]))[0]
        except (InboxFull, InboxUnavailable) as error:
            self._complain("inbox", error)
            raise Refused(answers.NOT_STORED) from None

    def _complain(self, where: str, error: BaseException) -> None:
        """Log a trouble of ours, at most once a minute for each place."""
        now = time.monotonic()
        if now - self._complained.get(where, -60) >= 60:
            self._complained[where] = now
            told = isinstance(error, InboxFull | InboxUnavailable | Unauthorized)
            log.error("%s: %s", where, str(error) if told else type(error).__name__)


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names; a header that comes twice is joined by a comma."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _query(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise Refused(answers.TOO_MANY_FIELDS) from None


def _to_keep(target: Target, request: Request) -> Request:
    """The delivery without the headers and query fields that the route does not keep; they may hold secrets."""
    names = ("content-type", *target.route.keep)
    kept = {name: request.headers[name] for name in names if name in request.headers}
    query = request.query
    if target.route.hide:
        query = {name: value for name, value in query.items() if name not in target.route.hide}
    return Request(
        request.body,
        kept,
        request.channel,
        request.path,
        request.method,
        query,
    )


def _answer(target: Target, request: Request, **known: Any) -> Answer:
    """The delivery is on the disk: whatever a connector's ``answer`` does, this is a 2xx."""
    status = target.route.status
    if target.hook.plain_answer or target.hook.connector is None or status == NO_CONTENT:
        return answers.OK if status == answers.OK.status else answers.accepted(status=status)
    try:
        return answers.accepted(target.hook.connector.answer(msgspec.structs.replace(request, **known)), status)
    except BaseException:
        log.exception("instance %s: answer() failed; the plain answer was sent", target.hook.name)
        return answers.accepted(status=status)


def _unwanted(target: Target) -> Answer:
    """As if it were stored, for who sends what must not be kept has nothing to mend."""
    status = target.route.status
    return answers.UNWANTED if status == answers.OK.status else answers.accepted(status=status, outcome="unwanted")


async def _send(send: Send, answer: Answer) -> None:
    await send(answer.start)
    await send(answer.finish)
